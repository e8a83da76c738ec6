"""The list of batches: what each is, how far it is, and what it is called."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from osgbatch import names
from osgbatch.batches.folder import Batch, load
from osgbatch.batches.notes import read_submitted
from osgbatch.batches.settled import settled_counts
from osgbatch.batches.tags import read_tags
from osgbatch.errors import OsgbatchError
from osgbatch.life.following import WRONG, Follower
from osgbatch.model import OPEN


@dataclass(frozen=True)
class Listed:
    """A batch in the list.

    batch: None when it cannot be read; problem: why, or why its states are not known. counts: of
    tasks by state. stalled: why nothing will change by itself. backend: `condor`, `local`, empty
    when it was never submitted. made: when, in seconds since 1970.
    """

    folder: Path
    batch: Batch | None
    counts: Mapping[str, int] = field(default_factory=dict)
    backend: str = ""
    stalled: str = ""
    tags: tuple[str, ...] = ()
    made: float = 0.0
    problem: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing will change without somebody acting."""
        return bool(self.stalled or self.problem) or not any(map(self.counts.get, OPEN))

    @property
    def wrong(self) -> int:
        """How many tasks failed, are held, removed or unknown."""
        return sum(self.counts.get(state, 0) for state in WRONG)


def listed(folders: Iterable[Path]) -> Iterator[Listed]:
    """What is known of each batch, in the order of the folders; one that is damaged is told, too.

    Of a batch that has ended nothing is read but a few numbers, while its files are as they were.
    """
    for folder in folders:
        try:
            yield _listed(load(folder))
        except OsgbatchError as error:
            yield Listed(folder, None, problem=error.what)
        except OSError as error:
            yield Listed(folder, None, problem=_problem(error))
        except (ValueError, TypeError, LookupError) as error:  # one damaged batch hides no others
            yield Listed(folder, None, problem=f"it is damaged: {error}")


def _listed(batch: Batch) -> Listed:
    made = (batch.folder / names.RESOLVED).stat().st_mtime
    tags = read_tags(batch)
    counts = settled_counts(batch)
    if counts is not None:
        noted = read_submitted(batch.rounds()[-1])
        backend = noted.backend if noted else "condor"
        return Listed(batch.folder, batch, counts, backend, "", tags, made)
    try:
        now = Follower(batch).status(most_wrong=0)
    except (OsgbatchError, OSError) as error:
        what = error.what if isinstance(error, OsgbatchError) else _problem(error)
    except (ValueError, TypeError, LookupError) as error:
        what = f"it is damaged: {error}"
    else:
        return Listed(batch.folder, batch, now.counts, now.backend, now.stalled, tags, made)
    return Listed(batch.folder, batch, tags=tags, made=made, problem=what)


def _problem(error: OSError) -> str:
    """What is wrong with a batch's files, in a few words."""
    what = Path(os.fsdecode(error.filename)).name if error.filename else "its folder"
    if isinstance(error, FileNotFoundError):
        return f"{what} is missing in its folder"
    return f"{what}: {error.strerror or error}"

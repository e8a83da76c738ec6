"""What is written down of a round: why it was made, and what the backend said when it took it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from osgbatch import names
from osgbatch.batches.writing import write_json
from osgbatch.errors import BatchError
from osgbatch.model import Round, Submitted
from osgbatch.task_ranges import parse_task_ranges

FIRST, CANARY, REST, RESUBMIT = "first", "canary", "rest", "resubmit"
"""Why a round is made."""
REUSED = "reused"
"""Of one that nobody is asked to run: earlier batches have done all its tasks."""


@dataclass(frozen=True)
class RoundNote:
    """Why a round was made, and of what (`round.json`).

    tasks: as ranges, `0-9+12`; jobs: how many procs it has; settings: of the command line, which
    win over the spec; time: when it was made, in seconds since 1970.
    """

    why: str
    tasks: str
    jobs: int
    settings: tuple[str, ...] = ()
    time: float = 0.0

    def indices(self) -> list[int]:
        """Its tasks."""
        return parse_task_ranges(self.tasks)


def write_note(folder: Path, note: RoundNote) -> None:
    """Write `round.json` into a round's folder."""
    write_json(folder / names.ROUND, {"version": 1, **asdict(note)})


def read_note(folder: Path) -> RoundNote | None:
    """What `round.json` says; None where there is none: a round of an older osgbatch.

    Raises BatchError when it cannot be read.
    """
    try:
        data = json.loads((folder / names.ROUND).read_text())
        return RoundNote(
            str(data["why"]),
            str(data["tasks"]),
            int(data["jobs"]),
            tuple(map(str, data["settings"])),
            float(data["time"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BatchError(f"cannot read {names.ROUND}: {error}", where=str(folder)) from None


def write_submitted(round_: Round, submitted: Submitted) -> None:
    """Write down what the backend said."""
    write_json(round_.folder / names.SUBMITTED, asdict(submitted))


def read_submitted(round_: Round) -> Submitted | None:
    """What the backend said when it took the round; None when it was not asked.

    A cluster of 0 says that it was asked, and what came of it was not written down.
    """
    try:
        return Submitted(**json.loads((round_.folder / names.SUBMITTED).read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise BatchError(
            f"cannot read {names.SUBMITTED}: {error}", where=str(round_.folder)
        ) from None


def round_tasks(round_: Round) -> list[str]:
    """The first field of every line of the item file: which tasks each proc runs."""
    path = round_.folder / names.ITEMS
    try:
        with path.open(encoding="utf-8") as stream:
            return [line.split(" ", 1)[0].rstrip("\n") for line in stream]
    except OSError as error:
        raise BatchError(f"cannot read {names.ITEMS}: {error}", where=str(round_.folder)) from None

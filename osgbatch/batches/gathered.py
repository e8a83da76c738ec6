"""What a batch knows of its `gather:`: what is to run, and on which results it has run."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osgbatch import names
from osgbatch.batches.writing import write_json

if TYPE_CHECKING:
    from osgbatch.spec_model import Gather


def gather_data(gather: Gather) -> dict[str, Any]:
    """What `resolved.json` says besides the name of the script or function."""
    return {
        "function": [gather.function.module, gather.function.name] if gather.function else None,
        "in_pool": gather.in_pool,
        "resources": dict(gather.resources),
        "inputs": [path.text for path in gather.inputs],
    }


def gathered_of(folder: Path) -> Path | None:
    """The batch whose results the batch in a folder gathers; None where it gathers none."""
    above = folder.parent
    is_inside = above.name == names.GATHER and (above.parent / names.RESOLVED).is_file()
    return above.parent if is_inside else None


def inputs_of(folder: Path) -> Path:
    """What the batch in a folder, which gathers, is brought: there until what it made is taken."""
    return folder.with_name(f"{folder.name}.in")


@dataclass(frozen=True)
class Gathered:
    """The last time that it ended well (`gathered.json`).

    key: of the results and of what ran, empty before; made: what it wrote at the top of `results/`;
    seconds: how long it took; brought: of each file that a job of the pool has made the SHA-256, by
    its path in `results/`. runs: when it began and ended here, also badly (ns, by the clock of the
    file system; the end is 0 of one that was killed): what was written then, it has written.
    """

    key: str
    made: list[str] = field(default_factory=list)
    seconds: float = 0.0
    brought: Mapping[str, str] = field(default_factory=dict)
    runs: Sequence[tuple[int, int]] = ()


def write_gathered(batch: Path, gathered: Gathered) -> None:
    """Write it down."""
    write_json(batch / names.GATHERED, {"version": 1, **asdict(gathered)})


@contextmanager
def noted_run(batch: Path, results: Path) -> Iterator[None]:
    """Note when a program that gathers here began and ended, whatever comes of it.

    Until `write_gathered` says that it ended well, it has run on no results: killed or failed, it
    may have left half of what an earlier run had made. Raises OSError when the disk is full.
    """
    known = replace(read_gathered(batch) or Gathered(""), key="")
    runs = [*known.runs[-_MOST_RUNS:], (_clock(results), 0)]
    write_gathered(batch, replace(known, runs=runs))
    try:
        yield
    finally:
        write_gathered(batch, replace(known, runs=[*runs[:-1], (runs[-1][0], _clock(results))]))


def close_runs(batch: Path, results: Path) -> None:
    """Note that runs have ended which a kill let open: what comes from now on is not theirs.

    Whoever calls holds the batch's lock, so that none is running. Raises OSError.
    """
    known = read_gathered(batch)
    if known is not None and not all(ended for _, ended in known.runs) and results.is_dir():
        now = _clock(results)
        runs = [(began, ended or now) for began, ended in known.runs]
        write_gathered(batch, replace(known, runs=runs))


_MOST_RUNS = 100


def _clock(folder: Path) -> int:
    """What time it is (ns) for the file system that a folder is on."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_ctime_ns


def read_gathered(batch: Path) -> Gathered | None:
    """What was written down; None when it never ended well, or that cannot be read."""
    try:
        told: Mapping[str, Any] = json.loads((batch / names.GATHERED).read_text())
        made = [str(name) for name in told["made"]]
        brought = {str(path): str(sum_) for path, sum_ in told.get("brought", {}).items()}
        runs = [(int(began), int(ended)) for began, ended in told.get("runs", ())]
        return Gathered(str(told["key"]), made, float(told["seconds"]), brought, runs)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None

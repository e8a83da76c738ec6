"""Archives that were dropped after collecting, as a look at a round sees them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from osgbatch import names
from osgbatch.batches.store import ArchiveRow, Store
from osgbatch.collecting.files import LOST, STATUS, all_there, read_status
from osgbatch.errors import ResultError
from osgbatch.model import Round
from osgbatch.returned.kept import NOT_THERE, SUFFIX, archive_name, read_kept


def results_stamp(batch: Path) -> int:
    """When `results/` of a batch was changed (ns); 1 when it is not there."""
    try:
        return (batch / names.RESULTS).stat().st_mtime_ns
    except OSError:
        return 1


def take_kept(store: Store, round_: Round, folder: Path, cluster: int) -> set[int]:
    """Take what is kept of dropped archives into the store; gives their procs.

    folder: of returned archives. A success counts as long as its results are there: collecting
    renames the status.json of one that is not whole.
    """
    procs = set()
    results = round_.folder.parents[1] / names.RESULTS
    for path in folder.glob(f"*{SUFFIX}"):
        name = archive_name(path.name)
        parsed = names.parse_archive_name(name)
        if parsed is None or parsed[0] != cluster or parsed[1] >= round_.jobs:
            continue
        if path.with_name(name).exists():
            continue
        _take(store, round_.number, path, results, parsed[1:])
        procs.add(parsed[1])
    return procs


def take_changed(store: Store, round_: Round, folder: Path, procs: range) -> set[int]:
    """Take again what is kept where results have gone, or come back; gives the procs.

    folder: of returned archives, in which nothing is new.
    """
    with os.scandir(folder) as entries:
        kept = {archive_name(entry.name): entry.path for entry in entries}
    results = round_.folder.parents[1] / names.RESULTS
    changed: dict[tuple[int, int], Path] = {}
    for start, name, task, problem in store.successes(round_.number, procs) if kept else ():
        if name in kept and _is_there(f"{results}/{task}") != (not problem):
            changed[start] = Path(kept[name])
    for start, path in changed.items():
        if not path.with_name(archive_name(path.name)).exists():
            _take(store, round_.number, path, results, start)
    return {proc for proc, _ in changed}


def _is_there(folder: str) -> bool:
    """Whether the results of a task are. folder: its own."""
    if os.path.lexists(f"{folder}/{STATUS}"):
        return True
    return os.path.lexists(f"{folder}/{LOST}") and all_there(
        Path(folder), read_status(Path(folder))
    )


def _take(store: Store, number: int, path: Path, results: Path, start: tuple[int, int]) -> None:
    """start: proc and attempt."""
    name = archive_name(path.name)
    job: Mapping[str, str] = {}
    tasks: Mapping[int, Mapping[str, str]] = {}
    size, mtime_ns, fault = 0, 0, ""
    try:
        kept = read_kept(path)
        job, tasks, size, mtime_ns = kept.job, kept.tasks, kept.size, kept.mtime_ns
    except ResultError as error:
        fault = f"{path.name}: {error.what}"
    except OSError as error:
        fault = f"{path.name}: {error.strerror or error}"
    problems = {
        index: NOT_THERE
        for index, record in tasks.items()
        if record.get("state") == "succeeded" and not _is_there(f"{results}/{index}")
    }
    row = ArchiveRow(*start, name, size, mtime_ns, job, fault)
    store.put_archive(number, row, tasks, problems)

"""Archives that were dropped, or damaged, after collecting, as a look at a round sees them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from osgbatch import names
from osgbatch.batches.store import ArchiveRow, RoundRow, Store
from osgbatch.collecting.files import LOST, STATUS, all_there, is_whole, read_status
from osgbatch.errors import ResultError
from osgbatch.model import Round
from osgbatch.returned import Expected, OtherJobError, Returned, read_records
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


def read_archive(
    path: Path, expected: Expected, results: Path, row: RoundRow
) -> tuple[Returned, str]:
    """Read an archive: what it holds, and why it is not accepted; empty when it is.

    One that is damaged since it was collected is known by what was collected, while that is whole.
    row: where it is noted, so that a later look sees whether it still is.
    """
    try:
        returned = read_records(path, expected)
    except OtherJobError as error:
        return Returned(path, {}, {}), f"{path.name}: {error.what}"
    except (ResultError, OSError) as error:
        what = error.what if isinstance(error, ResultError) else error.strerror or error
        fault = f"{path.name}: {what}"
    else:
        row.damaged = [name for name in row.damaged if name != path.name]
        return returned, ""
    collected = _collected(path, expected, results, fault)
    if collected is None:
        return Returned(path, {}, {}), fault
    if path.name not in row.damaged:
        row.damaged.append(path.name)
    row.kept = row.kept or -1
    return collected, ""


def damaged_since(archives: Sequence[str]) -> Iterator[str]:
    """What is told of archives that are damaged since they were collected."""
    if archives:
        others = f" and {len(archives) - 1:,} more" if len(archives) > 1 else ""
        yield (
            f"damaged since it was collected: {archives[0]}{others}; results/ has the only copy now"
        )


def _collected(path: Path, expected: Expected, results: Path, fault: str) -> Returned | None:
    """What is known of an archive that is damaged, by what was collected while it was whole.

    fault: what is wrong with it, which is told of its other tasks. None when not a task of it was
    collected and is whole still. Only collecting writes a status.json, after all that this lists
    was verified against this very archive: of one that never was whole there is none.
    """
    job: Mapping[str, str] = {}
    records: dict[int, Mapping[str, str]] = {}
    for index in expected.tasks:
        for above, state in ((results, "succeeded"), (results / "failed", "failed")):
            folder = above / str(index)
            told = read_status(folder)
            its_job, record = told.get("job"), told.get("task")
            if (
                told.get("state") == state
                and told.get("archive") == f"{path.parent.name}/{path.name}"
                and isinstance(its_job, dict)
                and isinstance(record, dict)
                and record.get("state") == state
                and _is_of(its_job, expected)
                and is_whole(folder, told)
            ):
                job, records[index] = its_job, record
                break
    if not records:
        return None
    problems = {index: fault for index in expected.tasks if index not in records}
    return Returned(path, job, records, problems)


def _is_of(job: Mapping[str, str], expected: Expected) -> bool:
    told = [job.get(key) for key in ("batch", "round", "cluster", "proc")]
    return told == [expected.batch, *map(str, (expected.round, expected.cluster, expected.proc))]

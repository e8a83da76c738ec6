"""`reused.json`: the tasks of a batch that an earlier one has done, and what is known of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osgbatch import names
from osgbatch.batches.store import ArchiveRow, RoundRow, Store, TaskRow
from osgbatch.batches.writing import write_json
from osgbatch.errors import BatchError

ROUND = 0
"""The number under which the store keeps them: they are of no round of the batch."""
GONE = "reused-gone"
"""The reason of a task whose result was reused, and is not there any more."""
STATUS = "status.json"


@dataclass(frozen=True)
class Origin:
    """Where a result was computed: the name of a batch's folder beside this one, and the task."""

    batch: str
    task: int

    def __str__(self) -> str:
        return f"reused from {self.batch} task {self.task}"


def write_reused(batch: Path, found: Mapping[int, Origin]) -> None:
    """Write down which tasks are reused."""
    tasks = {str(index): [one.batch, one.task] for index, one in sorted(found.items())}
    write_json(batch / names.REUSED, {"version": 1, "tasks": tasks})


def read_reused(batch: Path) -> dict[int, Origin]:
    """The reused tasks of a batch folder by index. Raises BatchError when that cannot be read."""
    try:
        told = json.loads((batch / names.REUSED).read_text())["tasks"]
        return {int(index): Origin(str(name), int(task)) for index, (name, task) in told.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BatchError(f"cannot read {names.REUSED}: {error}", where=str(batch)) from None


def read_status(folder: Path) -> dict[str, Any]:
    """What the status.json of a task's results says; empty when it cannot be read."""
    try:
        told = json.loads((folder / STATUS).read_text())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def origin_of(told: Mapping[str, Any]) -> Origin | None:
    """Where a result was computed, of one that was reused."""
    said = told.get("reused_from")
    try:
        return Origin(str(said["batch"]), int(said["index"])) if said else None
    except (KeyError, TypeError, ValueError):
        return None


def is_there(folder: Path, origin: Origin, told: Mapping[str, Any]) -> bool:
    """Whether a reused result is in its folder, with every file that it lists.

    told: its status.json.
    """
    listed = [told.get("files"), told.get("links")]
    return origin_of(told) == origin and all(
        isinstance(files, dict) and all(os.path.lexists(folder / name) for name in files)
        for files in listed
    )


def stamp_of(batch: Path) -> dict[str, int]:
    """When `reused.json` and `results/` changed (ns), as take_reused keeps it; empty without one.

    Raises OSError when that cannot be told.
    """
    try:
        stamp = {names.REUSED: os.stat(batch / names.REUSED).st_mtime_ns}
    except FileNotFoundError:
        return {}
    with suppress(FileNotFoundError):
        stamp[names.RESULTS] = os.stat(batch / names.RESULTS).st_mtime_ns
    return stamp


def take_reused(batch: Path, store: Store) -> None:
    """Bring what is known of reused tasks into the store.

    It is looked at again only when `results/` has changed. What a round tells of a task stays.
    """
    stamp = stamp_of(batch)
    if not stamp:
        return
    if store.round(ROUND).folders == stamp:
        return
    store.put_tasks(list(_rows(store, batch / names.RESULTS, read_reused(batch))))
    store.put_round(RoundRow(ROUND, folders=stamp))


def _rows(store: Store, results: Path, found: Mapping[int, Origin]) -> Iterator[TaskRow]:
    """The rows of reused tasks; their records go into the store at once."""
    for index, origin in found.items():
        known = store.task(index)
        if known is not None and known[7] != ROUND:
            continue
        folder = results / str(index)
        told = read_status(folder)
        if is_there(folder, origin, told):
            job, record = (
                {str(k): str(v) for k, v in one.items()} if isinstance(one, dict) else {}
                for one in (told.get("job"), told.get("task"))
            )
            store.put_archive(ROUND, ArchiveRow(index, 0, "", 0, 0, job), {index: record}, {})
            yield (index, "succeeded", "", str(origin), 0, None, 0, ROUND, index, 0, False)
        else:
            detail = f"its result was {origin}"
            yield (index, "unknown", GONE, detail, None, None, 0, ROUND, None, None, False)


def records_of(store: Store, index: int) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The record of a reused task, and that of the job that ran it."""
    archives = store.archives_of(ROUND, index)
    records, _ = store.records_of(ROUND, index, 0)
    return records.get(index, {}), archives[0].job if archives else {}

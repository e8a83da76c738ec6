"""Deletes returned archives of which all is in `results/`; what they told is kept beside them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.collecting.collect import FAILED_FOLDER, results_folder
from osgbatch.collecting.comparing import compare
from osgbatch.collecting.files import file_sha256
from osgbatch.errors import ResultError
from osgbatch.model import TaskState
from osgbatch.returned.kept import Kept, kept_path, to_disk, write_kept
from osgbatch.task_ranges import parse_task_ranges
from osgbatch.texts import number_of, size

_ENDED = ("succeeded", "failed")


@dataclass(frozen=True)
class Dropped:
    """What was dropped. kept: the archives that stay although they tell of a task, and why."""

    archives: int
    size: int
    kept: Sequence[str]

    @property
    def notes(self) -> list[str]:
        """Sentences for the user."""
        found = []
        if self.archives:
            found.append(f"dropped {number_of(self.archives, 'archive')}, {size(self.size)}")
        if self.kept:
            more = f", and {len(self.kept) - 1:,} more" if len(self.kept) > 1 else ""
            found.append(f"kept {number_of(len(self.kept), 'archive')}: {self.kept[0]}{more}")
        elif not self.archives:
            found.append("no archives to drop")
        return found


def drop_archives(batch: Batch, states: Sequence[TaskState]) -> Dropped:
    """Delete each archive all of whose tasks are in `results/`, byte for byte.

    states: of all tasks, after collecting. Whoever calls holds the batch's lock. What a state is
    told by is written beside the archive first (`returned/kept.py`), and to the disk. An archive
    stays where a task of its job has not ended, has its result from another start, or where a file
    of it in `results/` is gone or was changed. Raises OSError when the disk is full.
    """
    results = results_folder(batch.folder)
    light = bool(batch.data.get("outputs_to"))
    telling: dict[Path, list[TaskState]] = {}
    for state in states:
        if state.archive is not None:
            telling.setdefault(state.archive, []).append(state)
    lines: dict[Path, list[str]] = {}
    count = freed = 0
    kept: list[str] = []
    for archive, of_archive in telling.items():
        if not archive.exists():
            continue
        if not lines:
            _names_to_disk(results)
        round_folder = archive.parents[2]
        if round_folder not in lines:
            lines[round_folder] = folders.round_tasks(batch.round(of_archive[0].round))
        try:
            _check(archive, of_archive, lines[round_folder])
            places = {state.index: _folder(results, state) for state in of_archive}
            before = archive.stat()
            job, tasks = compare(archive, places, light=light)
            record = Kept(
                archive.name,
                before.st_size,
                before.st_mtime_ns,
                file_sha256(archive),
                job,
                tasks,
            )
            write_kept(kept_path(archive), record)
            if (archive.stat().st_size, archive.stat().st_mtime_ns) != (
                before.st_size,
                before.st_mtime_ns,
            ):
                raise ResultError("it changes at this moment")
        except ResultError as error:
            kept_path(archive).unlink(missing_ok=True)
            kept.append(f"{archive.name}: {error.what}")
            continue
        os.unlink(archive)
        count, freed = count + 1, freed + before.st_size
    return Dropped(count, freed, kept)


def _names_to_disk(results: Path) -> None:
    """The tasks' folders are there after a power failure, too; what is in each is seen to later."""
    for folder in (results.parent, results, results / FAILED_FOLDER):
        with suppress(FileNotFoundError):
            to_disk(folder)


def _check(archive: Path, states: Sequence[TaskState], lines: Sequence[str]) -> None:
    """Raises ResultError unless the archive is what tells of all tasks of its job, all ended."""
    parsed = names.parse_archive_name(archive.name)
    tasks = parse_task_ranges(lines[parsed[1]]) if parsed and parsed[1] < len(lines) else []
    missing = set(tasks) - {state.index for state in states}
    if missing or not tasks:
        index = min(missing, default=0)
        raise ResultError(f"the result of task {index} is from another start, or there is none")
    for state in states:
        if state.state not in _ENDED:
            raise ResultError(f"task {state.index} is {state.state}")


def _folder(results: Path, state: TaskState) -> Path:
    return (results if state.state == "succeeded" else results / FAILED_FOLDER) / str(state.index)

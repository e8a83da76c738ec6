"""Returned archives to verified results: what is new is unpacked, what is there is left alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from osgbatch import names
from osgbatch.collecting.files import (
    LOST,
    STATUS,
    all_there,
    empty_output,
    file_sha256,
    listed,
    note_found,
    note_lost,
    read_status,
)
from osgbatch.collecting.placing import Placers
from osgbatch.collecting.unpack import NOT_THE_ARCHIVES, unpack_tasks, write_status
from osgbatch.errors import OsgbatchError, ResultError
from osgbatch.model import TaskState
from osgbatch.returned.kept import ARCHIVE_GONE, NOT_THERE, kept_path
from osgbatch.returned.stream import MAX_BYTES
from osgbatch.task_states import TaskStates

FAILED_FOLDER = "failed"
"""What failed tasks returned lies apart, so that `results/*/outputs` holds only successes."""
OLD_FOLDER = "old"
"""What was replaced and is not ours to delete lies apart too, for the same reason."""


class Elsewhere(Protocol):
    """Where the data of a batch is that did not come home (`outputs_to`)."""

    def url(self, archive: str) -> str:
        """Of the data that belongs to an archive of this name."""

    def fetched(self, archive: str, job: Mapping[str, str]) -> AbstractContextManager[Path]:
        """The archive of that data, whole and verified; job: the record that tells of it.

        Raises ResultError when it is not there or damaged, StagingError when that is not known.
        """


@dataclass(frozen=True)
class Collected:
    """What a collection did: the tasks' states after verification, and how many were unpacked.

    notes: sentences for the user, such as where files of theirs have been moved to.
    elsewhere: how many tasks have succeeded whose data is not here. misplaced: of those whose
    outputs are not all where the spec wants them (`to:`), why. new: the tasks that were unpacked
    now. empty: of each task that was looked at and has an output without content, its name.
    """

    states: Sequence[TaskState]
    unpacked: int
    notes: tuple[str, ...] = ()
    elsewhere: int = 0
    misplaced: Mapping[int, str] = field(default_factory=dict)
    new: frozenset[int] = frozenset()
    empty: Mapping[int, str] = field(default_factory=dict)


def collect(
    results: Path,
    states: Sequence[TaskState],
    data: Elsewhere | None = None,
    *,
    fetch: bool = False,
    placer: Placers | None = None,
    make_sure: Callable[[int], None] | None = None,
    known: MutableMapping[int, Key] | None = None,
    most: int = MAX_BYTES,
) -> Collected:
    """Unpack every task that has ended and is not in `results/` yet.

    A task's folder is `results/<index>`, or `results/failed/<index>` when it did not succeed. Its
    status.json tells what it was made from and which files were written, with their sha256.

    * It is left alone while status.json tells of the same archive and records and each file that
      it lists is there: files that were added, and files that were changed, are the user's.
    * It is made anew when a file that it lists is gone, or another archive tells of the task now.
      If it then holds anything that collect did not write, or that was changed since, it is moved
      to `results/old/` and a note says so; else it is deleted. The same happens to the folder of
      a failure once the task has succeeded.

    A success whose archive does not verify becomes `unknown`, with the reason: nothing that failed
    is ever shown as succeeded. Raises OSError when the disk is full or cannot be written; what was
    collected until then stays, and nothing half unpacked.

    data: where the tasks' data is, if it did not come home; fetch: bring it. Without, a task's
    folder holds only what is known of it, and what was fetched before stays as it is. Raises
    StagingError when it cannot be brought, OsgbatchError where `results/` is no folder.

    placer: gives outputs the places that the spec wants. make_sure: called with how many bytes will
    be written, before any is; it may raise. known: what an earlier call of this process has seen in
    its place, and is not looked at again. most: bytes that an archive may have unpacked.
    """
    try:
        results.mkdir(exist_ok=True)
    except FileExistsError:
        raise OsgbatchError(
            f"{results.name} is there, and is no folder",
            where=str(results),
            fix="Rename or remove it, and run `osgbatch collect` again.",
        ) from None
    known = {} if known is None else known
    fresh: dict[Path, list[TaskState]] = {}
    refused: dict[int, str] = {}
    empty: dict[int, str] = {}
    there: list[TaskState] = []
    for state in states:
        if state.index in known and known[state.index] == _key(state):
            continue
        if state.archive is None:
            there += [state] * bool(placer)
        elif told := _already(_target(results, state), _status(state, data, fetch), fetch):
            known[state.index] = _key(state)
            there += [state] * bool(placer)
            if name := empty_output(told):
                empty[state.index] = name
            if state.state == "succeeded":
                note_found(_target(results, state))
        elif not (data and fetch) and (gone := _gone(state.archive)):
            refused[state.index] = gone
            if gone == NOT_THERE and state.state == "succeeded":
                note_lost(_target(results, state))
        else:
            fresh.setdefault(state.archive, []).append(state)
    if make_sure and fresh:
        make_sure(sum(unpacked_size(archive) for archive in fresh))
    if placer:  # before anything new, so that what is in the way is told first
        for state in there:
            placer.place(state)
    notes: list[str] = []
    new: set[int] = set()
    for archive, of_archive in fresh.items():
        errors = _unpack(archive, of_archive, results, data, fetch, most, empty)
        refused.update(errors)
        for state in of_archive:
            if state.index not in errors:
                if placer:
                    placer.withdraw(state, _target(results, state))
                notes += _place(state, results, data, fetch)
                if placer:
                    placer.place(state)
                known[state.index] = _key(state)
                new.add(state.index)
    found = TaskStates(_verified(state, refused.get(state.index)) for state in states)
    away = sum(
        state.state == "succeeded" and not read_status(_target(results, state)).get("fetched")
        for state in (found if data else ())
    )
    misplaced = placer.problems if placer else {}
    return Collected(found, len(new), tuple(notes), away, misplaced, frozenset(new), empty)


Key = tuple[object, ...]
"""By what a task's result is known again, as long as a process lives."""


def _key(state: TaskState) -> Key:
    return (state.state, state.reason, state.round, state.attempt, state.archive)


def unpacked_size(archive: Path) -> int:
    """Bytes of what is in a gzip file, by what its end says (below 4 GiB); 0 when it is not there.

    Whether that is true is seen when it is read.
    """
    try:
        with archive.open("rb") as stream:
            size = stream.seek(-4, os.SEEK_END) + 4
            told = int.from_bytes(stream.read(4), "little")
    except OSError:
        return 0
    least = size * 99 // 100 - 1000  # what cannot be compressed grows a little
    return told + (-(-(least - told) // 2**32) << 32 if told < least else 0)


def _verified(state: TaskState, refused: str | None) -> TaskState:
    if refused is None:
        return state
    if state.state == "succeeded":
        reason = _GONE_REASONS.get(refused, "damaged")
        return replace(state, state="unknown", reason=reason, detail=refused)
    if refused in state.detail:
        return state
    told = refused if refused in _GONE_REASONS else f"what it returned is not accepted: {refused}"
    return replace(state, detail=f"{state.detail}; {told}" if state.detail else told)


def _unpack(
    archive: Path,
    states: Sequence[TaskState],
    results: Path,
    data: Elsewhere | None,
    fetch: bool,
    most: int,
    empty: MutableMapping[int, str],
) -> dict[int, str]:
    """Unpack what an archive holds of these tasks; gives why a task was refused."""
    told = {state.index: _status(state, data, fetch) for state in states if state.record}
    targets = {s.index: _fresh(_target(results, s)) for s in states if s.record}
    try:
        if data and fetch and targets:
            with data.fetched(archive.name, states[0].job_record) as fetched:
                return unpack_tasks(fetched, targets, told, most=most, empty=empty)
        light = data is not None
        return unpack_tasks(archive, targets, told, light=light, most=most, empty=empty)
    except ResultError as error:
        return {state.index: error.what for state in states}
    except OSError as error:
        if error.errno in NOT_THE_ARCHIVES:
            raise
        return {state.index: f"cannot be unpacked: {error}" for state in states}


def _place(state: TaskState, results: Path, data: Elsewhere | None, fetch: bool) -> list[str]:
    """Swap in what was unpacked beside the target: a result is never half replaced."""
    target = _target(results, state)
    fresh = _fresh(target)
    if not state.record:  # of a job that ended before this task: nothing of it was to be unpacked
        write_status(fresh, _status(state, data, fetch))
    notes = make_way(target, results)
    fresh.rename(target)
    if state.state == "succeeded":
        notes += make_way(results / FAILED_FOLDER / str(state.index), results)
    return notes


def make_way(folder: Path, results: Path) -> list[str]:
    """Make way: delete a folder in which all is as collect wrote it, move any other aside."""
    if not os.path.lexists(folder):
        return []
    if _is_ours(folder):
        shutil.rmtree(folder)
        return []
    old = results / OLD_FOLDER
    old.mkdir(exist_ok=True)
    name = "-".join(folder.relative_to(results).parts)
    number = 1
    while os.path.lexists(old / f"{name}.{number}"):
        number += 1
    folder.rename(old / f"{name}.{number}")
    kept = f"{results.name}/{OLD_FOLDER}/{name}.{number}"
    return [f"{results.name}/{folder.relative_to(results)} held files of yours; kept as {kept}"]


def _is_ours(folder: Path) -> bool:
    """Whether every file in a folder was written by collect and not changed since."""
    told = read_status(folder)
    files, links = listed(told, "files"), listed(told, "links")
    if folder.is_symlink():
        return False
    try:
        return all(
            links.get(name) == os.readlink(path)
            if path.is_symlink()
            else path.is_file() and files.get(name) == file_sha256(path)
            for name, path in _entries(folder)
            if name not in (STATUS, LOST)
        )
    except OSError:
        return False


def _entries(folder: Path) -> Iterator[tuple[str, Path]]:
    """Whatever lies below a folder and is no folder itself, with its path from there."""
    for above, subfolders, files in os.walk(folder, onerror=_raise):
        linked = [name for name in subfolders if os.path.islink(f"{above}/{name}")]
        for name in (*files, *linked):
            path = Path(above, name)
            yield path.relative_to(folder).as_posix(), path


def _raise(error: OSError) -> None:
    raise error


def _fresh(target: Path) -> Path:
    return target.with_name(f".new-{target.name}")


def _target(results: Path, state: TaskState) -> Path:
    folder = results if state.state == "succeeded" else results / FAILED_FOLDER
    return folder / str(state.index)


def _status(state: TaskState, data: Elsewhere | None, fetch: bool) -> dict[str, object]:
    assert state.archive is not None
    away: dict[str, object] = {"data_url": data.url(state.archive.name)} if data else {}
    return {
        "index": state.index,
        "state": state.state,
        "reason": state.reason,
        "archive": f"{state.archive.parent.name}/{state.archive.name}",
        "task": dict(state.record),
        "job": dict(state.job_record),
        **away,
        **({"fetched": True} if data and fetch else {}),
    }


def _already(target: Path, expected: dict[str, object], fetch: bool) -> dict[str, object]:
    """What the status.json of a folder says that was made from the same archive and is whole.

    Empty when it was not, or something that was written is gone. What was fetched is made anew only
    by fetching it again.
    """
    told = read_status(target)
    same = all(key in told and told[key] == value for key, value in expected.items())
    stays = bool(told.get("fetched")) and not fetch
    return told if same and (stays or all_there(target, told)) else {}


_GONE_REASONS = {NOT_THERE: "dropped", ARCHIVE_GONE: "archive-gone"}


def _gone(archive: Path) -> str:
    """Why an archive is not there; empty when it is."""
    if os.path.lexists(archive):
        return ""
    return NOT_THERE if kept_path(archive).exists() else ARCHIVE_GONE


def note_losses(results: Path, states: Sequence[TaskState]) -> bool:
    """Let looks at the batch see which successes are not whole, whose archives were dropped.

    Says whether there are any. Raises OSError when that cannot be noted.
    """
    lost = False
    for state in states:
        if state.state == "succeeded" and state.archive and _gone(state.archive) == NOT_THERE:
            folder = results / str(state.index)
            told = read_status(folder)
            if not told.get("fetched") and not all_there(folder, told):
                note_lost(folder)
                lost = True
    if lost:
        os.utime(results)  # by which looks see that something has changed
    return lost


def results_folder(batch: Path) -> Path:
    """Where the results of a batch are."""
    return batch / names.RESULTS

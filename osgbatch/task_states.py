"""The states of many tasks, kept small: each is made anew when it is asked for."""

from __future__ import annotations

import json
import marshal
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any, overload

from osgbatch.model import JobState, TaskState

CHUNK = 256
"""So many tasks are kept together: 100,000 of them take some 10 MB, and one by one 200 MB."""


class Record(Mapping[str, str]):
    """A record, kept as the JSON that it is in the store, and read when it is looked into."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __getitem__(self, key: str) -> str:
        return _parsed(self.text)[key]

    def get(self, key: str, default: Any = None) -> Any:
        """As of any mapping; faster."""
        return _parsed(self.text).get(key, default)

    def __iter__(self) -> Iterator[str]:
        return iter(_parsed(self.text))

    def __len__(self) -> int:
        return len(_parsed(self.text))

    def __repr__(self) -> str:
        return repr(_parsed(self.text))


@lru_cache(maxsize=64)
def _parsed(text: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(text)
    return found


class TaskStates(Sequence[TaskState]):
    """States of tasks in the order in which they are given; none of them is kept as an object.

    What is got is a copy: to change it changes nothing here.
    """

    def __init__(self, states: Iterable[TaskState]) -> None:
        self._chunks: list[bytes] = []
        self._length = 0
        self._last: tuple[int, list[TaskState]] = (-1, [])
        left = iter(states)
        while chunk := list(islice(left, CHUNK)):
            self._chunks.append(_packed(chunk))
            self._length += len(chunk)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[TaskState]:
        for chunk in self._chunks:
            yield from _unpacked(chunk)

    @overload
    def __getitem__(self, index: int) -> TaskState: ...

    @overload
    def __getitem__(self, index: slice) -> list[TaskState]: ...

    def __getitem__(self, index: int | slice) -> TaskState | list[TaskState]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._length))]
        number, place = divmod(range(self._length)[index], CHUNK)
        known, states = self._last
        if known != number:
            states = _unpacked(self._chunks[number])
            self._last = number, states  # at once: threads may look at it
        return states[place]

    def __repr__(self) -> str:
        return f"<TaskStates: {self._length:,}>"


def with_others(
    known: Iterable[TaskState],
    tasks: int,
    others: Mapping[int, tuple[str, str, int]],
    usual: tuple[str, str, int],
) -> Iterator[TaskState]:
    """So many tasks by index: those that are known, and in between those of which nothing is.

    known: by index. others: state, reason and round of some that are not known; usual: of the rest.
    Raises ValueError where an index is known twice, or is none of them.
    """
    index = 0
    for task in known:
        if not index <= task.index < tasks:
            raise ValueError(f"there is no task {task.index}, or it is there twice")
        yield from _unknown(range(index, task.index), others, usual)
        index = task.index + 1
        yield task
    yield from _unknown(range(index, tasks), others, usual)


def _unknown(
    indices: range, others: Mapping[int, tuple[str, str, int]], usual: tuple[str, str, int]
) -> Iterator[TaskState]:
    for index in indices:
        state, reason, number = others.get(index, usual)
        yield TaskState(index, state, reason, round=number)


_JOB = attrgetter(*(field.name for field in fields(JobState)))
_NOTHING: Mapping[str, str] = {}
_SAME = True
"""Stands for the record of a task that is that of its job."""


def _text(record: Mapping[str, str]) -> str:
    if isinstance(record, Record):
        return record.text
    return json.dumps(dict(record)) if record else ""


def _packed(states: Iterable[TaskState]) -> bytes:
    """Tuples of what they hold, as marshal writes them: this program alone reads it."""
    rows: list[tuple[Any, ...]] = []
    job: JobState | None = None
    job_row: tuple[Any, ...] | None = None
    for one in states:
        if one.job is not job:
            job = one.job
            job_row = None if job is None else _JOB(job)
        record = _SAME if one.record is one.job_record else _text(one.record)
        archive = None if one.archive is None else str(one.archive)
        rows.append((
            one.index, one.state, one.reason, one.detail, one.exit_code, one.signal, one.attempts,
            one.round, one.attempt, job_row, archive, record, _text(one.job_record),
        ))  # fmt: skip
    return zlib.compress(marshal.dumps(rows), 1)


def _unpacked(chunk: bytes) -> list[TaskState]:
    """The states again; tasks of one job have the same state and record of it, as before."""
    found: list[TaskState] = []
    last_job: tuple[Any, ...] | None = None
    last_archive: str | None = None
    last_told = ""
    job: JobState | None = None
    path: Path | None = None
    told: Mapping[str, str] = _NOTHING
    for (
        index, state, reason, detail, exit_code, signal, attempts, round_, attempt, job_row,
        archive, text, job_text,
    ) in marshal.loads(zlib.decompress(chunk)):  # fmt: skip
        if job_row is not last_job:
            last_job, job = job_row, None if job_row is None else JobState(*job_row)
        if archive != last_archive:
            last_archive, path = archive, None if archive is None else Path(archive)
        if job_text != last_told:
            last_told, told = job_text, Record(job_text) if job_text else _NOTHING
        record = told if text is _SAME else Record(text) if text else _NOTHING
        of_job = (job, round_, path, attempt, record, told)
        found.append(TaskState(index, state, reason, detail, exit_code, signal, attempts, *of_job))
    return found

"""What the store knows of tasks, with their jobs' states and their records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from osgbatch import names
from osgbatch.batches.reused import ROUND as REUSED
from osgbatch.batches.reused import records_of
from osgbatch.batches.store import ArchiveRow, Store, TaskRow
from osgbatch.model import JobState, Round, TaskState
from osgbatch.returned import Returned
from osgbatch.task_states import Record

_NOTHING: Mapping[str, str] = {}


class _Folders:
    """The folders of archives: one object each, whatever the number of their files."""

    def __init__(self, rounds: Mapping[int, Round]) -> None:
        self._rounds = rounds
        self._known: dict[tuple[int, int], Path] = {}

    def path(self, number: int, proc: int, name: str) -> Path:
        """Of an archive, by its name."""
        key = (number, proc // names.JOBS_PER_RETURN_FOLDER)
        folder = self._known.get(key)
        if folder is None:
            folder = names.return_folder(self._rounds[number].folder, proc)
            self._known[key] = folder
        return folder / name


class TaskReader:
    """Reads the states of tasks from the store, with their jobs' states and their records."""

    def __init__(self, store: Store, rounds: Mapping[int, Round]) -> None:
        self._store = store
        self._rounds = rounds
        self._archives: dict[tuple[int, int, int], Returned] = {}
        self._jobs: dict[int, dict[int, JobState]] = {}

    def read(self, states: Sequence[str] | None = None, most: int = -1) -> Iterator[TaskState]:
        """The tasks of which anything is known, by index; only those in some states.

        most: no more than these; -1 for all.
        """
        if most < 0 and states is None:
            yield from self._all()
            return
        if most < 0:  # at once, and not one by one
            self._jobs = {number: self._store.jobs(number) for number in self._rounds}
        for row in self._store.tasks(states, most):
            yield self._state(row)

    def _all(self) -> Iterator[TaskState]:
        """All of them. Their records stay text until somebody looks into them: that is a tenth."""
        last, shared = "", _NOTHING
        known: tuple[int, int] | None = None
        known_job: JobState | None = None
        folder = _Folders(self._rounds)
        for row, name, job, record, job_state in self._store.told_tasks():
            state = brief(row)
            assert state is not None
            number, proc, from_job = row[7], row[8], row[10]
            if job:
                if job[:1] + job[-1:] + (record or "{}")[-1:] != "{}}":
                    raise ValueError("a record in the store is damaged")
                if job != last:  # the tasks of a job have one record of it
                    last, shared = job, Record(job)
                state.job_record = shared
                state.record = shared if from_job else Record(record) if record else _NOTHING
            if proc is not None and number in self._rounds:
                if known != (number, proc):
                    known, known_job = (number, proc), JobState(*job_state) if job_state else None
                state.job = known_job
                if name:
                    state.archive = folder.path(number, proc, name)
            yield state

    def _state(self, row: TaskRow) -> TaskState:
        state = brief(row)
        assert state is not None
        _, _, _, _, _, _, _, number, proc, attempt, from_job = row
        if number == REUSED and proc is not None:
            state.record, state.job_record = records_of(self._store, proc)
        if proc is None or number not in self._rounds:
            return state
        known = self._jobs.get(number)
        state.job = known.get(proc) if known is not None else self._store.job(number, proc)
        if attempt is not None:
            returned = self._returned(number, proc, attempt)
            if returned is not None:
                state.archive, state.job_record = returned.path, returned.job
                state.record = returned.job if from_job else returned.tasks.get(state.index, {})
        return state

    def _returned(self, number: int, proc: int, attempt: int) -> Returned | None:
        key = (number, proc, attempt)
        if key not in self._archives:
            found = [a for a in self._store.archives_of(number, proc) if a.attempt == attempt]
            if not found:
                return None
            self._archives = {key: returned_of(self._store, self._rounds[number], found[0])}
        return self._archives[key]


def brief(row: TaskRow | None) -> TaskState | None:
    """A task without its job and its records."""
    if row is None:
        return None
    index, state, reason, detail, exit_code, signal, attempts, number, _, attempt, _ = row
    return TaskState(
        index, state, reason, detail, exit_code, signal, attempts, round=number, attempt=attempt
    )


def row_of(state: TaskState, proc: int) -> TaskRow:
    return (
        state.index, state.state, state.reason, state.detail, state.exit_code, state.signal,
        state.attempts, state.round, proc, state.attempt, state.record is state.job_record,
    )  # fmt: skip


def returned_of(store: Store, round_: Round, row: ArchiveRow) -> Returned:
    """What was read of an archive."""
    path = names.return_folder(round_.folder, row.proc) / row.name
    records, problems = store.records_of(round_.number, row.proc, row.attempt)
    return Returned(path, row.job, records, problems)

"""What the store knows of tasks, with their jobs' states and their records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from osgbatch import names
from osgbatch.batches.reused import ROUND as REUSED
from osgbatch.batches.reused import records_of
from osgbatch.batches.store import ArchiveRow, Store, TaskRow
from osgbatch.model import JobState, Round, TaskState
from osgbatch.returned import Returned


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
        if most < 0:  # at once, and not one by one
            self._jobs = {number: self._store.jobs(number) for number in self._rounds}
        for row in self._store.tasks(states, most):
            yield self._state(row)

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

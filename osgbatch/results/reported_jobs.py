"""The jobs of a batch with their starts and holds, as event logs tell, else as states do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.history import (
    COMPLETED,
    HELD,
    OPEN,
    REMOVED,
    Hold,
    JobHistory,
    Start,
    read_history,
)
from osgbatch.batches.notes import cluster_so_far
from osgbatch.model import JobState, TaskState
from osgbatch.task_ranges import parse_task_ranges


class JobRun(NamedTuple):
    """A job of a round: its tasks, and what became of it."""

    round: int
    proc: int
    tasks: Sequence[int]
    submitted: float
    starts: Sequence[Start]
    holds: Sequence[Hold]


def jobs_of(batch: Batch, states: Sequence[TaskState]) -> tuple[list[JobRun], tuple[str, ...]]:
    """The jobs of all rounds, as their event logs tell, else as the states of their tasks do.

    The second: why a log could not be read.
    """
    known: dict[tuple[int, int], JobState] = {}
    for state in states:
        if state.job is not None:
            known[state.round, state.job.proc] = state.job
    found: list[JobRun] = []
    unread: list[str] = []
    for round_ in batch.rounds():
        log = round_.folder / names.EVENTS
        histories: Mapping[int, JobHistory] = {}
        try:
            histories = read_history(log, cluster_so_far(round_))
        except OSError as error:
            unread.append(f"the event log of round {round_.number} cannot be read: {error}")
        for proc, line in enumerate(folders.round_tasks(round_)):
            job, told = known.get((round_.number, proc)), histories.get(proc)
            if told is None and job is None:
                continue
            tasks = (int(line),) if line.isdigit() else tuple(_tasks(line))
            if told is None or (job and job.starts and not told.starts):
                assert job is not None
                told = _from_state(job)
            submitted = told.submitted or (job.submitted if job else 0.0)
            found.append(JobRun(round_.number, proc, tasks, submitted, told.starts, told.holds))
    return found, tuple(unread)


def _tasks(line: str) -> list[int]:
    try:
        return parse_task_ranges(line)
    except ValueError:
        return []


def _from_state(job: JobState) -> JobHistory:
    """What the last start of a job is known by, where its events are lost."""
    if not job.started:
        return JobHistory(job.submitted, (), ())
    how = {"completed": COMPLETED, "removed": REMOVED, "held": HELD}.get(job.state, OPEN)
    if not job.ended and how != OPEN:
        return JobHistory(job.submitted, (), ())
    return JobHistory(
        job.submitted,
        (Start(job.started, job.started, 0.0, job.ended, how, job.host, code=job.exit_code),),
        (),
    )

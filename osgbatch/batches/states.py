"""Jobs' states and returned records to the states of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from osgbatch.model import ACTIVE, JobState, TaskState
from osgbatch.returned import Returned, whole
from osgbatch.returned.kept import NOT_THERE

SUCCEEDED, FAILED = "succeeded", "failed"
KILLED_INSIDE = 137
"""How a job ends whose shim was killed inside a container; the shim itself never ends so."""


@dataclass(frozen=True)
class Attempt:
    """One returned archive: which job and start it is of, and what its records say.

    came: when, in seconds since 1970, by the clock of the access point.
    """

    proc: int
    number: int
    returned: Returned
    came: float = 0.0


def supersedes(new: TaskState, old: TaskState | None) -> bool:
    """Whether what a round tells of a task counts, given what is known of it.

    A task's result is its first verified success; else its latest round tells.
    """
    if old is None or new.round == old.round:
        return True
    if old.state == SUCCEEDED:
        return False
    return new.state == SUCCEEDED or new.round > old.round


def task_state(
    index: int,
    job: JobState | None,
    attempts: Sequence[Attempt],
    *,
    round_: int = 1,
    removed: bool = False,
    vanished: bool = False,
    damaged: str = "",
) -> TaskState:
    """The state of a task as one round tells it.

    job: its job's, None when nothing is known of it; attempts: of this job, in order; removed: the
    cluster has left the queue, as its log says; vanished: neither the queue nor the history knows
    it; damaged: why the job's latest archive was not accepted.
    """
    if job is None:
        state = _without_job(index, attempts, removed, vanished)
    else:
        state = _task_state(index, job, attempts, damaged)
    state.round = round_
    return state


def _success(index: int, job: JobState | None, attempts: Sequence[Attempt]) -> TaskState | None:
    """A task's first verified success."""
    for attempt in attempts:
        record = attempt.returned.tasks.get(index)
        if index in attempt.returned.problems or _uncertain(attempt, job):
            continue
        if record and record.get("state") == SUCCEEDED and whole(record, "exit_code") == 0:
            return _from_record(SUCCEEDED, index, record, attempt, job, _starts(job, attempts))
    return None


def _starts(job: JobState | None, attempts: Sequence[Attempt]) -> int:
    return max(job.starts if job else 0, len(attempts))


def _without_job(
    index: int, attempts: Sequence[Attempt], removed: bool, vanished: bool
) -> TaskState:
    """The state of a task of whose job nothing is known."""
    if found := _success(index, None, attempts):
        return found
    latest = attempts[-1] if attempts else None
    if latest and (removed or vanished):  # its events are lost
        record = latest.returned.tasks.get(index, {})
        if record.get("state") == FAILED:
            return _from_record(FAILED, index, record, latest, None, len(attempts))
        return TaskState(index, "unknown", "gone", "the events of its job are lost")
    if removed:
        return TaskState(index, "removed", "its job had not come into the queue yet")
    if vanished:
        return TaskState(index, "unknown", "gone", _NOBODY_KNOWS)
    return TaskState(index, "waiting")


_NOBODY_KNOWS = "neither the queue nor the history of this access point knows its job"


def _task_state(index: int, job: JobState, attempts: Sequence[Attempt], damaged: str) -> TaskState:
    if found := _success(index, job, attempts):
        return found
    starts = _starts(job, attempts)
    if job.state == "gone":
        return TaskState(index, "unknown", "gone", _NOBODY_KNOWS, attempts=starts, job=job)
    if job.state != "completed":
        return TaskState(index, job.state, job.reason, attempts=starts, job=job)
    return _ended(index, job, attempts, starts, damaged)


def _uncertain(attempt: Attempt, job: JobState | None) -> bool:
    """Whether data that goes elsewhere may not have got there yet, or not at all.

    HTCondor holds a job whose data cannot be brought. (25.14 does not bring home the other archive
    then, either.)
    """
    if "data_sha256" not in attempt.returned.job or job is None:
        return False
    return _of_last_start(attempt, job) and job.state in (*ACTIVE, "held")


def _of_last_start(attempt: Attempt, job: JobState) -> bool:
    """Whether an archive is of the job's last start; they are counted from 0.

    A schedd that ends within seconds of a start forgets it in NumJobStarts (25.14), and the next
    archive has the same number: then the time tells when it came.
    """
    return attempt.number >= job.starts - 1 or attempt.came >= job.started > 0


def _ended(
    index: int, job: JobState, attempts: Sequence[Attempt], starts: int, damaged: str
) -> TaskState:
    """The state of a task that has not succeeded, and whose job has ended."""
    latest = attempts[-1] if attempts else None
    # The archive of the last start is the one that tells.
    last_came = latest is not None and _of_last_start(latest, job)
    record = latest.returned.tasks.get(index) if latest and last_came else None
    if latest and record and record.get("state") == FAILED:
        return _from_record(FAILED, index, record, latest, job, starts)
    if job.signal is not None:
        detail = f"the shim was killed by signal {job.signal}; what the task did is not known"
        return TaskState(
            index, FAILED, "shim-killed", detail, signal=job.signal, attempts=starts, job=job
        )
    finished = latest is not None and last_came and latest.returned.job.get("state") == "finished"
    if job.exit_code == KILLED_INSIDE and not finished:
        detail = "the shim was killed by signal 9 in its container; what the task did is not known"
        return TaskState(index, FAILED, "shim-killed", detail, signal=9, attempts=starts, job=job)
    if latest is None or not last_came:
        detail = damaged or "the job ended, but its archive did not come back"
        return TaskState(
            index,
            "unknown",
            "damaged" if damaged else "no-archive",
            detail,
            job.exit_code,
            attempts=starts,
            job=job,
        )
    problem = latest.returned.problems.get(index)
    job_record = latest.returned.job
    if problem is None and job_record.get("reason") not in (None, "", "ok"):
        return _from_record(FAILED, index, job_record, latest, job, starts)
    return TaskState(
        index,
        "unknown",
        _reason(problem),
        problem or damaged or "the job ended without a record of this task",
        job.exit_code,
        attempts=starts,
        job=job,
        job_record=job_record,
    )


def _reason(problem: str | None) -> str:
    """Why a record, or what came with it, does not count."""
    if problem is None:
        return "no-record"
    return "dropped" if problem == NOT_THERE else "damaged"


def _from_record(
    state: str,
    index: int,
    record: Mapping[str, str],
    attempt: Attempt,
    job: JobState | None,
    starts: int,
) -> TaskState:
    return TaskState(
        index=index,
        state=state,
        reason="" if state == SUCCEEDED else record.get("reason", ""),
        detail=record.get("detail", ""),
        # a shell's 128 + N is no exit code of the command
        exit_code=None if record.get("reason") == "signal" else whole(record, "exit_code"),
        signal=whole(record, "signal"),
        attempts=starts,
        job=job,
        archive=attempt.returned.path,
        attempt=attempt.number,
        record=record,
        job_record=attempt.returned.job,
    )

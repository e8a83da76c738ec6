"""Jobs' states and returned records to the states of tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from osgbatch.model import JobState, TaskState
from osgbatch.returned import Returned, whole

SUCCEEDED, FAILED = "succeeded", "failed"
KILLED_INSIDE = 137
"""How a job ends whose shim was killed inside a container; the shim itself never ends so."""


@dataclass(frozen=True)
class Attempt:
    """One returned archive: which job and start it is of, and what its records say."""

    proc: int
    number: int
    returned: Returned


@dataclass(frozen=True)
class RoundView:
    """All that is known of a round: the tasks of each proc, the jobs' states, what came back.

    submitted: False when no cluster is known; removed: the cluster has left the queue;
    damaged: why an archive of a proc was not accepted.
    """

    tasks: Sequence[Sequence[int]]
    jobs: Mapping[int, JobState]
    attempts: Sequence[Attempt]
    submitted: bool = True
    removed: bool = False
    damaged: Mapping[int, str] | None = None


def task_states(count: int, rounds: Iterable[RoundView]) -> list[TaskState]:
    """The state of every task: its first verified success, else what its latest round tells."""
    states = [TaskState(index, "waiting") for index in range(count)]
    for view in rounds:
        records: dict[int, list[Attempt]] = {}
        for attempt in sorted(view.attempts, key=lambda a: (a.proc, a.number)):
            records.setdefault(attempt.proc, []).append(attempt)
        for proc, indices in enumerate(view.tasks):
            job = view.jobs.get(proc)
            attempts = records.get(proc, [])
            for index in indices:
                if states[index].state != SUCCEEDED:
                    states[index] = _task_state(index, view, proc, job, attempts)
    return states


def _task_state(
    index: int, view: RoundView, proc: int, job: JobState | None, attempts: Sequence[Attempt]
) -> TaskState:
    starts = max(job.starts if job else 0, len(attempts))
    for attempt in attempts:
        record = attempt.returned.tasks.get(index)
        if index in attempt.returned.problems or _uncertain(attempt, job):
            continue
        if record and record.get("state") == SUCCEEDED and whole(record, "exit_code") == 0:
            return _from_record(SUCCEEDED, index, record, attempt, job, starts)
    if job is None:
        if view.removed:
            return TaskState(index, "removed", "removed before it was in the queue")
        reason = "" if view.submitted else "not submitted"
        return TaskState(index, "waiting", reason)
    if job.state in ("waiting", "running", "held", "removed"):
        return TaskState(index, job.state, job.reason, attempts=starts, job=job)
    return _ended(index, view, proc, job, attempts, starts)


def _uncertain(attempt: Attempt, job: JobState | None) -> bool:
    """Whether data that goes elsewhere may not have got there yet, or not at all.

    HTCondor holds a job whose data cannot be brought. (25.14 does not bring home the other archive
    then, either.)
    """
    if "data_sha256" not in attempt.returned.job or job is None:
        return False
    return attempt.number >= job.starts - 1 and job.state in ("running", "held")


def _ended(
    index: int,
    view: RoundView,
    proc: int,
    job: JobState,
    attempts: Sequence[Attempt],
    starts: int,
) -> TaskState:
    """The state of a task that has not succeeded, and whose job has ended."""
    latest = attempts[-1] if attempts else None
    # The archive of the last start is the one that tells; attempts are counted from 0.
    last_came = latest is not None and latest.number >= job.starts - 1
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
    damaged = (view.damaged or {}).get(proc, "")
    if latest is None or not last_came:
        detail = damaged or "the job ended, but its archive did not come back"
        return TaskState(
            index, "unknown", "no-archive", detail, job.exit_code, attempts=starts, job=job
        )
    problem = latest.returned.problems.get(index)
    job_record = latest.returned.job
    if problem is None and job_record.get("reason") not in (None, "", "ok"):
        return _from_record(FAILED, index, job_record, latest, job, starts)
    return TaskState(
        index,
        "unknown",
        "damaged" if problem else "no-record",
        problem or damaged or "the job ended without a record of this task",
        job.exit_code,
        attempts=starts,
        job=job,
        job_record=job_record,
    )


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
        record=record,
        job_record=attempt.returned.job,
    )

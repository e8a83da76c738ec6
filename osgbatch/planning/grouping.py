"""How many jobs run the tasks: `tasks_per_job`, `auto`, `--fit-pool`, and the arithmetic shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from osgbatch.spec_model import Profile
from osgbatch.texts import duration, size

AIM_S = 3600
"""Wall time in seconds that `tasks_per_job: auto` gives a job.

Long against what starting a job costs (minutes on a busy pool), short against the 10 h that the
OSPool calls ideal (reference 1.3), so that a job that is evicted loses little.
"""


@dataclass(frozen=True)
class Grouping:
    """The number of jobs, and the arithmetic that led to it, a line for each step."""

    jobs: int
    lines: tuple[str, ...]


def group(
    tasks: int,
    per_job: int,
    *,
    task_s: int,
    shared_bytes: int,
    task_bytes: int,
    profile: Profile,
    slots: int | None = None,
    average: bool = False,
) -> Grouping:
    """Decide how many jobs run the tasks; `Chunks(tasks, jobs)` then says which runs which.

    per_job: tasks per job as the spec has it, 0 for auto. task_s: seconds that a task may take, 0
    when not known; average: they differ, and it is their mean. shared_bytes: input that every job
    is brought once; task_bytes: input of one task, on average. slots: how many such jobs the pool
    could start now, when --fit-pool asked; it then decides in place of `tasks_per_job`, and 0
    leaves things as they are without it.
    Between 1 and `tasks` jobs whatever the numbers are; raises ValueError without a task.
    """
    if tasks < 1:
        raise ValueError("a sweep without a task has no jobs")
    lines: list[str] = []
    if slots is not None and profile.glideins:
        lines.append(f"--fit-pool is ignored: free slots of {profile.name} follow demand")
        slots = None
    elif slots is not None and slots < 1:
        lines.append("--fit-pool is ignored: no slot is free for such a job now")
        slots = None
    if per_job > 0 and slots is None:
        jobs = _divided(tasks, per_job)
        if per_job > 1:
            lines.append(f"{_of(tasks, 'task')}; tasks_per_job: {per_job:,}")
        return Grouping(jobs, (*lines, _sizes(tasks, jobs), *_too_many(jobs, profile)))
    most, reason = _by_time(tasks, task_s, profile, fitted=slots is not None, average=average)
    fits, limit = _by_input(tasks, shared_bytes, task_bytes, profile)
    if slots is not None and per_job > 1:
        lines.append(f"tasks_per_job: {per_job:,} gives way to --fit-pool")
    lines.append(f"{_of(tasks, 'task')}; {reason}")
    if fits < min(most, tasks):
        lines.append(limit)
    jobs = _divided(tasks, min(most, fits))
    if slots is not None:
        # More jobs than time and input ask for, so that they fill all slots; never fewer.
        jobs = min(tasks, _divided(jobs, slots) * slots)
        lines.append(_fit(jobs, slots))
    lines.append(_sizes(tasks, jobs))
    return Grouping(jobs, (*lines, *_too_many(jobs, profile)))


def _by_time(
    tasks: int, task_s: int, profile: Profile, *, fitted: bool, average: bool
) -> tuple[int, str]:
    """The most tasks that a job may have for its time, and the arithmetic.

    fitted: the slots will decide where the time is not known, else the size of the queue does.
    """
    one = duration(task_s) + " on average" * average
    if task_s > AIM_S:
        return 1, f"one takes {one}, over the {duration(AIM_S)} aimed at: 1 per job"
    if task_s > 0:
        most = AIM_S // task_s
        return most, f"{duration(AIM_S)} / {one} = {_of(most, 'task')} per job"
    unknown = "resources.time is not given"
    if fitted:
        return tasks, unknown
    most = _divided(tasks, profile.many_jobs) if profile.many_jobs > 0 else 1
    if most == 1:
        return most, f"{unknown}: 1 per job"
    return most, f"{unknown}: {most:,} per job keep the jobs within {profile.many_jobs:,}"


def _by_input(tasks: int, shared_bytes: int, task_bytes: int, profile: Profile) -> tuple[int, str]:
    """The most tasks that a job may have for its input, and the arithmetic.

    What is shared and over the limit by itself does not count here: more jobs would only move it
    more often. The tasks' own inputs are then held to the limit alone.
    """
    limit = profile.input_bytes
    if task_bytes <= 0 or limit <= 0:
        return tasks, ""
    shared = shared_bytes if 0 < shared_bytes < limit else 0
    room = limit - shared
    if task_bytes > room:
        return 1, f"input: {size(task_bytes)} for each task: 1 per job"
    most = room // task_bytes
    less = f"({size(limit)} - {size(shared)} shared)" if shared else size(limit)
    return most, f"input: {less} / {size(task_bytes)} = {_of(most, 'task')} per job"


def _fit(jobs: int, slots: int) -> str:
    free = f"--fit-pool: {_of(slots, 'slot')} free"
    if jobs % slots:
        return f"{free}, a job for every task"
    return f"{free}, {_of(jobs // slots, 'job')} for each"


def _sizes(tasks: int, jobs: int) -> str:
    """`84 jobs of 11 or 12 tasks`."""
    least, rest = divmod(tasks, jobs)
    if not rest:
        return f"{_of(jobs, 'job')} of {_of(least, 'task')}"
    return f"{_of(jobs, 'job')} of {least:,} or {_of(least + 1, 'task')}"


def _too_many(jobs: int, profile: Profile) -> Iterator[str]:
    if 0 < profile.many_jobs < jobs:
        yield f"over the {profile.many_jobs:,} jobs that may wait at a time: max_idle is used"


def _divided(count: int, by: int) -> int:
    """`count / by`, rounded up."""
    return -(-count // by)


def _of(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"

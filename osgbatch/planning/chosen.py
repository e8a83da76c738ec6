"""A plan for some of its tasks: a later round, or a canary. The table and the indices stay."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

from osgbatch.plan_model import InputFile, Plan
from osgbatch.planning.chunks import Chunks
from osgbatch.planning.demand import job_demand, row_resources
from osgbatch.planning.grouping import group

_CHUNK = 4096
"""Tasks whose inputs are looked up together."""


@dataclass(frozen=True)
class ChosenJobs(Sequence[Sequence[int]]):
    """The jobs of chosen tasks: chunks of them in order, sizes differing by at most one."""

    tasks: array[int]
    chunks: Chunks

    def __len__(self) -> int:
        return len(self.chunks)

    @overload
    def __getitem__(self, job: int) -> Sequence[int]: ...

    @overload
    def __getitem__(self, job: slice) -> Sequence[Sequence[int]]: ...

    def __getitem__(self, job: int | slice) -> Sequence[int] | Sequence[Sequence[int]]:
        if isinstance(job, slice):
            return [self[i] for i in range(*job.indices(len(self)))]
        places = self.chunks[job]
        return self.tasks[places[0] : places[-1] + 1]


def choose(plan: Plan, indices: Iterable[int]) -> Plan:
    """The plan with jobs for these tasks alone, each task as it was and under its own index.

    What goes through the stash is what did before, as far as these tasks need it, so that nothing
    is brought there twice. Raises ValueError for no task, or one that the sweep has not.
    """
    tasks = array("q", sorted(set(indices)))
    if not tasks or tasks[0] < 0 or tasks[-1] >= len(plan.table):
        raise ValueError(f"not tasks of this sweep: {list(tasks[:3])}")
    spec = plan.spec
    rows = row_resources(spec, plan.table)
    used = {(file.source, file.tree) for file in plan.tasks.shared}
    own_bytes = 0
    for files in _inputs(plan, tasks):
        used.update((file.source, file.tree) for file in files)
        own_bytes += _bytes(plan, files)
    task_s = spec.resources.time_s
    if "time" in rows:
        task_s = -(-sum(rows["time"][i] for i in tasks) // len(tasks))
    shared = _bytes(plan, plan.tasks.shared)
    grouping = group(
        len(tasks),
        spec.tasks_per_job,
        task_s=task_s,
        average="time" in rows,
        shared_bytes=shared,
        task_bytes=-(-own_bytes // len(tasks)),
        profile=spec.profile,
    )
    jobs = ChosenJobs(tasks, Chunks(len(tasks), grouping.jobs))
    demand, each = job_demand(spec.resources, rows, jobs)
    return replace(
        plan,
        jobs=jobs,
        demand=demand,
        each=each,
        grouping=grouping.lines,
        job_bytes=shared + _largest_job(plan, jobs),
        archived_inputs=tuple(f for f in plan.archived_inputs if (f.source, f.tree) in used),
        placed=tuple(item for item in plan.placed if (item.source, item.tree) in used),
        readers=plan.readers or len(plan.jobs),
    )


def _inputs(plan: Plan, tasks: Sequence[int]) -> Iterator[tuple[InputFile, ...]]:
    """What each of these tasks is brought of its own, neighbours together; none where none is."""
    if plan.tasks.inputs(0, 1) is None:
        return
    start = stop = tasks[0]
    for index in tasks:
        if index != stop or stop - start == _CHUNK:
            yield from plan.tasks.inputs(start, stop) or ()
            start = index
        stop = index + 1
    yield from plan.tasks.inputs(start, stop) or ()


def _bytes(plan: Plan, files: Iterable[InputFile]) -> int:
    """Bytes of those that travel as they are."""
    return sum(plan.sizes[f.source] for f in files if not (f.url or f.archived))


def _largest_job(plan: Plan, jobs: ChosenJobs) -> int:
    """The most bytes that a job is brought for its own tasks."""
    if plan.tasks.inputs(0, 1) is None:
        return 0
    rows = _inputs(plan, jobs.tasks)
    largest = 0
    for job in jobs:
        files = {(f.carried, f.url): f for _ in job for f in next(rows)}
        largest = max(largest, _bytes(plan, files.values()))
    return largest

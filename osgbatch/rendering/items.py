"""Resolved to `jobs.items`, a line for each job, and the file of rows where those are too long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from osgbatch.plan_model import InputFile, Resolved
from osgbatch.rendering.limits import execute_limit
from osgbatch.rendering.rows import MAX_ITEM_BYTES, RowWriter, encode_rows, encode_singly
from osgbatch.task_ranges import task_ranges

ROWS_FILE = "rows.items"
"""The name of the file of rows, in the payload folder and in the scratch folder."""
CHUNK = 4096
"""Tasks whose rows are in memory at a time."""

Jobs = Sequence[Sequence[int]]


class RowsTooLongError(Exception):
    """The rows of some job are too long for the item file: all must travel in a file of rows."""


def item_names(resolved: Resolved) -> tuple[str, ...]:
    """The names of the fields of a line of the item file.

    What of the resources differs between jobs stands after the rows; inputs come last, since there
    may be none.
    """
    names = ["tasks", "rows", *_varying(resolved)]
    if resolved.plan.tasks.inputs(0, 1) is not None:
        names.append("inputs")
    return tuple(names)


def item_lines(resolved: Resolved, *, rows_file: bool) -> Iterator[bytes]:
    """The lines of the item file, many at a time: fields separated by one blank.

    rows_file: the rows stand in the file of rows, and here a mark. Raises RowsTooLongError.
    """
    plan = resolved.plan
    varying = list(_varying(resolved).values())
    writer = RowWriter(plan.table, plan.tasks)
    first = 0
    for jobs in _batches(plan.jobs):
        last = first + len(jobs)
        columns: list[Iterable[object]] = [_tasks(jobs)]
        columns.append(["@"] * len(jobs) if rows_file else _short(_words(writer, jobs)))
        columns += [values[first:last] for values in varying]
        inputs = _inputs(resolved, jobs)
        if inputs is not None:
            columns.append(inputs)
        form = " ".join(["%s"] * len(columns)) + "\n"
        yield "".join(map(form.__mod__, zip(*columns, strict=True))).encode()
        first = last


def rows_lines(resolved: Resolved) -> Iterator[bytes]:
    """The lines of the file of rows: the tasks of a job, a blank, their rows as one word."""
    plan = resolved.plan
    writer = RowWriter(plan.table, plan.tasks)
    for jobs in _batches(plan.jobs):
        pairs = zip(_tasks(jobs), _words(writer, jobs), strict=True)
        yield "".join(map("%s %s\n".__mod__, pairs)).encode()


def _varying(resolved: Resolved) -> dict[str, Sequence[int]]:
    """What differs between jobs, by the name of its field."""
    each = vars(resolved.each)
    found = {name: values for name, values in each.items() if values and name != "time_s"}
    if resolved.each.time_s:
        spec = resolved.plan.spec
        found["execute_s"] = [
            execute_limit(seconds, len(tasks), spec)
            for seconds, tasks in zip(resolved.each.time_s, resolved.plan.jobs, strict=True)
        ]
    return found


def _batches(jobs: Jobs) -> Iterator[Jobs]:
    """The jobs in order, in batches of some thousand tasks."""
    left = iter(jobs)
    size = max(1, CHUNK // max(map(len, jobs)))
    while batch := list(islice(left, size)):
        yield batch


def _tasks(jobs: Jobs) -> Iterable[str]:
    """Which tasks each job runs."""
    if _single(jobs):
        return [str(task) for (task,) in jobs]
    return map(task_ranges, jobs)


def _single(jobs: Jobs) -> bool:
    """Whether each of these jobs runs one task."""
    return max(map(len, jobs)) == 1


def _short(words: list[str]) -> list[str]:
    if max(map(len, words)) > MAX_ITEM_BYTES:
        raise RowsTooLongError
    return words


def _words(writer: RowWriter, jobs: Jobs) -> list[str]:
    """The rows of each job as one word."""
    functions = [f for start, stop in _runs(jobs) for f in writer.functions(start, stop)]
    if _single(jobs):
        return encode_singly(functions)
    left = iter(functions)
    return [encode_rows("".join(islice(left, len(job)))) for job in jobs]


def _runs(jobs: Jobs) -> Iterator[tuple[int, int]]:
    """The tasks of these jobs in order, as ranges of neighbours."""
    if _single(jobs):
        first, last = jobs[0][0], jobs[-1][0] + 1
        if last - first == len(jobs) and [task for (task,) in jobs] == list(range(first, last)):
            yield first, last
            return
    start = stop = -1
    for job in jobs:
        for first, last in _neighbours(job):
            if first == stop:
                stop = last
                continue
            if stop > start:
                yield start, stop
            start, stop = first, last
    if stop > start:
        yield start, stop


def _neighbours(job: Sequence[int]) -> Iterable[tuple[int, int]]:
    if isinstance(job, range) and job.step == 1:
        return [(job.start, job.stop)]
    return [(task, task + 1) for task in job]


def _inputs(resolved: Resolved, jobs: Jobs) -> list[str] | None:
    """What HTCondor brings to each job beside the payload and what all are brought."""
    found: list[tuple[InputFile, ...]] = []
    for start, stop in _runs(jobs):
        rows = resolved.plan.tasks.inputs(start, stop)
        if rows is None:
            return None
        found += rows
    left = iter(found)
    return [
        ",".join(dict.fromkeys(f.transferred for _ in job for f in next(left) if not f.archived))
        for job in jobs
    ]

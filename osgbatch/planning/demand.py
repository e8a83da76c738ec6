"""What jobs ask for where it depends on their rows: `memory: {expr: "2 GB * n_cells"}`."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from osgbatch.errors import SpecError, SpecErrors
from osgbatch.expressions import ExpressionError, parse_expression
from osgbatch.plan_model import Demand
from osgbatch.spec_model import ResourceExpression, Resources, Spec
from osgbatch.tables import Table

_CHUNK = 4096
_KINDS = {"memory": "size", "disk": "size", "time": "time"}
_EXAMPLES = {"memory": "2 GB * n", "disk": "500 MB * n", "time": "10 min * n"}
_MOST = {
    "cpus": 4096, "gpus": 64, "memory": 1024**5, "disk": 1024**5, "time": 10 * 365 * 86400
}  # fmt: skip


def row_resources(spec: Spec, table: Table) -> dict[str, array[int]]:
    """What each task needs, for the resources that are given as an expression.

    Returns whole CPUs and GPUs, MiB of memory, KiB of disk and seconds, one for each task.
    Raises SpecErrors: an unknown column, a missing unit, a value that cannot be asked for.
    """
    errors: list[SpecError] = []
    found: dict[str, array[int]] = {}
    for source in spec.expressions:
        try:
            found[source.resource] = _evaluated(source, table)
        except SpecError as error:
            errors.append(error)
    if errors:
        raise SpecErrors(errors)
    return found


def _evaluated(source: ResourceExpression, table: Table) -> array[int]:
    columns = [column.name for column in table.columns]
    try:
        expression = parse_expression(source.text, columns, units=True)
        names = expression.names
        run = expression.compile(names)
    except ExpressionError as error:
        raise _fault(source, error) from None
    _check_unit(source, expression.units)
    take = _TAKEN[source.resource]
    values = array("q")
    for start in range(0, len(table), _CHUNK):
        stop = min(start + _CHUNK, len(table))
        read = [
            list(range(start, stop)) if name == "index" else table.values(name, start, stop)
            for name in names
        ]
        rows: Iterable[Sequence[Any]] = zip(*read, strict=True) if names else [()] * (stop - start)
        for index, row in enumerate(rows, start):
            try:
                value = run(row)
            except ExpressionError as error:
                raise _fault(source, error, f", for task {index}") from None
            values.append(take(_checked(source, value, index)))
    return values


def _check_unit(source: ResourceExpression, units: frozenset[str]) -> None:
    wanted = _KINDS.get(source.resource)
    if wanted is None and units:
        what = f"resources.{source.resource}: is a number, without a unit"
        raise SpecError(what, source.place)
    if wanted is not None and units != {wanted}:
        what = f"resources.{source.resource}: the expression needs a unit of {wanted}"
        fix = f'Write {{expr: "{_EXAMPLES[source.resource]}"}}: units are never guessed.'
        raise SpecError(what, source.place, fix=fix)


def _checked(source: ResourceExpression, value: Any, index: int) -> float:
    least = 0 if source.resource == "gpus" else 1
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    problem = ""
    if not good:
        problem = "which is no number"
    elif math.ceil(value) < least or value < 0:
        problem = f"and should be {'0 or more' if not least else 'more than 0'}"
    elif value > _MOST[source.resource]:
        problem = "which is more than any machine has"
    if problem:
        shown = _shown(source.resource, value) if good else repr(value)
        what = f"resources.{source.resource}: is {shown} for task {index}, {problem}"
        fix = "Write max(1, ...) for a least value." if "should be more" in problem else ""
        raise SpecError(what, source.place, fix=fix)
    return float(value)


def _shown(resource: str, value: float) -> str:
    """A value with its unit."""
    kind = _KINDS.get(resource)
    if kind == "size":
        unit, factor = ("GB", 1024**3) if abs(value) >= 1024**3 else ("MB", 1024**2)
        return f"{value / factor:,.6g} {unit}"
    return f"{value:,.6g} s" if kind == "time" else f"{value:,.6g}"


_TAKEN: dict[str, Callable[[float], int]] = {
    "cpus": math.ceil,
    "gpus": math.ceil,
    "memory": lambda size: math.ceil(size / 1024**2),
    "disk": lambda size: math.ceil(size / 1024),
    "time": math.ceil,
}


def _fault(source: ResourceExpression, error: ExpressionError, where: str = "") -> SpecError:
    place = source.inside(error.offset, error.width)
    return SpecError(f"resources.{source.resource}: {error.message}{where}", place, fix=error.fix)


def job_demand(
    wanted: Resources, rows: dict[str, array[int]], jobs: Sequence[Sequence[int]]
) -> tuple[Resources, Demand]:
    """What the jobs ask for: the largest that any asks for, and each one's where they differ.

    Memory, cpus and gpus of a job are the largest of its tasks', disk and time their sum.
    """
    most_tasks = max(map(len, jobs))
    disks = 1 if wanted.disk_of_job else most_tasks
    largest = replace(wanted, disk_kb=wanted.disk_kb * disks, time_s=wanted.time_s * most_tasks)
    if not rows:
        return largest, Demand()
    fields = {"cpus": "cpus", "gpus": "gpus", "memory": "memory_mb", "disk": "disk_kb",
              "time": "time_s"}  # fmt: skip
    each: dict[str, array[int]] = {}
    for name, values in rows.items():
        combine: Callable[[Iterable[int]], int] = sum if name in ("disk", "time") else max
        each[fields[name]] = array("q", (combine(_picked(values, tasks)) for tasks in jobs))
    # Where the tasks of a job are not equally many, the others' sums differ too; jobs of one
    # sweep differ by one task at most, and there the larger is asked for.
    most: dict[str, Any] = {name: max(values) for name, values in each.items()}
    return replace(largest, **most), Demand(**each)


def _picked(values: array[int], tasks: Sequence[int]) -> Iterable[int]:
    if isinstance(tasks, range) and tasks.step == 1:
        return values[tasks.start : tasks.stop]
    return (values[task] for task in tasks)

"""The report of a batch: its states, event logs and results, made into reporting.data."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.life import following
from osgbatch.life.following import Status, without_garbage_collection
from osgbatch.life.naming import in_commands
from osgbatch.model import TaskState
from osgbatch.reporting.data import CauseRow, Chart, Extreme, Grid, Metric, Report, Spread
from osgbatch.reporting.quantities import TEXTS, median, moment, value
from osgbatch.reporting.scene import clean, fitted
from osgbatch.reporting.shapes import by_name, chart, grid, is_number, plane, spread, varying
from osgbatch.reporting.sizing import LEAST
from osgbatch.reporting.words import listed
from osgbatch.results import reported_times
from osgbatch.results.reported_pictures import pictures_of
from osgbatch.results.reported_sizes import UNITS, Sizing, Used, sizing_of, used_by_tasks
from osgbatch.results.result_rows import ResultTable, result_table
from osgbatch.returned.codes import SHIM_CODES
from osgbatch.version import VERSION

MOST_CAUSES = 30
MOST_CHARTS = 24
METRICS = 12
EXTREMES = 8
SHOWN_PARAMETERS = 4
CELL = 60
FILLED = 1.5
"""Tasks lie all over a plane when they fill more cells than so many lines of it."""


def report_of(batch: Batch, *, pictures: bool = True) -> Report:
    """All that a report shows of a batch as it is now. Raises OsgbatchError."""
    with without_garbage_collection():
        return _report(batch, pictures)


def _report(batch: Batch, pictures: bool) -> Report:
    now = following.status(batch, all_tasks=True)
    now = now.with_states(list(now.states))  # gone through often: not made anew each time
    made = time.time()
    table = result_table(batch, now.states)
    columns = table.by_column()
    used = used_by_tasks(batch, now.states, columns)
    known = reported_times.Known(columns["cpus_requested"], used["run time"], places_of(columns))
    times = reported_times.times_of(batch, now.states, known, made)
    sizing = sizing_of(batch, now.states, columns, used, times.core_s)
    shown, left = pictures_of(batch, now.states) if pictures else ((), ())
    causes, suspects = _causes(batch, now)
    metrics = list(_metrics(table, columns, now.states, used))
    charts, fewer = _charts(table, columns, metrics)
    return Report(
        name=batch.name,
        id=batch.id,
        made=made,
        ended=now.ended,
        begin=times.begin,
        end=times.end,
        tasks=batch.tasks,
        counts=dict(now.counts),
        version=VERSION,
        facts=tuple(_facts(batch, now, times)),
        notes=tuple(filter(None, (now.stalled, *now.notes, *times.unread, *table.notes))),
        starts=times.starts,
        evictions=times.evictions,
        holds=times.holds,
        cost=times.cost,
        levels=times.levels,
        lanes=times.lanes,
        strips=times.strips,
        endings=times.endings,
        rate=times.rate,
        best_rate=times.best_rate,
        most_at_once=times.most_at_once,
        spreads=tuple(_spreads(now.states, used, sizing)),
        sized=sizing.found,
        resources=sizing.resources,
        ladder=sizing.ladder,
        cores=times.cores,
        causes=causes,
        suspects=suspects,
        places=times.places,
        place_kind=times.place_kind,
        extremes=tuple(_extremes(table, columns, now.states, used)),
        metrics=tuple(_summed_up(metrics)),
        charts=charts,
        pictures=shown,
        left_out=(*left, *fewer),
    )


def places_of(columns: Mapping[str, Sequence[Any]]) -> list[tuple[str, str]]:
    """Site and host of each task, where it ran last; empty where they are not known."""
    return [
        (site or "", (host or "").rpartition("@")[2])
        for site, host in zip(columns["site"], columns["host"], strict=True)
    ]


def sizing_report(batch: Batch) -> tuple[Sizing, Status]:
    """Only the right-sizing of a batch, and its status."""
    now = following.status(batch, all_tasks=True)
    now = now.with_states(list(now.states))
    table = result_table(batch, now.states, metrics=False)
    columns = table.by_column()
    used = used_by_tasks(batch, now.states, columns)
    known = reported_times.Known(columns["cpus_requested"], used["run time"], places_of(columns))
    times = reported_times.times_of(batch, now.states, known, time.time())
    found = sizing_of(batch, now.states, columns, used, times.core_s)
    return replace(found, cores=times.cores, cost=times.cost), now


def _facts(batch: Batch, now: Status, times: reported_times.Times) -> Iterator[tuple[str, str]]:
    """What identifies a batch, for the end of a report."""
    rounds = batch.rounds()
    submitted = [one for one in map(folders.read_submitted, rounds) if one]
    yield "batch", batch.folder.name
    yield "id", batch.id
    clusters = [f"{one.cluster}" for one in submitted if one.backend == "condor" and one.cluster]
    hosts = dict.fromkeys(one.host for one in submitted if one.host)
    if clusters:
        yield "HTCondor clusters" if len(clusters) > 1 else "HTCondor cluster", ", ".join(clusters)
    if hosts:
        yield "submitted from", ", ".join(hosts)
    if now.backend == "local":
        yield "ran with", "the local runner of osgbatch"
    if len(rounds) > 1:
        yield "rounds", f"{len(rounds)}"
    yield "jobs", f"{sum(one.jobs for one in rounds):,}"
    if times.begin:
        yield "first submission", moment(times.begin)
    if tags := batch.data.get("tags"):
        yield "tags", ", ".join(map(str, tags))
    environment = str(batch.data.get("environment") or "")
    if environment:
        yield "environment", environment


_SHIM_CODE = re.compile("shim code ([0-9]{3})")
_ROOM = 48
"""Characters of a heading that are read at a glance."""


def _named_code(code: str) -> str:
    """`required output missing (shim code 110)`: who reads a report need not know the shim."""
    known = SHIM_CODES.get(int(found[1])) if (found := _SHIM_CODE.fullmatch(code)) else None
    if known is None or len(known.cause) > _ROOM:
        return code
    words = re.sub("^(an?|the) ", "", known.cause).replace("output is missing", "output missing")
    return f"{words} ({code})"


def _causes(batch: Batch, now: Status) -> tuple[tuple[CauseRow, ...], tuple[str, ...]]:
    """Tasks that went wrong, by cause, and places that are to blame."""
    if not now.wrong:
        return (), ()
    from osgbatch.life.why import explain_wrong

    name = in_commands(batch)
    causes, suspects = explain_wrong(now, name, MOST_CAUSES)
    rows = tuple(
        CauseRow(
            state=cause.state,
            code=_named_code(cause.code),
            cause=cause.cause,
            count=len(cause.tasks),
            tasks=listed(cause.tasks),
            told=cause.told[:600],
            places=dict(cause.sites or cause.hosts),
            todo=cause.todo,
            commands=cause.commands,
            example=cause.example,
            stream=cause.stream,
            output=tuple(line[:400] for line in cause.output),
        )
        for cause in causes
    )
    told = tuple(
        f"At the {suspect.kind} {suspect.name} all {suspect.bad:,} tasks that came to an end went "
        f"wrong; elsewhere it was {suspect.elsewhere_bad:,} of {suspect.elsewhere:,}."
        for suspect in suspects
    )
    return rows, told


# --- figures --------------------------------------------------------------------------------------


def _spreads(states: Sequence[TaskState], used: Used, sizing: Sizing) -> Iterator[Spread]:
    """Run time, memory and disk over tasks, beside what was asked for."""
    asked = {"run time": "time"}
    limits = {one.name: one.asked for one in sizing.found}
    for name, kind in UNITS.items():
        good: list[float] = []
        bad: list[float] = []
        for state, number in zip(states, used[name], strict=True):
            if number is not None:
                (good if state.state == "succeeded" else bad).append(number)
        found = spread(name, kind, good, bad, limits.get(asked.get(name, name), 0.0))
        if found is not None:
            yield found


Values = list[float | None]
"""A number of each task, None where it has none."""


def _summed_up(metrics: Sequence[tuple[str, str, Values]]) -> Iterator[Metric]:
    """Each metric in three numbers."""
    for name, unit, values in metrics:
        known = sorted(number for number in values if number is not None)
        yield Metric(name, unit, len(known), known[0], median(known), known[-1])


def _charts(
    table: ResultTable,
    columns: Mapping[str, Sequence[Any]],
    metrics: Sequence[tuple[str, str, Values]],
) -> tuple[tuple[Chart | Grid, ...], tuple[str, ...]]:
    """Metrics over the parameters that vary; the values of tasks that succeeded only."""
    parameters = {name: columns[name] for name in table.parameters}
    numbers, others = varying(parameters)
    found: list[Chart | Grid | None] = []
    both = plane(*numbers, *(parameters[name] for name in numbers)) if len(numbers) == 2 else None
    if both is not None and both.filled > FILLED:
        found += (grid(name, unit, both, values) for name, unit, values in metrics)
    elif numbers:
        found += (
            chart(name, unit, x, parameters[x], values)
            for x in numbers
            for name, unit, values in metrics
        )
    elif others:
        found += (
            by_name(name, unit, others[0], parameters[others[0]], values)
            for name, unit, values in metrics
        )
    kept = [one for one in found if one is not None]
    fewer = (
        (f"{len(kept) - MOST_CHARTS:,} more pairs of a metric and a parameter are not drawn",)
        if len(kept) > MOST_CHARTS
        else ()
    )
    return tuple(kept[:MOST_CHARTS]), fewer


def _metrics(
    table: ResultTable,
    columns: Mapping[str, Sequence[Any]],
    states: Sequence[TaskState],
    used: Used,
) -> Iterator[tuple[str, str, Values]]:
    """Name, unit and values of what tasks told, then of what is known of them all."""
    good = [state.state == "succeeded" for state in states]
    told = 0
    for name in table.metrics:
        values = [
            float(number) if ok and is_number(number) else None
            for ok, number in zip(good, columns[name], strict=True)
        ]
        if told < METRICS and any(number is not None for number in values):
            told += 1
            yield name, "", values
    for name, unit in UNITS.items():
        told_of = [n if ok else None for ok, n in zip(good, used[name], strict=True)]
        if any(told_of):
            yield f"{name} (measured)" if name in table.metrics else name, unit, told_of


def _extremes(
    table: ResultTable,
    columns: Mapping[str, Sequence[Any]],
    states: Sequence[TaskState],
    used: Used,
) -> Iterator[Extreme]:
    """The slowest tasks and the largest, with what they were given."""
    numbers, others = varying({name: columns[name] for name in table.parameters})
    order = {name: i for i, name in enumerate(table.parameters)}
    shown = sorted([*numbers, *others], key=order.__getitem__)[:SHOWN_PARAMETERS]
    for title, name in (("The slowest", "run time"), ("The largest in memory", "memory"),
                        ("The largest on disk", "disk")):  # fmt: skip
        known = [(n, i) for i, n in enumerate(used[name]) if n is not None]
        known.sort(key=lambda pair: (-pair[0], pair[1]))
        if not known or known[0][0] <= 0:
            continue
        if UNITS[name] == "bytes" and known[0][0] < LEAST[name]:
            continue  # less than anybody asks for
        if len(known) > EXTREMES and known[0][0] < 1.02 * median(sorted(n for n, _ in known)):
            continue  # all are alike
        text = TEXTS[UNITS[name]]
        rows = tuple(
            (
                f"{states[i].index}",
                text(number),
                states[i].state,
                *(_cell(columns[parameter][i]) for parameter in shown),
                clean(str(columns["site"][i] or columns["host"][i] or "")),
            )
            for number, i in known[:EXTREMES]
        )
        yield Extreme(title, UNITS[name], ("task", name, "state", *shown, "where"), rows)


def _cell(content: object) -> str:
    """A parameter as a cell of a table, not too long."""
    if content is None:
        return ""
    text = value(float(content)) if isinstance(content, float) else str(content)
    return fitted(clean(text), CELL * 5.7, 10)

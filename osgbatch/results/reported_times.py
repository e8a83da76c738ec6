"""What the jobs of a batch did and when: what they cost, and what ran where."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from osgbatch.batches.folder import Batch
from osgbatch.batches.history import COMPLETED, EVICTED, HELD, OPEN, REMOVED, Start
from osgbatch.model import OPEN as OPEN_STATES
from osgbatch.model import TaskState
from osgbatch.reporting.data import Bar, Cost, Lane, PlaceRow, Stack
from osgbatch.reporting.quantities import duration
from osgbatch.reporting.shapes import averaged, per_span
from osgbatch.results.reported_jobs import JobRun, jobs_of
from osgbatch.returned import number
from osgbatch.task_ranges import task_list

LANES, BARS = 48, 1500
"""What ran is shown slot by slot while there are no more slots and starts."""
PLACES = 14
"""Places shown over time: those that held slots longest."""
STEPS_S = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400,
    172800, 604800,
)  # fmt: skip
ENDINGS = 60
ANYWHERE = "not known"


@dataclass
class Times:
    """All that is worked out from the jobs; see reporting.data."""

    begin: float = 0.0
    end: float = 0.0
    starts: int = 0
    evictions: int = 0
    holds: int = 0
    cost: Cost = field(default_factory=Cost)
    levels: Stack | None = None
    lanes: tuple[Lane, ...] = ()
    strips: Stack | None = None
    endings: Stack | None = None
    places: tuple[PlaceRow, ...] = ()
    place_kind: str = "site"
    rate: float = 0.0
    best_rate: float = 0.0
    most_at_once: int = 0
    core_s: Mapping[int, float] = field(default_factory=dict)
    cores: tuple[int, float] | None = None
    unread: tuple[str, ...] = ()


class Known(NamedTuple):
    """Of each task: what its job asked for, how long it took (s), its site and host."""

    cpus: Sequence[int | None]
    took: Sequence[float | None]
    places: Sequence[tuple[str, str]]


def times_of(batch: Batch, states: Sequence[TaskState], known: Known, now: float) -> Times:
    """What the jobs of a batch did. states, known: of all tasks; now: s since 1970."""
    jobs, unread = jobs_of(batch, states)
    found = Times(unread=unread)
    moments = [(job.submitted or (job.starts[0].begin if job.starts else 0.0)) for job in jobs]
    found.begin = min(filter(None, moments), default=now)
    open_ = any(state.state in OPEN_STATES for state in states)
    ended = [start.end for job in jobs for start in job.starts] + [
        moment for job in jobs for hold in job.holds for moment in hold
    ]
    found.end = now if open_ or not any(ended) else max(ended)
    found.end = max(found.end, found.begin + 1.0)
    sites = _sites(states, known.places)
    found.place_kind = "site" if any(site for site, _ in sites.values()) else "host"
    _count(found, jobs, states, known, sites)
    # What came of the last tasks is to be seen, too.
    until = found.end if open_ else found.end + max(1.0, 0.02 * (found.end - found.begin))
    later: dict[int, float] = {}
    spells: list[tuple[str, float, float, float]] = []
    for job in reversed(jobs):
        spells += _spells(job, states, later, until)
        for task in job.tasks:
            later[task] = min(later.get(task, until), job.submitted or until)
    spells += _without_jobs(states, later, found.begin, until)
    found.levels = averaged(spells, found.begin, until)
    _endings(found, jobs, states)
    _where(found, jobs, states, sites)
    return found


# --- what it cost ---------------------------------------------------------------------------------


def _count(
    found: Times,
    jobs: Iterable[JobRun],
    states: Sequence[TaskState],
    known: Known,
    sites: Mapping[str, tuple[str, str]],
) -> None:
    """Core seconds by what became of them and by place; starts, evictions and holds."""
    cost: defaultdict[str, float] = defaultdict(float)
    by_place: defaultdict[str, float] = defaultdict(float)
    core_s: dict[int, float] = {}
    changes: list[tuple[float, int]] = []
    busy: list[float] = []
    asked = 1
    for job in jobs:
        cores = (known.cpus[job.tasks[0]] if job.tasks else None) or 1
        found.holds += len(job.holds)
        for start in job.starts:
            found.starts += 1
            found.evictions += start.how == EVICTED
            end = start.end or max(found.end, start.begin)
            held = (end - start.begin) * cores
            by_place[_place(start.slot, sites)] += held
            changes += ((start.begin, 1), (end, -1))
            for task in job.tasks:
                core_s[task] = core_s.get(task, 0.0) + (end - start.begin) / len(job.tasks)
            if start.how == COMPLETED:
                for kind, share in _shares(job, start, states, known.took).items():
                    cost[kind] += held * share
                if start.cores >= 0:
                    busy.append(start.cores)
                    asked = max(asked, cores)
            else:
                cost[start.how] += held
    found.cost = Cost(**{kind: seconds for kind, seconds in cost.items() if seconds > 0})
    found.core_s = core_s
    found.cores = (asked, max(busy)) if busy else None
    at_once = 0
    for _, by in sorted(changes):
        at_once += by
        found.most_at_once = max(found.most_at_once, at_once)
    bad, all_ = _ended_at(states, known.places)
    found.places = tuple(
        PlaceRow(place, all_[place], bad[place], by_place[place])
        for place in sorted({*all_, *by_place}, key=lambda p: (-bad[p], -all_[p], -by_place[p], p))
    )


def _shares(
    job: JobRun, start: Start, states: Sequence[TaskState], took: Sequence[float | None]
) -> dict[str, float]:
    """Of a start that came to its end, what part went into what."""
    took_s: defaultdict[str, float] = defaultdict(float)
    again: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for task in job.tasks:
        kind = _KINDS[came_of(job, start, states[task])]
        ends[kind] += 1
        if states[task].round == job.round:
            took_s[kind] += took[task] or 0.0
        else:
            again[kind] += 1
    if not ends["good"]:
        return {kind: many / len(job.tasks) for kind, many in ends.items()} or {"failed": 1.0}
    span, whole = start.end - start.begin, sum(took_s.values())
    if whole >= span or not span:  # clocks differ, and events tell whole seconds
        return {kind: s / whole for kind, s in took_s.items()} if whole else {"good": 1.0}
    rest = 1 - whole / span
    found = {kind: took_s[kind] / span + rest * again[kind] / len(job.tasks) for kind in ends}
    found["overhead"] = 1 - sum(found.values())
    return found


_KINDS = {"succeeded": "good", "unknown": "lost", "failed": "failed"}
"""What cores were held for, by what came of a task."""


def came_of(job: JobRun, start: Start, state: TaskState) -> str:
    """What came of a task in a start that came to its end: succeeded, failed, or unknown.

    unknown: its results were lost. state: what is known of the task now, by its last round. A job
    returns 0 only when all its tasks have succeeded; that one of them ran in another round all the
    same means that what it made had not come back whole.
    """
    if state.round == job.round:
        return state.state if state.state in ("succeeded", "unknown") else "failed"
    return "unknown" if start.code == 0 else "failed"


def _ended_at(
    states: Sequence[TaskState], places: Sequence[tuple[str, str]]
) -> tuple[Counter[str], Counter[str]]:
    """Of each place how many tasks went wrong there, and how many ended there at all."""
    bad: Counter[str] = Counter()
    all_: Counter[str] = Counter()
    for state, (site, host) in zip(states, places, strict=True):
        place = site or host
        if place and state.round and state.state in ("succeeded", "failed", "unknown", "held"):
            all_[place] += 1
            bad[place] += state.state != "succeeded"
    return bad, all_


def _sites(
    states: Sequence[TaskState], places: Sequence[tuple[str, str]]
) -> dict[str, tuple[str, str]]:
    """The site, and the name that it calls itself, of each host that slots name."""
    found: dict[str, tuple[str, str]] = {}
    for state, place in zip(states, places, strict=True):
        host = state.job.host.rpartition("@")[2] if state.job is not None else ""
        if host and (place[0] or host not in found):
            found[host] = place
    return found


def _place(slot: str, sites: Mapping[str, tuple[str, str]]) -> str:
    host = slot.rpartition("@")[2]
    site, name = sites.get(host, ("", ""))
    return site or name or host or ANYWHERE


# --- the states of tasks over time ----------------------------------------------------------------


def _spells(
    job: JobRun, states: Sequence[TaskState], later: Mapping[int, float], end: float
) -> Iterator[tuple[str, float, float, float]]:
    """From when to when how many of a job's tasks were in which state."""
    many = float(len(job.tasks))
    cursor = job.submitted or (job.starts[0].begin if job.starts else end)
    for start in job.starts:
        yield from _idle(job, cursor, start.begin, many)
        last = start.end or end
        if start.run:
            if start.begin < start.run:
                yield "transferring input", start.begin, start.run, many
            stop = min(start.output, last) if start.output >= start.run else last
            yield "running", start.run, stop, many
            if stop < last:
                yield "transferring output", stop, last, many
        else:
            yield "transferring input", start.begin, last, many
        cursor = last
    if job.starts and job.starts[-1].how == OPEN:
        return
    over = bool(job.starts) and job.starts[-1].how in (COMPLETED, REMOVED)
    for task in job.tasks:
        stop = later.get(task, end)
        if states[task].round == job.round:
            state = states[task].state
        elif states[task].state == "succeeded" and states[task].round < job.round:
            state = "succeeded"
        elif over and job.starts[-1].how == COMPLETED:
            state = came_of(job, job.starts[-1], states[task])
        else:
            state = "failed" if over else "removed"
        if state in OPEN_STATES or state == "held":
            yield from _idle(job, cursor, stop, 1.0)
        elif cursor < stop:
            yield state, cursor, stop, 1.0


def _idle(
    job: JobRun, first: float, last: float, many: float
) -> Iterator[tuple[str, float, float, float]]:
    """Between two starts: on hold, else waiting."""
    for hold in job.holds:
        begin, end = max(first, hold.begin), min(last, hold.end or last)
        if begin < end:
            if first < begin:
                yield "waiting", first, begin, many
            yield "held", begin, end, many
            first = end
    if first < last:
        yield "waiting", first, last, many


def _without_jobs(
    states: Sequence[TaskState], later: Mapping[int, float], begin: float, end: float
) -> Iterator[tuple[str, float, float, float]]:
    """Tasks until the first of their jobs, or of which no job is known."""
    known: Counter[str] = Counter()
    for state in states:
        first = later.get(state.index)
        if first is None:
            known[state.state] += 1
        elif first > begin:
            yield "waiting", begin, first, 1.0
    for kind, many in known.items():
        yield kind, begin, end, float(many)


# --- how fast, and where --------------------------------------------------------------------------


def _endings(found: Times, jobs: Iterable[JobRun], states: Sequence[TaskState]) -> None:
    """How many tasks ended when."""
    events: list[tuple[float, str]] = []
    first_start = found.end
    for job in jobs:
        if job.starts:
            first_start = min(first_start, job.starts[0].begin)
        for start in job.starts:
            if start.how not in (COMPLETED, HELD, REMOVED) or not start.end:
                continue
            for task in job.tasks:
                state = states[task]
                if start.how != COMPLETED:
                    if state.round == job.round and start is job.starts[-1]:
                        events.append((start.end, "failed"))
                    continue
                kind = came_of(job, start, state)
                if state.round != job.round:
                    events.append((start.end, kind))
                    continue
                when = number(state.record, "end") if len(job.tasks) > 1 else None
                when = min(max(when, start.begin), start.end) if when else start.end
                events.append((when, kind))
    if not events:
        return
    span = found.end - found.begin
    step = next((s for s in STEPS_S if span / s <= ENDINGS), span / ENDINGS)
    spans = int(span // step) + 1  # what ended last has a span of its own, when it begins one
    found.endings = per_span(events, found.begin, found.begin + spans * step, spans)
    last = max(when for when, _ in events)
    good = sum(kind == "succeeded" for _, kind in events)
    numbers = found.endings.counts.get("succeeded", ())
    found.best_rate = max(numbers, default=0.0) / found.endings.step
    # Events tell whole seconds: of a batch that took few, the mean would be more than the best.
    found.rate = min(good / max(1.0, last - first_start), found.best_rate)


def _where(
    found: Times,
    jobs: Sequence[JobRun],
    states: Sequence[TaskState],
    sites: Mapping[str, tuple[str, str]],
) -> None:
    """What ran slot by slot; where that is too much, how many at which place."""
    slots = {start.slot for job in jobs for start in job.starts}
    if found.starts and found.starts <= BARS and len(slots) <= LANES:
        bars: dict[str, list[Bar]] = {}
        for job in jobs:
            for start in job.starts:
                name = start.slot or "no slot"
                bars.setdefault(name, []).append(_bar(job, start, states, found.end))
        found.lanes = tuple(
            Lane(_short(name, bars), tuple(bars[name])) for name in sorted(bars, key=_natural)
        )
        return
    totals: Counter[str] = Counter()
    spells = []
    for job in jobs:
        for start in job.starts:
            place = _place(start.slot, sites)
            end = start.end or found.end
            totals[place] += int(1000 * (end - start.begin)) + 1
            spells.append((place, start.begin, end, 1.0))
    if not spells:
        return
    shown = [place for place, _ in totals.most_common(PLACES)]
    kept = set(shown)
    made = averaged((s for s in spells if s[0] in kept), found.begin, found.end)
    found.strips = Stack(made.begin, made.step, {place: made.counts[place] for place in shown})


def _short(name: str, others: Iterable[str]) -> str:
    """A slot without its host, where all are of one."""
    hosts = {other.rpartition("@")[2] for other in others if "@" in other}
    return name.rpartition("@")[0] if len(hosts) == 1 and "@" in name else name


def _natural(name: str) -> list[tuple[int, str]]:
    """slot1_9 comes before slot1_10; hosts stay together."""
    slot, _, host = name.rpartition("@")
    parts = re.findall(r"\d+|\D+", f"{host} {slot}")
    return [(int(p), "") if p.isdecimal() and len(p) < 19 else (0, p) for p in parts]


def _bar(job: JobRun, start: Start, states: Sequence[TaskState], end: float) -> Bar:
    kind = {EVICTED: "evicted", HELD: "held", REMOVED: "removed", OPEN: "running"}.get(
        start.how, ""
    )
    if not kind:
        came = {came_of(job, start, states[task]) for task in job.tasks}
        kind = next((k for k in ("failed", "unknown", "succeeded") if k in came), "failed")
    last = start.end or end
    which = f"task{'s' * (len(job.tasks) != 1)} {task_list(list(job.tasks))}"
    told = "results lost" if kind == "unknown" else kind
    tip = f"{which}: {told}, {duration(last - start.begin)}"
    return Bar(start.begin, start.run, start.output, last, kind, tip)

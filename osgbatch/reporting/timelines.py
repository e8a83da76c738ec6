"""Figures over time: the states of tasks, what ran where, how many ended; and what it cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from osgbatch.reporting.data import COSTS, STATES, Cost, Lane, Report, Stack
from osgbatch.reporting.frame import SMALL, Frame, framed, key, key_rows, marks
from osgbatch.reporting.quantities import (
    Axis,
    core_time,
    count,
    counted,
    of_times,
    percents,
)
from osgbatch.reporting.scene import STATE_INKS, Box, Drawing, clean, fitted, text_width

SINCE = "time since submission"
STATE_WORDS = {"unknown": "results lost (unknown)"}
"""How figures name a state, where the word itself says too little."""
COST_WORDS = {
    "good": "tasks that succeeded",
    "overhead": "bringing and unpacking for them",
    "failed": "tasks that failed",
    "lost": "tasks whose results were lost",
    "evicted": "starts that were evicted",
    "held": "starts that ended on hold",
    "removed": "starts that were removed",
    "open": "starts that still run",
}


def states_bar(counts: Mapping[str, int], width: float) -> Drawing:
    """All tasks as one bar, by state, with their numbers."""
    shown = [(state, counts[state]) for state in STATES if counts.get(state)]
    entries = [(STATE_INKS[state], f"{number:,} {_worded(state)}") for state, number in shown]
    height = 24 + 18.0 * key_rows(width, entries)
    told = ", ".join(text for _, text in entries)
    drawing = Drawing(width, height, f"Tasks by state: {told}")
    _bar(drawing, 0, [(STATE_INKS[state], number) for state, number in shown], 14)
    key(drawing, 24, entries)
    return drawing


def _worded(state: str) -> str:
    return STATE_WORDS.get(state, state)


def _bar(drawing: Drawing, top: float, parts: Sequence[tuple[str, float]], high: float) -> None:
    """One bar in parts; the smallest part can be seen, too."""
    total = sum(number for _, number in parts) or 1.0
    least = 3.0
    small = sum(1 for _, number in parts if number / total * drawing.width < least)
    rest = drawing.width - small * least - 1.5 * (len(parts) - 1)
    big = sum(n for _, n in parts if n / total * drawing.width >= least) or 1.0
    x = 0.0
    for ink, number in parts:
        is_small = number / total * drawing.width < least
        wide = least if is_small else number / big * rest
        drawing.boxes([(x, top, wide, high)], ink)
        x += wide + 1.5


def cost_bar(cost: Cost, width: float) -> Drawing:
    """Core hours by what became of them."""
    parts = [(name, cost.of(name)) for name in COSTS if cost.of(name) > 0]
    shares = percents([n for _, n in parts])
    entries = [
        (STATE_INKS[name], f"{COST_WORDS[name]}: {core_time(n, '')} ({share})")
        for (name, n), share in zip(parts, shares, strict=True)
    ]
    height = 24 + 18.0 * key_rows(width, entries)
    told = "; ".join(text for _, text in entries)
    drawing = Drawing(width, height, f"What cores were held for: {told}")
    _bar(drawing, 0, [(STATE_INKS[name], n) for name, n in parts], 14)
    key(drawing, 24, entries)
    return drawing


def levels(stack: Stack, width: float) -> Drawing:
    """How many tasks were in which state, over time."""
    kinds = [s for s in STATES if any(n > 0.005 for n in stack.counts.get(s, ()))]
    entries = [(STATE_INKS[k], _worded(k)) for k in kinds if k != "transferring output"]
    top = 18.0 * key_rows(width, entries) + 4
    drawing = Drawing(width, top + 210, "Tasks in each state over time")
    key(drawing, 0, [(ink, text.replace(" input", "")) for ink, text in entries])
    most = max((stack.total(i) for i in range(stack.spans)), default=1.0)
    across = of_times(0, stack.step * stack.spans, 8 if width > 500 else 4)
    frame = framed(drawing, across, _flat(counted(most)), top=top, name=SINCE, above="tasks")
    below = [0.0] * stack.spans
    for kind in kinds:
        numbers = stack.counts[kind]
        over = [low + number for low, number in zip(below, numbers, strict=True)]
        drawing.area(_steps(frame, stack, over, below), STATE_INKS[kind])
        below = over
    return drawing


ACTIVE = ("transferring output", "suspended", "running", "transferring input")
_FEW = 0.15


def few_active(stack: Stack, tasks: int) -> bool:
    """Whether those under way are too few of all to be seen among them."""
    most = max((sum(stack.counts[k][i] for k in ACTIVE if k in stack.counts)
                for i in range(stack.spans)), default=0.0)  # fmt: skip
    return 0 < most < _FEW * tasks


def active(stack: Stack, width: float) -> Drawing:
    """How many tasks were under way, over time, on a scale of their own."""
    kept = {kind: stack.counts[kind] for kind in ACTIVE if kind in stack.counts}
    return levels(Stack(stack.begin, stack.step, kept), width)


def _flat(axis: Axis) -> Axis:
    """The same axis up to its highest number, with that one as a mark where there is room."""
    high = axis.high
    kept = [m for m in axis.marks if m[0] < 0.9 * high]
    return Axis(axis.low, high, (*kept, (high, count(high))), axis.unit)


def _steps(
    frame: Frame, stack: Stack, over: Sequence[float], below: Sequence[float]
) -> list[tuple[float, float]]:
    """The outline of a band of steps; equal steps are one."""
    outline: list[tuple[float, float]] = []
    for numbers, spans in ((over, range(stack.spans)), (below, range(stack.spans - 1, -1, -1))):
        forward = spans.step > 0
        for i in spans:
            y = frame.y(numbers[i])
            first, last = frame.x(i * stack.step), frame.x((i + 1) * stack.step)
            ends = (first, last) if forward else (last, first)
            if outline and abs(outline[-1][1] - y) < 0.05 and i not in (spans[0], spans[-1]):
                outline[-1] = (ends[1], outline[-1][1])
            else:
                outline += [(ends[0], y), (ends[1], y)]
    return outline


LANE = 15.0


def lanes(found: Sequence[Lane], begin: float, end: float, width: float) -> Drawing:
    """What ran in which slot: one bar for each start of a job."""
    kinds = {bar.state for lane in found for bar in lane.bars}
    entries = [(STATE_INKS[s], _worded(s)) for s in STATES if s in kinds]
    if "evicted" in kinds:
        entries.append((STATE_INKS["evicted"], "evicted"))
    bars = [bar for lane in found for bar in lane.bars]
    if any(bar.run > bar.begin or 0 < bar.output < bar.end or not bar.run for bar in bars):
        entries.append(("move", "transferring"))
    top = 18.0 * key_rows(width, entries) + 6
    height = top + LANE * len(found) + 40
    drawing = Drawing(width, height, "What ran in which slot, over time")
    key(drawing, 0, entries)
    longest = max((text_width(clean(lane.name), SMALL) for lane in found), default=0.0)
    left = min(longest + 10, width * 0.32)
    across = of_times(0, end - begin, 8 if width > 500 else 4)
    frame = Frame(left, top, width - 12, height - 38, across, counted(1))
    for i, lane in enumerate(found):
        y = top + LANE * i
        drawing.boxes([(left, y, frame.right - left, LANE - 2)], "band")
        drawing.text(left - 6, y + 10, fitted(lane.name, left - 8, SMALL), "soft", "end", SMALL)
        for bar in lane.bars:
            _start(drawing, frame, y, bar.begin - begin, bar.run - begin if bar.run else None,
                   bar.output - begin if bar.output else None, bar.end - begin,
                   STATE_INKS[bar.state], bar.tip)  # fmt: skip
    drawing.line([(left, frame.bottom), (frame.right, frame.bottom)], "soft")
    marks(drawing, frame, SINCE)
    return drawing


def _start(
    drawing: Drawing,
    frame: Frame,
    y: float,
    begin: float,
    run: float | None,
    output: float | None,
    end: float,
    ink: str,
    tip: str,
) -> None:
    """One bar: bringing in, running, bringing home."""
    first, last = frame.x(begin), frame.x(end)
    high = LANE - 4
    wide = max(last - first, 1.5)
    if run is None:
        drawing.boxes([(first, y + 1, wide, high)], "move")
        drawing.boxes([(first + wide - 1.5, y + 1, 1.5, high)], ink, tip)
        return
    drawing.boxes([(first, y + 1, frame.x(run) - first, high)], "move")
    stop = frame.x(output) if output is not None and output > run else last
    gap = 0.6 if stop - frame.x(run) > 3 else 0.0  # neighbours are told apart
    drawing.boxes([(frame.x(run), y + 1, max(stop - frame.x(run) - gap, 1.5), high)], ink, tip)
    if output is not None:
        drawing.boxes([(stop, y + 1, last - stop - gap, high)], "move")


STRIP = 20.0
SHADES = 12


def strips(stack: Stack, width: float) -> Drawing:
    """How many jobs ran at each place over time: darker is more."""
    names = list(stack.counts)
    most = max((max(numbers, default=0.0) for numbers in stack.counts.values()), default=0.0) or 1.0
    height = STRIP * len(names) + 46
    drawing = Drawing(width, height, "How many jobs ran at each place, over time")
    longest = max((text_width(clean(name), SMALL) for name in names), default=0.0)
    left = min(longest + 10, width * 0.36)
    right = width - 92
    frame = Frame(left, 6, right, height - 38, of_times(0, stack.step * stack.spans,
                  7 if width > 500 else 3), counted(1))  # fmt: skip
    for i, name in enumerate(names):
        y = 6 + STRIP * i
        drawing.text(left - 6, y + 13, fitted(name, left - 8, SMALL), "ink", "end", SMALL)
        drawing.boxes([(left, y, right - left, STRIP - 3)], "band")
        numbers = stack.counts[name]
        peak = max(numbers, default=0.0)
        _profile(drawing, frame, y, numbers, peak, most, stack.step)
        told = f"at most {count(math.ceil(peak - 1e-6))}"
        drawing.text(right + 6, y + 13, told, "soft", size=SMALL)
    drawing.line([(left, frame.bottom), (right, frame.bottom)], "soft")
    marks(drawing, frame, SINCE)
    return drawing


def _profile(
    drawing: Drawing,
    frame: Frame,
    y: float,
    numbers: Sequence[float],
    peak: float,
    most: float,
    step: float,
) -> None:
    """One place: how high the bars are tells its own course, on one scale for all places."""
    boxes: list[Box] = []
    for i, number in enumerate(numbers):
        if number <= 0:
            continue
        high = max(1.0, number / most * (STRIP - 3))
        first, last = frame.x(i * step), frame.x((i + 1) * step)
        if boxes and boxes[-1][3] == high and abs(boxes[-1][0] + boxes[-1][2] - first) < 0.01:
            x, top, wide, _ = boxes[-1]
            boxes[-1] = (x, top, wide + last - first, high)
        else:
            boxes.append((first, y + STRIP - 3 - high, last - first, high))
    drawing.boxes(boxes, "ok")


def endings(stack: Stack, width: float) -> Drawing:
    """How many tasks ended in each span of time."""
    kinds = [k for k in ("succeeded", "failed", "unknown") if any(stack.counts.get(k, ()))]
    words = {**STATE_WORDS, "failed": "did not succeed"}
    entries = [(STATE_INKS[kind], words.get(kind, kind)) for kind in kinds]
    top = 18.0 * key_rows(width, entries) + 4 if kinds != ["succeeded"] else 0.0
    drawing = Drawing(width, top + 170, "Tasks that ended, over time")
    if top:
        key(drawing, 0, entries)
    most = max((stack.total(i) for i in range(stack.spans)), default=1.0)
    across = of_times(0, stack.step * stack.spans, 8 if width > 500 else 4)
    each = _span_text(stack.step)
    frame = framed(
        drawing, across, counted(most, 3), top=top, name=SINCE, above=f"tasks ended {each}"
    )
    below = [0.0] * stack.spans
    gap = 1.0 if (frame.right - frame.left) / stack.spans > 4 else 0.0
    for kind in kinds:
        numbers = stack.counts[kind]
        boxes: list[Box] = []
        for i, number in enumerate(numbers):
            high = frame.y(below[i]) - frame.y(below[i] + number)
            x = frame.x(i * stack.step)
            wide = frame.x((i + 1) * stack.step) - x - gap
            boxes.append((x, frame.y(below[i] + number), wide, high))
            below[i] += number
        drawing.boxes(boxes, STATE_INKS[kind])
    return drawing


def _span_text(step: float) -> str:
    for length, unit, word in (
        (86400, "days", "day"), (3600, "hours", "hour"), (60, "minutes", "minute"),
        (1, "seconds", "second"),
    ):  # fmt: skip
        if step >= length:
            number = step / length
            return f"each {word}" if number == 1 else f"every {number:g} {unit}"
    return f"every {step:.2g} seconds"


def figures(report: Report) -> dict[str, Callable[[float], Drawing]]:
    """The figures that a report has, by name, each to be drawn as wide as is wanted."""
    found: dict[str, Callable[[float], Drawing]] = {"states": partial(states_bar, report.counts)}
    if report.levels:
        found["levels"] = partial(levels, report.levels)
        if not report.lanes and few_active(report.levels, report.tasks):
            found["active"] = partial(active, report.levels)
    if report.endings:
        found["endings"] = partial(endings, report.endings)
    if report.cost.total:
        found["cost"] = partial(cost_bar, report.cost)
    if report.lanes:
        found["lanes"] = partial(lanes, report.lanes, report.begin, report.end)
    if report.strips:
        found["strips"] = partial(strips, report.strips)
    return found

"""Figures of distributions, and of metrics over parameters."""

from __future__ import annotations

from collections.abc import Sequence

from osgbatch.reporting.data import Chart, Grid, Spread
from osgbatch.reporting.frame import SMALL, Frame, framed, key, key_rows
from osgbatch.reporting.quantities import (
    AXES,
    TEXTS,
    Axis,
    count,
    counted,
    linear,
    logarithmic,
    value,
)
from osgbatch.reporting.scene import STEPS, Box, Drawing, clean, fitted, ramp, text_width
from osgbatch.reporting.shapes import is_wide


def spread(found: Spread, width: float) -> Drawing:
    """How a number is distributed over tasks, and what was asked for."""
    text = TEXTS[found.unit]
    entries = [("ok", "succeeded"), ("bad", "did not")] if any(found.bad) else []
    top = 18.0 * bool(entries)
    drawing = Drawing(width, top + 196, f"{found.name} of {count(found.measured)} tasks")
    span = found.edges[-1] - found.edges[0]
    near = 0 < found.asked <= found.edges[-1] + 0.6 * span
    low, high = found.edges[0], found.edges[-1]
    if near:
        high = max(high, found.asked + 0.02 * span)
    across = AXES[found.unit](low, high, 5)
    most = max(a + b for a, b in zip(found.good, found.bad, strict=True))
    key(drawing, 22, entries)
    name, above = found.name, "tasks"
    frame = framed(drawing, across, counted(most, 3), top=top + 34, name=name, above=above)
    below = [0.0] * len(found.good)
    for numbers, ink in ((found.good, "ok"), (found.bad, "bad")):
        boxes: list[Box] = []
        for i, number in enumerate(numbers):
            x, next_x = frame.x(found.edges[i]), frame.x(found.edges[i + 1])
            high_y = frame.y(below[i]) - frame.y(below[i] + number)
            boxes.append((x, frame.y(below[i] + number), max(next_x - x - 0.8, 0.8), high_y))
            below[i] += number
        drawing.boxes(boxes, ink)
    title = found.name[:1].upper() + found.name[1:]
    drawing.text(0, 12, title, "ink", size=13, bold=True)
    told = f"at most {text(found.peak)}"
    drawing.text(width, 12, told, "soft", "end", SMALL)
    _asked(drawing, frame, found, near, text(found.asked))
    return drawing


def _asked(drawing: Drawing, frame: Frame, found: Spread, near: bool, asked: str) -> None:
    """What was asked for: a line where it lies in the figure, else an arrow to where it would."""
    y = frame.top - 11  # level with what stands over the other axis
    room = frame.right - text_width("tasks", SMALL) - 12
    if not found.asked:
        drawing.text(frame.right, y, "no limit", "mark", "end", SMALL)
    elif near:
        x = frame.x(found.asked)
        drawing.line([(x, y + 5), (x, frame.bottom)], "mark", 1.5, dashes=True)
        text = f"requested: {asked}"
        right = max(min(x + 4, frame.right), frame.right - room + text_width(text, SMALL))
        drawing.text(right, y, text, "mark", "end", SMALL)
    else:
        times = found.asked / found.peak if found.peak else 0
        more = f", {value(float(f'{times:.2g}'))} times the most" if times else ""
        text = f"requested: {asked}{more} →"
        if text_width(text, SMALL) > room:
            text = f"requested: {asked} →"
        drawing.text(frame.right, y, text, "mark", "end", SMALL)


# --- a metric over one parameter ------------------------------------------------------------------


def _across(found: Chart, most: int) -> Axis:
    places = sorted({x for x, _ in found.points} | {g.x for g in found.groups} | set(found.missing))
    if is_wide(places):
        return logarithmic(places[0], places[-1])
    whole = all(place == int(place) for place in places) and len(places) < 2 * most
    low, high = places[0], places[-1]
    pad = 0.03 * (high - low)
    axis = linear(low, high, most, whole=whole)
    return Axis(axis.low - pad, axis.high + pad, axis.marks)


_BAND = (("run", "nine of ten tasks"), ("ok", "median"))


def chart(found: Chart, width: float) -> Drawing:
    """A metric over a parameter: each task a dot, the medians a line; of many tasks a band."""
    if found.names:
        return _by_name(found, width)
    single = bool(found.points) and all(group.count == 1 for group in found.groups)
    entries = [("ok", "a task")] if found.points else list(_BAND)
    if found.points and not single and len(found.groups) > 1:
        entries.append(("ink", "median"))
    if found.missing:
        entries.append(("bad", "× no value"))
    top = 18.0 * key_rows(width, entries) + 4 if len(entries) > 1 else 0.0
    drawing = Drawing(width, top + 270, f"{found.metric} over {found.x}")
    if top:
        key(drawing, 0, entries)
    ys = [y for _, y in found.points] or [n for g in found.groups for n in (g.low, g.high)]
    up = _padded(found.unit, ys)
    across = _across(found, 8 if width > 500 else 5)
    frame = framed(drawing, across, up, top=top, name=found.x, above=found.metric)
    if found.points:
        if not single and len(found.groups) > 1:
            drawing.line([(frame.x(g.x), frame.y(g.middle)) for g in found.groups], "ink", 1.5)
        dots = [(frame.x(x), frame.y(y)) for x, y in found.points]
        many = len(dots) > 120
        drawing.dots(dots, "ok", 2.2 if many else 3.2, opacity=0.6 if many else 1.0)
    else:
        upper = [(frame.x(g.x), frame.y(g.high)) for g in found.groups]
        lower = [(frame.x(g.x), frame.y(g.low)) for g in reversed(found.groups)]
        drawing.area([*upper, *lower], "run", 0.6)
        drawing.line([(frame.x(g.x), frame.y(g.middle)) for g in found.groups], "ok", 2)
    low = frame.bottom - 5
    drawing.dots([(frame.x(x), low) for x in found.missing], "bad", 3, cross=True)
    return drawing


def _padded(unit: str, numbers: Sequence[float], most: int = 5) -> Axis:
    """An axis for numbers that do not touch its ends; from 0 where that costs little.

    Its marks have their units, as the numbers in a heat map do, and there are two at least.
    """
    low, high = min(numbers), max(numbers)
    most_seen = max(abs(low), abs(high))
    if high - low <= _ALIKE * most_seen:  # their own number is the mark that tells most
        return _around(unit, high)
    if 0 < low < 0.5 * high:
        low = 0.0
    pad = 0.06 * (high - low)
    axis = AXES[unit](low, high, most)
    if len(axis.marks) < 2:
        finer = (AXES[unit](low, high, more) for more in range(most + 1, 4 * most))
        axis = next((one for one in finer if len(one.marks) > 1), axis)
    below = axis.low if low == 0 else axis.low - pad
    marks = tuple((n, f"{text} {axis.unit}" if axis.unit and n else text) for n, text in axis.marks)
    return Axis(below, axis.high + pad, marks)


_ALIKE = 5e-9
"""Numbers that differ by no more of themselves are marked as one: nobody reads so many digits."""


def _around(unit: str, number: float) -> Axis:
    """An axis for numbers that are all alike: from 0 to twice as much."""
    ends = sorted((0.0, 2 * number)) if number else [-1.0, 1.0]
    text = TEXTS[unit]
    marks = tuple((n, text(n) if n else "0") for n in (ends[0], number, ends[1]))
    return Axis(ends[0], ends[1], marks)


def _by_name(found: Chart, width: float) -> Drawing:
    """One row for each text, the tasks as dots."""
    row = 20.0
    top = 4.0 if found.points else 26.0
    height = top + 42 + row * len(found.names)
    drawing = Drawing(width, height, f"{found.metric} by {found.x}")
    ys = [y for _, y in found.points] or [n for g in found.groups for n in (g.low, g.high)]
    across = _padded(found.unit, ys, 8 if width > 500 else 4)
    longest = max(text_width(clean(name), SMALL) for name in found.names)
    left = min(longest + 12, width * 0.42)
    frame = Frame(left, top, width - 14, height - 38, across, counted(1))
    middle = {}
    if not found.points:
        key(drawing, 0, _BAND)
    for i, name in enumerate(found.names):
        y = middle[i] = top + row * i + row / 2
        drawing.line([(left, y), (frame.right, y)], "line")
        drawing.text(left - 8, y + 4, fitted(name, left - 10, SMALL), "ink", "end", SMALL)
    if found.points:
        drawing.dots([(frame.x(n), middle[int(i)]) for i, n in found.points], "ok", 3.6)
    else:
        for group in found.groups:
            y = middle[int(group.x)]
            drawing.line([(frame.x(group.low), y), (frame.x(group.high), y)], "run", 6)
            drawing.dots([(frame.x(group.middle), y)], "ok", 4)
    crosses = [(left + 6, middle[int(i)]) for i in found.missing]
    drawing.dots(crosses, "bad", 3, cross=True)
    from osgbatch.reporting.frame import marks

    marks(drawing, frame, found.metric)
    return drawing


# --- a metric over two parameters -----------------------------------------------------------------


def heat_map(found: Grid, width: float) -> Drawing:
    """A metric over two parameters: the mean of each cell as a colour."""
    numbers = [mean for mean, _ in found.cells.values()]
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 0.0)
    columns = len(found.xs) - found.binned
    rows = len(found.ys) - found.binned
    labels = [value(y) for y in found.ys]
    left = max(text_width(text, SMALL) for text in labels) + 10
    room = width - left - 14
    side = min(room / columns, 110.0)
    high_side = min(side, 44.0, max(10.0, 420.0 / rows))
    wide = side * columns
    top = 62.0
    height = top + high_side * rows + 40
    drawing = Drawing(width, height, f"{found.metric} over {found.x} and {found.y}")
    _scale(drawing, found, low, high, left, wide)
    drawing.text(0, top - 8, fitted(found.y, width, SMALL), "soft", size=SMALL)
    by_colour: dict[str, list[Box]] = {}
    numbered = side >= 38 and high_side >= 18 and columns * rows <= 400
    tips = columns * rows <= 400
    for (column, row), (mean, many) in sorted(found.cells.items()):
        colour = ramp((mean - low) / (high - low) if high > low else 0.5)
        y = top + high_side * (rows - 1 - row)
        box = (left + side * column, y, side - 0.6, high_side - 0.6)
        if tips:
            drawing.boxes([box], colour, _tip(found, column, row, mean, many))
            if numbered:
                _number(drawing, found, box, mean, (mean - low) / (high - low or 1.0))
        else:
            by_colour.setdefault(colour, []).append(box)
    for colour, boxes in by_colour.items():
        drawing.boxes(boxes, colour)
    crosses = [
        (left + side * (c + 0.5), top + high_side * (rows - 0.5 - r)) for c, r in found.missing
    ]
    drawing.dots(crosses, "bad", min(4.0, side / 4, high_side / 4), cross=True)
    _edges(drawing, found, left, top, side, high_side, rows)
    return drawing


def _number(drawing: Drawing, found: Grid, box: Box, mean: float, share: float) -> None:
    """The value in its cell, where it has room."""
    text = TEXTS[found.unit](float(f"{mean:.3g}"))
    x, y, wide, high = box
    if text_width(text, SMALL) <= wide - 6:
        ink = "#ffffff" if share < 0.62 else "#1d2329"
        drawing.text(x + wide / 2, y + high / 2 + 4, text, ink, "middle", SMALL)


def _tip(found: Grid, column: int, row: int, mean: float, many: int) -> str:
    where = "" if found.binned else f"{found.x} {value(found.xs[column])}, "
    where += "" if found.binned else f"{found.y} {value(found.ys[row])}: "
    return f"{where}{TEXTS[found.unit](mean)}" + (f" (mean of {many:,} tasks)" if many > 1 else "")


def _scale(
    drawing: Drawing, found: Grid, low: float, high: float, left: float, wide: float
) -> None:
    """The colours, from the lowest to the highest mean."""
    text = TEXTS[found.unit]
    means = max((many for _, many in found.cells.values()), default=1) > 1
    name = f"mean of {found.metric}" if means else found.metric
    if found.missing:
        name += "; × no value"
    drawing.text(left, 11, fitted(name, drawing.width - left, SMALL), "ink", size=SMALL)
    if not found.cells:
        return
    if high <= low:
        drawing.boxes([(left, 19, 14, 10)], ramp(0.5))
        drawing.text(left + 20, 28, f"{text(low)} everywhere", "soft", size=SMALL)
        return
    first, last = text(low), text(high)
    begin = left + text_width(first, SMALL) + 8
    bar = min(200.0, wide - 2 * 60)
    drawing.text(left, 28, first, "soft", size=SMALL)
    for i in range(STEPS):
        drawing.boxes([(begin + bar / STEPS * i, 19, bar / STEPS + 0.3, 10)], ramp(i / (STEPS - 1)))
    drawing.text(begin + bar + 8, 28, last, "soft", size=SMALL)


def _edges(
    drawing: Drawing, found: Grid, left: float, top: float, side: float, high: float, rows: int
) -> None:
    """The values below and beside the cells, as many as have room."""
    bottom = top + high * rows
    if found.binned:
        wide = side * (len(found.xs) - 1)
        axis = linear(found.xs[0], found.xs[-1], max(2, int(wide / 90)))
        for number, text in axis.marks:
            x = min(left + axis.share(number) * wide, drawing.width - text_width(text, SMALL) / 2)
            drawing.text(x, bottom + 16, text, "soft", "middle", SMALL)
        axis = linear(found.ys[0], found.ys[-1], max(2, int(high * rows / 40)))
        for number, text in axis.marks:
            y = bottom - axis.share(number) * high * rows + 4
            drawing.text(left - 6, y, text, "soft", "end", SMALL)
    else:
        _values(drawing, found, left, bottom, side, high)
    columns = len(found.xs) - found.binned
    room = side * columns
    name = fitted(found.x, max(room, 120), SMALL)
    drawing.text(left + room / 2, bottom + 32, name, "soft", "middle", SMALL)


def _values(
    drawing: Drawing, found: Grid, left: float, bottom: float, side: float, high: float
) -> None:
    """The values below and beside cells that stand for one value each, as many as have room."""
    widest = max(text_width(value(x), SMALL) for x in found.xs) + 8
    each = max(1, -int(-widest // side))
    for i, number in list(enumerate(found.xs))[::each]:
        x = min(left + side * (i + 0.5), drawing.width - widest / 2 + 4)
        drawing.text(x, bottom + 16, value(number), "soft", "middle", SMALL)
    each = max(1, -int(-14 // high))
    for i, number in list(enumerate(found.ys))[::each]:
        y = bottom - high * (i + 0.5) + 4
        drawing.text(left - 6, y, value(number), "soft", "end", SMALL)

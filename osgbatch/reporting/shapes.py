"""From many numbers to few: counts over time, histograms, the tasks of each parameter's value."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from osgbatch.reporting.data import Chart, Grid, Group, Spread, Stack
from osgbatch.reporting.quantities import median, quantile

SPANS = 160
"""Into so many equal spans the life of a batch is divided."""
BINS = 30
POINTS = 400
"""So many tasks are drawn one by one."""
VALUES = 60
"""So many different values of a parameter stand for themselves; more are put into bins."""
SIDE = 36
"""Cells of a heat map, in each direction."""
NAMES = 24


def averaged(
    spells: Iterable[tuple[str, float, float, float]], begin: float, end: float, spans: int = SPANS
) -> Stack:
    """How many there were of each kind on average in each span: what is short counts, too.

    spells: the kind, from when to when, and how many.
    """
    step = max((end - begin) / spans, 1e-3)
    per_s, last_span, whole = 1 / step, spans - 1, float(spans)
    raw: dict[str, list[float]] = {}
    for kind, first, last, many in spells:
        slopes = raw.get(kind)
        if slopes is None:
            slopes = raw[kind] = [0.0] * (spans + 2)
        # The integral of how many there are, by second differences: two entries for each end.
        at = (first - begin) * per_s
        at = 0.0 if at < 0 else whole if at > whole else at
        span = int(at) if at < last_span else last_span
        part = many * (span + 1 - at)
        slopes[span] += part
        slopes[span + 1] += many - part
        at = (last - begin) * per_s
        at = 0.0 if at < 0 else whole if at > whole else at
        span = int(at) if at < last_span else last_span
        part = many * (span + 1 - at)
        slopes[span] -= part
        slopes[span + 1] -= many - part
    for slopes in raw.values():
        sum_ = 0.0
        for i, by in enumerate(slopes):
            sum_ += by
            slopes[i] = max(0.0, round(sum_, 6))
        del slopes[spans:]
    return Stack(begin, step, raw)


def per_span(events: Iterable[tuple[float, str]], begin: float, end: float, spans: int) -> Stack:
    """How many events of each kind fall into each span."""
    step = max((end - begin) / spans, 1e-3)
    raw: dict[str, list[float]] = {}
    for when, kind in events:
        counts = raw.setdefault(kind, [0.0] * spans)
        counts[min(max(int((when - begin) / step), 0), spans - 1)] += 1
    return Stack(begin, step, raw)


def spread(
    name: str, unit: str, good: Sequence[float], bad: Sequence[float], asked: float = 0.0
) -> Spread | None:
    """A histogram from 0 to the most that was seen; None when nothing was measured."""
    everything = sorted((*good, *bad))
    if not everything:
        return None
    peak = everything[-1]
    high = peak if peak > sys.float_info.min else 1.0  # of less than that bins have no width
    bins = min(BINS, max(5, math.ceil(2 * len(everything) ** 0.5)))
    low = 0.0
    if len(everything) > 20 and everything[0] > 0.6 * high:  # all alike: looked at closely
        low = everything[0] - 0.25 * max(high - everything[0], 0.02 * high)
        high += 0.1 * (high - low)
    width = (high - low) / bins

    def counts(numbers: Sequence[float]) -> list[int]:
        found = [0] * bins
        for number in numbers:
            found[min(max(int((number - low) / width), 0), bins - 1)] += 1
        return found

    edges = [low + i * width for i in range(bins + 1)]
    middle, p95 = median(everything), quantile(everything, 0.95)
    told = (edges, counts(good), counts(bad), middle, p95, peak, asked, len(everything))
    return Spread(name, unit, *told)


# --- metrics over parameters ----------------------------------------------------------------------

Column = Sequence[object]
"""The values of a parameter or metric, one for each task; None where there is none."""


def is_number(value: object) -> bool:
    """Whether a figure can show it: not truth values, nor what is not finite."""
    return not isinstance(value, bool) and isinstance(value, (int, float)) and abs(value) < 1e300


def varying(columns: Mapping[str, Column]) -> tuple[list[str], list[str]]:
    """The parameters with more than one value: those of numbers, and the others."""
    numbers: list[str] = []
    others: list[str] = []
    for name, values in columns.items():
        first = values[0] if values else None
        if all(value == first and type(value) is type(first) for value in values):
            continue
        is_numeric = all(map(is_number, values))
        (numbers if is_numeric else others).append(name)
    return numbers, others


def chart(metric: str, unit: str, x: str, xs: Column, ys: Column) -> Chart | None:
    """A metric over a parameter of numbers; None when no task has the metric."""
    pairs = [
        (float(a), float(b))  # type: ignore[arg-type]
        for a, b in zip(xs, ys, strict=True)
        if is_number(a) and is_number(b)
    ]
    if not pairs:
        return None
    missing = [
        float(a)  # type: ignore[arg-type]
        for a, b in zip(xs, ys, strict=True)
        if is_number(a) and not is_number(b)
    ]
    points = tuple(sorted(pairs)) if len(pairs) <= POINTS else ()
    shown = tuple(sorted(set(missing)))
    if len(shown) > POINTS:
        shown = shown[:: math.ceil(len(shown) / POINTS)]
    return Chart(metric, unit, x, points, _groups(pairs), shown)


def _groups(pairs: Sequence[tuple[float, float]]) -> tuple[Group, ...]:
    by_value: dict[float, list[float]] = {}
    for x, y in pairs:
        by_value.setdefault(x, []).append(y)
    if len(by_value) > VALUES:
        ascending = sorted(by_value)
        low, high = ascending[0], ascending[-1]
        wide = is_wide(ascending)
        bins: dict[int, list[tuple[float, float]]] = {}
        for x, y in pairs:
            share = math.log(x / low) / math.log(high / low) if wide else (x - low) / (high - low)
            bins.setdefault(min(int(share * VALUES), VALUES - 1), []).append((x, y))
        by_value = {
            sum(x for x, _ in inside) / len(inside): [y for _, y in inside]
            for inside in bins.values()
        }
    found = []
    for x in sorted(by_value):
        ys = sorted(by_value[x])
        found.append(Group(x, len(ys), quantile(ys, 0.05), median(ys), quantile(ys, 0.95)))
    return tuple(found)


def is_wide(ascending: Sequence[float]) -> bool:
    """Whether numbers spread over so many powers of ten that a logarithmic axis shows them best."""
    if len(ascending) < 3 or ascending[0] <= 0 or ascending[-1] < 50 * ascending[0]:
        return False
    middle = ascending[len(ascending) // 2]
    # Of numbers in equal steps the middle one lies halfway.
    return middle < 0.25 * ascending[-1]


def by_name(metric: str, unit: str, x: str, xs: Column, ys: Column) -> Chart | None:
    """A metric over a parameter of texts, where there are few of them."""
    names = list(dict.fromkeys(str(value) for value in xs))
    if len(names) > NAMES:
        return None
    places = {name: i for i, name in enumerate(names)}
    found = chart(metric, unit, x, [places[str(value)] for value in xs], ys)
    if found is None:
        return None
    return Chart(metric, unit, x, found.points, found.groups, found.missing, tuple(names))


@dataclass(frozen=True)
class Plane:
    """The plane of two parameters of numbers: values, or edges of bins, and each task's cell."""

    x: str
    y: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    cells: Sequence[tuple[int, int]]
    binned: bool

    @property
    def filled(self) -> float:
        """How many cells have tasks, for each of the longer side: 1 when they lie along a line."""
        return len(set(self.cells)) / max(len(self.xs), len(self.ys))


def plane(x: str, y: str, xs: Column, ys: Column) -> Plane:
    """Where tasks lie in the plane of two parameters."""
    across, columns, binned_x = _places(xs)
    up, rows, binned_y = _places(ys)
    if binned_x != binned_y:  # both axes are drawn alike: by edges
        across = across if binned_x else _edges(across)
        up = up if binned_y else _edges(up)
    return Plane(x, y, across, up, list(zip(columns, rows, strict=True)), binned_x or binned_y)


def grid(metric: str, unit: str, over: Plane, values: Column) -> Grid:
    """The means of a metric over two parameters of numbers."""
    sums: dict[tuple[int, int], tuple[float, int]] = {}
    lacking = set()
    for cell, value in zip(over.cells, values, strict=True):
        if is_number(value):
            so_far, count = sums.get(cell, (0.0, 0))
            sums[cell] = (so_far + float(value), count + 1)  # type: ignore[arg-type]
        else:
            lacking.add(cell)
    cells = {at: (so_far / count, count) for at, (so_far, count) in sums.items()}
    missing = frozenset(lacking - cells.keys())
    return Grid(metric, unit, over.x, over.y, over.xs, over.ys, cells, missing, over.binned)


def _places(values: Column) -> tuple[tuple[float, ...], list[int], bool]:
    """The values or edges of bins, the place of each task among them, and whether they are bins."""
    numbers = [float(value) for value in values]  # type: ignore[arg-type]
    ascending = sorted(set(numbers))
    if len(ascending) <= SIDE:
        places = {number: i for i, number in enumerate(ascending)}
        return tuple(ascending), [places[number] for number in numbers], False
    low, high = ascending[0], ascending[-1]
    width = (high - low) / SIDE
    found = [min(int((number - low) / width), SIDE - 1) for number in numbers]
    return tuple(low + i * width for i in range(SIDE + 1)), found, True


def _edges(values: Sequence[float]) -> tuple[float, ...]:
    """The edges of cells around single values."""
    between = [(a + b) / 2 for a, b in pairwise(values)]
    first = values[0] - (between[0] - values[0])
    return (first, *between, values[-1] + (values[-1] - between[-1]))

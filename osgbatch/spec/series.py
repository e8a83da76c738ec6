"""Columns whose values the spec itself gives: lists, evenly spaced numbers, random numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, NamedTuple

from osgbatch.spec.document import Document, Loc
from osgbatch.spec_model import ColumnSource, Place
from osgbatch.tables import Cell

Fail = Callable[..., None]
"""Called with what is wrong, its Place and, perhaps, what to do."""

MAX_VALUES = 10_000_000
"""Of a column that is made up from a few numbers: a slip of the finger must not fill the memory."""


class _Form(NamedTuple):
    """A form of a source: how many numbers it takes, and how it is written."""

    least: int
    most: int
    example: str
    last_is_count: bool = False


_NUMBERS = {
    "range": _Form(1, 3, "range: [start, stop, step] or range: 10"),
    "linspace": _Form(3, 3, "linspace: [0, 1, 11] (from, to, how many)", True),
    "logspace": _Form(3, 3, "logspace: [-3, 3, 7] (exponents of 10: from, to, how many)", True),
}
DISTRIBUTIONS = {
    "uniform": _Form(2, 2, "uniform: [0, 1] (from, to)"),
    "loguniform": _Form(2, 2, "loguniform: [0.001, 1] (from, to, both above 0)"),
    "normal": _Form(2, 2, "normal: [0, 1] (mean, standard deviation)"),
    "integers": _Form(2, 2, "integers: [1, 6] (from, to, both included)"),
    "choice": _Form(0, 0, "choice: [a, b, c]"),
}
SOURCES = (*_NUMBERS, "files", "lines", "random")
_RANDOM = "Write {random: {uniform: [0, 1], n: 100, seed: 42}}."


def suggest(name: str, known: list[str]) -> str:
    """`; did you mean "nearest"?`, or nothing."""
    near = get_close_matches(name, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


class ValueReader:
    """Reads values from a document; what is wrong with them is told to `fail`."""

    def __init__(self, document: Document, fail: Fail) -> None:
        self.document = document
        self.fail = fail

    def _key(self, loc: Loc) -> Place:
        return self.document.place(loc, key=True)

    def _place(self, loc: Loc) -> Place:
        return self.document.place(loc)

    def _cells(self, values: list[Any], loc: Loc) -> tuple[Cell, ...]:
        cells = (self._cell(value, (*loc, i)) for i, value in enumerate(values))
        return tuple(cell for cell in cells if cell)

    def _cell(self, value: Any, loc: Loc) -> Cell | None:
        """A value and its text as it was written, or None (told to `fail`)."""
        if isinstance(value, (dict, list)) or value is None:
            self.fail("a value should be text, a number or true/false", self._place(loc))
        elif isinstance(value, str) and "\0" in value:
            self.fail("a value cannot hold a NUL character", self._place(loc))
        else:
            text = self.document.texts[loc]
            endless = isinstance(value, float) and not math.isfinite(value)  # 1e999
            return Cell(text if endless else value, text)
        return None

    def _number(self, value: Any, loc: Loc) -> int | Fraction | None:
        """A number of the spec without rounding, or None (told to `fail`)."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fail("should be a number", self._place(loc))
            return None
        if isinstance(value, int):
            if abs(value) < 10**300:
                return value
        elif math.isfinite(value):
            exact = Decimal(self.document.texts[loc])
            if not exact or abs(exact.adjusted()) < 300:
                return Fraction(exact)
        self.fail("the number is too large or too small", self._place(loc))
        return None

    def _whole(self, value: Any, loc: Loc, name: str, low: int) -> int | None:
        """How many of something: a whole number, or None (told to `fail`)."""
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= MAX_VALUES:
            return value
        what = f"{name}: should be a whole number from {low} to {MAX_VALUES:,}"
        self.fail(what, self._place(loc))
        return None

    def _list(self, form: _Form, name: str, value: Any, loc: Loc) -> list[int | Fraction] | None:
        """The numbers of a form, or None (told to `fail`)."""
        if not isinstance(value, list) or not form.least <= len(value) <= form.most:
            self.fail(f"{name}: has another form", self._place(loc), f"Write {form.example}.")
            return None
        numbers = [self._number(item, (*loc, i)) for i, item in enumerate(value)]
        return [n for n in numbers if n is not None] if None not in numbers else None

    def _series(self, kind: str, name: str, value: Any, loc: Loc) -> Iterator[ColumnSource]:
        """A column of evenly spaced numbers."""
        form = _NUMBERS[kind]
        if kind == "range" and not isinstance(value, (list, dict, str)):
            number = self._number(value, loc)
            numbers = None if number is None else [number]
        else:
            numbers = self._list(form, kind, value, loc)
        if numbers is None:
            return
        if form.last_is_count:
            if self._whole(value[-1], (*loc, len(value) - 1), "how many", 1) is None:
                return
            if kind == "logspace" and not all(-300 <= number <= 300 for number in numbers[:2]):
                what = "the exponents should be between -300 and 300"
                fix = "They are powers of 10: [0, 3, 4] makes 1, 10, 100 and 1000."
                self.fail(what, self._place(loc), fix)
                return
        else:
            start, stop = (0, numbers[0]) if len(numbers) == 1 else numbers[:2]
            step = numbers[2] if len(numbers) == 3 else 1
            if not step:
                self.fail("the step should not be 0", self._place((*loc, 2)))
                return
            length = math.ceil((stop - start) / Fraction(step))
            if not 0 < length <= MAX_VALUES:
                what = f"{length:,} values" if length > 0 else "no value"
                fix = "The second number is left out, as in Python." if length <= 0 else ""
                if length < 0 and step == 1 and isinstance(stop, int) and isinstance(start, int):
                    fix = f"It counts up; [{start}, {stop}, -1] counts down."
                self.fail(f'the range of "{name}" has {what}', self._place(loc), fix)
                return
            numbers = [start, stop, step]
        yield ColumnSource(kind, name, self._place(loc), numbers=tuple(numbers))

    def _random(self, name: str, value: Any, loc: Loc) -> Iterator[ColumnSource]:
        """A column of random numbers."""
        place = self._place(loc)
        if not isinstance(value, dict):
            self.fail("random: should say which numbers, how many, and a seed", place, _RANDOM)
            return
        known = [*DISTRIBUTIONS, "n", "seed"]
        kinds = [key for key in value if key in DISTRIBUTIONS]
        for key in value:
            if key not in known:
                what = f'unknown key "{key}" in random{suggest(key, known)}'
                here = self.document.place((*loc, key), key=True)
                self.fail(what, here, f"Known are {', '.join(known)}.")
        if len(kinds) != 1:
            if kinds or set(value) <= set(known):
                what = f"random: should have one distribution, not {' and '.join(kinds) or 'none'}"
                self.fail(what, place, f"Known are {', '.join(DISTRIBUTIONS)}.")
            return
        kind = kinds[0]
        numbers, cells = self._distribution(kind, value[kind], (*loc, kind))
        count = seed = None
        if "n" in value:
            count = self._whole(value["n"], (*loc, "n"), "n", 1)
        else:
            self.fail('random: "n" is missing', place, f"How many values? {_RANDOM}")
        if "seed" in value:
            seed = self._seed(value["seed"], (*loc, "seed"))
        else:
            fix = "With a seed, the same sweep has the same values wherever and whenever it is run."
            self.fail('random: "seed" is missing', place, f"{fix} {_RANDOM}")
        if (numbers or cells) and count is not None and seed is not None:
            yield ColumnSource(
                "random", name, place, cells=cells, text=kind, numbers=numbers, count=count,
                seed=seed,
            )  # fmt: skip

    def _seed(self, value: Any, loc: Loc) -> int | None:
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64:
            return value
        self.fail("seed: should be a whole number below 2**64", self._place(loc))
        return None

    def _distribution(
        self, kind: str, value: Any, loc: Loc
    ) -> tuple[tuple[int | Fraction, ...], tuple[Cell, ...]]:
        """The parameters of a distribution: numbers, or the cells to choose from."""
        form = DISTRIBUTIONS[kind]
        if kind == "choice":
            if isinstance(value, list) and value:
                return (), self._cells(value, loc)
            what = "choice: should be a list of values"
            self.fail(what, self._place(loc), "Write choice: [a, b, c].")
            return (), ()
        numbers = self._list(form, kind, value, loc)
        if numbers is None:
            return (), ()
        first, second = numbers
        problem = ""
        if kind == "normal":
            problem = "the standard deviation should be above 0" if second <= 0 else ""
        elif first > second or (first == second and kind != "integers"):
            problem = "the first number should be below the second"
        elif kind == "loguniform" and first <= 0:
            problem = "both numbers should be above 0"
        elif kind == "integers" and not (isinstance(first, int) and isinstance(second, int)):
            problem = "both should be whole numbers"
        elif kind == "integers" and second - first >= 2**53:
            problem = "they should be less than 2**53 apart"
        if problem:
            self.fail(f"{kind}: {problem}", self._place(loc), f"Write {form.example}.")
            return (), ()
        return tuple(numbers), ()

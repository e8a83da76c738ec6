"""Columns of evenly spaced numbers, without rounding on the way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Context, Decimal
from fractions import Fraction

from osgbatch.sweep.cells import TextCells

_CONTEXT = Context(prec=30)
_LN10 = _CONTEXT.ln(Decimal(10))


def number_range(numbers: Sequence[int | Fraction]) -> TextCells:
    """start, start + step, … before stop, as Python's range has them.

    Whole numbers stay whole. Others are worked out exactly and rounded once, so the fourth of
    [0, 1, 0.1] is 0.3, where adding up floats would make 0.30000000000000004 of it.
    """
    start, stop, step = numbers
    length = math.ceil((stop - start) / Fraction(step))
    if all(isinstance(number, int) for number in numbers):
        return TextCells.of(str(int(start) + i * int(step)) for i in range(length))
    return TextCells.of(map(repr, _floats(Fraction(start), Fraction(step), length)))


def linspace(numbers: Sequence[int | Fraction]) -> TextCells:
    """`count` numbers from start to stop, both included; always floats.

    Source: numpy.linspace, which gives the same but for roundings.
    """
    start, step, count = _steps(numbers)
    return TextCells.of(map(repr, _floats(start, step, count)))


def logspace(numbers: Sequence[int | Fraction]) -> TextCells:
    """10 to the power of each of a linspace; exact where the exponent is whole.

    Source: numpy.logspace, which gives the same but for roundings.
    """
    start, step, count = _steps(numbers)
    return TextCells.of(repr(_power_of_10(start + i * step)) for i in range(count))


def _steps(numbers: Sequence[int | Fraction]) -> tuple[Fraction, Fraction, int]:
    start, stop, count = Fraction(numbers[0]), Fraction(numbers[1]), int(numbers[2])
    return start, (stop - start) / max(count - 1, 1), count


def _floats(start: Fraction, step: Fraction, length: int) -> Iterator[float]:
    """start + i * step as the nearest floats: dividing whole numbers rounds correctly."""
    below = math.lcm(start.denominator, step.denominator)
    first, each = int(start * below), int(step * below)
    return ((first + i * each) / below for i in range(length))


def _power_of_10(exponent: Fraction) -> float:
    if exponent.denominator == 1:
        return float(f"1e{exponent}")
    decimal = _CONTEXT.divide(Decimal(exponent.numerator), Decimal(exponent.denominator))
    return float(_CONTEXT.exp(_CONTEXT.multiply(decimal, _LN10)))

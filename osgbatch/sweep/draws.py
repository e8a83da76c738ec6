"""Random columns and samples that are the same wherever and whenever they are drawn.

Python promises that `random.Random(seed).random()` gives the same numbers in every version, and
of no other method (Source: docs.python.org, random, "Notes on Reproducibility"). So all is made of
those numbers, by whole-number and IEEE arithmetic and by the decimal module's ln and exp, which
are the same on every machine where the C library's are not.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterator
from decimal import Context, Decimal
from itertools import islice

from osgbatch.spec_model import ColumnSource
from osgbatch.sweep.cells import TextCells
from osgbatch.tables import Cells, Column

_CONTEXT = Context(prec=25)
_BITS = 53
"""Of a number of `random()`: it is a multiple of 2**-53."""

Draw = Callable[[], float]


def generator(seed: int, name: str) -> Draw:
    """A source of numbers from 0 up to 1: another one for every seed and every name.

    The generator's own seed is the SHA-256 of "osgbatch 1", the seed and the name.
    """
    digest = hashlib.sha256(f"osgbatch 1\n{seed}\n{name}".encode()).digest()
    return random.Random(int.from_bytes(digest, "big")).random


def below(draw: Draw, limit: int) -> int:
    """A whole number from 0 up to, not including, `limit`.

    Of numbers drawn one after the other, the first the highest bits: one where `limit` is at most
    2**53, else one more than would do.
    """
    number, bits = int(draw() * 2**_BITS), _BITS
    if limit > 2**_BITS:
        while bits < limit.bit_length() + _BITS:
            number = number << _BITS | int(draw() * 2**_BITS)
            bits += _BITS
    return (number * limit) >> bits


def random_column(source: ColumnSource) -> Column:
    """The column of a `random:` source. The first values do not depend on how many there are."""
    draw = generator(source.seed, source.name)
    if source.text == "choice":
        cells = source.cells
        return Column(source.name, [cells[below(draw, len(cells))] for _ in range(source.count)])
    values: Iterator[int] | Iterator[float]
    if source.text == "integers":
        low, high = (int(number) for number in source.numbers)
        values = (low + below(draw, high - low + 1) for _ in range(source.count))
    else:
        first, second = (float(number) for number in source.numbers)
        values = islice(_FLOATS[source.text](draw, first, second), source.count)
    cells_: Cells = TextCells.of(map(repr, values))
    return Column(source.name, cells_)


def _uniform(draw: Draw, low: float, high: float) -> Iterator[float]:
    while True:
        share = draw()
        yield min(max(low * (1 - share) + high * share, low), high)


def _loguniform(draw: Draw, low: float, high: float) -> Iterator[float]:
    """exp of a uniform number between the logarithms."""
    start, end = (_CONTEXT.ln(Decimal(number)) for number in (low, high))
    span = _CONTEXT.subtract(end, start)
    while True:
        share = _CONTEXT.multiply(span, Decimal(draw()))
        value = float(_CONTEXT.exp(_CONTEXT.add(start, share)))
        yield min(max(value, low), high)


def _normal(draw: Draw, mean: float, deviation: float) -> Iterator[float]:
    """Marsaglia's polar method: two numbers from a point in the unit circle."""
    while True:
        x, y = 2 * draw() - 1, 2 * draw() - 1
        square = x * x + y * y
        if 0 < square < 1:
            factor = math.sqrt(-2 * float(_CONTEXT.ln(Decimal(square))) / square)
            yield mean + deviation * (x * factor)
            yield mean + deviation * (y * factor)


_FLOATS: dict[str, Callable[[Draw, float, float], Iterator[float]]] = {
    "uniform": _uniform,
    "loguniform": _loguniform,
    "normal": _normal,
}


def sample(total: int, count: int, seed: int) -> list[int]:
    """`count` of the numbers below `total`, each at most once, in order.

    Source: R. Floyd's algorithm (Bentley, Programming Pearls: A sample of brilliance, 1987).
    """
    draw = generator(seed, "sample")
    chosen: set[int] = set()
    for last in range(total - count, total):
        number = below(draw, last + 1)
        chosen.add(last if number in chosen else number)
    return sorted(chosen)

"""`retries.memory` and `retries.disk`: how much a job asks for after it used too much."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from osgbatch.spec.values import Advice, nonempty, size
from osgbatch.spec_model import Ladder

LEAST_FACTOR, MOST_FACTOR, MOST_SIZES = 1.1, 100.0, 20

_UP_TO = re.compile(r"(?:[x×]\s*([0-9.]+)|([0-9.]+)\s*[x×])\s+up\s+to\s+(\S.*)", re.I)


def ladder(name: str, parse: Callable[[str], int]) -> Callable[[Any], Ladder]:
    """A reader of `x2 up to 16 GB`, `16 GB` and `[4 GB, 16 GB]`.

    name: the resource, for messages; parse: text with a unit to a number of its unit.
    """
    one = size(parse)

    def read(value: Any) -> Ladder:
        if isinstance(value, list):
            return _listed(value)
        found = _UP_TO.fullmatch(value.strip()) if isinstance(value, str) else None
        if found:
            return Ladder(_factor(found[1] or found[2]), (one(found[3]),))
        if isinstance(value, str) and re.search(r"\d\s*[x×]|[x×]\s*\d", value, re.I):
            fix = f"Write `{name}: x2 up to 16 GB`."
            raise Advice(f'"{value}" does not say up to which size', fix)
        return Ladder(0.0, (one(nonempty(value) if isinstance(value, str) else value),))

    def _listed(value: list[Any]) -> Ladder:
        if not value:
            raise Advice("is empty", f"Write `{name}: [4 GB, 16 GB]`.")
        if len(value) > MOST_SIZES:
            raise ValueError(f"should be at most {MOST_SIZES} sizes")
        sizes = tuple(map(one, value))
        if any(later <= earlier for earlier, later in pairwise(sizes)):
            raise Advice("each size should be larger than the one before", "Sort them.")
        return Ladder(0.0, sizes)

    return read


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not LEAST_FACTOR <= factor <= MOST_FACTOR:
        raise Advice(
            f"x{text} is no factor between {LEAST_FACTOR:g} and {MOST_FACTOR:g}",
            "Write x2 to double.",
        )
    return factor

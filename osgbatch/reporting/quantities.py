"""Numbers for people, with their units, and the marks of axes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

KIB, MIB, GIB = 1024.0, 1024.0**2, 1024.0**3
_SIZES = (("bytes", 1.0), ("KB", KIB), ("MB", MIB), ("GB", GIB), ("TB", 1024 * GIB))
_TIMES = (("s", 1.0), ("min", 60.0), ("h", 3600.0), ("days", 86400.0))
_STEPS_S = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200),
    *(86400, 172800, 432000, 864000, 1728000, 4320000, 8640000, 31536000),
)
"""Steps of an axis of times that people count in, in seconds."""


def count(number: float) -> str:
    """`12,345`."""
    return f"{number:,.0f}"


def value(number: float) -> str:
    """Any number, in some four digits: `0.00123`, `12.3`, `1,234`, `1.2e+09`."""
    if number == 0 or not math.isfinite(number):
        return "0" if number == 0 else str(number)
    if 1e-4 <= abs(number) < 1e7:
        digits = max(0, 3 - math.floor(math.log10(abs(number))))
        text = f"{number:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{number:.3g}"


def size(number: float) -> str:
    """Bytes: `3.4 GB`, powers of 1024."""
    name, factor = _SIZES[0]
    for name, factor in _SIZES:
        if number < 1000 * factor or name == "TB":
            break
    amount = number / factor
    return f"{_short(amount)} {name}"


def _short(amount: float) -> str:
    """At most three digits: `0.53`, `3.4`, `120`."""
    if amount >= 99.5:
        return f"{amount:,.0f}"
    return f"{amount:.1f}".removesuffix(".0") if amount >= 1 else f"{amount:.2g}"


def duration(seconds: float) -> str:
    """A time: `0.4 s`, `12 s`, `3.5 min`, `2 h 05 min`, `3.2 days`."""
    if seconds and not seconds % 3600 and seconds < 172800:
        return f"{seconds / 3600:.0f} h"
    if seconds and not seconds % 60 and seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 10:
        return f"{_short(seconds)} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{_short(seconds / 60)} min"
    if seconds < 48 * 3600:
        minutes = round(seconds / 60)
        hours, rest = divmod(minutes, 60)
        return f"{hours} h {rest:02d} min" if rest else f"{hours} h"
    return f"{_short(seconds / 86400)} days"


def core_time(core_s: float, noun: str = "core ") -> str:
    """What cores were held for: `3.4 core hours`, of little `12 core minutes`, `4 core seconds`."""
    unit, factor = "hour", 3600.0
    if core_s < 0.095 * 3600:
        unit, factor = ("minute", 60.0) if core_s >= 60 else ("second", 1.0)
    amount = _short(core_s / factor)
    return f"{amount} {noun}{unit}{'s' * (amount != '1')}"


def rate(per_s: float) -> str:
    """Tasks in a time: the first unit of which there is one task at least."""
    for factor, unit in ((1, "second"), (60, "minute"), (3600, "hour")):
        if per_s * factor >= 1:
            return f"{_short(per_s * factor)} tasks/{unit}"
    return f"{_short(per_s * 86400)} tasks/day"


def percent(part: float, whole: float) -> str:
    """`12 %`; what is not nothing is never told as 0, and what is not all never as 100."""
    if whole <= 0:
        return "0 %"
    share = 100 * part / whole
    if 0 < share < 1:
        told = f"{share:.1f}".removesuffix(".0")
        return f"{told} %" if share >= 0.05 else "less than 0.1 %"
    if 99 < share < 100:
        return f"{min(share, 99.9):.1f} %"
    return f"{share:.0f} %"


def percents(parts: Sequence[float]) -> list[str]:
    """Each part of all of them, as `percent` tells it, so that they do not add up to 101 %."""
    whole = sum(parts)
    if whole <= 0 or max(parts) > 0.99 * whole:
        return [percent(part, whole) for part in parts]
    shares = [100 * part / whole for part in parts]
    big = [i for i, share in enumerate(shares) if share >= 1]
    told = {i: math.floor(shares[i]) for i in big}
    left = math.floor(sum(shares[i] for i in big) + 1e-6) - sum(told.values())
    for i in sorted(big, key=lambda i: told[i] - shares[i])[:left]:
        told[i] += 1
    return [f"{told[i]} %" if i in told else percent(parts[i], whole) for i in range(len(parts))]


def moment(when: float, zone: bool = True) -> str:
    """Seconds since 1970 as date and time here, with the time zone."""
    form = "%Y-%m-%d %H:%M" + (" %Z" if zone else "")
    return time.strftime(form, time.localtime(when))


def numbered(number: int, noun: str) -> str:
    """`1 task`, `2,000 tasks`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


# --- axes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """A scale of numbers: from the lowest to the highest, with marks and their texts.

    unit: stands behind the name of what is shown; empty where the texts have it.
    """

    low: float
    high: float
    marks: tuple[tuple[float, str], ...]
    unit: str = ""
    logarithmic: bool = False

    def share(self, number: float) -> float:
        """Where a number stands: 0 is the lowest, 1 the highest."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, number = (math.log10(max(n, 1e-300)) for n in (low, high, number))
        return (number - low) / (high - low) if high > low else 0.5


def _nice(span: float, most: int) -> float:
    """A step of 1, 2 or 5 times a power of ten, of which no more than `most` make the span."""
    raw = span / max(1, most)
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    return next((m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.9999), 10 * power)


def _steps(low: float, high: float, step: float) -> list[float]:
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [n * step for n in range(first, min(last, first + 1000) + 1)]


def linear(low: float, high: float, most: int = 6, *, whole: bool = False) -> Axis:
    """An axis of plain numbers. whole: they are counted."""
    if not high > low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    step = _nice(high - low, most)
    if whole:
        step = max(1.0, step)
    if not math.isfinite(step) or max(abs(low), abs(high)) > 1e9 * step:  # nobody reads so much
        ends = {f"{n:.15g}": n for n in (low, high)}
        return Axis(low, high, tuple((n, text) for text, n in ends.items()))
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    big = max(abs(low), abs(high))
    plain = step >= 1e-4 and big < 1e7
    told = max(4, math.ceil(math.log10(big / step)) + 1)  # digits that tell marks apart

    def text(n: float) -> str:
        n = 0.0 if abs(n) < step / 1e6 else n
        return f"{n:,.{digits}f}" if plain else f"{n:.{told}g}"

    return Axis(low, high, tuple((n, text(n)) for n in _steps(low, high, step)))


def counted(high: float, most: int = 4) -> Axis:
    """An axis of counts from 0."""
    return linear(0, max(1.0, high), most, whole=True)


def of_times(low: float, high: float, most: int = 6) -> Axis:
    """An axis of seconds, marked in steps that people count in."""
    if not high > low:
        high = low + max(1.0, low * 0.1)
    step = next((s for s in _STEPS_S if (high - low) / s <= most), None)
    if (high - low) / most < 1 or step is None:
        axis = linear(low, high, most)
        return Axis(axis.low, axis.high, axis.marks, "s")
    unit, factor = _TIMES[0]
    for name, length in _TIMES:
        if 4 * step % length:  # its marks would have many digits
            break
        unit, factor = name, length
        if high < 120 * length:
            break
    marks = tuple((n, _quarters(n / factor)) for n in _steps(low, high, float(step)))
    return Axis(low, high, marks, unit)


def _quarters(number: float) -> str:
    """`1,200`, `0.25`."""
    return f"{number:,.2f}".rstrip("0").rstrip(".")


def of_sizes(low: float, high: float, most: int = 5) -> Axis:
    """An axis of bytes, in one unit."""
    if not high > low:
        high = low + max(KIB, low * 0.1)
    unit, factor = _SIZES[0]
    for unit, factor in _SIZES:
        if high < 1000 * factor or unit == "TB":
            break
    inner = linear(low / factor, high / factor, most)
    return Axis(low, high, tuple((n * factor, text) for n, text in inner.marks), unit)


def logarithmic(low: float, high: float) -> Axis:
    """An axis of powers of ten, for positive numbers; of few powers also of 2 and 5 times them."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = max(1, (last - first) // 5)
    powers = range(first, last + 1, step)
    numbers = [10.0**n for n in powers]
    if last - first <= 3:  # of powers of ten alone there would be one or two
        numbers = [m * n for n in numbers for m in (1, 2, 5)]
    inside = [n for n in numbers if low <= n * 1.0001 and n <= high * 1.0001]
    return Axis(low, high, tuple((n, value(n)) for n in inside), "", True)


AXES: dict[str, Callable[[float, float, int], Axis]] = {
    "s": of_times,
    "bytes": of_sizes,
    "": linear,
}
"""The axis for each unit that numbers can have."""
TEXTS: dict[str, Callable[[float], str]] = {"s": duration, "bytes": size, "": value}
"""The same for single numbers."""


def median(ascending: Sequence[float]) -> float:
    """The one in the middle; of an even number of them halfway between the two."""
    upper = ascending[len(ascending) // 2]
    lower = ascending[(len(ascending) - 1) // 2]
    return upper if upper == lower else lower / 2 + upper / 2


def quantile(ascending: Sequence[float], share: float) -> float:
    """The number below or at which so large a share of them lies (nearest rank)."""
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]

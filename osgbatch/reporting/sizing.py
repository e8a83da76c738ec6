"""Right-sizing: what tasks used against what was asked for, and what would have been enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from osgbatch.reporting.quantities import MIB, duration, quantile, size

MANY = 30
"""From so many tasks on, the most that one used says much about the others."""
MARGINS = {"memory": (1.5, 1.25), "disk": (2.0, 1.5), "time": (3.0, 2.0)}
"""Times the most that was used is enough: seen on few tasks, and on many."""
STEP_MB = 64
LEAST = {"memory": STEP_MB * MIB, "disk": STEP_MB * MIB, "time": 60.0}
"""The smallest suggestions, in bytes and seconds."""
_TINY = 0.75
"""A smaller request for most tasks is worth a word when it is at most this part of the other."""


def enough(used: float, times: float, asked: int, step: int = STEP_MB) -> int:
    """MB that are enough: so many times what was used, in bytes, rounded up to a multiple of step.

    Not more than is asked for (MB; 0: nothing is), while that much is enough: who took little must
    not be told to ask for more.
    """
    exact = max(1, math.ceil(used * times / MIB))
    rounded = -(-exact // step) * step
    return min(rounded, asked) if asked > 0 and exact <= asked else rounded


def enough_time(used: float, times: float) -> int:
    """Whole minutes that are enough, for a time in seconds."""
    return max(1, math.ceil(times * used / 60))


@dataclass(frozen=True)
class Wanted:
    """Of one resource what each task used and asked for.

    name: memory or disk (bytes), or time (s). indices: the tasks that are measured; used: what
    each took; asked: what each may use, 0 for no limit; seconds: how long each occupied it.
    stopped: the tasks that were stopped for wanting more: what they need is not known.
    """

    name: str
    indices: Sequence[int]
    used: Sequence[float]
    asked: Sequence[float]
    seconds: Sequence[float]
    stopped: Sequence[int] = ()
    whole_sweep: bool = True


@dataclass(frozen=True)
class Sized:
    """What is to be said of one resource; bytes and seconds.

    asked_low, asked: the least and the most that a task asked for (0: no limit). setting: for
    `resources:`, empty where nothing can be suggested. smaller, smaller_setting, unfit: less would
    do for all tasks but these. saved, held: what the setting would spare of what was held, in
    bytes times seconds; 0 for time. guessed: since some tasks were stopped.
    """

    name: str
    measured: int
    median: float
    p95: float
    peak: float
    asked_low: float
    asked: float
    suggested: float
    setting: str
    stopped: tuple[int, ...] = ()
    smaller: float = 0.0
    smaller_setting: str = ""
    unfit: tuple[int, ...] = ()
    held: float = 0.0
    saved: float = 0.0

    @property
    def guessed(self) -> bool:
        """Whether some tasks were stopped before it was seen what they need."""
        return bool(self.stopped)

    def shown(self, number: float) -> str:
        """A number of this resource, with its unit."""
        return duration(number) if self.name == "time" else size(number)

    @property
    def asked_text(self) -> str:
        """What was asked for."""
        if not self.asked:
            return "no limit"
        if self.asked_low < self.asked:
            return f"{self.shown(self.asked_low)} to {self.shown(self.asked)}"
        return self.shown(self.asked)

    @property
    def least(self) -> bool:
        """Whether it is the least that is ever suggested, which may be far more than was used."""
        return bool(self.setting) and self.suggested <= LEAST[self.name]

    @property
    def change(self) -> str:
        """In a word what the suggestion does: less, more, or the same."""
        if not self.setting or not self.asked:
            return ""
        if self.suggested < 0.9 * self.asked:
            return "less"
        return "more" if self.suggested > self.asked else "the same"


def sized(wanted: Wanted) -> Sized | None:
    """What is to be said; None when nothing was measured."""
    if not wanted.used:
        return None
    ascending = sorted(wanted.used)
    peak, asked = ascending[-1], max(wanted.asked, default=0.0)
    limits = [limit for limit in wanted.asked if limit]
    few, many = MARGINS[wanted.name]
    times = many if len(ascending) >= MANY and wanted.whole_sweep else few
    varies = bool(limits) and min(limits) < max(limits)
    suggested, setting = _setting(wanted.name, peak, times, asked)
    if wanted.stopped and asked and suggested < 2 * asked:  # they wanted more than they had
        suggested, setting = _setting(wanted.name, 2 * asked, 1.0, 0.0)
    if varies:  # an expression in the spec: one number would not do
        suggested, setting = 0.0, ""
    p95 = quantile(ascending, 0.95)
    smaller, smaller_setting = _setting(wanted.name, p95, times, asked)
    unfit: tuple[int, ...] = ()
    if varies or wanted.name != "memory" or smaller > _TINY * suggested:
        smaller, smaller_setting = 0.0, ""
    else:
        over = {i for i, use in zip(wanted.indices, wanted.used, strict=True) if use > smaller}
        unfit = tuple(sorted(over | set(wanted.stopped)))
    spans = list(zip(wanted.asked, wanted.seconds, strict=True))
    held = sum(limit * seconds for limit, seconds in spans)
    would = sum(suggested * seconds for _, seconds in spans)
    return Sized(
        name=wanted.name,
        measured=len(ascending),
        median=quantile(ascending, 0.5),
        p95=p95,
        peak=peak,
        asked_low=min(limits, default=0.0),
        asked=asked,
        suggested=suggested,
        setting=setting,
        stopped=tuple(sorted(wanted.stopped)),
        smaller=smaller,
        smaller_setting=smaller_setting,
        unfit=unfit,
        held=held if wanted.name != "time" else 0.0,
        saved=max(0.0, held - would) if setting and wanted.name != "time" else 0.0,
    )


def _setting(name: str, used: float, times: float, asked: float) -> tuple[float, str]:
    """What to ask for, in bytes or seconds, and as it is written in a spec."""
    if name == "time":
        minutes = enough_time(used, times)
        step = 1 if minutes <= 10 else 5 if minutes <= 60 else 30
        minutes = -(-minutes // step) * step
        return minutes * 60.0, f"{minutes} min"
    megabytes = enough(used, times, int(asked // MIB))
    if megabytes % 1024 == 0:
        return megabytes * MIB, f"{megabytes // 1024} GB"
    return megabytes * MIB, f"{megabytes} MB"


def block(found: Sequence[Sized], cpus: int, gpus: int = 0) -> str:
    """The `resources:` of a spec, ready to paste; empty when nothing can be suggested."""
    lines = [f"  {one.name}: {one.setting}" for one in found if one.setting]
    if not lines:
        return ""
    more = [f"  gpus: {gpus}"] if gpus else []
    return "\n".join(["resources:", f"  cpus: {cpus}", *lines, *more]) + "\n"

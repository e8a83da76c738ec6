"""What is said of right-sizing, in sentences that the page, the notebook and the terminal share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from osgbatch.reporting.data import Cost, Report
from osgbatch.reporting.quantities import GIB, count, numbered, percent, value
from osgbatch.reporting.sizing import STEP_MB, Sized
from osgbatch.task_ranges import task_list

LISTED = 60
_BUSY = 0.6


def listed(tasks: Sequence[int], room: int = LISTED) -> str:
    """`0-9,12`, cut at a comma where it would be too long."""
    text = task_list(list(tasks))
    if len(text) <= room:
        return text
    return text[: room - 2].rpartition(",")[0] + ",…"


def table(found: Sequence[Sized]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The head and the rows of requested against used."""
    head = ("", "requested", "half used at most", "95 % at most", "the most", "suggested")
    rows: list[tuple[str, ...]] = [
        (
            one.name,
            one.asked_text,
            one.shown(one.median),
            one.shown(one.p95),
            one.shown(one.peak),
            one.setting or "as it is",
        )
        for one in found
    ]
    return head, rows


def sizing_sentences(
    found: Sequence[Sized], cores: tuple[int, float] | None, tasks: int, cost: Cost
) -> Iterator[str]:
    """What the suggestion rests on, what it would spare, and who would not have fitted."""
    measured = max((one.measured for one in found), default=0)
    if 0 < measured < tasks:
        of = numbered(tasks, "task")
        yield f"This rests on the {count(measured)} of {of} that were measured."
    for one in found:
        if one.guessed:
            which = numbered(len(one.stopped), "task")
            were = "was" if len(one.stopped) == 1 else "were"
            yield (
                f"{which} ({listed(one.stopped)}) {were} stopped for wanting more {one.name} than "
                f"requested; what {'it needs' if len(one.stopped) == 1 else 'they need'} is not "
                "known, so the suggestion is a guess."
            )
        elif not one.setting and one.asked:
            yield (
                f"Tasks ask for different amounts of {one.name} (from {one.asked_text}), so no "
                "single number is suggested."
            )
    if any(one.least for one in found):
        yield (f"Less than {STEP_MB} MB of memory or disk, or than a minute, is never suggested.")
    spared = [one for one in found if one.saved > 0.02 * one.held > 0]
    if spared:
        told = " and ".join(
            f"{percent(one.saved, one.held)} less {one.name}{_spared(one)}" for one in spared
        )
        yield (
            f"As suggested, jobs would have held {told}, and every task that was measured fits. "
            "A job that asks for less fits into more slots, never into fewer."
        )
    for one in found:
        if one.smaller_setting:
            yield (
                f"With {one.smaller_setting} of {one.name}, {numbered(len(one.unfit), 'task')} of "
                f"{count(one.measured)} would not have fitted ({listed(one.unfit)}); asked for "
                "again by themselves with more (`retries: {memory: ...}`), they would."
            )
    if cost.overhead > max(cost.good, cost.total / 2):
        yield (
            f"{percent(cost.overhead, cost.total)} of the core time went into bringing and "
            "unpacking: several tasks in a job (`tasks_per_job:`) share that."
        )
    if cores and cores[0] > 1 and cores[1] <= _BUSY * cores[0]:
        enough = max(1, math.ceil(cores[1]))
        yield (
            f"No job kept more than {value(round(cores[1], 2))} of its {cores[0]} cores busy on "
            f"average: cpus: {enough} may be enough."
        )


def of_report(report: Report) -> Iterator[str]:
    """The sentences for a whole report."""
    return sizing_sentences(report.sized, report.cores, report.tasks, report.cost)


def _spared(one: Sized) -> str:
    """In GB-hours, where it is more than next to nothing."""
    if one.saved < 0.1 * GIB * 3600:
        return ""
    return f" ({_gib_h(one.held - one.saved)} instead of {_gib_h(one.held)} GB-hours)"


def _gib_h(byte_s: float) -> str:
    amount = byte_s / GIB / 3600
    return value(float(f"{amount:.2g}")) if amount < 10 else count(amount)

"""What `osgbatch watch` shows: a block that stays in its place on a terminal, else lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from osgbatch import ui
from osgbatch.life.following import Status
from osgbatch.life.naming import in_commands
from osgbatch.model import ACTIVE, TaskState

_BAR, _SHORTEST_BAR = 30, 10
_EVENTS = 5
_CAUSES = 4
_WAITS_S = 30.0
"""Seconds for which tasks wait and none runs before `why` is pointed to."""

_TURNS = "a job runs its tasks in turn; they are counted when it ends"
"""HTCondor tells of jobs alone, and the records of tasks come back when a job has ended."""


class Patience:
    """Knows when tasks have only waited for a while."""

    def __init__(self) -> None:
        self._since = 0.0

    def is_over(self, now: Status) -> bool:
        """Whether tasks wait, and none has run for a while."""
        from osgbatch.cli.reports import only_waits

        if not only_waits(now):
            self._since = 0.0
            return False
        self._since = self._since or time.monotonic()
        return time.monotonic() - self._since >= _WAITS_S


def waits_line(now: Status) -> str:
    """Where it is said why nothing runs."""
    return f"nothing runs at present; why: osgbatch why {in_commands(now.batch)}"


class Lines:
    """One line whenever the tasks are in other states."""

    def __init__(self) -> None:
        self._patience = Patience()
        self._said = self._said_turns = False

    def show(self, now: Status, changed: bool) -> None:
        """Show what a look saw."""
        if changed:
            from osgbatch.cli.reports import in_turns, watch_line

            ui.out(watch_line(now))
            if in_turns(now) and not self._said_turns:
                self._said_turns = True
                ui.out(f"          {_TURNS}")
        is_over = self._patience.is_over(now)
        if is_over and not self._said:
            ui.out(f"          {waits_line(now)}")
        self._said = is_over

    def close(self) -> None:
        """Nothing more comes."""


class Block:
    """Counts, a bar, the time left, the last events, what is held and what failed, in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._events: list[str] = []
        self._counts: dict[str, int] = {}
        self._patience = Patience()
        self._live = Live(
            console=Console(highlight=False, markup=False), auto_refresh=False, transient=True
        )
        self._live.start()

    def show(self, now: Status, changed: bool) -> None:
        """Show what a look saw."""
        from rich.text import Text

        if changed:
            self._note(now)
        width = self._live.console.width
        events = [*self._events, *[waits_line(now)] * self._patience.is_over(now)]
        lines = [ui.cut(line, width) for line in block_lines(now, events, width)]
        self._live.update(Text("\n".join(lines)), refresh=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def _note(self, now: Status) -> None:
        """What has happened since the look before, one line."""
        counts = dict(now.counts)
        news = []
        for state in ui.ORDER:
            more = counts.get(state, 0) - self._counts.get(state, 0)
            if more > 0 and state != "waiting":
                news.append(f"{more:,} {'more ' if self._counts else ''}{state}")
        self._counts = counts
        if news:
            self._events.append(f"{time.strftime('%H:%M:%S')}  {', '.join(news)}")
            del self._events[:-_EVENTS]


def is_plain() -> bool:
    """Whether stdout is no terminal, or one on which nothing can stay in its place."""
    import os
    import sys

    return not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb"


def view() -> Any:
    """The block on a terminal, lines elsewhere."""
    return Lines() if is_plain() else Block()


def block_lines(now: Status, events: Sequence[str], width: int) -> Iterator[str]:
    """The lines of the block. width: of the terminal, in characters."""
    from osgbatch.cli.reports import counts_text, head, in_turns

    yield f"{head(now, more=10)}  {time.strftime('%H:%M:%S')}"
    yield progress_line(now, width)
    yield f"  {counts_text(now)}"
    if in_turns(now):
        yield f"  ({_TURNS})"
    if now.stalled:
        yield f"  {now.stalled}"
    for event in events:
        yield f"  {event}"
    yield from cause_lines(now, width)
    for note in now.notes:
        # That `osgbatch watch` submits what waits for a canary goes without saying here.
        yield f"  note: {note.partition('; once that has succeeded')[0].partition(chr(10))[0]}"
    more = "; what waits for the canary does not" if now.held_back else ""
    yield f"  Ctrl-C stops watching; the jobs go on{more}."


def progress_line(now: Status, width: int) -> str:
    """`[####....] 412 of 1,000 ended, 12 tasks/min, about 48 min left`.

    width: characters that it may have; where it is too long the bar is shorter, then the rate left
    out: how many have ended, and how long it takes, stay.
    """
    from osgbatch.cli.reports import left_words, rate

    total = now.batch.tasks
    open_ = now.open_tasks
    done = total - open_ - now.counts.get("held", 0)
    parts = [f"{done:,} of {total:,} ended"]
    measures = now.measures
    if measures and measures.rate and open_:
        parts.append(rate(measures.rate))
        if any(now.counts.get(state) for state in ACTIVE) and measures.left_s is not None:
            parts.append(left_words(open_ / measures.rate, measures))
    room = width - len("[] ")
    if len(parts) > 2 and len(", ".join(parts)) + _SHORTEST_BAR > room:
        del parts[1]
    text = ", ".join(parts)
    bar = max(_SHORTEST_BAR, min(_BAR, room - len(text)))
    filled = bar * done // total
    return f"[{'#' * filled}{'.' * (bar - filled)}] {text}"


def cause_lines(now: Status, width: int) -> Iterator[str]:
    """What is held and what went wrong, by cause; of each line the beginning tells most."""
    from osgbatch.cli.reports import brief
    from osgbatch.life.causes import group

    causes: list[list[TaskState]] = group(now.wrong)
    shown = sum(len(same) for same in causes)
    wrong = sum(now.counts.get(state, 0) for state in ("failed", "held", "removed", "unknown"))
    most = _CAUSES if len(causes) > _CAUSES + 1 else _CAUSES + 1  # one more takes one line, too
    for same in causes[:most]:
        few = "" if shown == wrong else "at least "
        line = ui.one_line(f"  {few}{len(same):,} {same[0].state}: {brief(same[0])}")
        yield line if len(line) <= width else f"{line[: width - 4].rstrip()} ..."
    if len(causes) > most:
        yield f"  and {len(causes) - most} more causes"
    if causes:
        yield f"  more: osgbatch why {in_commands(now.batch)}"

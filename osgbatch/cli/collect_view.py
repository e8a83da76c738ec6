"""What `osgbatch collect --watch` shows, and does: it collects while it is shown what has ended."""

from __future__ import annotations

import time
from typing import Any

from osgbatch import ui
from osgbatch.cli.live import is_plain, progress_line
from osgbatch.life.following import Status
from osgbatch.results.taking import WATCHING, Taker

SHORTEST_S = 2.0
"""Seconds between the end of a collection and the next one, at least."""
SHARE = 0.1
"""Of the time that collecting may take, at most."""


class Collecting:
    """Collects when tasks have ended, rarely enough; a line in place on a terminal, else lines.

    unpacked: how many results so far.
    """

    def __init__(self, batch: Any, fetch: bool, plain: bool) -> None:
        self._taker = Taker(batch, self._say, fetch=fetch, how=WATCHING)
        self._ended = self._collected = -1
        self.unpacked = 0
        self._due = 0.0
        self._notes: set[str] = set()
        self._live: Any = None
        if not plain:
            from rich.console import Console
            from rich.live import Live

            console = Console(highlight=False, markup=False)
            self._live = Live(console=console, auto_refresh=False, transient=True)
            self._live.start()

    def show(self, now: Status, changed: bool) -> None:
        """Show what a look saw; collect what has come back."""
        total = now.batch.tasks
        self._draw(now)
        ended = total - now.open_tasks - now.counts.get("held", 0)
        if now.ended or ended == self._ended or time.monotonic() < self._due:
            return  # what is left when all has ended is collected after watching
        began = time.monotonic()
        with self._taker.alone():
            now, found = self._taker.take()
        self._due = time.monotonic() + max(SHORTEST_S, (time.monotonic() - began) / SHARE)
        self.unpacked += found.unpacked
        self._ended = ended
        before, self._collected = self._collected, self._taker.collected
        for note in found.notes:
            if note not in self._notes:
                self._say(f"note: {note}")
        self._notes.update(found.notes)
        if self._live is None and self._collected != before:
            ui.out(f"{time.strftime('%H:%M:%S')}  {ui.counts(now.counts)}; {self._told()}")
        self._draw(now)

    def odd_ones(self) -> list[str]:
        """What is to be said of results that may be none, when nobody collects to the end."""
        return list(self._taker.odd_ones())

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()

    def _told(self) -> str:
        return f"{max(self._collected, 0):,} collected"

    def _draw(self, now: Status) -> None:
        if self._live is not None:
            from rich.text import Text

            width, told = self._live.console.width, f"; {self._told()}"
            line = f"{progress_line(now, width - len(told))}{told}"
            self._live.update(Text(ui.cut(line, width)), refresh=True)

    def _say(self, text: str) -> None:
        if self._live is not None:
            self._live.console.print(text)
        else:
            ui.say(text)


class Views:
    """Makes what follows a batch and collects it. fetch: see Taker."""

    def __init__(self, fetch: bool = False) -> None:
        self._fetch = fetch
        self._made: list[Collecting] = []

    def __call__(self, batch: Any) -> Collecting:
        """For the rounds that a batch has now."""
        self._made.append(Collecting(batch, self._fetch, is_plain()))
        return self._made[-1]

    def odd_ones(self) -> list[str]:
        """As Collecting.odd_ones, of what was collected last."""
        return self._made[-1].odd_ones() if self._made else []

    @property
    def unpacked(self) -> int:
        """How many results were collected while they watched."""
        return sum(made.unpacked for made in self._made)

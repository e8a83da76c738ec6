"""Looks at a batch for a program that waits: rarely enough not to be felt, from any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from osgbatch import ui
from osgbatch.batches.folder import Batch
from osgbatch.life.following import Follower, Status
from osgbatch.model import TaskState

SHORTEST_S, LONGEST_S = 0.2, 5.0
"""Seconds between two looks, when something has just happened and when nothing does."""
SHARE = 0.05
"""Of a core, that looking may take while somebody waits."""
SETTLED = ("succeeded", "failed", "removed")
"""States of tasks that stay what they are while others run."""


class Looker:
    """Looks at a batch, one thread at a time; what was seen last is kept in `now`."""

    def __init__(self, batch: Batch) -> None:
        self._follower = Follower(batch)
        self._lock = threading.Lock()
        self._pause = SHORTEST_S
        self._next = 0.0
        self._number = 0
        self._now: Status | None = None

    @property
    def now(self) -> Status:
        """What was seen last; looks when nothing was seen yet."""
        return self._now or self.look()

    def forget(self) -> None:
        """Look anew when something is next asked for; what was submitted meanwhile is seen, too."""
        with self._lock:
            self._now, self._next, self._pause = None, 0.0, SHORTEST_S

    def look(self) -> Status:
        """Look now."""
        with self._lock:
            return self._look()

    def _look(self) -> Status:
        before, began = self._now, time.process_time()
        now = self._now = self._follower.status(all_tasks=True)
        self._number += 1
        cost = time.process_time() - began
        changed = before is None or now.counts != before.counts
        self._pause = SHORTEST_S if changed else min(self._pause * 1.5, LONGEST_S)
        self._next = time.monotonic() + max(self._pause, cost / SHARE)
        return now

    def next_look(self, deadline: float, stop: Callable[[], bool] = lambda: False) -> Status:
        """The next look, when it is due; several threads that wait share it.

        deadline: by time.monotonic(). Raises TimeoutError when it comes before the look. stop: is
        asked some times a second; when it says so, what is known is given at once.
        """
        number = self._number
        while True:
            with self._lock:
                if self._number != number and self._now is not None:
                    return self._now
                left = self._next - time.monotonic()
                if left <= 0:
                    return self._look()
            if stop():
                return self.now
            if time.monotonic() >= deadline:
                raise TimeoutError(self._how_far())
            time.sleep(max(0.0, min(left, 0.1, deadline - time.monotonic())))

    def _how_far(self) -> str:
        now = self.now
        return f"not within the time; batch {now.batch.name} has {ui.counts(now.counts)}"


def settled(now: Status, state: TaskState) -> bool:
    """Whether a task stays what it is, unless somebody acts."""
    return state.state in SETTLED or now.ended


def settled_tasks(now: Status, among: Sequence[int]) -> list[int]:
    """Of these tasks those that are settled."""
    states = now.states
    if now.ended:
        return list(among)
    return [index for index in among if states[index].state in SETTLED]

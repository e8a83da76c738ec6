"""Watches a batch until nothing changes any more: rarely enough not to be felt."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from osgbatch.batches.folder import Batch
from osgbatch.batches.measures import Measures
from osgbatch.life.following import Follower, Status

SHORTEST_S, LONGEST_S = 0.5, 10.0
"""Seconds between two looks, when something has just happened and when nothing does."""
SHARE = 0.015
"""Of a core, that looking may take."""
LONGEST_COST_S = 60.0
"""After a look that has cost much, as one that reads large archives, it is not longer than this."""
MEASURED_S = 20.0
"""Seconds between two looks at rates, resources and sites."""
CHEAP_S = 0.05
"""Of a core: what a look at these may cost to be taken whenever something has happened, too."""
SHOWN = 200
"""How many tasks that went wrong a look tells one by one."""


@dataclass(frozen=True)
class Seen:
    """What a look saw. changed: whether tasks are in other states than at the look before."""

    status: Status
    changed: bool


def watch(batch: Batch, longest_s: float = LONGEST_S) -> Iterator[Seen]:
    """Each look at a batch, until nothing can change by itself; the last one tells all.

    The event log is read, more rarely the longer nothing happens and the more a look costs.
    """
    follower = Follower(batch)
    pause, measured, before, spent_before, is_cheap = SHORTEST_S, 0.0, None, 0.0, False
    measures: Measures | None = None
    while True:
        began = time.process_time()
        due = time.monotonic() >= measured
        now = follower.status(most_wrong=SHOWN, measures=due)
        changed = now.counts != before
        if changed and is_cheap and not due:
            due, now = True, follower.status(most_wrong=SHOWN, measures=True)
        if due:
            measures = now.measures
            is_cheap = time.process_time() - began < CHEAP_S
        if now.ended:
            yield Seen(follower.status(measures=True), changed)
            return
        yield Seen(replace(now, measures=measures), changed)
        spent = (time.process_time() - began) / SHARE
        # One dear look alone may have loaded HTCondor's bindings: no reason to look away for long.
        cost, spent_before = min(spent, spent_before), spent
        if due:
            measured = time.monotonic() + max(MEASURED_S, 2 * cost)
        pause = SHORTEST_S if changed else min(pause * 1.5, longest_s)
        before = now.counts
        time.sleep(max(pause, min(cost, LONGEST_COST_S)))

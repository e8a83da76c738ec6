"""Stops a sweep whose first tasks all fail alike, before it burns the rest."""

from __future__ import annotations

import time
from collections.abc import Callable

from osgbatch import condor, local
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.notes import other_host
from osgbatch.errors import CondorError
from osgbatch.life.acting import live_rounds
from osgbatch.life.causes import STOPPED, group
from osgbatch.life.following import Follower, Status, status
from osgbatch.life.naming import in_commands
from osgbatch.model import ACTIVE, OPEN, TaskState

_BY_HAND = ("held", "removed")
"""States that say nothing of whether tasks fail."""


def _failed(now: Status) -> list[TaskState]:
    """The tasks of which the newest round tells that they failed, as many as the status shows."""
    return [s for s in now.wrong if s.state == "failed" and s.round == now.newest_number]


class Stopper:
    """Looks whether the first tasks that end all fail alike, and then holds what is left.

    first: how many tasks; 0 for never.
    """

    def __init__(self, batch: Batch, first: int, say: Callable[[str], None]) -> None:
        self._batch = batch
        self._first = first
        self._say = say
        self._done = not first
        self._told = False

    def look(self, now: Status) -> Status | None:
        """Act on what was seen; gives what is left when it has stopped the batch.

        A schedd that does not answer just then is told once, and asked again at the next look.
        Raises CondorError when it never can be asked here: on another machine.
        """
        if self._done:
            return None
        # What rounds before did, a canary's and reused tasks say nothing of what runs now.
        count = now.newest.get("failed", 0)
        ended = sum(n for state, n in now.newest.items() if state not in (*OPEN, *_BY_HAND))
        failed = _failed(now)
        if self._first <= count != len(failed):  # those that a watch shows were not all
            failed = _failed(status(self._batch))
        if ended > count or len(group(failed)) > 1:
            self._done = True  # something went another way
        if self._done or count < self._first or now.ended:
            return None
        what = f"the first {count:,} tasks all failed alike"
        name = in_commands(self._batch)
        try:
            stopped = hold_rest(self._batch, what)
        except CondorError as error:
            if any(other_host(round_) for round_ in self._batch.rounds()):
                raise
            if not self._told:
                self._say(
                    f"{what}, but the rest cannot be held yet, and is tried again: {error.what}"
                )
            self._told = True
            return None
        if stopped:
            done = "was stopped (the local runner does not hold jobs that wait)"
            again = "resubmit --missing"
        else:
            done, again = "is held", "release"
        self._done = True
        self._say(
            f"{what}, so the rest {done}.\nSee why: osgbatch why {name}\n"
            f"Let it run all the same: osgbatch {again} {name}"
            + f"\nGive up: osgbatch cancel {name}"
            * (not stopped)
        )
        return _settled(self._batch)


def _settled(batch: Batch) -> Status:
    """The status once the event log tells of it."""
    follower = Follower(batch)
    for _ in range(20):
        now = follower.status()
        if not any(now.counts.get(state) for state in ACTIVE):
            break
        time.sleep(0.5)
    return now


def hold_rest(batch: Batch, why: str) -> bool:
    """Hold what is left of a batch, also what is not yet in the queue.

    why: the hold reason says it. Gives whether it was stopped instead: the local runner knows no
    hold by the user. Raises CondorError when the schedd does not answer, or has none of its jobs.
    """
    why = f"{STOPPED}: {why}"
    stopped = False
    with folders.locked(batch.folder, wait=True):
        for live in live_rounds(batch):
            if live.local:
                local.cancel(live.round, live.cluster, why=why)
            else:
                condor.hold(live.round, live.cluster, why)
            stopped = stopped or live.local
    return stopped

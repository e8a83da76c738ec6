"""Stops a sweep whose first tasks all fail alike, before it burns the rest."""

from __future__ import annotations

from collections.abc import Callable

from osgbatch import condor, local
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.causes import group
from osgbatch.following import Status
from osgbatch.model import OPEN


class Stopper:
    """Looks whether the first tasks that end all fail alike, and then holds what is left.

    first: how many tasks; 0 for never.
    """

    def __init__(self, batch: Batch, first: int, say: Callable[[str], None]) -> None:
        self._batch = batch
        self._first = first
        self._say = say
        self._done = not first

    def look(self, now: Status) -> bool:
        """Act on what was seen; says whether it has stopped the batch.

        Raises CondorError when the jobs cannot be held.
        """
        if self._done:
            return False
        failed = [state for state in now.wrong if state.state == "failed"]
        ended = sum(n for state, n in now.counts.items() if state not in (*OPEN, "held"))
        if ended > len(failed):
            self._done = True  # something went another way
        if self._done or len(failed) < self._first:
            return False
        self._done = True
        if len(group(failed)) > 1 or not now.open_tasks:
            return False
        what = f"the first {len(failed)} tasks all failed alike"
        held = _hold(self._batch, what)
        name = self._batch.folder.name
        self._say(
            f"{what}, so {held}.\nSee why: osgbatch why {name}\n"
            f"Let them run all the same: osgbatch release {name}\n"
            f"Give up: osgbatch cancel {name}"
        )
        return True


def _hold(batch: Batch, why: str) -> str:
    """Hold the rest of the batch; says what was done."""
    held, stopped = 0, False
    for round_ in batch.rounds():
        submitted = folders.read_submitted(round_)
        if submitted is None or not submitted.cluster:
            continue
        if submitted.backend == "local":  # it knows no hold by the user
            local.cancel(round_, submitted.cluster)
            stopped = True
        else:
            held += condor.hold_rest(round_, submitted.cluster, f"osgbatch --stop-after: {why}")
    return (
        "the local runner was stopped" if stopped else f"the rest is held ({held:,} in the queue)"
    )

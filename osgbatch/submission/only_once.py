"""Looks whether what is to be submitted is being done already, by any batch of the same folder."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.notes import other_host
from osgbatch.errors import BatchError, BusyError
from osgbatch.life.following import status
from osgbatch.life.naming import in_commands
from osgbatch.model import OPEN
from osgbatch.submission.submitting import has_jobs


class DoneAlreadyError(BusyError):
    """The very same is being done, or was. folder: of the batch."""

    def __init__(self, batch: Batch, what: str, fix: str) -> None:
        super().__init__(what, where=str(batch.folder), fix=fix)
        self.folder = batch.folder


class OnlyOnce:
    """Refuses to submit what is being done already, unless somebody insists.

    fresh: what is to be submitted; again: is asked, with the reason, whether to do so all the same;
    repeat: the same, of what was done already and has succeeded; besides: ids of batches that do
    not count.
    """

    def __init__(
        self,
        fresh: Batch,
        again: Callable[[str], bool],
        repeat: Callable[[str], bool],
        besides: Collection[str] = (),
    ) -> None:
        self._fresh = fresh
        self._again = again
        self._repeat = repeat
        self._looked = {fresh.id, *besides}

    def check(self, spec: bytes) -> None:
        """Look at the batches of this spec that were not known to be submitted before.

        Raises DoneAlreadyError when one does the very same, and nobody insists; that is asked about
        once, of the newest that has not ended, else of the newest that has succeeded.
        """
        ended: Batch | None = None
        for folder in folders.folders_of(self._fresh.folder.parent, spec):
            batch = _whole(folder)
            if batch is None or batch.id in self._looked:
                continue
            tasks, succeeded = 0, False
            if folders.same_content(batch, self._fresh):
                tasks, succeeded = so_far(batch)
            noted = folders.read_submitted(batch.rounds()[0])
            if tasks or (noted and noted.cluster):  # else it may be submitted yet
                self._looked.add(batch.id)
            if tasks:
                self._ask(batch, tasks)
                self._again = self._repeat = lambda reason: True
            ended = ended or (batch if succeeded else None)
        if ended is not None:
            reason = f"batch {ended.id} ({ended.name}) did the very same, and has succeeded"
            if not self._repeat(f"{reason}; --reuse takes its results"):
                fix = f"`osgbatch collect {in_commands(ended)}` brings its results."
                raise DoneAlreadyError(ended, reason, fix)

    def _ask(self, batch: Batch, tasks: int) -> None:
        """Ask whether to do once more what a batch does, of which so many tasks have not ended."""
        have = "task of it has" if tasks == 1 else "tasks of it have"
        reason = (
            f"batch {batch.id} ({batch.name}) does the very same, and {tasks:,} {have} not ended"
        )
        if not self._again(reason):
            fix = f"`osgbatch watch {in_commands(batch)}` follows it; --again submits it once more."
            raise DoneAlreadyError(batch, reason, fix)


def _whole(folder: Path) -> Batch | None:
    """A batch; None of a damaged one, which does nothing."""
    try:
        batch = folders.load(folder)
        folders.read_submitted(batch.rounds()[0])
        return batch
    except BatchError:
        return None


def so_far(batch: Batch) -> tuple[int, bool]:
    """How many tasks of a batch have not ended, and whether all have succeeded.

    Those that wait for a canary count where others are queued. Of one whose submission was cut
    short the queue is asked, once nothing of it is under way. Raises CondorError when that does not
    answer.
    """
    if folders.interrupted(batch) and not other_host(batch.rounds()[0]):
        with folders.locked(batch.folder, wait=True):
            if has_jobs(batch):
                return batch.tasks, False
    now = status(batch)
    tasks = sum(now.counts.get(state, 0) for state in (*OPEN, "held"))
    if tasks == now.held_back or (now.stalled and not now.cluster):
        tasks = 0
    return tasks, now.counts.get("succeeded") == batch.tasks

"""Removes old batches, never while a job of theirs is queued."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from osgbatch import condor, local, names
from osgbatch.batches import folder as folders
from osgbatch.batches import registry
from osgbatch.batches.folder import Batch
from osgbatch.batches.moved import other_places
from osgbatch.batches.notes import other_host, read_submitted
from osgbatch.errors import BatchError, BusyError, CondorError
from osgbatch.life.acting import gather_jobs
from osgbatch.life.following import Status, status
from osgbatch.life.naming import in_commands
from osgbatch.life.sent import remove_unused, sent_folder
from osgbatch.model import OPEN, Round

LEAVING = ".removing-"
"""What a batch folder is called while it is deleted; it is no batch any more."""
_LEFT_OUT = (names.LOCK, f"{names.STATE}-journal")
"""What is of no use without the others that work on a batch."""


@dataclass(frozen=True)
class Old:
    """A batch that may be removed. files, size (bytes): of all that is in its folder.

    notes: what the user should know before it is gone.
    """

    batch: Batch
    status: Status
    files: int
    size: int
    notes: tuple[str, ...]


def old_batches(batches: Sequence[Batch]) -> list[Old]:
    """What is known of batches that are to be removed or archived.

    Raises BusyError when a job of any of them is queued, or may be; CondorError when HTCondor is
    configured and cannot be asked.
    """
    looked = [(batch, _not_live(batch)) for batch in batches]
    inside = [job for batch in batches for job in gather_jobs(batch)]
    for job in inside:
        _not_live(job)
    _not_queued([batch for batch in (*batches, *inside) if _asks(batch)])
    return [_old(batch, now) for batch, now in looked]


def _not_live(batch: Batch) -> Status:
    """The states of a batch, none of whose jobs are in the queue as far as its logs tell."""
    now = status(batch, all_tasks=True)
    live = [s for s in now.states if s.job is not None and s.job.state in (*OPEN, "held")]
    running = any(local.alive(round_, 0) for round_ in batch.rounds())
    # A factory has tasks of which no log tells yet; where HTCondor cannot be asked, are there any?
    unsure = now.counts.get("waiting") and any(map(_is_out_of_sight, batch.rounds()))
    if live or running or unsure:
        raise BusyError(
            _live_told(now, sure=bool(live or running)),
            where=str(batch.folder),
            fix=f"`osgbatch cancel {in_commands(batch)}` removes them; nothing was changed.",
        )
    return now


def _live_told(now: Status, *, sure: bool) -> str:
    """Which tasks keep a batch from being removed, and no word of those that have ended."""
    states = ", ".join(
        f"{count:,} {state}" for state, count in now.counts.items() if state in (*OPEN, "held")
    )
    queued = "queued" if sure else "queued, or may be"
    return f"jobs of it are {queued}: {states or 'those that ran its tasks'}"


def _is_out_of_sight(round_: Round) -> bool:
    """Whether a round was given to an HTCondor that cannot be asked from here."""
    noted = read_submitted(round_)
    if noted is None or noted.backend == "local":
        return False
    if other_host(round_) or not condor.configured():
        return True
    try:
        condor.check_home(round_)
    except CondorError:  # another schedd of this machine, as a personal pool is one
        return True
    return False


def _asks(batch: Batch) -> bool:
    """Whether HTCondor may know of it: not when all its rounds went to the local runner."""
    noted = [read_submitted(round_) for round_ in batch.rounds()]
    return not all(one is not None and one.backend == "local" for one in noted)


def _not_queued(batches: Sequence[Batch]) -> None:
    if not batches or not condor.configured():
        return
    try:
        found = condor.clusters_in_queue([batch.id for batch in batches])
    except CondorError as error:
        error.fix += " Nothing was changed: jobs may be queued."
        raise
    for batch in batches:
        if batch.id in found:
            clusters = ", ".join(map(str, found[batch.id]))
            raise BusyError(
                f"jobs of it are in the queue of HTCondor (cluster {clusters})",
                where=str(batch.folder),
                fix=f"`osgbatch cancel {in_commands(batch)}` removes them; nothing was changed.",
            )


def _old(batch: Batch, now: Status) -> Old:
    notes = []
    succeeded = now.counts.get("succeeded", 0)
    if succeeded and not (batch.folder / names.RESULTS / names.RESULTS_TABLE).is_file():
        notes.append("its results were never collected")
    if batch.data.get("outputs_to"):
        notes.append(f"what its tasks delivered stays at {batch.data['outputs_to']['url']}")
    for place in other_places(batch):
        if place.exists and not place.is_original:
            notes.append(f"it was moved; {place.folder} stays")
    files = size = 0
    for _, entry in entries_of(batch.folder):
        if not stat.S_ISDIR(entry.st_mode):
            files += 1
            size += entry.st_size
    return Old(batch, now, files, size, tuple(notes))


@contextmanager
def held_fast(batches: Sequence[Batch]) -> Iterator[None]:
    """Nobody else works on the batches, and none of their jobs is queued, from now on."""
    with ExitStack() as locks:
        for batch in batches:
            locks.enter_context(folders.locked(batch.folder))
            _not_live(batch)
        inside = [job for batch in batches for job in gather_jobs(batch)]
        for job in inside:
            locks.enter_context(folders.locked(job.folder))
            _not_live(job)
        _not_queued([batch for batch in (*batches, *inside) if _asks(batch)])
        yield


# --- removing -----------------------------------------------------------------------------------


def remove(batches: Sequence[Batch]) -> Iterator[Batch]:
    """Delete batch folders with all in them, and enter in the registry that they are gone.

    Gives each batch when it is gone. Raises BusyError when another osgbatch works on one, or jobs
    are queued, CondorError when that cannot be asked, with nothing removed; BatchError when
    something cannot be deleted.
    """
    with held_fast(batches):
        for batch in batches:
            delete(batch)
            registry.unregister(batch.id)
            yield batch


def delete(batch: Batch) -> None:
    """Under another name first, and no batch any more: nobody meets half of it."""
    folder = batch.folder.resolve()
    hidden = folder.with_name(f"{LEAVING}{folder.name}")
    sent = sent_folder(batch)
    if folder.parent.name == names.BATCHES:
        for left in folder.parent.glob(f"{LEAVING}*"):  # of one that was killed
            _delete_all(left)
    try:
        folder.rename(hidden)
        (hidden / names.RESOLVED).unlink()
        _delete_all(hidden)
        if batch.folder.is_symlink():
            batch.folder.unlink()
    except OSError as error:
        left = hidden if hidden.exists() else folder
        raise BatchError(
            f"cannot be removed whole: {error.filename}: {error.strerror}",
            where=str(left),
            fix="Is all in it yours? What is left there can be removed by hand.",
        ) from None
    if folder.parent.name == names.BATCHES:
        remove_unused(sent)
        with suppress(OSError):
            folder.parent.rmdir()


def _delete_all(folder: Path) -> None:
    """Delete a folder, also what a task made read-only, and though another `rm` does so, too."""
    for above, below, _ in os.walk(folder):  # top down: a folder is opened before it is listed
        for path in (Path(above, name) for name in below):
            with suppress(FileNotFoundError):
                mode = path.lstat().st_mode
                if stat.S_ISDIR(mode) and mode & 0o700 != 0o700:
                    path.chmod(mode | 0o700)
    while folder.exists():
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)


def entries_of(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """All that lies below a folder, folders too, by its path from there; sorted."""

    def refuse(error: OSError) -> None:
        raise error

    for above, below, files in os.walk(folder, onerror=refuse):
        below.sort()
        for name in sorted((*below, *files)):
            path = os.path.join(above, name)
            relative = os.path.relpath(path, folder)
            if relative not in _LEFT_OUT:
                yield relative, os.lstat(path)

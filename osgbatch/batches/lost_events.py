"""Whether events of a log may be lost without its being cut: HTCondor does not write them again.

Seen on 25.14.1: where the disk is full an event is written in part or not at all, and its job goes
on.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from osgbatch.batches.store import Store
from osgbatch.model import JobState, Round

TORN_S = 10
"""Seconds after which the rest of an event that was begun does not come any more."""
FULL_BYTES = 1024**2
"""With less than this free an event may not fit, or an archive, which is then taken away again."""


def no_room(log: Path) -> bool:
    """Whether an event that is to be written now may not fit."""
    try:
        return shutil.disk_usage(log.parent).free < FULL_BYTES
    except OSError:
        return False


def ends_torn(log: Path, offset: int) -> bool:
    """Whether a log is gone, or ends in an event that nobody is writing any more.

    offset: where its last whole event ends. One that stays empty was cut to nothing: the schedd
    writes each job's first event when it is submitted.
    """
    try:
        status = log.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    torn = status.st_size > offset or not status.st_size
    return torn and abs(time.time() - status.st_mtime) > TORN_S


def lacks_events(
    store: Store,
    round_: Round,
    news: Mapping[int, JobState],
    came_back: Iterable[int],
    factory: bool,
) -> bool:
    """Whether a log was cut before it was read: what is there tells of more than it says.

    news: the jobs of which it told just now. came_back: the procs whose archives were read just
    now. factory: whether jobs come into the queue little by little, else all did before one ran.
    Jobs come into the queue one after another, and an archive from a job that was started.
    """

    def known(proc: int) -> JobState | None:
        return news.get(proc) or store.job(round_.number, proc)

    if any(not job.submitted for job in news.values()):
        return True
    if any(proc - 1 not in news and not known(proc - 1) for proc in news if proc):
        return True
    began = any(job.starts or job.ended for job in news.values())
    if began and not factory and not known(round_.jobs - 1):
        return True
    return any((job := known(proc)) is None or not job.starts for proc in came_back)

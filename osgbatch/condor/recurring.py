"""Which held jobs would be held again for the same reason, were they released as they are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from osgbatch.condor.hold_codes import DISK, MEMORY, RELEASE, explain_hold
from osgbatch.condor.queue import Queue, QueuedJob

_INPUT = re.compile(r"(/[^\0\n]*?): \(errno (?:2|13|21)\)")
"""The file of a hold 13, which is the last path before its errno (seen on 23.9.6 and 25.14.1)."""
_READING = "reading from file "


def will_recur(queue: Queue, procs: Iterable[int], memory_mb: int, disk_kb: int) -> list[str]:
    """A warning for each cause for which some of these held jobs will be held again.

    memory_mb, disk_kb: what they will ask for, 0 for what they do. What the table of hold codes
    knows no better answer to than a release has no warning, unless it is an input that is still not
    here, or cannot be read.
    """
    found: dict[tuple[str, str], int] = {}
    for proc in procs:
        job = queue.jobs[proc]
        row = explain_hold(job.hold_code, job.hold_subcode, job.reason)
        cause = row.cause
        if missing := _missing_input(job):
            cause = f"{cause[:-1]}: {missing}."
        elif not row.commands or RELEASE in row.commands or _helps(job, row.commands, memory_mb,
                                                                    disk_kb):  # fmt: skip
            continue
        found[cause, row.todo] = found.get((cause, row.todo), 0) + 1
    return [
        f"{count:,} {'job' if count == 1 else 'jobs'} will probably be held again. {cause} {todo}"
        for (cause, todo), count in found.items()
    ]


def _missing_input(job: QueuedJob) -> str:
    """The input for which the job was held, when it can still not be read here; else empty."""
    if job.hold_code != 13 or job.hold_subcode not in (2, 13, 21):
        return ""
    text = job.reason.rpartition(_READING)[2] if _READING in job.reason else job.reason
    match = _INPUT.search(text)
    if match is None:
        return ""
    path = match[1]
    return "" if os.path.isfile(path) and os.access(path, os.R_OK) else path


def _helps(job: QueuedJob, commands: tuple[str, ...], memory_mb: int, disk_kb: int) -> bool:
    """Whether the job was held for what it now has more of."""
    if MEMORY in commands:
        return memory_mb > (job.memory_mb or 0)
    return DISK in commands and disk_kb > (job.disk_kb or 0)

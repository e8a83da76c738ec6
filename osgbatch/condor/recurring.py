"""Which held jobs would be held again for the same reason, were they released as they are."""

from __future__ import annotations

from collections.abc import Iterable

from osgbatch.condor.act import Queue, QueuedJob
from osgbatch.condor.hold_codes import DISK, MEMORY, RELEASE, explain_hold


def will_recur(queue: Queue, procs: Iterable[int], memory_mb: int, disk_kb: int) -> list[str]:
    """A warning for each cause for which some of these held jobs will be held again.

    memory_mb, disk_kb: what they will ask for, 0 for what they do. What the table of hold codes
    knows no better answer to than a release has no warning.
    """
    found: dict[tuple[str, str], int] = {}
    for proc in procs:
        job = queue.jobs[proc]
        row = explain_hold(job.hold_code, job.hold_subcode, job.reason)
        if not row.commands or RELEASE in row.commands or _helps(job, row.commands, memory_mb,
                                                                  disk_kb):  # fmt: skip
            continue
        found[row.cause, row.todo] = found.get((row.cause, row.todo), 0) + 1
    return [
        f"{count:,} {'job' if count == 1 else 'jobs'} will probably be held again. {cause} {todo}"
        for (cause, todo), count in found.items()
    ]


def _helps(job: QueuedJob, commands: tuple[str, ...], memory_mb: int, disk_kb: int) -> bool:
    """Whether the job was held for what it now has more of."""
    if MEMORY in commands:
        return memory_mb > (job.memory_mb or 0)
    return DISK in commands and disk_kb > (job.disk_kb or 0)

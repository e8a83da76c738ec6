"""A round in HTCondor's queue: its jobs, and what its factory has still to bring."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osgbatch import names
from osgbatch.condor.commands import run
from osgbatch.condor.home import check_home
from osgbatch.condor.schedd import call_schedd, constraint_of
from osgbatch.errors import CondorError
from osgbatch.model import Round
from osgbatch.task_ranges import parse_task_ranges, task_ranges

_AT_ONCE = 500
"""Ranges of procs in one constraint, so that it is no longer than an argument can be."""
STATES = {
    1: "waiting", 2: "running", 3: "removed", 4: "completed", 5: "held",
    6: "transferring output", 7: "suspended",
}  # fmt: skip
"""JobStatus. Source: HTCondor manual, Job ClassAd Attributes."""
OVER = ("removed", "completed")
"""States of jobs that only wait to leave the queue."""
CANCELLED = "OSGBatchCancelled"
CANCELLED_PROCS = "OSGBatchCancelledProcs"
"""In the ad of a factory: which of its jobs were cancelled before they came into the queue."""


@dataclass(frozen=True)
class QueuedJob:
    """A job in the queue. state: as in JobState; hold_code, hold_subcode, reason: of a held one.

    memory_mb, disk_kb: what it asks for, None where an expression says that.
    """

    proc: int
    state: str
    hold_code: int = 0
    hold_subcode: int = 0
    reason: str = ""
    memory_mb: int | None = None
    disk_kb: int | None = None


@dataclass(frozen=True)
class Queue:
    """A round in the queue: its jobs by proc, without those that are over.

    unqueued: the procs that its factory will bring; empty when there is none (any more). paused:
    the factory is held. shared: what its ad holds, by attribute. leaving: jobs that were removed,
    and are still there.
    """

    cluster: int
    jobs: Mapping[int, QueuedJob]
    unqueued: Sequence[int] = ()
    paused: bool = False
    shared: Mapping[str, Any] | None = None
    leaving: Sequence[int] = ()

    @property
    def live(self) -> list[int]:
        """The procs that may still run, or be running: also those that are leaving."""
        return sorted({*self.jobs, *self.unqueued, *self.leaving})


def look(round_: Round, cluster: int) -> Queue:
    """The jobs of a round in the queue, and what its factory still has to bring.

    Raises CondorError when the schedd does not answer, or another one has them.
    """
    # The factory first: a job that comes into the queue meanwhile is then seen at least once.
    found = query(round_, cluster, _FACTORY, ["-factory"])
    jobs = {int(ad["ProcId"]): _job(ad) for ad in query(round_, cluster, _JOBS)}
    live = {proc: job for proc, job in jobs.items() if job.state not in OVER}
    leaving = [proc for proc, job in jobs.items() if job.state == "removed"]
    # 3: the factory was removed, and stays until its jobs have gone (seen on 23.9.6, 25.14.1).
    if not found or found[0].get("JobFactoryPaused") == 3:
        return Queue(cluster, live, leaving=leaving)
    factory = found[0]
    gone = set(jobs) | set(cancelled_procs(factory))
    first, total = int(factory.get("JobMaterializeNextProcId", 0)), round_.jobs
    unqueued = [proc for proc in range(first, total) if proc not in gone]
    # 1: held; what else pauses a factory (its end, a failure) cannot be released.
    paused = factory.get("JobMaterializePaused") == 1
    return Queue(cluster, live, unqueued, paused, factory, leaving)


def asking_more(round_: Round, cluster: int, attribute: str, than: int) -> dict[int, int | None]:
    """The procs whose attribute is more than a number, and how much; None: an expression says it.

    The schedd evaluates it. Raises CondorError when it does not answer.
    """
    ads = query(round_, cluster, ("ProcId", attribute), more=f"{attribute} > {than}")
    return {int(ad["ProcId"]): number_of(ad, attribute) for ad in ads}


def clusters_in_queue(batch_ids: Sequence[str]) -> dict[str, list[int]]:
    """The clusters of each batch that are in the queue, by one query; batches with none left out.

    Held jobs count, and so does a factory that has no procs: its cluster ad is in the queue.
    Raises CondorError when the schedd cannot be asked.
    """
    wanted = ", ".join(f'"{i}"' for i in batch_ids if re.fullmatch(r"[0-9a-f]+", i))
    found = call_schedd(
        lambda htcondor: htcondor.Schedd().query(
            constraint=f"member({names.BATCH_ATTRIBUTE}, {{{wanted}}})",
            projection=["ClusterId", names.BATCH_ATTRIBUTE],
            opts=htcondor.QueryOpt.IncludeClusterAd,
        )
    )
    clusters: dict[str, set[int]] = {}
    for ad in found:
        clusters.setdefault(str(ad[names.BATCH_ATTRIBUTE]), set()).add(int(ad["ClusterId"]))
    return {batch_id: sorted(numbers) for batch_id, numbers in clusters.items()}


# --- asking ------------------------------------------------------------------------------------

_JOBS = (
    "ProcId", "JobStatus", "HoldReasonCode", "HoldReasonSubCode", "HoldReason", "RequestMemory",
    "RequestDisk",
)  # fmt: skip
_FACTORY = (
    "JobMaterializeNextProcId", "JobMaterializePaused", "JobFactoryPaused", "RequestMemory",
    "RequestDisk", "PeriodicRemove", "PeriodicRemoveReason", CANCELLED, CANCELLED_PROCS,
)  # fmt: skip


def query(
    round_: Round,
    cluster: int,
    attributes: Sequence[str],
    options: Sequence[str] = (),
    more: str = "true",
) -> list[dict[str, Any]]:
    """The attributes of a round's jobs, or of its factory (`-factory`), by condor_q.

    more: an expression that they meet, too. Raises CondorError when there is no answer, or its
    jobs are with another schedd.
    """
    check_home(round_)
    said, _ = run(
        ["condor_q", "-allusers", "-json", *options, "-attributes", ",".join(attributes),
         "-constraint", f"{of_round(round_, cluster)} && ({more})"]
    )  # fmt: skip
    try:
        ads: list[dict[str, Any]] = json.loads(said) if said.strip() else []
    except ValueError as error:
        raise CondorError(f"condor_q's answer cannot be read: {error}") from None
    return ads


def _job(ad: Mapping[str, Any]) -> QueuedJob:
    state = STATES.get(number_of(ad, "JobStatus") or 1, "waiting")
    held = state == "held"
    return QueuedJob(
        proc=int(ad["ProcId"]),
        state=state,
        hold_code=(number_of(ad, "HoldReasonCode") or 0) if held else 0,
        hold_subcode=(number_of(ad, "HoldReasonSubCode") or 0) if held else 0,
        reason=str(ad.get("HoldReason") or "") if held else "",
        memory_mb=number_of(ad, "RequestMemory"),
        disk_kb=number_of(ad, "RequestDisk"),
    )


def number_of(ad: Any, name: str) -> int | None:
    """An attribute that is a whole number; expressions that are not evaluated are none."""
    value = ad.get(name)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def written(ad: Mapping[str, Any], name: str) -> str:
    """An attribute as the expression that it is; condor_q's JSON marks those that are no value."""
    value = ad.get(name)
    if value is None:
        return ""
    text = str(value)
    if text.startswith("/Expr(") and text.endswith(")/"):
        return text[len("/Expr(") : -len(")/")]
    return json.dumps(value)


def cancelled_procs(factory: Mapping[str, Any]) -> list[int]:
    """The procs that were cancelled before they came into the queue."""
    text = str(factory.get(CANCELLED_PROCS, ""))
    return parse_task_ranges(text) if text else []


def of_round(round_: Round, cluster: int) -> str:
    """The ClassAd expression that the jobs of a round in this cluster meet, and no others."""
    return f"ClusterId == {cluster} && {constraint_of(round_)}"


def procs_in(ranges: str) -> str:
    """`0-9+12` as an expression that holds for these procs alone."""
    parts = []
    for one in ranges.split("+"):
        first, _, last = one.partition("-")
        parts.append(f"ProcId >= {first} && ProcId <= {last}" if last else f"ProcId == {first}")
    return " || ".join(f"({part})" for part in parts)


def in_pieces(procs: Collection[int]) -> Iterator[str]:
    """Expressions that together hold for these procs alone."""
    pieces = task_ranges(sorted(set(procs))).split("+") if procs else []
    for start in range(0, len(pieces), _AT_ONCE):
        yield procs_in("+".join(pieces[start : start + _AT_ONCE]))

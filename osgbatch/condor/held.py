"""Removes held jobs of a round, and makes sure that they are gone."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from osgbatch.condor.schedd import call_schedd, constraint_of
from osgbatch.errors import BusyError, CondorError
from osgbatch.model import Round

GONE_LIMIT_S = 60.0
"""How long a removed job may take to leave the queue."""
_AT_ONCE = 500
"""Ranges of procs in one expression: the schedd evaluates it for each job of the cluster."""
_IDLE, _REMOVED, _COMPLETED, _HELD = 1, 3, 4, 5
_FACTORY_REMOVED = 3
"""JobFactoryPaused of one that was removed, but whose jobs are still there (23.9.6, 25.14.1)."""

_NEXT, _PAUSED = "JobMaterializeNextProcId", "JobFactoryPaused"


@dataclass(frozen=True)
class LiveJob:
    """A job in the queue that is not over, or one that its factory will bring: as if idle.

    status: JobStatus, of the manual's Job Attributes.
    """

    proc: int
    status: int

    @property
    def held(self) -> bool:
        """Whether it is held."""
        return self.status == _HELD

    @property
    def idle(self) -> bool:
        """Whether it has yet to be started."""
        return self.status == _IDLE


def live_jobs(round_: Round, cluster: int) -> list[LiveJob]:
    """The jobs of a round that are in the queue and not over, by one query.

    Those that a factory has still to bring are among them. Raises CondorError.
    """
    ads = call_schedd(
        lambda htcondor: htcondor.Schedd().query(
            constraint=f"ClusterId == {cluster} && {constraint_of(round_)}"
            f" && JobStatus =!= {_COMPLETED}",
            projection=["ProcId", "JobStatus", _NEXT, _PAUSED],
            opts=htcondor.QueryOpt.IncludeClusterAd,
        )
    )
    found: dict[int, LiveJob] = {}
    for ad in ads:
        if ad.get("ProcId", -1) >= 0:
            found[int(ad["ProcId"])] = LiveJob(int(ad["ProcId"]), int(ad["JobStatus"]))
        elif _NEXT in ad and ad.get(_PAUSED) != _FACTORY_REMOVED:
            for proc in range(int(ad[_NEXT]), round_.jobs):
                found.setdefault(proc, LiveJob(proc, _IDLE))
    return sorted(found.values(), key=lambda job: job.proc)


def remove_held(round_: Round, cluster: int, procs: Collection[int], why: str) -> None:
    """Remove these jobs, which are held, and no others; returns when the queue has none of them.

    why: stands in their event log. Raises BusyError when one is not held any more, or does not
    leave the queue, CondorError when the schedd cannot be asked, or does not let us.
    """
    for ranges in _ranges(procs):
        constraint = (
            f"ClusterId == {cluster} && {constraint_of(round_)} && JobStatus == {_HELD}"
            f" && ({ranges})"
        )
        denied = _remove(constraint, why)
        if denied:
            raise CondorError(
                f"{denied} jobs of cluster {cluster} may not be removed by you",
                fix="Is the batch another user's?",
            )
    wanted = set(procs)
    limit = time.monotonic() + GONE_LIMIT_S
    while left := [job for job in live_jobs(round_, cluster) if job.proc in wanted]:
        released = [job for job in left if job.status not in (_REMOVED, _HELD)]
        if released or time.monotonic() > limit:
            names = ", ".join(f"{cluster}.{job.proc}" for job in (released or left)[:5])
            what = "not held any more" if released else f"there after {GONE_LIMIT_S:.0f} s"
            raise BusyError(
                f"jobs that were to be removed are {what}: {names}; nothing was submitted",
                fix="Look with `osgbatch status` and `condor_q`, then try again.",
            )
        time.sleep(0.2)


def _remove(constraint: str, why: str) -> int:
    """Remove jobs; how many of them we may not remove."""
    result = call_schedd(
        lambda htcondor: htcondor.Schedd().act(htcondor.JobAction.Remove, constraint, (why, 1))
    )
    return int(result.get("TotalPermissionDenied", 0))


def _ranges(procs: Collection[int]) -> Iterator[str]:
    """Expressions that together hold for these procs alone."""
    found: list[str] = []
    start = previous = -2
    for proc in [*sorted(set(procs)), -9]:
        if proc == previous + 1:
            previous = proc
            continue
        if start >= 0:
            one = f"ProcId >= {start} && ProcId <= {previous}"
            found.append(f"(ProcId == {start})" if start == previous else f"({one})")
        start = previous = proc
    for first in range(0, len(found), _AT_ONCE):
        yield " || ".join(found[first : first + _AT_ONCE])

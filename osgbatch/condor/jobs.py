"""Asks the schedd, and then its history, what has become of a round's jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from osgbatch.condor.queue import STATES, number_of
from osgbatch.condor.schedd import call_schedd, constraint_of, schedd_of
from osgbatch.model import JobState, Round

_QUEUE = (
    "ClusterId", "ProcId", "JobStatus", "HoldReason", "HoldReasonCode", "HoldReasonSubCode",
    "NumJobStarts", "RemoteHost", "QDate", "JobCurrentStartDate", "JobMaterializeNextProcId",
    "EnteredCurrentStatus", "RemoveReason",
)  # fmt: skip
_HISTORY = (
    "ProcId", "JobStatus", "ExitCode", "ExitBySignal", "ExitSignal", "RemoveReason",
    "NumJobStarts", "LastRemoteHost", "QDate", "JobCurrentStartDate", "CompletionDate",
    "EnteredCurrentStatus",
)  # fmt: skip
_CLOCK_S = 3600
"""How far the clock of the schedd may be off from ours when it is told how old a job can be."""
_LEFT_IN_QUEUE_S = 10 * 86400
"""How long `condor_submit -spool` and -remote leave jobs in the queue that have ended."""


@dataclass(frozen=True)
class Queued:
    """What the queue and the history tell of a round.

    jobs: the states by proc of those that either knows; next_proc: the first proc that is not yet
    in the queue, None when there is no factory any more (or never was); queued: whether the queue
    has anything of it; leaving: the procs that are over and not yet in the history.
    """

    jobs: Mapping[int, JobState]
    next_proc: int | None
    queued: bool
    leaving: frozenset[int] = frozenset()


def ask_jobs(
    round_: Round, cluster: int, submitted: float, ended: Iterable[int] = (), schedd: str = ""
) -> Queued:
    """Ask for the jobs of a round: one query, and one of the history when jobs are missing.

    submitted: when the round was submitted, s since 1970 (0: not known), so that no more of the
    history is read; ended: procs of which nothing need be asked any more; schedd: the name
    of the one that has it, empty for that of this machine. Raises CondorError when
    there is no answer: then nothing is known.
    """
    ads = call_schedd(
        lambda htcondor: schedd_of(htcondor, schedd).query(
            constraint=f"ClusterId == {cluster} && {constraint_of(round_)}",
            projection=list(_QUEUE),
            opts=htcondor.QueryOpt.IncludeClusterAd,
        )
    )
    jobs: dict[int, JobState] = {}
    leaving = set()
    next_proc = None
    for ad in ads:
        if "ProcId" in ad:
            jobs[int(ad["ProcId"])] = _of_queue(ad)
            if number_of(ad, "JobStatus") in (3, 4):
                leaving.add(int(ad["ProcId"]))
        else:
            next_proc = number_of(ad, "JobMaterializeNextProcId")
    there = range(round_.jobs if next_proc is None else next_proc)
    missing = set(there) - jobs.keys() - set(ended)
    if missing:
        jobs.update(_of_history(round_, cluster, submitted, missing, schedd))
    return Queued(jobs, next_proc, bool(ads), frozenset(leaving))


def _of_history(
    round_: Round, cluster: int, submitted: float, missing: set[int], schedd: str
) -> dict[int, JobState]:
    """What the history tells of jobs that are not in the queue any more.

    It is read from its newest entry on, until all are found or jobs are older than the round. A job
    that stayed in the queue long after its end (`leave_in_queue`) looks older than it is there, and
    may lie before ours: what is not found is looked for once more, until jobs are older than that.
    """
    found: dict[int, JobState] = {}
    for longer in (0, _LEFT_IN_QUEUE_S):
        since = f"EnteredCurrentStatus < {int(submitted) - _CLOCK_S - longer}" if submitted else ""
        found = _in_history(round_, cluster, missing, since or None, schedd)
        if not since or len(found) == len(missing):
            break
    return found


def _in_history(
    round_: Round, cluster: int, missing: set[int], since: str | None, schedd: str
) -> dict[int, JobState]:
    """The same, by one question. since: what is true of the entry at which reading ends."""
    constraint = f"ClusterId == {cluster} && {constraint_of(round_)}"
    ads = call_schedd(
        lambda htcondor: list(
            schedd_of(htcondor, schedd).history(
                constraint=constraint, projection=list(_HISTORY), match=round_.jobs, since=since
            )
        )
    )
    found: dict[int, JobState] = {}
    for ad in ads:
        proc = number_of(ad, "ProcId")
        if proc is not None and proc in missing and proc not in found:
            found[proc] = _of_ended(proc, ad)
    return found


_REASONS = {"held": "HoldReason", "removed": "RemoveReason"}


def _of_queue(ad: Any) -> JobState:
    state = STATES.get(number_of(ad, "JobStatus") or 0, "waiting")
    held, since = state == "held", float(number_of(ad, "EnteredCurrentStatus") or 0)
    return JobState(
        proc=int(ad["ProcId"]),
        # What is over only waits to leave the queue; how it ended stands in the history.
        state="running" if state == "completed" else state,
        reason=str(ad.get(_REASONS[state], "")) if state in _REASONS else "",
        hold_code=(number_of(ad, "HoldReasonCode") or 0) if held else 0,
        hold_subcode=(number_of(ad, "HoldReasonSubCode") or 0) if held else 0,
        starts=number_of(ad, "NumJobStarts") or 0,
        host=str(ad.get("RemoteHost", "")),
        submitted=float(number_of(ad, "QDate") or 0),
        started=float(number_of(ad, "JobCurrentStartDate") or 0),
        ended=since or 1.0 if state == "removed" else 0.0,
        changed=since,
    )


def _of_ended(proc: int, ad: Any) -> JobState:
    removed = number_of(ad, "JobStatus") == 3
    by_signal = ad.get("ExitBySignal") is True
    return JobState(
        proc=proc,
        state="removed" if removed else "completed",
        reason=str(ad.get("RemoveReason", "")) if removed else "",
        exit_code=None if removed or by_signal else number_of(ad, "ExitCode"),
        signal=number_of(ad, "ExitSignal") if by_signal and not removed else None,
        starts=number_of(ad, "NumJobStarts") or 0,
        host=str(ad.get("LastRemoteHost", "")),
        submitted=float(number_of(ad, "QDate") or 0),
        started=float(number_of(ad, "JobCurrentStartDate") or 0),
        ended=float(number_of(ad, "CompletionDate") or number_of(ad, "EnteredCurrentStatus") or 1),
    )

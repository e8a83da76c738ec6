"""Acts on a round's jobs: removes, releases, edits, also those that are not yet in the queue.

What is not yet in the queue belongs to the factory, which is the cluster's own ad. Seen alike on
23.9.6 and 25.14.1: condor_rm of a proc not yet queued finds nothing, and it runs later; an act on a
constraint that the cluster ad meets stops the factory (remove, hold) or lets it go on (release),
and `ProcId =?= undefined` is met by nothing else; condor_qedit of a cluster by its number sets what
all its procs have, later ones too, whatever was their own (EditedClusterAttrs).

HTCondor's commands are used, which speak as the access point does: htcondor2 25.14 cannot
authenticate (FS) to a schedd of 23.9.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osgbatch.condor.commands import run
from osgbatch.condor.schedd import constraint_of
from osgbatch.errors import CondorError
from osgbatch.model import Round
from osgbatch.task_ranges import parse_task_ranges, task_ranges

ACT_LIMIT_S = 300.0
"""Seconds after which a schedd that acts on many jobs is called silent."""
SETTLE_LIMIT_S = 20.0
"""How long jobs may take to show in the queue what was asked of them."""
MAX_RANGES = 1000
"""Ranges of procs in an expression that the schedd evaluates again and again, for each job."""
_AT_ONCE = 500
"""Ranges of procs in one constraint, so that it is no longer than an argument can be."""
_STATES = {
    1: "waiting", 2: "running", 3: "removed", 4: "completed", 5: "held",
    6: "transferring output", 7: "suspended",
}  # fmt: skip
"""JobStatus. Source: HTCondor manual, Job ClassAd Attributes."""
OVER = ("removed", "completed")
"""States of jobs that only wait to leave the queue."""
_CANCELLED = "OSGBatchCancelled"
_CANCELLED_PROCS = "OSGBatchCancelledProcs"
REASON = "removed by osgbatch cancel"


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
    the factory is held. shared: what its ad holds, by attribute.
    """

    cluster: int
    jobs: Mapping[int, QueuedJob]
    unqueued: Sequence[int] = ()
    paused: bool = False
    shared: Mapping[str, Any] | None = None


def look(round_: Round, cluster: int) -> Queue:
    """The jobs of a round in the queue, and what its factory still has to bring.

    Raises CondorError when the schedd does not answer.
    """
    # The factory first: a job that comes into the queue meanwhile is then seen at least once.
    found = _query(round_, cluster, _FACTORY, ["-factory"])
    jobs = {int(ad["ProcId"]): _job(ad) for ad in _query(round_, cluster, _JOBS)}
    live = {proc: job for proc, job in jobs.items() if job.state not in OVER}
    # 3: the factory was removed, and stays until its jobs have gone (seen on 23.9.6, 25.14.1).
    if not found or found[0].get("JobFactoryPaused") == 3:
        return Queue(cluster, live)
    factory = found[0]
    gone = set(jobs) | set(_cancelled_procs(factory))
    first, total = int(factory.get("JobMaterializeNextProcId", 0)), round_.jobs
    unqueued = [proc for proc in range(first, total) if proc not in gone]
    # 1: held; what else pauses a factory (its end, a failure) cannot be released.
    return Queue(cluster, live, unqueued, factory.get("JobMaterializePaused") == 1, factory)


def cancel(round_: Round, cluster: int) -> None:
    """Remove all jobs of a round, those that are not yet in the queue too.

    Raises CondorError when the schedd does not answer, or does not let us.
    """
    problem = _try(["condor_rm", "-reason", REASON, "-constraint", _constraint(round_, cluster)])
    _settle(round_, cluster, problem, "removed", lambda queue: [*queue.jobs, *queue.unqueued])


def remove(
    round_: Round, cluster: int, procs: Collection[int], only: Collection[str] = ()
) -> list[int]:
    """Remove these jobs, which are in the queue, and no others; returns when they are removed.

    only: those alone that are in these states when the schedd does it, if any are named; gives the
    others. Raises CondorError when the schedd does not answer, or does not let us.
    """
    problem = None
    states = [f"JobStatus == {number}" for number, state in _STATES.items() if state in only]
    now = f" && ({' || '.join(states)})" if only else ""
    for ranges in _ranges(procs):
        constraint = f"{_constraint(round_, cluster)} && ({ranges}){now}"
        problem = _try(["condor_rm", "-reason", REASON, "-constraint", constraint]) or problem
    wanted = set(procs)
    others: set[int] = set()

    def left(queue: Queue) -> set[int]:
        there = wanted & queue.jobs.keys()
        others.clear()
        others.update(proc for proc in there if only and queue.jobs[proc].state not in only)
        return there - others

    _settle(round_, cluster, problem, "removed", left)
    return sorted(others)


def forget(round_: Round, queue: Queue, procs: Collection[int]) -> None:
    """See to it that these jobs, which are not yet in the queue, never run; the others will.

    They still come into the queue, may run on no host, and are removed there as soon as the schedd
    looks at its rules (PERIODIC_EXPR_INTERVAL, 60 s). Where nothing else is to come, the factory
    ends. Raises CondorError when the schedd does not answer or does not let us, or when they are in
    too many pieces for one expression.
    """
    shared = queue.shared or {}
    before = _cancelled_procs(shared)
    text = task_ranges(sorted({*before, *procs}))
    if text.count("+") >= MAX_RANGES:
        raise CondorError(
            f"these tasks are in {text.count('+') + 1:,} pieces, too many for one expression",
            fix="Cancel all that wait (`--idle`), and run the others again (`osgbatch resubmit`).",
        )
    edits = {_CANCELLED: f"({_expression(text)})", _CANCELLED_PROCS: f'"{text}"'}
    if _CANCELLED not in shared:  # else the rules know it already
        rule, why = _text(shared, "PeriodicRemove"), _text(shared, "PeriodicRemoveReason")
        edits |= {
            "PeriodicRemove": f"{_CANCELLED} || ({rule or 'false'})",
            "PeriodicRemoveReason": f'ifThenElse({_CANCELLED}, "{REASON}", {why or "undefined"})',
            # Not by Requirements, which access points rewrite (JOB_TRANSFORM). A job that may run
            # on no host is not even offered (seen on 23.9.6 and 25.14.1).
            "MaxHosts": f"ifThenElse({_CANCELLED}, 0, 1)",
        }
    edit_all(round_, queue.cluster, edits)
    if set(queue.unqueued) <= set(procs):
        constraint = f"{_constraint(round_, queue.cluster)} && ProcId =?= undefined"
        problem = _try(["condor_rm", "-reason", REASON, "-constraint", constraint])
        if problem and look(round_, queue.cluster).shared:
            raise problem


def release(round_: Round, cluster: int, procs: Collection[int], *, factory: bool = False) -> None:
    """Release these held jobs, and the factory when it is held; returns when none is held.

    Raises CondorError when the schedd does not answer, or does not let us.
    """
    problem = None
    for ranges in _ranges(procs):
        constraint = f"{_constraint(round_, cluster)} && JobStatus == 5 && ({ranges})"
        problem = _try(["condor_release", "-constraint", constraint]) or problem
    if factory:
        constraint = f"{_constraint(round_, cluster)} && ProcId =?= undefined"
        problem = _try(["condor_release", "-constraint", constraint]) or problem
    wanted = set(procs) if problem else set()

    def left(queue: Queue) -> list[int]:
        held = [proc for proc in wanted & queue.jobs.keys() if queue.jobs[proc].state == "held"]
        return held or [-1] * (factory and queue.paused)

    _settle(round_, cluster, problem, "released", left)


def edit(round_: Round, cluster: int, procs: Collection[int], edits: Mapping[str, str]) -> None:
    """Set attributes of these jobs, which are in the queue, to expressions.

    Raises CondorError when the schedd does not answer, or does not let us.
    """
    for ranges in _ranges(procs):
        _edit(["-constraint", f"{_constraint(round_, cluster)} && ({ranges})"], edits)


def edit_all(round_: Round, cluster: int, edits: Mapping[str, str]) -> None:
    """Set attributes for all jobs of a round, those that are not yet in the queue too.

    What a job has of its own is lost. Raises CondorError when the schedd does not answer, does not
    let us, or the cluster is not the round's.
    """
    if not _query(round_, cluster, ("ClusterId",), ["-factory"]):
        raise CondorError(
            f"cluster {cluster} is not in the queue any more, or is not of batch {round_.batch_id}",
            fix="See `osgbatch status`.",
        )
    _edit([str(cluster)], edits)


def asking_more(round_: Round, cluster: int, attribute: str, than: int) -> dict[int, int | None]:
    """The procs whose attribute is more than a number, and how much; None: an expression says it.

    The schedd evaluates it. Raises CondorError when it does not answer.
    """
    ads = _query(round_, cluster, ("ProcId", attribute), more=f"{attribute} > {than}")
    return {int(ad["ProcId"]): _number(ad, attribute) for ad in ads}


# --- asking and acting ---------------------------------------------------------------------------

_JOBS = (
    "ProcId", "JobStatus", "HoldReasonCode", "HoldReasonSubCode", "HoldReason", "RequestMemory",
    "RequestDisk",
)  # fmt: skip
_FACTORY = (
    "JobMaterializeNextProcId", "JobMaterializePaused", "JobFactoryPaused", "RequestMemory",
    "RequestDisk", "PeriodicRemove", "PeriodicRemoveReason", _CANCELLED, _CANCELLED_PROCS,
)  # fmt: skip


def _query(
    round_: Round,
    cluster: int,
    attributes: Sequence[str],
    options: Sequence[str] = (),
    more: str = "true",
) -> list[dict[str, Any]]:
    said, _ = run(
        ["condor_q", "-allusers", "-json", *options, "-attributes", ",".join(attributes),
         "-constraint", f"{_constraint(round_, cluster)} && ({more})"]
    )  # fmt: skip
    try:
        ads: list[dict[str, Any]] = json.loads(said) if said.strip() else []
    except ValueError as error:
        raise CondorError(f"condor_q's answer cannot be read: {error}") from None
    return ads


def _job(ad: Mapping[str, Any]) -> QueuedJob:
    state = _STATES.get(_number(ad, "JobStatus") or 1, "waiting")
    held = state == "held"
    return QueuedJob(
        proc=int(ad["ProcId"]),
        state=state,
        hold_code=(_number(ad, "HoldReasonCode") or 0) if held else 0,
        hold_subcode=(_number(ad, "HoldReasonSubCode") or 0) if held else 0,
        reason=str(ad.get("HoldReason") or "") if held else "",
        memory_mb=_number(ad, "RequestMemory"),
        disk_kb=_number(ad, "RequestDisk"),
    )


def _number(ad: Mapping[str, Any], name: str) -> int | None:
    value = ad.get(name)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(ad: Mapping[str, Any], name: str) -> str:
    """An attribute as the expression that it is; condor_q's JSON marks those that are no value."""
    value = ad.get(name)
    if value is None:
        return ""
    text = str(value)
    if text.startswith("/Expr(") and text.endswith(")/"):
        return text[len("/Expr(") : -len(")/")]
    return json.dumps(value)


def _cancelled_procs(factory: Mapping[str, Any]) -> list[int]:
    text = str(factory.get(_CANCELLED_PROCS, ""))
    return parse_task_ranges(text) if text else []


def _constraint(round_: Round, cluster: int) -> str:
    return f"ClusterId == {cluster} && {constraint_of(round_)}"


def _expression(ranges: str) -> str:
    """`0-9+12` as an expression that holds for these procs alone."""
    parts = []
    for one in ranges.split("+"):
        first, _, last = one.partition("-")
        parts.append(f"ProcId >= {first} && ProcId <= {last}" if last else f"ProcId == {first}")
    return " || ".join(f"({part})" for part in parts)


def _ranges(procs: Collection[int]) -> Iterator[str]:
    """Expressions that together hold for these procs alone."""
    pieces = task_ranges(sorted(set(procs))).split("+") if procs else []
    for start in range(0, len(pieces), _AT_ONCE):
        yield _expression("+".join(pieces[start : start + _AT_ONCE]))


def _try(command: Sequence[str]) -> CondorError | None:
    """Run a command whose failure may say no more than that there was nothing to do."""
    try:
        run(command, limit=ACT_LIMIT_S)
    except CondorError as error:
        return error
    return None


def _edit(which: Sequence[str], edits: Mapping[str, str]) -> None:
    with tempfile.NamedTemporaryFile("w", prefix="osgbatch-", suffix=".ad") as file:
        file.writelines(f"{name} = {value}\n" for name, value in edits.items())
        file.flush()
        run(["condor_qedit", *which, "-edits:long", file.name], limit=ACT_LIMIT_S)


def _settle(round_: Round, cluster: int, problem: CondorError | None, done: str, left: Any) -> None:
    """Wait until the queue shows what was asked for. Raises CondorError when it does not come."""
    limit = time.monotonic() + (0 if problem else SETTLE_LIMIT_S)
    while True:
        open_ = left(look(round_, cluster))
        if not open_:
            return
        if time.monotonic() >= limit:
            break
        time.sleep(0.2)
    if problem:
        raise CondorError(
            f"{len(open_):,} jobs of cluster {cluster} were not {done}: {problem.what}",
            fix="Is the batch another user's?",
        )
    raise CondorError(
        f"{len(open_):,} jobs of cluster {cluster} have not been {done} "
        f"within {SETTLE_LIMIT_S:.0f} s",
        fix="See `condor_q`, and try again.",
    )

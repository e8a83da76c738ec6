"""Acts on a round's jobs: removes, releases, edits, also those that are not yet in the queue.

What is not yet in the queue belongs to the factory, which is the cluster's own ad. Seen alike on
23.9.6 and 25.14.1: condor_rm of a proc not yet queued finds nothing, and it runs later; an act on a
constraint that the cluster ad meets stops the factory (remove, hold) or lets it go on (release),
and `ProcId =?= undefined` is met by nothing else; condor_qedit of a cluster by its number sets what
all its procs have, later ones too, whatever was their own (EditedClusterAttrs).

It is done by the commands that the user could type, which speak as the access point does, and the
queue is then looked at: what they say is no more than that the schedd has heard of it. All raise
CondorError, and do nothing, when the round's jobs are with another schedd than the one here.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from osgbatch.condor.commands import run
from osgbatch.condor.home import check_home
from osgbatch.condor.queue import (
    CANCELLED,
    CANCELLED_PROCS,
    STATES,
    Queue,
    cancelled_procs,
    in_pieces,
    look,
    of_round,
    procs_in,
    query,
    written,
)
from osgbatch.errors import BusyError, CondorError
from osgbatch.model import Round
from osgbatch.task_ranges import task_ranges

ACT_LIMIT_S = 300.0
"""Seconds after which a schedd that acts on many jobs is called silent."""
SETTLE_LIMIT_S = 20.0
"""How long jobs may take to show in the queue what was asked of them."""
GONE_LIMIT_S = 60.0
"""How long a removed job may take to leave the queue."""
MAX_RANGES = 1000
"""Ranges of procs in an expression that the schedd evaluates again and again, for each job."""
REASON = "removed by osgbatch cancel"


def cancel(round_: Round, cluster: int) -> None:
    """Remove all jobs of a round, those that are not yet in the queue too.

    Raises CondorError when the schedd does not answer, or does not let us.
    """
    problem = _try(
        round_, ["condor_rm", "-reason", REASON, "-constraint", of_round(round_, cluster)]
    )
    _settle(round_, cluster, problem, "removed", lambda queue: [*queue.jobs, *queue.unqueued])


def remove(
    round_: Round,
    cluster: int,
    procs: Collection[int],
    only: Collection[str] = (),
    why: str = REASON,
) -> list[int]:
    """Remove these jobs, which are in the queue, and no others; returns when they are removed.

    only: those alone that are in these states when the schedd does it, if any are named; gives the
    others. why: stands in their event log. Raises CondorError when the schedd does not answer, or
    does not let us.
    """
    problem = None
    states = [f"JobStatus == {number}" for number, state in STATES.items() if state in only]
    now = f" && ({' || '.join(states)})" if only else ""
    for ranges in in_pieces(procs):
        constraint = f"{of_round(round_, cluster)} && ({ranges}){now}"
        problem = _try(round_, ["condor_rm", "-reason", why, "-constraint", constraint]) or problem
    wanted = set(procs)
    others: set[int] = set()

    def left(queue: Queue) -> set[int]:
        there = wanted & queue.jobs.keys()
        others.clear()
        others.update(proc for proc in there if only and queue.jobs[proc].state not in only)
        return there - others

    _settle(round_, cluster, problem, "removed", left)
    return sorted(others)


def remove_held(round_: Round, cluster: int, procs: Collection[int], why: str) -> None:
    """Remove these jobs, which are held, and no others; returns when the queue has none of them.

    Raises BusyError when one is not held any more, or does not leave the queue, CondorError as
    `remove` does.
    """
    limit = time.monotonic() + GONE_LIMIT_S
    left = released = remove(round_, cluster, procs, ("held",), why)
    while not released and (left := sorted({*procs} & {*look(round_, cluster).live})):
        if time.monotonic() > limit:
            break
        time.sleep(0.2)
    if left:
        named = ", ".join(f"{cluster}.{proc}" for proc in left[:5])
        what = "not held any more" if released else f"there after {GONE_LIMIT_S:.0f} s"
        gone = len(procs) - len(left)
        removed = f"; {gone:,} others are removed" if gone else ""
        raise BusyError(
            f"jobs that were to be removed are {what}: {named}{removed}; nothing was submitted",
            fix="Look with `osgbatch status`. What was removed is run again by `osgbatch resubmit "
            "--missing`.",
        )


def hold(round_: Round, cluster: int, why: str) -> None:
    """Hold all jobs of a round that have not ended, and its factory; returns when they are held.

    why: their hold reason. Raises CondorError when the schedd does not answer, or does not let us.
    """
    # 3, 4, 5: removed, completed, held. The factory may have no JobStatus.
    going = "ProcId =?= undefined || !member(JobStatus, {3, 4, 5})"
    constraint = f"{of_round(round_, cluster)} && ({going})"
    problem = _try(round_, ["condor_hold", "-reason", why, "-constraint", constraint])

    def left(queue: Queue) -> list[int]:
        free = [proc for proc, job in queue.jobs.items() if job.state != "held"]
        return free if queue.paused else [*free, *queue.unqueued]

    _settle(round_, cluster, problem, "held", left)


def forget(round_: Round, queue: Queue, procs: Collection[int]) -> None:
    """See to it that these jobs, which are not yet in the queue, never run; the others will.

    They still come into the queue, may run on no host, and are removed there as soon as the schedd
    looks at its rules (PERIODIC_EXPR_INTERVAL, 60 s). Where nothing else is to come, the factory
    ends. Raises CondorError when the schedd does not answer or does not let us, or when they are in
    too many pieces for one expression.
    """
    shared = queue.shared or {}
    before = cancelled_procs(shared)
    text = task_ranges(sorted({*before, *procs}))
    if text.count("+") >= MAX_RANGES:
        raise CondorError(
            f"these tasks are in {text.count('+') + 1:,} pieces, too many for one expression",
            fix="Cancel all that wait (`--idle`), and run the others again (`osgbatch resubmit`).",
        )
    edits = {CANCELLED: f"({procs_in(text)})", CANCELLED_PROCS: f'"{text}"'}
    if CANCELLED not in shared:  # else the rules know it already
        rule, why = written(shared, "PeriodicRemove"), written(shared, "PeriodicRemoveReason")
        edits |= {
            "PeriodicRemove": f"{CANCELLED} || ({rule or 'false'})",
            "PeriodicRemoveReason": f'ifThenElse({CANCELLED}, "{REASON}", {why or "undefined"})',
            # Not by Requirements, which access points rewrite (JOB_TRANSFORM). A job that may run
            # on no host is not even offered (seen on 23.9.6 and 25.14.1).
            "MaxHosts": f"ifThenElse({CANCELLED}, 0, 1)",
        }
    edit_all(round_, queue.cluster, edits)
    if set(queue.unqueued) <= set(procs):
        constraint = f"{of_round(round_, queue.cluster)} && ProcId =?= undefined"
        problem = _try(round_, ["condor_rm", "-reason", REASON, "-constraint", constraint])
        if problem and look(round_, queue.cluster).shared:
            raise problem


def release(round_: Round, cluster: int, procs: Collection[int], *, factory: bool = False) -> None:
    """Release these held jobs, and the factory when it is held; returns when none is held.

    Raises CondorError when the schedd does not answer, or does not let us.
    """
    problem = None
    for ranges in in_pieces(procs):
        constraint = f"{of_round(round_, cluster)} && JobStatus == 5 && ({ranges})"
        problem = _try(round_, ["condor_release", "-constraint", constraint]) or problem
    if factory:
        constraint = f"{of_round(round_, cluster)} && ProcId =?= undefined"
        problem = _try(round_, ["condor_release", "-constraint", constraint]) or problem
    wanted = set(procs) if problem else set()

    def left(queue: Queue) -> list[int]:
        held = [proc for proc in wanted & queue.jobs.keys() if queue.jobs[proc].state == "held"]
        return held or [-1] * (factory and queue.paused)

    _settle(round_, cluster, problem, "released", left)


def edit(round_: Round, cluster: int, procs: Collection[int], edits: Mapping[str, str]) -> None:
    """Set attributes of these jobs, which are in the queue, to expressions.

    Raises CondorError when the schedd does not answer, or does not let us.
    """
    for ranges in in_pieces(procs):
        _edit(round_, ["-constraint", f"{of_round(round_, cluster)} && ({ranges})"], edits)


def edit_all(round_: Round, cluster: int, edits: Mapping[str, str]) -> None:
    """Set attributes for all jobs of a round, those that are not yet in the queue too.

    What a job has of its own is lost. Raises CondorError when the schedd does not answer, does not
    let us, or the cluster is not the round's.
    """
    if not query(round_, cluster, ("ClusterId",), ["-factory"]):
        raise CondorError(
            f"cluster {cluster} is not in the queue any more, or is not of batch {round_.batch_id}",
            fix="See `osgbatch status`.",
        )
    _edit(round_, [str(cluster)], edits)


def _try(round_: Round, command: Sequence[str]) -> CondorError | None:
    """Run a command whose failure may say no more than that there was nothing to do.

    Raises CondorError, before it is run, when the round's jobs are with another schedd.
    """
    check_home(round_)
    try:
        run(command, limit=ACT_LIMIT_S)
    except CondorError as error:
        return error
    return None


def _edit(round_: Round, which: Sequence[str], edits: Mapping[str, str]) -> None:
    check_home(round_)
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

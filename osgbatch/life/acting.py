"""Cancels a submitted batch, or chosen tasks of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from osgbatch import condor, local, names
from osgbatch.batches import folder as folders
from osgbatch.batches.cancelled import note_cancelled
from osgbatch.batches.folder import Batch, write_bytes
from osgbatch.batches.notes import cluster_of, other_host
from osgbatch.condor import Queue, QueuedJob
from osgbatch.errors import BatchError, BusyError, CondorError
from osgbatch.life.following import status
from osgbatch.life.rounds import RUNNER_DIED
from osgbatch.model import ACTIVE, OPEN, Round
from osgbatch.task_ranges import parse_task_ranges

WAITING, HELD = "waiting", "held"


@dataclass(frozen=True)
class Live:
    """A round that may have jobs left. tasks: of each proc, as text; local: who runs it."""

    round: Round
    local: bool
    queue: Queue
    tasks: Sequence[str]

    @property
    def cluster(self) -> int:
        """Its cluster."""
        return self.queue.cluster

    def tasks_of(self, proc: int) -> list[int]:
        """The tasks of a job."""
        return parse_task_ranges(self.tasks[proc])

    def count(self, procs: Collection[int]) -> int:
        """How many tasks these jobs have together."""
        return sum(len(self.tasks_of(proc)) for proc in procs)


# --- all of a batch ------------------------------------------------------------------------------


def open_tasks(batch: Batch) -> int:
    """How many tasks of a batch have not ended, as far as is known.

    What HTCondor knew nothing of when it was asked may be in the queue all the same.
    """
    now = status(batch)
    found = sum(now.counts.get(state, 0) for state in (*OPEN, HELD))
    return found + sum(task.detail == RUNNER_DIED or task.reason == "gone" for task in now.wrong)


def gather_jobs(batch: Batch) -> list[Batch]:
    """The batches in its folder: jobs of the pool that gather its results."""
    found = sorted((batch.folder / names.GATHER).glob(f"*/{names.RESOLVED}"))
    return [folders.load(path.parent) for path in found]


def open_gathering(batch: Batch) -> list[Batch]:
    """Those of the jobs that gather its results that have not ended, and were submitted."""
    return [job for job in gather_jobs(batch) if _was_given(job) and open_tasks(job)]


def _was_given(job: Batch) -> bool:
    return any(folders.read_submitted(round_) is not None for round_ in job.rounds())


@dataclass(frozen=True)
class Cancelled:
    """What was removed: how many tasks had not ended, and how many jobs that gather."""

    tasks: int
    gathering: int


def cancel_batch(batch: Batch) -> Cancelled:
    """Remove the batch's jobs, also those that gather its results, and no other.

    Waits for a submission of the batch that is under way. A batch that was submitted by hand is
    found by the id that its jobs carry. Raises CondorError when the schedd does not answer or does
    not let us.
    """
    with folders.locked(batch.folder, wait=True):
        # Whoever gives a job that gathers has this lock: afterwards there is none.
        tasks = _cancel_tasks(batch)
        gathering = 0
        for job in open_gathering(batch):
            # What was cut short before it was in the queue is not there.
            with suppress(BatchError), folders.locked(job.folder, wait=True):
                gathering += _cancel_tasks(job)
    return Cancelled(tasks, gathering)


def _cancel_tasks(batch: Batch) -> int:
    """Remove the batch's own jobs; gives how many tasks had not ended. The lock is held."""
    count = open_tasks(batch) or _left_in_queue(batch)
    if not count:
        return 0
    known = [(round_, *_cluster(round_)) for round_ in batch.rounds()]
    if not any(cluster for *_, cluster in known):
        raise _never_submitted(batch)
    # First: a canary that succeeds meanwhile submits nothing more, nor does who sees to a rest
    # whose submission was cut short.
    if batch.unsubmitted() or (len(known) > 1 and not known[-1][2]):
        write_bytes(batch.folder / names.REST_CANCELLED, b"")
    for round_, is_local, cluster in known:
        if is_local and cluster:
            local.cancel(round_, cluster)
        elif cluster:
            if other_host(round_):
                _look(batch, round_, cluster)
            condor.cancel(round_, cluster)
    return count


def _left_in_queue(batch: Batch) -> int:
    """How many tasks are in jobs that HTCondor has still, though all tasks have ended.

    A job can be held when what it made is home already, or run again after it was evicted then.
    """
    found = 0
    for round_ in batch.rounds() if condor.configured() else ():
        noted, cluster = folders.read_submitted(round_), cluster_of(round_)
        if noted is None or noted.backend == "local" or not cluster:
            continue
        queue = condor.look(round_, cluster)
        if queue.jobs or queue.unqueued:
            live = Live(round_, False, queue, folders.round_tasks(round_))
            found += live.count({*queue.jobs, *queue.unqueued})
    return found


def _never_submitted(batch: Batch) -> BatchError:
    return BatchError(
        "this batch was never submitted",
        where=str(batch.folder),
        fix="`osgbatch submit` of its sweep goes on with it or makes a new one; `osgbatch rm` "
        "removes it.",
    )


def _look(batch: Batch, round_: Round, cluster: int) -> Queue:
    """A round in HTCondor's queue.

    Raises CondorError when it is not here, but on another access point, as far as is known.
    """
    host = other_host(round_)
    if host and not condor.configured():
        raise CondorError(
            f"this batch runs on HTCondor (submitted on {host}), and there is no HTCondor here",
            where=str(batch.folder),
            fix="Run the same command there.",
        )
    queue = condor.look(round_, cluster)
    if host and not queue.jobs and not queue.unqueued and open_tasks(batch):
        raise CondorError(
            f"the queue of this machine has no jobs of the batch, which was submitted on {host}",
            where=str(batch.folder),
            fix="Run the same command there.",
        )
    return queue


def _cluster(round_: Round) -> tuple[bool, int]:
    """Whether the local runner has a round, and its cluster; 0 when nobody knows the round."""
    submitted = folders.read_submitted(round_)
    cluster = cluster_of(round_)
    if submitted is not None and submitted.backend == "local":
        return True, cluster or round_.number * local.alive(round_, round_.number)
    if not cluster and (submitted is not None or condor.configured()):
        cluster = condor.find_cluster(round_) or 0
    return False, cluster


def live_rounds(batch: Batch) -> Iterator[Live]:
    """The rounds of a batch as they are in the queue now."""
    known = False
    for round_ in batch.rounds():
        is_local, cluster = _cluster(round_)
        known = known or bool(cluster)
        if is_local:
            queue = Queue(cluster, _local_jobs(batch, round_, cluster))
        elif cluster:
            queue = _look(batch, round_, cluster)
        else:
            continue
        if queue.jobs or queue.unqueued:
            yield Live(round_, is_local, queue, folders.round_tasks(round_))
    if not known:
        raise _never_submitted(batch)


def _local_jobs(batch: Batch, round_: Round, cluster: int) -> dict[int, QueuedJob]:
    """The jobs of a local round that have not ended, with the reasons of those that are held."""
    states = enumerate(local.job_states(round_, cluster))
    found = {proc: QueuedJob(proc, state) for proc, state in states if state != "ended"}
    if any(job.state == HELD for job in found.values()):
        for task in status(batch).wrong:
            job = task.job
            if task.state == HELD and task.round == round_.number and job and job.proc in found:
                found[job.proc] = QueuedJob(
                    job.proc, HELD, job.hold_code, job.hold_subcode, job.reason
                )
    return found


# --- some tasks ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """What to cancel: of these tasks (none: of all) those in these states (none: in any).

    most: at most so many tasks, those first that have done least; 0 for no limit.
    """

    tasks: Sequence[int] = ()
    held: bool = False
    idle: bool = False
    most: int = 0

    @property
    def all(self) -> bool:
        """Whether nothing was chosen, so that everything is meant."""
        return not (self.tasks or self.held or self.idle or self.most)


@dataclass(frozen=True)
class Cancelling:
    """What a cancellation of chosen tasks means.

    parts: of each round its procs. tasks: all that are cancelled, by index; with_them: those of
    them that were not chosen, but run in the same jobs. jobs: how many. unqueued, running: how
    many of the tasks are not yet in the queue, or on an execution point.
    """

    parts: Sequence[tuple[Live, Sequence[int]]] = ()
    tasks: Sequence[int] = ()
    with_them: Sequence[int] = ()
    jobs: int = 0
    unqueued: int = 0
    running: int = 0


Agree = Callable[[Cancelling], bool]


def cancel_chosen(batch: Batch, choice: Choice, agree: Agree) -> Cancelling | None:
    """Cancel some tasks: the jobs that run them are removed, or never come into the queue.

    agree: is told what it means, and says whether to do it; when it says no, None is given back.
    What is not as it was when the user agreed is left alone. Raises BatchError when the batch was
    never submitted, CondorError when the schedd does not answer or does not let us.
    """
    plan = _plan(batch, choice)
    if not plan.tasks:
        return plan
    if not agree(plan):
        return None
    agreed = {live.round.number: procs for live, procs in plan.parts}
    only = (WAITING,) * choice.idle + (HELD,) * choice.held
    others = 0
    with folders.locked(batch.folder, wait=True):
        plan = _plan(batch, choice, agreed)
        for live, procs in plan.parts:
            if live.local:
                local.remove(live.round, live.cluster, procs)
            else:
                others += live.count(_remove(live, procs, only))
    if others:
        raise BusyError(
            f"{others:,} tasks run by now, and were left; the others were cancelled",
            where=str(batch.folder),
            fix="`osgbatch status` shows them.",
        )
    return plan


def _remove(live: Live, procs: Sequence[int], only: Collection[str]) -> list[int]:
    """Remove jobs, where states are named only those in these; gives those that are not."""
    # Looked at anew: what was not queued when the user was asked may be now.
    queue = condor.look(live.round, live.cluster)
    later = [proc for proc in procs if proc in set(queue.unqueued)]
    if later:
        condor.forget(live.round, queue, later)
        note_cancelled(live.round, later)
        queue = condor.look(live.round, live.cluster)
    there = [proc for proc in procs if proc in queue.jobs]
    return condor.remove(live.round, live.cluster, there, only) if there else []


def _plan(
    batch: Batch, choice: Choice, agreed: Mapping[int, Collection[int]] | None = None
) -> Cancelling:
    """What a choice means now; agreed: only of these procs, of each round."""
    wanted = set(choice.tasks)
    found: list[tuple[int, int, Live, int]] = []  # how far a job has come, and which one it is
    for live in live_rounds(batch):
        states = {proc: job.state for proc, job in live.queue.jobs.items()}
        states |= dict.fromkeys(live.queue.unqueued, "")
        may = None if agreed is None else set(agreed.get(live.round.number, ()))
        for proc, state in states.items():
            if may is not None and proc not in may:
                continue
            if (choice.held or choice.idle) and not (
                (choice.held and state == HELD) or (choice.idle and state in (WAITING, ""))
            ):
                continue
            if wanted and wanted.isdisjoint(live.tasks_of(proc)):
                continue
            found.append((_progress(state), -proc, live, proc))
    found.sort(key=lambda one: one[:2])
    parts: dict[int, tuple[Live, list[int]]] = {}
    tasks: set[int] = set()
    counts = {"": 0, "running": 0}
    for progress, _, live, proc in found:
        own = live.tasks_of(proc)
        if choice.most and len(tasks) + len(own) > choice.most:
            continue
        tasks.update(own)
        parts.setdefault(live.round.number, (live, []))[1].append(proc)
        counts[""] += len(own) * (progress == _progress(""))
        counts["running"] += len(own) * (progress == _progress("running"))
    return Cancelling(
        parts=[(live, sorted(procs)) for live, procs in parts.values()],
        tasks=sorted(tasks),
        with_them=_with_them(batch, tasks - wanted) if wanted else (),
        jobs=sum(len(procs) for _, procs in parts.values()),
        unqueued=counts[""],
        running=counts["running"],
    )


def _progress(state: str) -> int:
    """How much is lost with a job in this state; empty: it is not yet in the queue."""
    return 3 if state in ACTIVE else ("", WAITING, HELD).index(state)


def _with_them(batch: Batch, tasks: set[int]) -> list[int]:
    """Of tasks that were not chosen those that lose something: that have not succeeded before."""
    if not tasks:
        return []
    states = status(batch, all_tasks=True).states
    return sorted(index for index in tasks if states[index].state != "succeeded")

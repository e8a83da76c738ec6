"""Gives rounds to a backend, each once, whatever is killed when."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import replace

from osgbatch import condor, local, names, personal_pool
from osgbatch.batches import folder as folders
from osgbatch.batches.eventlog import log_cluster
from osgbatch.batches.folder import Batch
from osgbatch.batches.notes import other_host
from osgbatch.errors import BusyError, CondorError, OsgbatchError, RefusedError
from osgbatch.model import Round, Submitted
from osgbatch.spec.profiles import access_point
from osgbatch.submission.rendered import Rendered

Say = Callable[[str], None]


def choose_backend(pool: str, say: Say | None = None, *, ran: str = "") -> str:
    """`condor` where HTCondor is configured, `local` where there is none; checked to answer.

    say: told when that is so, though the user has a personal pool: it is down. ran: who ran the
    batch before, when no pool was named. Raises OsgbatchError for `local` on an
    access point, unless that was asked for in so many words: then jobs run one at a time there.
    """
    was_local = not pool and ran == "local"
    pool = pool or ran
    if pool == "auto":
        pool = "condor" if condor.configured() else "local"
        if say and pool == "local" and (why := personal_pool.why_not_here()):
            say(f"note: your personal pool {why}: the local runner does it")
    if pool == "condor":
        condor.check_alive()
    elif (known := access_point()) and not os.environ.get(names.ON_ACCESS_POINT):
        fix = (
            "Leave it out, and HTCondor runs them. A short trial may be run here, one job at a "
            "time, with --on-access-point."
        )
        if was_local:
            fix = "With --on-access-point they run here once more, one job at a time."
        raise OsgbatchError(
            f"this machine is an access point of {known.profile.title}, which many people share: "
            "jobs are not run on it",
            where="" if was_local else "--pool local",
            fix=fix,
        )
    return pool


def give(backend: str, round_: Round, lock: int, say: Say) -> None:
    """Submit a round: first it is written down that this is being done, then what came of it.

    lock: of the batch, which condor_submit inherits. One that says it has failed when the jobs are
    in the queue is told. Raises OsgbatchError when it was refused: then the round has no
    `submitted.json`.
    """
    begun = _begun(backend, round_)
    folders.write_submitted(round_, begun)
    try:
        if backend == "condor":
            submitted = condor.submit(round_, lock)
        else:
            # also for a step that says `here:`, and on one that no profile knows
            if os.environ.get(names.ON_ACCESS_POINT) or access_point():
                os.environ[local.SLOTS_VARIABLE] = "1"
            submitted = local.submit(round_)
            runner = local.runner_record(round_)
            if runner and not runner.memory_enforced:
                say(f"the local runner cannot enforce memory limits: {runner.why}")
    except OsgbatchError as error:
        # Most likely it was refused; but a command can fail after its work is done.
        refused = isinstance(error, RefusedError)
        cluster = 0 if refused else queued_cluster(backend, round_, error)
        if not cluster:
            (round_.folder / names.SUBMITTED).unlink(missing_ok=True)
        if not cluster or backend != "condor":
            raise
        say(f"warning: {error.what}; it is queued all the same, as cluster {cluster}")
        submitted = replace(begun, cluster=cluster)
    folders.write_submitted(round_, submitted)


def give_later(
    backend: str, rendered: Rendered, lock: int, say: Say, before: Callable[[], None]
) -> None:
    """Submit a later round that is written whole, but has not its own name yet.

    backend: "dagman" leaves it to that. before: called last of all, when only the submission can
    still go wrong. With its name the round says that it is being submitted, so there is never a
    later round that nobody was asked to run.
    """
    round_ = rendered.round
    begun = _begun("condor" if backend == "dagman" else backend, round_)
    folders.write_submitted(replace(round_, folder=rendered.folder), begun)
    try:
        before()
    except BaseException:
        shutil.rmtree(rendered.folder, ignore_errors=True)
        raise
    rendered.folder.rename(round_.folder)
    if backend == "dagman":
        return
    try:
        give(backend, round_, lock, say)
    except OsgbatchError:
        if not (round_.folder / names.SUBMITTED).exists():
            _drop(round_)
        raise


def _begun(backend: str, round_: Round) -> Submitted:
    """What is written down before a backend is asked."""
    schedd = condor.name_here() if backend == "condor" else ""
    return Submitted(backend, 0, round_.jobs, time.time(), socket.gethostname(), schedd)


def queued_cluster(backend: str, round_: Round, because: OsgbatchError | None = None) -> int:
    """The cluster of a round by its event log, else by the queue; 0 when neither knows it.

    A local runner that is starting is waited for. Raises CondorError when the queue cannot be
    asked, so that nothing is known; because: the error that made us ask, which is told with it.
    """
    if backend == "local":
        local.await_entered(round_)
    cluster = log_cluster(round_.folder / names.EVENTS)
    if not cluster and backend == "condor":
        try:
            cluster = condor.find_cluster(round_) or 0
        except CondorError as later:
            if because is None:
                raise
            again = "submit` of the same sweep" if round_.number == 1 else "resubmit` of the batch"
            raise CondorError(
                f"{because.what}; and whether it is queued is not known: {later.what}",
                where=str(round_.folder),
                fix=f"When HTCondor answers, `osgbatch {again} continues.",
            ) from None
    return cluster


def has_jobs(batch: Batch) -> bool:
    """Whether a batch whose lock we hold was submitted, as its notes and the queue tell."""
    round_ = batch.rounds()[-1]
    noted = folders.read_submitted(round_)
    if noted is None:
        return False
    return bool(noted.cluster or queued_cluster(noted.backend, round_))


def was_queued(batch: Batch, say: Say) -> bool:
    """Whether a batch whose submission was cut short is in the queue after all.

    Its lock is held for as long as a condor_submit of it works, whatever became of its osgbatch;
    then the event log tells, last the queue. Only a round that neither knows may be given to a
    backend again, so that no job is ever submitted twice.
    """
    say(f"continuing batch {batch.id}, whose submission was interrupted: {batch.folder}")
    with folders.locked(batch.folder, wait=True):
        round_ = batch.rounds()[0]
        noted = folders.read_submitted(round_)
        if noted is None:  # the one who held the lock was refused, and has said so
            return False
        return bool(noted.cluster) or _found(round_, noted, say)


def _found(round_: Round, noted: Submitted, say: Say) -> bool:
    """Whether a round that was cut short is known to its log or the queue; it is written down.

    Raises BusyError when only another machine could tell.
    """
    if host := other_host(round_):
        raise BusyError(
            f"its submission was interrupted on {host}, whose queue alone knows of it",
            where=str(round_.folder),
            fix="Run the same command there.",
        )
    cluster = queued_cluster(noted.backend, round_)
    if cluster:
        say(f"it had been submitted to {given_to(noted)}, as cluster {cluster}")
        folders.write_submitted(round_, replace(noted, cluster=cluster))
    return bool(cluster)


def given_to(submitted: Submitted) -> str:
    """Who has a round, for people: HTCondor, your personal pool, the local runner."""
    if submitted.backend == "local":
        return "the local runner"
    return "your personal pool" if personal_pool.is_name(submitted.schedd) else "HTCondor"


def settle(batch: Batch, say: Say, *, dagman: bool = False) -> None:
    """See to a later round whose submission was cut short: it is queued, or it never was.

    Whoever calls holds the batch's lock. One that nobody runs is taken away, as if it had never
    been made. dagman: also one that DAGMan is to submit. Raises CondorError when the queue cannot
    be asked, BusyError when DAGMan is about to start it.
    """
    round_ = batch.rounds()[-1]
    if round_.number == 1:
        return
    noted = folders.read_submitted(round_)
    if noted is not None and noted.cluster:
        return
    if noted is not None:
        if not dagman and _is_dagmans(round_) and not queued_cluster(noted.backend, round_):
            raise BusyError(
                "DAGMan is to submit this round",
                where=str(round_.folder),
                fix="Watch the workflow that it belongs to, or resubmit that.",
            )
        say(f"the submission of round {round_.number} was interrupted")
        if _found(round_, noted, say):
            return
        say("nothing of it had been submitted")
    _drop(round_)


def _is_dagmans(round_: Round) -> bool:
    """Whether a node of a DAG leads to this round."""
    node = round_.folder.parents[1] / names.NODE_SUBMIT
    try:
        return node.readlink().parent.name == round_.folder.name
    except OSError:
        return False


def _drop(round_: Round) -> None:
    """Take a round away that nobody runs; a half removed one must not look like one."""
    aside = round_.folder.with_name(f".{round_.folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    round_.folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)

"""The flow from a spec to a submitted batch: render and submit as lists of steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from osgbatch import condor, names
from osgbatch.batches import folder as folders
from osgbatch.batches import registry
from osgbatch.batches.folder import Batch
from osgbatch.batches.half_made import half_made
from osgbatch.batches.moved import results_outside
from osgbatch.batches.notes import CANARY, FIRST, REUSED
from osgbatch.collecting.outside import check_free, claim, release
from osgbatch.errors import OsgbatchError
from osgbatch.life.following import status
from osgbatch.packing.disk_full import BATCH_FIX, told_when_full
from osgbatch.packing.environment import EnvironmentArchive
from osgbatch.plan_model import Plan
from osgbatch.planning.chosen import choose
from osgbatch.spec_model import Stash
from osgbatch.staging.stage import Progress
from osgbatch.submission.canary import FilesChangedError, go_on, spread, verdict
from osgbatch.submission.delivering import fault_of, withdraw
from osgbatch.submission.keyed import keys_of
from osgbatch.submission.only_once import OnlyOnce
from osgbatch.submission.packed import pack_environment
from osgbatch.submission.planned import AS_WRITTEN, Choices, plan_sweep, warnings_for
from osgbatch.submission.quotas import look_ahead
from osgbatch.submission.rendered import Made, render_batch
from osgbatch.submission.reusing import check_unchanged, reuse
from osgbatch.submission.staged import Silent, stage_plan
from osgbatch.submission.submitting import choose_backend, give, has_jobs, settle, was_queued

Say = Callable[[str], None]
_SILENT = Silent()


@dataclass(frozen=True)
class Ways:
    """How a sweep is submitted.

    canary: so many tasks first, and the rest when they have succeeded; 0 for all at once. again: is
    asked, with the reason, whether to submit what a batch of the same is doing already; repeat:
    what one has done, and has succeeded. reuse: what earlier batches have computed is not computed
    again; recompute: whether to compute what has succeeded in batches that were not collected yet.
    check: is given the environment once it is packed, before anything else is made; it
    refuses by an OsgbatchError.
    """

    canary: int = 0
    again: Callable[[str], bool] = lambda reason: True
    reuse: bool = False
    check: Callable[[EnvironmentArchive | None], None] = lambda environment: None
    recompute: Callable[[str], bool] = lambda reason: True
    repeat: Callable[[str], bool] = lambda reason: True


_ALL_AT_ONCE = Ways()


def _remove(folder: Path) -> None:
    """Remove a batch folder that was never submitted, and what was prepared for it elsewhere."""
    withdraw(folder)
    with suppress(OsgbatchError, LookupError):
        if outside := results_outside(batch := folders.load(folder)):
            release(outside, batch.id)
    folders.remove(folder)


def _batches(plan: Plan) -> Path:
    return plan.spec.folder / names.BATCHES


def _batch_folder(plan: Plan, batch_id: str) -> Path:
    return _batches(plan) / folders.folder_name(plan.spec.name, batch_id, time.time())


def render_sweep(
    path: Path,
    out: Path | None,
    say: Say,
    choices: Choices = AS_WRITTEN,
    progress: Progress = _SILENT,
) -> Batch:
    """Make a batch folder and submit nothing. Whatever fails, no folder is left behind."""
    out = out.absolute() if out else None
    plan = plan_sweep(path, out.parent if out else None, choices)
    keys = keys_of(plan)
    environment = pack_environment(plan, say)
    for warning in look_ahead(plan, environment, out.parent if out else _batches(plan)):
        say(f"warning: {warning}")
    staging = stage_plan(plan, environment, say, progress, verify=choices.verify)
    batch_id = folders.new_id()
    folder = out or _batch_folder(plan, batch_id)
    folders.create(folder, private=bool(plan.stash.presigned_s))
    try:
        with told_when_full(folder.parent, BATCH_FIX):
            made = Made(staging, environment, FIRST, choices.settings, keys)
            render_batch(made, folder, batch_id, say, progress)
    except BaseException:
        _remove(folder)
        raise
    return folders.load(folder)


def submit_sweep(
    path: Path,
    pool: str,
    say: Say,
    choices: Choices = AS_WRITTEN,
    progress: Progress = _SILENT,
    ways: Ways = _ALL_AT_ONCE,
) -> Batch:
    """load → expand → plan → pack → stage → resolve → render → submit.

    Whatever fails before a backend has the jobs leaves nothing on disk or in the queue. A batch of
    this very spec whose submission was cut short is continued instead of made a second time, and so
    is one whose canary has succeeded.
    """
    if pool == "local" or (pool == "auto" and not condor.configured()):
        choices = replace(choices, staging=False)
    plan = plan_sweep(path, choices=choices)
    for warning in warnings_for(plan, "condor" if choices.staging else "local"):
        say(f"warning: {warning}")
    backend = choose_backend(pool, say)
    newest = folders.newest_of(_batches(plan), plan.spec.text)
    if newest and pool == "auto" and backend == "local" and _was_on_condor(newest):
        say(
            f"warning: batch {newest.id} of this sweep went to HTCondor, and there is none here: "
            "this one goes to the local runner"
        )
    cut_short = newest if newest and folders.interrupted(newest) else None
    if cut_short is not None:
        with folders.one_at_a_time(_batches(plan), say):
            if was_queued(cut_short, say):
                return folders.load(cut_short.folder)
    if newest is not None and cut_short is None:
        continued = _continued(newest, say, choices, progress)
        if continued is not None:
            return continued
    if plan.spec.results_to:
        outside = plan.spec.folder / plan.spec.results_to
        check_free(outside, cut_short.id if cut_short else "")
    keys = keys_of(plan)
    environment = pack_environment(plan, say)
    ways.check(environment)
    for half in half_made(_batches(plan)):
        _remove(half)
    batch_id = folders.new_id()
    folder = _batch_folder(plan, batch_id)
    with _kept_if_submitted(folder, batch_id):
        reused = None
        if ways.reuse:
            folders.create(folder, private=bool(plan.stash.presigned_s))
            with told_when_full(folder.parent, BATCH_FIX):
                reused = reuse(plan, keys, environment, folder, say, ways.recompute)
        left = reused.left(len(plan.table)) if reused else range(len(plan.table))
        first, why = _first_tasks(plan, ways.canary, say, left)
        for warning in look_ahead(first, environment, _batches(plan)):
            say(f"warning: {warning}")
        staging = stage_plan(first, environment, say, progress, verify=choices.verify)
        made = Made(staging, environment, why, choices.settings, keys)
        if not reused:
            folders.create(folder, private=bool(plan.stash.presigned_s))
        with folders.locked(folder) as lock:
            with told_when_full(folder.parent, BATCH_FIX):
                rendered = render_batch(made, folder, batch_id, say, progress)
            if reused:
                check_unchanged(rendered.round.folder, reused)
            delivery = rendered.resolved.delivery
            if delivery and backend == "condor" and (fault := fault_of(delivery, condor.version())):
                say(f"warning: {fault}")
            fresh = folders.load(folder)
            if cut_short is None or _replaced(cut_short, fresh, say, keep=why != REUSED):
                besides = [cut_short.id] if cut_short else []
                once = OnlyOnce(fresh, ways.again, ways.repeat, besides)
                if why != REUSED:
                    once.check(plan.spec.text)  # so that nobody waits while the user is asked
                with folders.one_at_a_time(folder.parent, say):
                    if why != REUSED:
                        once.check(plan.spec.text)
                    if plan.spec.results_to:
                        claim(outside, batch_id, folder)
                    registry.register(batch_id, folder)
                    if why != REUSED:
                        give(backend, rendered.round, lock, say)
                return folders.load(folder)
        _remove(folder)
    with (
        folders.one_at_a_time(_batches(plan), say),
        folders.locked(cut_short.folder, wait=True) as lock,
    ):
        # Looked at again under the lock: another osgbatch may have continued it meanwhile.
        if not has_jobs(cut_short):
            give(backend, cut_short.rounds()[-1], lock, say)
    return cut_short


def _was_on_condor(batch: Batch) -> bool:
    noted = folders.read_submitted(batch.rounds()[-1])
    return noted is not None and noted.backend == "condor"


@contextmanager
def _kept_if_submitted(folder: Path, batch_id: str) -> Iterator[None]:
    """Remove a batch folder when what is done with it fails before a backend was asked.

    The registry forgets it, too.
    """
    try:
        yield
    except BaseException:
        # Ctrl-C can come after the queue has the jobs: then the folder must stay.
        if not (names.round_folder(folder, 1) / names.SUBMITTED).exists():
            _remove(folder)
            with suppress(OSError):
                if any(entry.id == batch_id for entry in registry.entries()):
                    registry.unregister(batch_id)
        raise


def _first_tasks(plan: Plan, canary: int, say: Say, left: Sequence[int]) -> tuple[Plan, str]:
    """The plan of the first round, and why it is made. left: the tasks that are to be run."""
    if not left:
        return replace(plan, stash=Stash(), placed=()), REUSED
    if canary and canary >= len(left):
        say(f"--canary {canary}: there are no more tasks to run than that, so there is no canary")
    elif canary:
        return choose(plan, [left[i] for i in spread(canary, len(left))]), CANARY
    return (choose(plan, left) if len(left) < len(plan.table) else plan), FIRST


def _continued(batch: Batch, say: Say, choices: Choices, progress: Progress) -> Batch | None:
    """A batch of the same spec in which something is left to be done, when that could be done."""
    if len(batch.rounds()) > 1:
        with folders.locked(batch.folder, wait=True):
            settle(batch, say)
    if not batch.unsubmitted() or batch.rest_cancelled:
        return None
    found = verdict(status(batch, all_tasks=True))[1]
    if found == "failed":
        say(f"the canary of batch {batch.id} has not succeeded; a new batch is made")
    if found != "succeeded":
        return None
    say(f"continuing batch {batch.id}, which waited for its canary: {batch.folder}")
    try:
        return go_on(batch, say, replace(choices, settings=()), progress=progress)
    except FilesChangedError:
        say("files have changed since then, so a new batch is made")
        return None


def _replaced(cut_short: Batch, fresh: Batch, say: Say, *, keep: bool) -> bool:
    """Remove a cut short batch that would run something else than is there now.

    False when it is to be continued: it is the same work, or somebody has submitted it meanwhile.
    keep: whether the same work is to be continued.
    """
    if keep and folders.same_work(cut_short, fresh):
        return False
    with folders.locked(cut_short.folder, wait=True):
        if has_jobs(cut_short):
            return False
        say("files have changed since then, so a new batch is made")
        _remove(cut_short.folder)
    return True

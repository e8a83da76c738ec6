"""The flow from a spec to a submitted batch: render and submit as lists of steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from osgbatch import condor, names
from osgbatch.batches import folder as folders
from osgbatch.batches import registry
from osgbatch.batches.folder import Batch
from osgbatch.batches.notes import CANARY, FIRST
from osgbatch.canary import FilesChangedError, go_on, spread, verdict
from osgbatch.delivering import fault_of, withdraw
from osgbatch.errors import BusyError
from osgbatch.following import status
from osgbatch.model import OPEN, Plan
from osgbatch.packed import pack_environment
from osgbatch.packing.disk_full import BATCH_FIX, told_when_full
from osgbatch.planned import AS_WRITTEN, Choices, plan_sweep
from osgbatch.planning.chosen import choose
from osgbatch.quotas import look_ahead
from osgbatch.rendered import Made, render_batch
from osgbatch.staged import Silent, stage_plan
from osgbatch.staging.stage import Progress
from osgbatch.submitting import choose_backend, give, has_jobs, settle, was_queued

Say = Callable[[str], None]
_SILENT = Silent()


@dataclass(frozen=True)
class Ways:
    """How a sweep is submitted.

    canary: so many tasks first, and the rest when they have succeeded; 0 for all at once. again: is
    asked, with the reason, whether to submit what a batch of the same is doing already.
    """

    canary: int = 0
    again: Callable[[str], bool] = lambda reason: True


_ALL_AT_ONCE = Ways()


def _remove(folder: Path) -> None:
    """Remove a batch folder that was never submitted, and what was prepared for it elsewhere."""
    withdraw(folder)
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
    environment = pack_environment(plan, say)
    for warning in look_ahead(plan, environment, out.parent if out else _batches(plan)):
        say(f"warning: {warning}")
    staging = stage_plan(plan, environment, say, progress, verify=choices.verify)
    batch_id = folders.new_id()
    folder = out or _batch_folder(plan, batch_id)
    folders.create(folder, private=bool(plan.stash.presigned_s))
    try:
        with told_when_full(folder.parent, BATCH_FIX):
            made = Made(staging, environment, FIRST, choices.settings)
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
    for warning in plan.warnings:
        say(f"warning: {warning}")
    backend = choose_backend(pool)
    newest = folders.newest_of(_batches(plan), plan.spec.text)
    cut_short = newest if newest and folders.interrupted(newest) else None
    if cut_short is not None and was_queued(cut_short, say):
        return folders.load(cut_short.folder)
    if newest is not None and cut_short is None:
        continued = _continued(newest, say, choices, progress)
        if continued is not None:
            return continued
    first, why = _first_tasks(plan, ways.canary, say)
    environment = pack_environment(first, say)
    for warning in look_ahead(first, environment, _batches(plan)):
        say(f"warning: {warning}")
    staging = stage_plan(first, environment, say, progress, verify=choices.verify)
    made = Made(staging, environment, why, choices.settings)
    batch_id = folders.new_id()
    folder = _batch_folder(plan, batch_id)
    folders.create(folder, private=bool(plan.stash.presigned_s))
    try:
        with folders.locked(folder) as lock:
            with told_when_full(folder.parent, BATCH_FIX):
                rendered = render_batch(made, folder, batch_id, say, progress)
            delivery = rendered.resolved.delivery
            if delivery and backend == "condor" and (fault := fault_of(delivery, condor.version())):
                say(f"warning: {fault}")
            fresh = folders.load(folder)
            if cut_short is None or _replaced(cut_short, fresh, say):
                if newest is not None and cut_short is None:
                    _refuse_twice(newest, fresh, ways)
                registry.register(batch_id, folder)
                give(backend, rendered.round, lock, say)
                return folders.load(folder)
        _remove(folder)
    except BaseException:
        # Ctrl-C can come after the queue has the jobs: then the folder must stay.
        if not (names.round_folder(folder, 1) / names.SUBMITTED).exists():
            _remove(folder)
        raise
    with folders.locked(cut_short.folder, wait=True) as lock:
        # Looked at again under the lock: another osgbatch may have continued it meanwhile.
        if not has_jobs(cut_short):
            give(backend, cut_short.rounds()[-1], lock, say)
    return cut_short


def _first_tasks(plan: Plan, canary: int, say: Say) -> tuple[Plan, str]:
    """The plan of the first round, and why it is made."""
    if canary and canary >= len(plan.table):
        say(f"--canary {canary}: the sweep has no more tasks than that, so all are submitted")
    elif canary:
        return choose(plan, spread(canary, len(plan.table))), CANARY
    return plan, FIRST


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


def _refuse_twice(newest: Batch, fresh: Batch, ways: Ways) -> None:
    """Raises BusyError when the same is being done already, and nobody insists."""
    if not folders.same_content(newest, fresh):
        return
    now = status(newest)
    tasks = sum(now.counts.get(state, 0) for state in (*OPEN, "held")) - now.held_back
    if not tasks or (now.stalled and not now.cluster):
        return
    reason = f"batch {newest.id} does the very same, and {tasks:,} of its tasks have not ended"
    if not ways.again(reason):
        raise BusyError(
            reason,
            where=str(newest.folder),
            fix=f"`osgbatch watch {newest.folder.name}` follows it; --again submits it once more.",
        )


def _replaced(cut_short: Batch, fresh: Batch, say: Say) -> bool:
    """Remove a cut short batch that would run something else than is there now.

    False when it is to be continued: it is the same work, or somebody has submitted it meanwhile.
    """
    if folders.same_work(cut_short, fresh):
        return False
    with folders.locked(cut_short.folder, wait=True):
        if has_jobs(cut_short):
            return False
        say("files have changed since then, so a new batch is made")
        _remove(cut_short.folder)
    return True

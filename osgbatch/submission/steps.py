"""The flow from a spec to a submitted batch: render and submit as lists of steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from osgbatch import condor, names
from osgbatch.batches import folder as folders
from osgbatch.batches import registry
from osgbatch.batches.folder import Batch
from osgbatch.batches.notes import CANARY, FIRST, REUSED
from osgbatch.errors import BusyError
from osgbatch.life.following import status
from osgbatch.life.naming import in_commands
from osgbatch.model import OPEN
from osgbatch.packing.disk_full import BATCH_FIX, told_when_full
from osgbatch.plan_model import Plan
from osgbatch.planning.chosen import choose
from osgbatch.spec_model import Stash
from osgbatch.staging.stage import Progress
from osgbatch.submission.canary import FilesChangedError, go_on, spread, verdict
from osgbatch.submission.delivering import fault_of, withdraw
from osgbatch.submission.keyed import keys_of
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
    asked, with the reason, whether to submit what a batch of the same is doing already. reuse: what
    earlier batches have computed is not computed again.
    """

    canary: int = 0
    again: Callable[[str], bool] = lambda reason: True
    reuse: bool = False


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
    backend = choose_backend(pool)
    newest = folders.newest_of(_batches(plan), plan.spec.text)
    cut_short = newest if newest and folders.interrupted(newest) else None
    if cut_short is not None and was_queued(cut_short, say):
        return folders.load(cut_short.folder)
    if newest is not None and cut_short is None:
        continued = _continued(newest, say, choices, progress)
        if continued is not None:
            return continued
    keys = keys_of(plan)
    environment = pack_environment(plan, say)
    batch_id = folders.new_id()
    folder = _batch_folder(plan, batch_id)
    with _kept_if_submitted(folder):
        reused = None
        if ways.reuse:
            folders.create(folder, private=bool(plan.stash.presigned_s))
            with told_when_full(folder.parent, BATCH_FIX):
                reused = reuse(plan, keys, environment, folder, say)
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
                if newest is not None and cut_short is None and why != REUSED:
                    _refuse_twice(newest, fresh, ways)
                registry.register(batch_id, folder)
                if why != REUSED:
                    give(backend, rendered.round, lock, say)
                return folders.load(folder)
        _remove(folder)
    with folders.locked(cut_short.folder, wait=True) as lock:
        # Looked at again under the lock: another osgbatch may have continued it meanwhile.
        if not has_jobs(cut_short):
            give(backend, cut_short.rounds()[-1], lock, say)
    return cut_short


@contextmanager
def _kept_if_submitted(folder: Path) -> Iterator[None]:
    """Remove a batch folder when what is done with it fails before a backend was asked."""
    try:
        yield
    except BaseException:
        # Ctrl-C can come after the queue has the jobs: then the folder must stay.
        if not (names.round_folder(folder, 1) / names.SUBMITTED).exists():
            _remove(folder)
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


def _refuse_twice(newest: Batch, fresh: Batch, ways: Ways) -> None:
    """Raises BusyError when the same is being done already, and nobody insists."""
    if not folders.same_content(newest, fresh):
        return
    now = status(newest)
    tasks = sum(now.counts.get(state, 0) for state in (*OPEN, "held"))
    if tasks == now.held_back or (now.stalled and not now.cluster):
        return
    have = "task of it has" if tasks == 1 else "tasks of it have"
    reason = f"batch {newest.id} ({newest.name}) does the very same, and {tasks:,} {have} not ended"
    if not ways.again(reason):
        raise BusyError(
            reason,
            where=str(newest.folder),
            fix=f"`osgbatch watch {in_commands(newest)}` follows it; --again submits it once more.",
        )


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

"""A round of a step: planned from the results of the steps before it, for what is not done yet."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from osgbatch import condor, names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.notes import FIRST, RESUBMIT
from osgbatch.errors import BatchError, BusyError
from osgbatch.life.following import Status, status
from osgbatch.model import OPEN, Round, Submitted
from osgbatch.packing.disk_full import BATCH_FIX, told_when_full
from osgbatch.results.finishing import collect_batch
from osgbatch.submission.keyed import keys_of
from osgbatch.submission.later_rounds import SILENT, Choice, add_round
from osgbatch.submission.packed import pack_environment
from osgbatch.submission.planned import Choices, plan_sweep, warnings_for
from osgbatch.submission.rendered import Made, Rendered, render_batch
from osgbatch.submission.staged import stage_plan
from osgbatch.submission.submitting import give, queued_cluster, settle
from osgbatch.workflows.folder import StepNote, Workflow
from osgbatch.workflows.kept import as_kept, check_inputs, check_same
from osgbatch.workflows.stale import is_stale, read_by, read_note

Say = Callable[[str], None]


def step_path(workflow: Workflow, step: StepNote) -> Path:
    """Where a step's spec would lie; what it says stands in the workflow's folder."""
    return workflow.spec_folder / f".{workflow.name}-{step.name}.yaml"


def choices_for(workflow: Workflow, step: StepNote, settings: Sequence[str] = ()) -> Choices:
    """How a step is planned. settings: of the command line."""
    staging = workflow.backend(step) != "local"
    return Choices(settings, staging=staging, copy=workflow.step_spec(step.name))


def kept_choices(workflow: Workflow, step: StepNote, batch: Batch | None = None) -> Choices:
    """The same for its next round: with the files that were kept when it was submitted.

    batch: of its rounds so far, whose settings hold. Raises BatchError when what was not kept has
    changed since.
    """
    note = folders.read_note(batch.rounds()[-1].folder) if batch is not None else None
    spec = as_kept(workflow, step, note.settings if note else workflow.settings)
    if spec is not None:
        check_same(workflow, step, spec)
    return replace(choices_for(workflow, step, () if batch else workflow.settings), spec=spec)


Which = Callable[[Status], list[int]]


def not_done(now: Status) -> list[int]:
    """The tasks that have not succeeded."""
    return [state.index for state in now.states if state.state != "succeeded"]


def next_round(
    workflow: Workflow, step: StepNote, say: Say, which: Which = not_done
) -> Round | None:
    """Make the next round of a step, and give it to its backend, or leave it for DAGMan.

    which: of its tasks, once they were run. None when there are none. Raises OsgbatchError: a
    task is in a live job, an earlier step's results are not there, what the spec names is gone.
    """
    read = read_by(workflow, step)  # first: what changes from now on makes the step stale
    bring(workflow, step, say)
    batch = workflow.batch(step.name)
    if batch is not None:
        batch = _settled(batch, workflow.backend(step), say)
    if batch is not None and is_stale(workflow, step):
        _set_aside(batch, say)
        batch = None
    if batch is None:
        return _first(workflow, step, read, say)
    if not (left := _chosen(batch, which)):
        return None
    return _later(workflow, step, batch, left, which, say)


def _chosen(batch: Batch, which: Which) -> list[int]:
    return which(status(batch, all_tasks=True))


def bring(workflow: Workflow, step: StepNote, say: Say) -> None:
    """Collect the results of the steps that a step uses: what is in place is not done again."""
    for name in step.uses:
        batch = workflow.batch(name)
        if batch is None:
            raise BatchError(
                f'step "{step.name}" reads results of step "{name}", which has not run',
                where=str(workflow.step_folder(name)),
            )
        _, collected, _ = collect_batch(batch, say, gather=False)
        for note in collected.notes:
            say(f"note: {note}")


def _settled(batch: Batch, backend: str, say: Say) -> Batch | None:
    """See to a newest round that nobody is known to run; None when nothing is left of the batch."""
    with folders.locked(batch.folder, wait=True):
        newest = batch.rounds()[-1]
        noted = folders.read_submitted(newest)
        if noted is not None and noted.cluster:
            return batch
        if newest.number > 1:
            settle(batch, say, dagman=True)
            return folders.load(batch.folder)
        cluster = queued_cluster(backend, newest) if noted is not None else 0
        if cluster:
            write_cluster(newest, cluster, backend)
            return batch
    _refuse_results(batch.folder)
    aside = batch.folder.with_name(f".{batch.folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    batch.folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
    return None


def _set_aside(batch: Batch, say: Say) -> None:
    """Keep what a step has made of other results, by another name. Raises BusyError: it runs."""
    now = status(batch)
    if live_tasks(now):
        raise BusyError(
            f"{live_tasks(now):,} of its tasks run on results that are not the newest",
            where=str(batch.folder),
            fix="Wait for them, or `osgbatch cancel` the workflow.",
        )
    number = 1
    while (aside := batch.folder.with_name(f"{batch.folder.name}.earlier-{number}")).exists():
        number += 1
    say(f"what it reads has changed: it runs anew, and its earlier results are in {aside.name}/")
    batch.folder.rename(aside)


def write_cluster(round_: Round, cluster: int, backend: str) -> None:
    """Write down which cluster a round is."""
    schedd = ""
    if backend == "condor":  # the one that was given it, wherever it is found later
        noted = folders.read_submitted(round_)
        schedd = (noted.schedd if noted else "") or condor.name_here()
    folders.write_submitted(
        round_,
        Submitted(backend, cluster, round_.jobs, time.time(), socket.gethostname(), schedd),
    )


def _refuse_results(folder: Path) -> None:
    """Raises BatchError when a folder of a step that nobody runs holds results all the same."""
    found = [folder / names.RESULTS, *folder.glob(f"{names.ROUNDS}/*/{names.RETURNED}/*/*")]
    found = [path for path in found if path.exists()]
    if found:
        raise BatchError(
            f"this step is not whole, and there are results in it: {found[0].name}",
            where=str(folder),
            fix="Nothing was changed. Put back what is missing, or move the folder away: then the "
            "step runs anew.",
        )


def _first(workflow: Workflow, step: StepNote, read: Mapping[str, str], say: Say) -> Round:
    backend = workflow.backend(step)
    folder = workflow.step_folder(step.name)
    given = next(folder.glob(f"{names.ROUNDS}/*/{names.SUBMITTED}"), None)
    if given is not None:
        raise BatchError(
            f"this step was submitted, and its {names.RESOLVED} is missing",
            where=str(folder),
            fix="Nothing was changed. Put the file back, or, when none of its jobs runs, move the "
            "folder away: then the step runs anew.",
        )
    _refuse_results(folder)
    shutil.rmtree(folder, ignore_errors=True)  # half written: nobody was asked to run it
    folders.write_json(read_note(workflow, step), {"version": 1, "read": dict(read)})
    choices = kept_choices(workflow, step)
    plan = plan_sweep(step_path(workflow, step), folder.parent, choices)
    check_inputs(workflow, step, plan)
    for warning in warnings_for(plan, backend):
        say(f"warning: {warning}")
    keys = keys_of(plan)
    environment = pack_environment(plan, say)
    staging = stage_plan(plan, environment, say, SILENT)
    made = Made(staging, environment, FIRST, choices.settings, keys, node=backend == "condor")
    folders.create(folder, private=bool(plan.stash.presigned_s))
    with told_when_full(folder, BATCH_FIX), folders.locked(folder) as lock:
        rendered = render_batch(made, folder, folders.new_id(), say, SILENT)
        if backend == "local":
            give(backend, rendered.round, lock, say)
        else:
            leave_for_dagman(rendered.round)
    return rendered.round


def _later(
    workflow: Workflow,
    step: StepNote,
    batch: Batch,
    left: Sequence[int],
    which: Which,
    say: Say,
) -> Round:
    backend = workflow.backend(step)

    def accept(rendered: Rendered) -> None:
        check_inputs(workflow, step, rendered.resolved.plan, rows=False)

    later = add_round(
        batch,
        Choice(left),
        RESUBMIT,
        say,
        kept_choices(workflow, step, batch),
        pool="" if backend == "local" else backend,
        again=lambda: Choice(_chosen(batch, which)),
        accept=accept,
        node=backend == "condor",
        here=step.here,
    )
    if backend == "condor":
        _link(later.round)
    return later.round


def leave_for_dagman(round_: Round) -> None:
    """Note that a round is about to be submitted; DAGMan gives it to condor_submit."""
    folders.write_submitted(
        round_, Submitted("condor", 0, round_.jobs, time.time(), socket.gethostname())
    )
    _link(round_)


def _link(round_: Round) -> None:
    """Let the node's submit file be that of a round, at once or not at all."""
    folder = round_.folder.parents[1]
    link = folder / names.NODE_SUBMIT
    new = link.with_name(f".{link.name}")
    new.unlink(missing_ok=True)
    new.symlink_to(os.path.relpath(round_.folder / names.SUBMIT_FILE, folder))
    new.replace(link)


def live_tasks(now: Status) -> int:
    """How many tasks are in jobs that have not ended, or wait for them."""
    return sum(now.counts.get(state, 0) for state in (*OPEN, "held"))

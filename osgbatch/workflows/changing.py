"""What `resubmit` takes anew of a workflow: its spec and its files, for what has not run yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from osgbatch.batches import folder as folders
from osgbatch.errors import BatchError, OsgbatchError
from osgbatch.life.following import status
from osgbatch.packing.files import entries_of
from osgbatch.planning.checks import missing_files
from osgbatch.spec.steps import has_steps, read_steps, step_spec
from osgbatch.spec_model import Spec
from osgbatch.submission.packed import pack_spec_environment
from osgbatch.workflows.folder import StepNote, Workflow
from osgbatch.workflows.kept import (
    Kept,
    changed,
    copies,
    keep,
    look,
    named,
    read_kept,
    step_as_written,
)
from osgbatch.workflows.stale import is_stale
from osgbatch.workflows.starting import check_steps, noted_steps, results_of

Say = Callable[[str], None]


def take_changes(workflow: Workflow, say: Say) -> None:
    """Let what has not run yet be as the spec and the files are now, where they are there still.

    Raises SpecErrors with all that is wrong in the spec, BatchError when it has other steps now.
    """
    done = {step.name for step in workflow.steps if _is_done(workflow, step)}
    _take_spec(workflow, done, say)
    for step in workflow.steps:
        if (kept := _kept(workflow, step)) is not None:
            _take_files(workflow, step, kept, step.name in done, say)


def _kept(workflow: Workflow, step: StepNote) -> Kept | None:
    """What was noted of a step; nothing at all where that cannot be read: all is taken anew."""
    try:
        return read_kept(workflow, step)
    except BatchError:
        return Kept()


def _is_done(workflow: Workflow, step: StepNote) -> bool:
    """Whether a step stays what it is: all of it has succeeded, and so has what it reads."""
    batch = workflow.batch(step.name)
    if batch is None or not set(status(batch).counts) <= {"succeeded"}:
        return False
    if is_stale(workflow, step):
        return False
    return all(_is_done(workflow, workflow.step(name)) for name in step.uses)


def _take_spec(workflow: Workflow, done: set[str], say: Say) -> None:
    path = workflow.spec_folder / workflow.spec
    if not has_steps(path):
        return
    steps = read_steps(path)
    if noted_steps(steps, workflow.pool) != workflow.steps:
        raise BatchError(
            "the steps of the workflow, or their order, are not what they were",
            where=str(path),
            fix="Undo that, or submit it as a new workflow.",
        )

    def instead(name: str, spec: Spec) -> Spec:
        return _with_copies(workflow, name, spec)

    check_steps(steps, workflow.folder, backend=workflow.pool, instead=instead)
    for step in steps.steps:
        text = step_spec(steps, step, lambda name: results_of(steps, workflow.folder, name))
        if workflow.step_spec(step.name).read_bytes() == text:
            continue
        if step.name in done:
            # What is written there stays what has run: submit then knows that this is new work.
            say(
                f"step {step.name}: its spec has changed, but it has succeeded and is not run "
                "again: `osgbatch submit` would run all anew"
            )
            continue
        say(f"step {step.name}: its spec has changed")
        folders.write_bytes(workflow.step_spec(step.name), text)


def _with_copies(workflow: Workflow, name: str, spec: Spec) -> Spec:
    """With the copies of its files, where files that it named before are not there any more."""
    step = workflow.step(name)
    kept, places = _kept(workflow, step), {path.place for path in spec.files}
    if not kept or all(error.place not in places for error in missing_files(spec)):
        return spec
    before = step_as_written(workflow, step, workflow.settings).files
    if entries_of(before) != entries_of(spec.files):
        return spec
    try:
        return replace(spec, files=copies(workflow, kept, spec))
    except BatchError:  # then what is missing is told
        return spec


def _take_files(workflow: Workflow, step: StepNote, kept: Kept, done: bool, say: Say) -> None:
    spec = step_as_written(workflow, step, workflow.settings)
    try:
        found = changed(kept, look(spec))
    except OsgbatchError as error:
        if done:
            return
        copies(workflow, kept, spec)
        place = f" ({error.where})" if error.where else ""
        say(f"note: step {step.name}: {error.what}{place}: the copies of its files are used")
        packed = pack_spec_environment(spec, say)
        digest = packed.sha256 if packed else ""
        keep(workflow, step, say, environment=digest, files_of=kept)
        return
    if done:
        if found:
            what = f"it has run with {named(found)} as it was, and is not run again"
            say(f"step {step.name}: {what}")
        return
    if found:
        have = "have changed and are" if len(found) > 1 else "has changed and is"
        say(f"step {step.name}: {named(found)} {have} taken anew")
    silent = lambda text: None  # noqa: E731
    packed = pack_spec_environment(spec, say if set(found) & {*kept.others} else silent)
    keep(workflow, step, say, environment=packed.sha256 if packed else "")

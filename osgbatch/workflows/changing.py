"""What `resubmit` takes anew of a workflow: its spec and its files, for what has not run yet."""

from __future__ import annotations

from collections.abc import Callable

from osgbatch.batches import folder as folders
from osgbatch.errors import BatchError, OsgbatchError
from osgbatch.life.following import status
from osgbatch.spec.steps import has_steps, read_steps, step_spec
from osgbatch.submission.packed import pack_spec_environment
from osgbatch.workflows.folder import StepNote, Workflow
from osgbatch.workflows.kept import Kept, changed, keep, look, named, read_kept, step_as_written
from osgbatch.workflows.rounds import is_stale
from osgbatch.workflows.starting import check_steps, noted_steps, results_of

Say = Callable[[str], None]


def take_changes(workflow: Workflow, say: Say) -> None:
    """Let what has not run yet be as the spec and the files are now, where they are there still.

    Raises SpecErrors with all that is wrong in the spec, BatchError when it has other steps now.
    """
    done = {step.name for step in workflow.steps if _is_done(workflow, step)}
    _take_spec(workflow, done, say)
    found = [(step, kept) for step in workflow.steps if (kept := read_kept(workflow, step))]
    for step, kept in found:
        _take_files(workflow, step, kept, step.name in done, say)


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
    check_steps(steps, workflow.folder, backend=workflow.pool)
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


def _take_files(workflow: Workflow, step: StepNote, kept: Kept, done: bool, say: Say) -> None:
    spec = step_as_written(workflow, step, workflow.settings)
    try:
        found = changed(kept, look(spec))
    except OsgbatchError as error:
        if not done:
            say(f"note: step {step.name}: {error.what}: the copies of its files are used")
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
    keep(workflow, step, environment=packed.sha256 if packed else "")

"""Begins a workflow that is submitted, or finds where that was done already: nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.errors import BatchError, BusyError
from osgbatch.life.naming import shown_path
from osgbatch.spec.steps import Steps, read_steps, step_spec
from osgbatch.submission.planned import AS_WRITTEN, Choices
from osgbatch.submission.submitting import choose_backend
from osgbatch.workflows.advancing import dag_runs
from osgbatch.workflows.alone import alone
from osgbatch.workflows.finding import workflows_here
from osgbatch.workflows.folder import Workflow, load_workflow, read_dag_note
from osgbatch.workflows.kept import changed_since, named
from osgbatch.workflows.starting import check_steps, check_until, make_workflow, results_of
from osgbatch.workflows.telling import WorkflowStatus, workflow_status
from osgbatch.workflows.unchanged import what_changed

Say = Callable[[str], None]


@dataclass(frozen=True)
class Begun:
    """A workflow to go on with. done: it has succeeded already, and only is to be collected."""

    workflow: Workflow
    done: bool = False


@contextmanager
def begun(
    path: Path,
    pool: str,
    say: Say,
    choices: Choices = AS_WRITTEN,
    *,
    again: bool = False,
    until: str = "",
) -> Iterator[Begun]:
    """The workflow of a spec: the one that does the very same, else one that is made now.

    Nobody else may submit it or go on with it meanwhile. again: always make one. until: a step that
    must be one of its. Raises BusyError when it is being done, SpecErrors, OsgbatchError; then
    nothing was made.
    """
    steps = read_steps(path)
    check_until(steps, until)
    with ExitStack() as kept:
        with _one_at_a_time(steps, say):
            found = None if again else _earlier(steps, pool, say, tuple(choices.settings), kept)
            if found is None:
                found = Begun(make_workflow(steps, choose_backend(pool, say), say, choices))
                kept.enter_context(alone(found.workflow, pools_too=True))
        yield found


@contextmanager
def _one_at_a_time(steps: Steps, say: Say) -> Iterator[None]:
    """Nobody else submits from the folder of a spec; what is left empty is removed."""
    parent = steps.folder / names.BATCHES
    try:
        parent.mkdir(exist_ok=True)
    except OSError:
        yield  # making the workflow says what is wrong
        return
    try:
        with folders.one_at_a_time(parent, say):
            yield
    finally:
        with suppress(OSError):
            parent.rmdir()


def _earlier(
    steps: Steps, pool: str, say: Say, settings: tuple[str, ...], kept: ExitStack
) -> Begun | None:
    """The newest workflow that does the very same; None to make a new one.

    kept: is given the lock of it.
    """
    alike = list(_alike(steps, settings))
    for older in alike[1:]:  # of --again
        with _kept(older):
            now = workflow_status(older, most_wrong=0)
            if now.dag_works or now.runs:
                raise _busy(older)
    if not alike:
        return None
    found = alike[0]
    own = ExitStack()
    with own:
        own.enter_context(_kept(found))
        begun = _as_it_is(found, steps, pool, say)
        if begun is not None:
            kept.push(own.pop_all())
    return begun


def _as_it_is(found: Workflow, steps: Steps, pool: str, say: Say) -> Begun | None:
    """What to do with a workflow that is of the very same steps; None to make a new one."""
    note = read_dag_note(found)
    if note is not None and not note.cluster and dag_runs(found, say):
        return Begun(found)  # who submitted it was killed before it could be noted
    now = workflow_status(found)
    if now.dag_works:
        raise _busy(found)
    if now.succeeded and not (changed := what_changed(found)):
        say(f"workflow {found.id} has done this already; --again does it once more")
        if not now.complete:
            say(
                "note: some of its tasks have failed: "
                f"`osgbatch resubmit {shown_path(found.folder)}` runs them once more"
            )
        return Begun(found, done=True)
    if now.succeeded:
        check_steps(steps, found.folder, backend=found.pool)  # else nothing begins
        say(f"note: workflow {found.id} has done the same, but {changed}: this begins anew")
        return None
    if now.failed or now.was_stopped:
        say(
            f"note: this begins anew. `osgbatch resubmit {shown_path(found.folder)}` would run "
            "only what has not succeeded there"
        )
        return None
    if pool not in ("auto", found.pool):
        if now.runs:
            raise _busy(found)
        say(
            f"note: this begins anew, with --pool {pool}. `osgbatch watch "
            f"{shown_path(found.folder)}` would go on with the one that was interrupted"
        )
        return None
    say(f"continuing workflow {found.id}, {_where_it_is(now)}")
    left = (step.name for step in now.steps if not now.is_done(step.name))
    if files := changed_since(found, left):
        name = shown_path(found.folder)
        have = "have" if len(files) > 1 else "has"
        say(
            f"note: {named(files)} {have} changed since it was submitted: it goes on with what was "
            f"there then. `osgbatch resubmit {name}` takes what is there now, --again begins anew"
        )
    return Begun(found)


def _where_it_is(now: WorkflowStatus) -> str:
    if now.runs:
        return "whose step runs still"
    done = [step.name for step in now.steps if now.is_done(step.name)]
    if done and not any(
        step.state == "failed" or (step.counts and step.name not in done) for step in now.steps
    ):
        return f"of which {', '.join(done)} {'is' if len(done) == 1 else 'are'} done"
    return "which was interrupted"


def _alike(steps: Steps, settings: tuple[str, ...]) -> Iterator[Workflow]:
    """The workflows here whose steps are the same to the last letter, the newest first."""
    for folder in workflows_here(steps.folder):
        try:
            found = load_workflow(folder)
        except BatchError:
            continue
        if found.name == steps.name and found.settings == settings and _is_of(found, steps):
            yield found


def _is_of(found: Workflow, steps: Steps) -> bool:
    if {step.name for step in found.steps} != {step.name for step in steps.steps}:
        return False

    def results(name: str) -> str:
        return results_of(steps, found.folder, name)

    try:
        return all(
            found.step_spec(step.name).read_bytes() == step_spec(steps, step, results)
            for step in steps.steps
        )
    except OSError:
        return False


@contextmanager
def _kept(found: Workflow) -> Iterator[None]:
    """Keep others out of a workflow. Raises BusyError when one is there."""
    with ExitStack() as lock:
        try:
            lock.enter_context(alone(found, pools_too=True))
        except BusyError:
            raise _busy(found) from None
        yield


def _busy(found: Workflow) -> BusyError:
    return BusyError(
        f"workflow {found.id} ({found.name}) does the very same, and has not ended",
        where=str(found.folder),
        fix=f"`osgbatch watch {shown_path(found.folder)}` follows it; --again submits it once "
        "more.",
    )

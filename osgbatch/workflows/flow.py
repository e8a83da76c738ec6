"""What commands do with a workflow as a whole: go on, resubmit, explain, collect, plan it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from osgbatch import condor, names
from osgbatch.batches.folder import Batch
from osgbatch.errors import BusyError
from osgbatch.life.naming import shown_path
from osgbatch.life.why import Why, explain
from osgbatch.plan_model import Plan
from osgbatch.results.finishing import collect_batch
from osgbatch.spec.steps import Step, Steps, read_steps, step_spec
from osgbatch.submission.planned import Choices, plan_sweep
from osgbatch.workflows.advancing import advance, dag_runs
from osgbatch.workflows.alone import alone
from osgbatch.workflows.changing import take_changes
from osgbatch.workflows.folder import Workflow, is_cancelled, read_dag_note
from osgbatch.workflows.starting import check_steps, results_of
from osgbatch.workflows.telling import StepStatus, WorkflowStatus, workflow_status

Say = Callable[[str], None]
Look = Callable[[WorkflowStatus], None]


def unseen(now: WorkflowStatus) -> None:
    """Who does not look at a workflow while it goes on."""


_AGAIN = re.compile(r"osgbatch resubmit (?:'[^']*'|\S+)(?: --failed| --missing| --tasks \S+)?")
_WITH_DAGMAN = ("OtherJobRemoveRequirements = DAGManJobId", "DAG Removed:")
"""In what the schedd, and DAGMan, say of jobs that go with DAGMan's own. Seen on 25.14 and 23.9."""
_LAST_LINES = 40


@dataclass(frozen=True)
class Reason:
    """Why a step did not go as it should. said: what the scripts of its node said last.

    why: of its tasks, None where it has no batch.
    """

    step: StepStatus
    said: tuple[str, ...]
    why: Why | None


@dataclass(frozen=True)
class PlannedStep:
    """A step as it would run. plan: None where its rows or files are what earlier steps make."""

    step: Step
    plan: Plan | None


def go_on(
    workflow: Workflow,
    say: Say,
    *,
    wait: bool,
    again: bool = False,
    until: str = "",
    look: Look = unseen,
) -> WorkflowStatus:
    """Go on with a workflow as far as it goes; a local one is always waited for.

    Without HTCondor there is nothing that would go on by itself. The rest is as of `advance`.
    """
    wait = wait or workflow.pool == "local"
    return advance(workflow, say, wait=wait, again=again, until=until, look=look)


def resubmit(
    workflow: Workflow, say: Say, *, wait: bool, look: Look = unseen
) -> WorkflowStatus | None:
    """Run what has not succeeded once more, and what comes after it: a rescue.

    Returns None when there is nothing to run. Raises BusyError while DAGMan or another osgbatch
    works on it, and what `take_changes` and `advance` raise.
    """
    with alone(workflow, pools_too=True):
        before = workflow_status(workflow)
        if before.dag_works or dag_runs(workflow, say):
            raise BusyError(
                "DAGMan works on this workflow still",
                where=str(workflow.folder),
                fix="Wait for it (`osgbatch watch`), or `osgbatch cancel` it first.",
            )
        take_changes(workflow, say)
        if before.complete:
            return None
        return go_on(workflow, say, wait=wait, again=True, look=look)


def collect(
    workflow: Workflow, say: Say, *, wait: bool, quiet: bool = False, look: Look = unseen
) -> None:
    """Collect every step that has begun; what runs here and is due runs first.

    wait: until all has ended. quiet: say nothing of what is collected. Raises what collecting
    raises, OsgbatchError.
    """
    now = workflow_status(workflow)
    if wait or now.due:
        advance(workflow, say, wait=wait, only_here=not wait, look=look)
    for step in workflow.steps:
        batch = workflow.batch(step.name)
        if batch is None:
            continue
        _, collected, failure = collect_batch(batch, say, quiet=quiet)
        for note in collected.notes:
            say(f"note: {step.name}: {note}")
        if failure is not None:
            raise failure


def telling_batch(workflow: Workflow) -> Batch | None:
    """The batch of the step that has most to tell: one that failed, runs, or ended last."""
    now = workflow_status(workflow)
    for state in ("failed", "held", "running"):
        for step in now.steps:
            if step.state == state and step.counts:
                return workflow.batch(step.name)
    begun = [step for step in now.steps if step.counts]
    return workflow.batch(begun[-1].name) if begun else None


# --- why -----------------------------------------------------------------------------------------


def reasons(workflow: Workflow, now: WorkflowStatus) -> list[Reason]:
    """Why steps failed: what their nodes said, and why their tasks failed."""
    found = []
    for step in now.steps:
        wrong = set(step.counts) - {"succeeded"}
        if step.state == "failed" or (step.state != "waiting" and wrong):
            batch = workflow.batch(step.name)
            why = _of_workflow(explain(batch), workflow) if batch else None
            found.append(Reason(step, tuple(_errors_of(workflow.step_log(step.name))), why))
    return found


def _of_workflow(why: Why, workflow: Workflow) -> Why:
    """The same, where what is to be run again is the workflow: the later steps wait for it, too."""
    again = f"osgbatch resubmit {shown_path(workflow.folder)}"

    def commands(told: Sequence[str]) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(again if _AGAIN.fullmatch(command) else command for command in told)
        )

    by_whom = "cancelled by `osgbatch cancel`" if is_cancelled(workflow) else "with its DAGMan"

    def told(text: str) -> str:
        return by_whom if any(words in text for words in _WITH_DAGMAN) else text

    causes = (
        replace(cause, commands=commands(cause.commands), told=told(cause.told))
        for cause in why.causes
    )
    return replace(why, causes=tuple(causes))


def _errors_of(log: Path) -> list[str]:
    """What a node's scripts said last, where they failed."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
    except OSError:
        return []
    died = [i for i, line in enumerate(lines) if line.startswith("Traceback (most recent")]
    found = [i for i, line in enumerate(lines) if "error: " in line]
    if died and died[-1] > max(found, default=-1):
        lines = [f"osgbatch died: {lines[-1]}", f"all of it is in {shown_path(log)}"]
        found = [0]
    if not found:
        return []
    return ["".join(c if c.isprintable() else "?" for c in line) for line in lines[found[-1] :]]


def words_of_dagman(workflow: Workflow) -> list[str]:
    """What DAGMan says of its end."""
    note = read_dag_note(workflow)
    return condor.last_words(workflow.folder, workflow.dag_file(note.stage)) if note else []


# --- before it is submitted ----------------------------------------------------------------------


def plan_steps(
    path: Path, backend: str = "condor", settings: Sequence[str] = ()
) -> tuple[Steps, list[PlannedStep]]:
    """The plan of each step, as far as it can be known; nothing is made.

    backend: that of the steps that do not run here. Raises SpecErrors with all that is wrong.
    """
    steps = read_steps(path)
    folder = steps.folder / names.BATCHES / steps.name
    plans: dict[str, Plan] = {}
    check_steps(steps, folder, backend=backend, plans=plans)
    if settings:
        for step in steps.steps:
            if step.name in plans:
                text = step_spec(steps, step, lambda name: results_of(steps, folder, name))
                staging = backend != "local" and not step.here
                choices = Choices(tuple(settings), staging=staging, copy=text)
                spec = steps.folder / f".{steps.name}-{step.name}.yaml"
                plans[step.name] = plan_sweep(spec, folder.parent, choices)
    # a step's own spec is no file: what it comes from is the workflow's
    told = {n: replace(p, spec=replace(p.spec, path=steps.path)) for n, p in plans.items()}
    return steps, [PlannedStep(step, told.get(step.name)) for step in steps.steps]

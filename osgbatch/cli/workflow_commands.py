"""Workflows (`steps:`) on the command line; commands that take a batch call what is here."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from osgbatch import exits, ui
from osgbatch.cli.workflow_texts import (
    next_steps,
    results_path,
    status_data,
    status_text,
)
from osgbatch.errors import OsgbatchError

if TYPE_CHECKING:
    from osgbatch.batches.folder import Batch
    from osgbatch.submission.planned import Choices
    from osgbatch.workflows.folder import Workflow
    from osgbatch.workflows.telling import WorkflowStatus


def node(
    folder: Annotated[Path, typer.Argument(help="The workflow's folder.")],
    what: Annotated[str, typer.Argument(help="prepare or judge.")],
    step: Annotated[str, typer.Argument(help="The step.")],
    retry: Annotated[int, typer.Argument(help="How often it was done again.")] = 0,
    most: Annotated[int, typer.Argument(help="How often it may be.")] = 0,
    job: Annotated[str, typer.Argument(help="Its job, as DAGMan knows it.")] = "",
) -> int:
    """What DAGMan runs before and after a node of a workflow."""
    import time

    from osgbatch.workflows.nodes import judge, prepare

    def say(text: str) -> None:
        ui.say(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}")

    if what == "prepare":
        return prepare(folder.absolute(), step, retry, say)
    return judge(folder.absolute(), step, job, retry, most, say)


def submit_steps(
    spec: Path,
    pool: str,
    choices: Choices,
    watch_it: bool | None,
    *,
    as_json: bool = False,
    dry_run: bool = False,
    again: bool = False,
    until: str = "",
) -> int:
    """`osgbatch submit` of a spec with steps."""
    if dry_run:
        return plan_steps(spec, choices, as_json=as_json)
    from osgbatch.life.naming import shown_path
    from osgbatch.workflows.continuing import begun
    from osgbatch.workflows.flow import go_on

    wait = sys.stdout.isatty() if watch_it is None else watch_it
    with begun(spec, pool, ui.say, choices, again=again, until=until) as found:
        workflow = found.workflow
        shown = shown_path(workflow.folder)
        if not as_json:
            ui.out(f"workflow {workflow.id}: {shown}")
        if found.done:
            return Flow(workflow).collect(as_json, watch_it=False)
        with _left_alone(workflow):
            now = go_on(workflow, ui.say, wait=wait, until=until, look=_look())
    if as_json:
        ui.out_json(status_data(now))
        return exits.OK if now.runs else int(now.exit_code)
    if now.runs:
        ui.say(
            f"to follow it: `osgbatch watch {shown}`\nwhen it has ended: `osgbatch collect {shown}`"
        )
        return exits.OK
    if until and not now.failed and now.is_done(until) and not now.succeeded:
        ui.out(status_text(now))
        for step in next_steps(now):
            ui.say(f"next: {step}, for the steps that are left")
        return exits.OK
    if now.succeeded:
        return Flow(workflow).collect(as_json, watch_it=False)
    return _tell_end(now)


def refuse(options: Mapping[str, object]) -> None:
    """Raises OsgbatchError when an option is given that a workflow has no use for."""
    for option, given in options.items():
        if given:
            what = "a spec with steps: is submitted without this option"
            raise OsgbatchError(what, where=option, fix="Leave it out.")


def check_steps(spec: Path, *, as_json: bool = False) -> int:
    """Check a spec with steps, and say what it would do; nothing is made."""
    from osgbatch import names
    from osgbatch.spec.steps import read_steps
    from osgbatch.workflows.starting import check_steps as check_each

    steps = read_steps(spec)
    check_each(steps, steps.folder / names.BATCHES / steps.name)
    if as_json:
        told = [{"name": s.name, "here": s.here, "after": list(s.after)} for s in steps.steps]
        ui.out_json({"ok": True, "name": steps.name, "steps": told})
        return exits.OK
    width = max(len(step.name) for step in steps.steps)
    ui.out(f"{spec}: ok, a workflow of {ui.number_of(len(steps.steps), 'step')}")
    for step in steps.steps:
        where = "here" if step.here else "in the pool"
        after = f"after {', '.join(step.after)}" if step.after else ""
        ui.out(f"  {step.name:{width}}  {where:11}  {after}".rstrip())
    return exits.OK


def plan_steps(spec: Path, choices: Choices, *, as_json: bool = False) -> int:
    """Show what each step of a spec would do, as far as that is known; nothing is made."""
    from osgbatch import condor
    from osgbatch.cli.plan_data import plan_json
    from osgbatch.cli.plans import plan_text
    from osgbatch.submission.packed import planned_environment
    from osgbatch.workflows.flow import plan_steps as plan_each

    backend = "condor" if condor.configured() else "local"
    steps, planned = plan_each(spec, backend, choices.settings)
    told = []
    for one in planned:
        size, warnings = planned_environment(one.plan) if one.plan else (None, [])
        plan = replace(one.plan, warnings=(*one.plan.warnings, *warnings)) if one.plan else None
        told.append((one.step, plan, size))
    if as_json:
        data = [
            {
                "name": step.name, "here": step.here, "after": list(step.after),
                "plan": plan_json(plan, size) if plan else None,
            }
            for step, plan, size in told
        ]  # fmt: skip
        ui.out_json({"name": steps.name, "steps": data})
        return exits.OK
    ui.out(f"workflow {steps.name}, of {ui.number_of(len(told), 'step')}, from {spec}")
    for step, plan, size in told:
        where = "here" if step.here else "in the pool" if backend == "condor" else "locally"
        after = f", after {', '.join(step.after)}" if step.after else ""
        ui.out(f"\n=== step {step.name}, {where}{after}")
        if plan:
            ui.out(plan_text(plan, size))
        else:
            ui.out(f"is planned when {' and '.join(step.uses)} has made what it reads")
    return exits.OK


def render_steps(spec: Path, out: Path | None, choices: Choices, *, as_json: bool = False) -> int:
    """Make a workflow's folder, and run nothing."""
    from osgbatch.workflows.starting import submit_workflow

    if out is not None:
        raise OsgbatchError(
            "a workflow's folder lies in batches/ beside its spec",
            where="--out",
            fix="Leave it out.",
        )
    workflow = submit_workflow(spec, "condor", ui.say, choices, asked=False)
    if as_json:
        ui.out_json({"id": workflow.id, "folder": str(workflow.folder)})
    else:
        ui.out(f"rendered {workflow.folder}")
        ui.out(f"`osgbatch watch {shlex.quote(str(workflow.folder))}` runs it")
    return exits.OK


def _look() -> Callable[[WorkflowStatus], None]:
    """Prints a line when something has changed."""
    before = ""

    def look(now: WorkflowStatus) -> None:
        nonlocal before
        text = "; ".join(f"{s.name}: {ui.counts(s.counts)}" for s in now.steps if s.counts)
        if text != before:
            ui.say(text)
            before = text

    return look


@contextmanager
def _left_alone(workflow: Workflow) -> Iterator[None]:
    """Says how to come back, when somebody stops looking."""
    try:
        yield
    except KeyboardInterrupt:
        from osgbatch.life.naming import shown_path

        name = shown_path(workflow.folder)
        goes_on = "what DAGMan runs" if workflow.pool == "condor" else "what another has begun"
        ui.say(f"\nstopped; {goes_on} goes on. To come back, or to end it:")
        ui.say(f"  osgbatch watch {name}\n  osgbatch cancel {name}")
        raise typer.Exit(exits.INTERRUPTED) from None


def _nothing_to_do(workflow: Workflow) -> int:
    """Say so; of a foreach that has gathered another's elements, where these have failed."""
    from osgbatch.foreach.running import failed_elsewhere
    from osgbatch.life.naming import shown_path

    other = failed_elsewhere(workflow)
    if other is None:
        ui.out("nothing to resubmit: every step has succeeded")
        return exits.OK
    name = shown_path(other)
    ui.out(f"nothing to resubmit here; the elements that failed are of {name}")
    ui.say(f"next: osgbatch resubmit {name}")
    return exits.SOME_FAILED


def _tell_end(now: WorkflowStatus) -> int:
    ui.out(status_text(now))
    for step in next_steps(now):
        ui.say(f"next: {step}")
    return int(now.exit_code)


# --- commands that are given a workflow ----------------------------------------------------------


class Flow:
    """What commands that take a batch do with a workflow."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow

    def _now(self) -> WorkflowStatus:
        from osgbatch.workflows.telling import workflow_status

        return workflow_status(self.workflow)

    def status(self, as_json: bool) -> int:
        """Count the tasks of each step by state."""
        now = self._now()
        if as_json:
            ui.out_json(status_data(now))
        else:
            ui.out(status_text(now))
            for step in next_steps(now):
                ui.say(f"next: {step}")
        return exits.SOME_FAILED if now.failed else exits.OK

    def watch(self) -> int:
        """Follow it, do what is due here, and go on, until all is done or something failed."""
        from osgbatch.workflows.flow import go_on

        with _left_alone(self.workflow):
            now = go_on(self.workflow, ui.say, wait=True, look=_look())
        return _tell_end(now)

    def resubmit(self, watch_it: bool | None, as_json: bool) -> int:
        """Run what has not succeeded once more, and what comes after it: a rescue."""
        from osgbatch.workflows.flow import resubmit

        wait = sys.stdout.isatty() if watch_it is None else watch_it
        with _left_alone(self.workflow):
            now = resubmit(self.workflow, ui.say, wait=wait, look=_look())
        if now is None:
            return _nothing_to_do(self.workflow)
        if as_json:
            ui.out_json(status_data(now))
            return exits.OK if now.runs else int(now.exit_code)
        if now.runs:
            for step in next_steps(now):
                ui.say(f"next: {step}")
            return exits.OK
        return _tell_end(now)

    def cancel(self, yes: bool, as_json: bool) -> int:
        """End DAGMan and all that runs."""
        from osgbatch.cli.asking import agreed
        from osgbatch.workflows.acting import cancel_workflow

        now = self._now()
        name = f"workflow {self.workflow.id} ({self.workflow.name})"
        if now.succeeded and not now.runs and not as_json:
            ui.out(f"nothing to cancel: {name} has ended")
            return exits.OK
        terminal = sys.stdin.isatty() and sys.stderr.isatty()
        if now.runs and not yes and terminal and not agreed(f"cancel {name}?"):
            return exits.OK
        count = cancel_workflow(self.workflow)
        if as_json:
            ui.out_json({"id": self.workflow.id, "cancelled": count})
        else:
            if not count and now.cancelled and not now.runs:
                ui.out(f"nothing to cancel: {name} was cancelled before")
                return exits.OK
            ui.out(f"cancelled {name}: {ui.number_of(count, 'task')} had not ended")
        return exits.OK

    def why(self, as_json: bool) -> int:
        """Why steps failed: what their nodes said, and why their tasks failed."""
        from osgbatch.cli.why_commands import why_data, why_text
        from osgbatch.workflows.flow import reasons, words_of_dagman

        now = self._now()
        told = reasons(self.workflow, now)
        if as_json:
            data = [
                {
                    "step": one.step.name,
                    "node": list(one.said),
                    **({"batch": why_data(one.why)} if one.why else {}),
                }
                for one in told
            ]
            ui.out_json({**status_data(now), "why": data})
            return exits.SOME_FAILED if now.failed else exits.OK
        ui.out(status_text(now))
        for line in words_of_dagman(self.workflow) if now.dag_failed else ():
            ui.out(f"  {line}")
        for one in told:
            ui.out(f"\nstep {one.step.name}")
            for line in one.said:
                ui.out(f"  {line}")
            if one.why is not None:
                ui.out(why_text(one.why))
        known = {line for one in told if one.why for c in one.why.causes for line in c.commands}
        for command in next_steps(now):
            if not command.startswith("osgbatch why") and command not in known:
                ui.say(f"next: {command}")
        return exits.SOME_FAILED if now.failed else exits.OK

    def collect(self, as_json: bool, watch_it: bool) -> int:
        """Collect every step that has begun; what runs here and is due runs first."""
        from osgbatch.foreach.running import bring_noted
        from osgbatch.workflows.flow import collect

        with _left_alone(self.workflow):
            collect(self.workflow, ui.say, wait=watch_it, quiet=as_json, look=_look())
        now = self._now()
        home = bring_noted(self.workflow, ui.say)  # of `osgbatch foreach`
        if as_json:
            ui.out_json(status_data(now))
        else:
            ui.out(status_text(now))
            ui.out(f"results: {home or results_path(self.workflow)}")
        return int(now.exit_code)

    def no_archive(self) -> OsgbatchError:
        """What is told who would put it into one file."""
        from osgbatch.life.naming import shown_path

        name = shown_path(self.workflow.folder)
        return OsgbatchError(
            "this is a workflow, and only batches are archived",
            where=str(self.workflow.folder),
            fix=f"When it has ended its folder is all there is of it: `tar -czf "
            f"{self.workflow.folder.name}.tar.gz {name}`, then `osgbatch rm {name}`.",
        )

    def rm(self, yes: bool, as_json: bool) -> int:
        """Remove it."""
        from osgbatch.cli.asking import agreed
        from osgbatch.workflows.acting import remove_workflow

        folder = self.workflow.folder
        terminal = sys.stdin.isatty() and sys.stderr.isatty()
        if not yes and terminal and not agreed(f"remove {folder}, with all its results?"):
            return exits.OK
        if not yes and not terminal:
            raise OsgbatchError("this removes results", where="rm", fix="Say so with --yes.")
        remove_workflow(self.workflow)
        if as_json:
            ui.out_json([{"id": self.workflow.id, "folder": str(folder)}])
        else:
            ui.out(f"removed {folder}")
        return exits.OK

    def telling_batch(self) -> Batch | None:
        """The batch of the step that has most to tell: one that failed, runs, or ended last."""
        from osgbatch.workflows.flow import telling_batch

        return telling_batch(self.workflow)


def register(app: typer.Typer) -> None:
    """Make the command known."""
    app.command(hidden=True)(node)

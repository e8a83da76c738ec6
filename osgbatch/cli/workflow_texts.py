"""What commands print of workflows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from osgbatch import ui
from osgbatch.errors import OsgbatchError

if TYPE_CHECKING:
    from osgbatch.workflows.folder import Workflow
    from osgbatch.workflows.telling import WorkflowStatus


def status_data(now: WorkflowStatus) -> dict[str, Any]:
    """A workflow's status for --json."""
    workflow = now.workflow
    return {
        "id": workflow.id,
        "name": workflow.name,
        "folder": str(workflow.folder),
        "pool": workflow.pool,
        "ended": now.ended,
        "succeeded": now.succeeded,
        "due": list(now.due),
        "dag": now.dag.state if now.dag else None,
        "steps": [
            {
                "name": step.name,
                "state": step.state,
                "here": step.here,
                "after": list(step.after),
                "tasks": step.tasks,
                "counts": dict(step.counts),
                "folder": str(workflow.step_folder(step.name)),
            }
            for step in now.steps
        ],
    }


def status_text(now: WorkflowStatus) -> str:
    """A workflow's status for people: a line for each step."""
    from osgbatch.life.naming import shown_path

    workflow = now.workflow
    lines = [f"workflow {workflow.id} ({workflow.name}): {shown_path(workflow.folder)}"]
    width = max(len(step.name) for step in now.steps)
    for step in now.steps:
        tasks = ui.number_of(step.tasks, "task")
        counts = f"{tasks}: {ui.counts(step.counts)}" if step.counts else ""
        where = "here" if step.here else ""
        lines.append(f"  {step.name:{width}}  {step.state:9}  {where:4}  {counts}".rstrip())
    if now.dag is not None and (not now.dag.is_over or now.dag_failed):
        code = "" if now.dag.exit_code is None else f" with exit code {now.dag.exit_code}"
        lines.append(f"  DAGMan: {now.dag.state}{code}")
    return "\n".join(lines)


def next_steps(now: WorkflowStatus) -> list[str]:
    """What to type next."""
    from osgbatch.life.naming import shown_path

    name = shown_path(now.workflow.folder)
    if now.runs:
        return [f"osgbatch watch {name}"]
    if now.failed or now.dag_failed:
        return [f"osgbatch why {name}", f"osgbatch resubmit {name}"]
    if now.cancelled and not now.succeeded:
        return [f"osgbatch resubmit {name}"]
    if now.succeeded:
        from osgbatch.foreach.running import is_brought

        done = now.collected and (now.workflow.pool == "local" or is_brought(now.workflow))
        return [] if done else [f"osgbatch collect {name}"]
    return [f"osgbatch watch {name}"]


def flows_listed(here: Path, *, everywhere: bool) -> list[tuple[dict[str, Any], str]]:
    """The workflows for `osgbatch ls`: as data, and a line for each."""
    from osgbatch.workflows.finding import workflows_everywhere, workflows_here
    from osgbatch.workflows.folder import load_workflow
    from osgbatch.workflows.telling import workflow_status

    found = []
    for folder in workflows_everywhere() if everywhere else workflows_here(here):
        shown = str(folder) if everywhere else folder.name
        try:
            now = workflow_status(load_workflow(folder), most_wrong=0)
        except OsgbatchError as error:
            problem = {"workflow": True, "folder": str(folder), "problem": error.what}
            found.append((problem, f"  {shown}  cannot be read: {error.what}"))
            continue
        states = ", ".join(f"{step.name} {step.state}" for step in now.steps)
        found.append(({"workflow": True, **status_data(now)}, f"  {shown}  {states}"))
    return found


def results_path(workflow: Workflow) -> str:
    from osgbatch.life.naming import shown_path

    return f"{shown_path(workflow.folder)}/steps/<step>/results/"

"""Whether a workflow that is submitted is there already: interrupted, or still running."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from osgbatch.errors import BatchError, BusyError
from osgbatch.life.naming import shown_path
from osgbatch.spec.steps import read_steps, step_spec
from osgbatch.workflows.finding import workflows_here
from osgbatch.workflows.folder import Workflow, load_workflow
from osgbatch.workflows.starting import results_of
from osgbatch.workflows.telling import workflow_status

Say = Callable[[str], None]


def unfinished(path: Path, say: Say, *, again: bool) -> Workflow | None:
    """The newest workflow of this very spec, where it was interrupted; None to make a new one.

    again: make a new one also when the same runs; else that raises BusyError.
    """
    steps = read_steps(path)
    for folder in workflows_here(steps.folder):
        try:
            found = load_workflow(folder)
        except BatchError:
            continue
        if found.name != steps.name:
            continue
        same = found.settings == () and all(
            _text(found.step_spec(step.name))
            == step_spec(steps, step, lambda name: results_of(steps, found.folder, name))  # noqa: B023
            for step in steps.steps
        )
        if not same or again:
            return None
        now = workflow_status(found)
        if now.dag_works:
            raise BusyError(
                f"workflow {found.id} ({found.name}) does the very same, and has not ended",
                where=str(folder),
                fix=f"`osgbatch watch {shown_path(folder)}` follows it; --again submits it once "
                "more.",
            )
        if now.succeeded or now.failed or now.was_stopped:
            return None
        say(f"continuing workflow {found.id}, which was interrupted")
        return found
    return None


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""

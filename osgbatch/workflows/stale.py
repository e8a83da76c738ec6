"""On which results a step has run; apart from its rounds, so that a look loads no more."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from osgbatch import names
from osgbatch.life.following import status
from osgbatch.workflows.folder import StepNote, Workflow


def read_by(workflow: Workflow, step: StepNote) -> dict[str, str]:
    """Which results a step would read now: of each step that it uses a checksum.

    Of the batch, and of the round that tells of each task, which a later success changes.
    """
    found = {}
    for name in step.uses:
        batch = workflow.batch(name)
        if batch is not None:
            states = status(batch, all_tasks=True).states
            told = [[state.index, state.state == "succeeded", state.round] for state in states]
            found[name] = hashlib.sha256(json.dumps([batch.id, told]).encode()).hexdigest()
    return found


def is_stale(workflow: Workflow, step: StepNote, known: dict[str, bool] | None = None) -> bool:
    """Whether a step has run on other results than those that are there now.

    known: what this look has found of steps so far; each is looked at once.
    """
    known = {} if known is None else known
    if step.name not in known:
        before = (workflow.step(name) for name in step.uses)
        known[step.name] = any(is_stale(workflow, one, known) for one in before) or _read_others(
            workflow, step
        )
    return known[step.name]


def _read_others(workflow: Workflow, step: StepNote) -> bool:
    try:
        read = json.loads(read_note(workflow, step).read_text())["read"]
    except (OSError, ValueError, KeyError, TypeError):
        return False  # it has not begun, or an earlier osgbatch began it
    return bool(read != read_by(workflow, step))


def read_note(workflow: Workflow, step: StepNote) -> Path:
    """Beside the step's folder, and written before that is."""
    return workflow.folder / names.STEPS / f"{step.name}.read.json"

"""Cancels a workflow: DAGMan, the jobs of its nodes, what runs here; and removes its folder."""

from __future__ import annotations

import shutil
import socket
from dataclasses import asdict, replace

from osgbatch import condor
from osgbatch.batches import folder as folders
from osgbatch.batches import registry
from osgbatch.errors import BatchError, BusyError
from osgbatch.life.acting import cancel_batch
from osgbatch.life.following import status
from osgbatch.life.housekeeping import held_fast, old_batches
from osgbatch.workflows.folder import (
    StepNote,
    Workflow,
    note_cancelled,
    read_dag_note,
    write_dag_note,
)
from osgbatch.workflows.rounds import live_tasks
from osgbatch.workflows.telling import dag_now, workflow_status


def cancel_workflow(workflow: Workflow) -> int:
    """End what runs of a workflow; how many tasks had not ended.

    DAGMan goes first: else it would do its nodes again. Later steps do not begin, until it is
    resubmitted. Raises CondorError, BatchError when its queue is another machine's.
    """
    note = read_dag_note(workflow)
    if note is not None and note.host != socket.gethostname() and not dag_now(workflow).is_over:
        raise BatchError(
            f"its DAG was submitted on {note.host}",
            where=str(workflow.folder),
            fix="Run the same command there.",
        )
    _queued_dag(workflow)  # raises where it cannot be removed, before anything is noted
    if not workflow_status(workflow).succeeded:
        # first: whoever waits for the lock then begins nothing more
        note_cancelled(workflow)
    with folders.locked(workflow.folder, wait=True):
        counts = {step.name: _live(workflow, step) for step in workflow.steps}
        cluster = _queued_dag(workflow)
        if cluster:
            condor.remove_dag(workflow.id, cluster)
        note = read_dag_note(workflow)
        if note is not None and not dag_now(workflow).is_over:
            write_dag_note(workflow, replace(note, over=True))
    for step in workflow.steps:
        batch = workflow.batch(step.name)
        if batch is None or folders.read_submitted(batch.rounds()[-1]) is None:
            continue
        now = status(batch)
        if live_tasks(now) and (now.cluster or workflow.backend(step) == "local"):
            counts[step.name] = max(counts[step.name], cancel_batch(batch).tasks)
    return sum(counts.values())


def _live(workflow: Workflow, step: StepNote) -> int:
    """How many tasks of a step are in jobs that have not ended."""
    batch = workflow.batch(step.name)
    if batch is None or folders.read_submitted(batch.rounds()[-1]) is None:
        return 0
    now = status(batch)
    return live_tasks(now) if now.cluster else 0


def _queued_dag(workflow: Workflow) -> int:
    """The cluster of its DAGMan in the queue, noted or not; 0 when there is none."""
    note = read_dag_note(workflow)
    if workflow.pool != "condor" or not (note or condor.configured()):
        return 0
    told = asdict(note) if note and not dag_now(workflow).is_over else None
    return condor.find_dag(workflow.id, told)


def remove_workflow(workflow: Workflow) -> None:
    """Remove the folder of a workflow, with results and all.

    Raises BusyError while DAGMan works on it or a job of it is queued, CondorError when the queue
    cannot be asked.
    """
    note = read_dag_note(workflow)
    if (note is not None and not dag_now(workflow).is_over) or _queued_dag(workflow):
        raise BusyError(
            "DAGMan works on this workflow",
            where=str(workflow.folder),
            fix="Wait for it, or `osgbatch cancel` it first.",
        )
    batches = [batch for step in workflow.steps if (batch := workflow.batch(step.name))]
    old_batches(batches)
    with held_fast(batches):
        shutil.rmtree(workflow.folder)
    registry.unregister(workflow.id)

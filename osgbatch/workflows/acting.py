"""Cancels a workflow: DAGMan, the jobs of its nodes, what runs here; and removes its folder."""

from __future__ import annotations

import shutil
import socket

from osgbatch import condor
from osgbatch.batches import folder as folders
from osgbatch.batches import registry
from osgbatch.errors import BatchError, BusyError
from osgbatch.life.acting import cancel_batch
from osgbatch.life.following import status
from osgbatch.life.housekeeping import held_fast, old_batches
from osgbatch.workflows.folder import Workflow, read_dag_note
from osgbatch.workflows.rounds import live_tasks
from osgbatch.workflows.telling import dag_now


def cancel_workflow(workflow: Workflow) -> int:
    """End what runs of a workflow; how many tasks had not ended.

    DAGMan goes first: else it would do its nodes again. Later steps do not begin. Raises
    CondorError, BatchError when its queue is another machine's.
    """
    with folders.locked(workflow.folder, wait=True):
        note = read_dag_note(workflow)
        if note is not None and not (note.cluster and dag_now(workflow).is_over):
            if note.host != socket.gethostname():
                raise BatchError(
                    f"its DAG was submitted on {note.host}",
                    where=str(workflow.folder),
                    fix="Run the same command there.",
                )
            cluster = condor.find_dag(workflow.id)
            if cluster:
                condor.remove_dag(workflow.id, cluster)
    count = 0
    for step in workflow.steps:
        batch = workflow.batch(step.name)
        if batch is None or folders.read_submitted(batch.rounds()[-1]) is None:
            continue
        now = status(batch)
        if live_tasks(now) and (now.cluster or workflow.backend(step) == "local"):
            count += cancel_batch(batch).tasks
    return count


def remove_workflow(workflow: Workflow) -> None:
    """Remove the folder of a workflow, with results and all.

    Raises BusyError while DAGMan works on it or a job of it is queued.
    """
    note = read_dag_note(workflow)
    if note is not None and not (note.cluster and dag_now(workflow).is_over):
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

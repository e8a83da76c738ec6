"""What DAGMan runs before and after a node: its jobs are written, its records are judged."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from osgbatch import condor, names
from osgbatch.batches import folder as folders
from osgbatch.errors import BusyError, CondorError, OsgbatchError, StagingError
from osgbatch.life.following import Status, status
from osgbatch.model import OPEN, TaskState
from osgbatch.rendering.dag import FINAL, NOTHING_LEFT
from osgbatch.workflows.folder import (
    StepNote,
    Workflow,
    is_cancelled,
    load_workflow,
    read_dag_note,
)

if TYPE_CHECKING:  # what plans and submits is loaded only where a node's jobs are written
    from osgbatch.workflows.rounds import Which

Say = Callable[[str], None]
LATE_S = 20.0
"""How long the last events of a round's log may take to be written, or to be read over NFS."""
AGAIN = 1
"""A node's script failed in a way that may pass: the node is done again, if RETRY lets it."""
_TRANSIENT = (BusyError, CondorError, StagingError)


def prepare(folder: Path, name: str, retry: int, say: Say) -> int:
    """Write the jobs of a step's tasks that have not succeeded; the exit code for DAGMan.

    retry: how often DAGMan has done the node again: then only what may go better is run again.
    Nothing is written when one of them is in a job that lives: no task is in two of them.
    """
    from osgbatch.workflows.rounds import next_round

    workflow = load_workflow(folder)
    step = workflow.step(name)
    try:
        with folders.locked(folder, wait=True):
            if is_cancelled(workflow):
                say(f"step {name}: it was cancelled; `osgbatch resubmit` goes on with it")
                return FINAL
            round_ = next_round(workflow, step, say, _which(workflow, retry))
    except OsgbatchError as error:
        say(f"error: {error}")
        return AGAIN if isinstance(error, _TRANSIENT) else FINAL
    if round_ is None:
        batch = workflow.batch(name)
        assert batch is not None
        if not succeeded(step, status(batch)):
            say(f"step {name}: no task is left that may go better")
            return FINAL
        say(f"step {name}: all tasks have succeeded")
        return NOTHING_LEFT
    say(f"step {name}: round {round_.number} of {round_.jobs:,} jobs")
    return 0


def _which(workflow: Workflow, retry: int) -> Which:
    """Which tasks a node runs: of those that this DAGMan ran already, what may go better."""
    from osgbatch.workflows.rounds import not_done

    note = read_dag_note(workflow)
    if not retry or note is None:
        return not_done
    since = note.time

    def which(now: Status) -> list[int]:
        noted = folders.read_submitted(now.batch.rounds()[-1])
        if noted is None or noted.time < since:  # it was not this DAGMan that made them fail
            return not_done(now)
        return [state.index for state in now.states if may_pass(now, state)]

    return which


def judge(folder: Path, name: str, job: str, retry: int, most: int, say: Say) -> int:
    """Whether a step's tasks have succeeded, by what came back; the exit code for DAGMan.

    job: `cluster.proc` as DAGMan knows it; retry, most: how often the node was done again, and may
    be. A task that its own program made fail fails again, so that is final.
    """
    workflow = load_workflow(folder)
    step = workflow.step(name)
    batch = workflow.batch(name)
    if batch is None:
        say(f"error: step {name} has no batch")
        return FINAL
    newest = batch.rounds()[-1]
    noted = folders.read_submitted(newest)
    found = re.fullmatch(r"(\d+)\.\d+", job)
    if noted is not None and not noted.cluster and found:
        from osgbatch.workflows.rounds import write_cluster

        write_cluster(newest, int(found[1]), "condor")
    now = status(batch, all_tasks=True)
    deadline = time.monotonic() + LATE_S
    while found and any(now.counts.get(state) for state in OPEN) and time.monotonic() < deadline:
        time.sleep(0.5)  # DAGMan's own log may be ahead of the round's
        now = status(batch, all_tasks=True)
    counts = ", ".join(f"{count:,} {state}" for state, count in sorted(now.counts.items()))
    say(f"step {name}: {counts}")
    if set(now.counts) <= {"succeeded"}:
        return 0
    if retry < most and any(may_pass(now, state) for state in now.states):
        return AGAIN
    if step.partial and is_ended(now):
        say(f"step {name}: later steps go on with what there is (partial)")
        return 0
    return FINAL


def is_ended(now: Status) -> bool:
    """Whether no task is waiting or running any more, and some have results to go on with.

    In a foreach also tasks with a failed element have results of the others; gather counts them.
    """
    ended = set(now.counts) <= {"succeeded", "failed", "removed", "unknown"}
    if ended and now.counts.get("failed") and not now.counts.get("succeeded"):
        return (now.batch.folder.parents[1] / names.FOREACH_NOTE).is_file()
    return ended and bool(now.counts.get("succeeded"))


def may_pass(now: Status, state: TaskState) -> bool:
    """Whether doing a task again may help: what stopped it was not its own program."""
    if state.state == "failed":
        return state.reason == "infrastructure" or bool(now.batch.data["retries"]["any"])
    if state.state == "removed":  # by hand: not against the user's will
        return condor.CANCELLED_BY_USER not in f"{state.reason} {state.detail}"
    return state.state in ("unknown", "waiting")


def succeeded(step: StepNote, now: Status) -> bool:
    """Whether the steps after a step may begin."""
    return set(now.counts) <= {"succeeded"} or (step.partial and is_ended(now))

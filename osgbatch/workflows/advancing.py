"""Goes on with a workflow: whatever is due is done here, or given to DAGMan; nothing twice."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, replace

from osgbatch import condor
from osgbatch.batches import folder as folders
from osgbatch.errors import BatchError, BusyError, CondorError, OsgbatchError
from osgbatch.life.acting import cancel_batch
from osgbatch.life.following import status
from osgbatch.life.naming import shown_path
from osgbatch.life.watching import LONGEST_COST_S, SHARE, watch
from osgbatch.results.finishing import collect_batch
from osgbatch.workflows.folder import (
    DagNote,
    StepNote,
    Workflow,
    forget_cancelled,
    forget_dag_note,
    is_cancelled,
    read_dag_note,
    write_dag_note,
)
from osgbatch.workflows.nodes import succeeded
from osgbatch.workflows.rounds import live_tasks, next_round
from osgbatch.workflows.stale import is_stale
from osgbatch.workflows.telling import WorkflowStatus, dag_now, workflow_status

Say = Callable[[str], None]
SHORTEST_S, LONGEST_S = 0.5, 5.0
"""Seconds between two looks at a DAG."""


def advance(
    workflow: Workflow,
    say: Say,
    *,
    wait: bool,
    again: bool = False,
    only_here: bool = False,
    until: str = "",
    look: Callable[[WorkflowStatus], None] = lambda now: None,
) -> WorkflowStatus:
    """Do what is due: steps that run here, in the foreground; the next DAG of those in the pool.

    wait: also for the DAG, until all is done or something has failed. again: run the tasks that
    have not succeeded once more (a rescue), of steps that later ones went on without, too; without
    it nothing is begun of what was cancelled. only_here: nothing is submitted. until: nothing is
    begun that this step does not need, but for what is in one DAG with it. look: is shown each look
    at the workflow. Called again after it was killed anywhere it goes on there: what has succeeded
    is not repeated, unless it has read what is not there any more. Steps that do not need one that
    has failed, or cannot be begun, run all the same. Raises OsgbatchError when one cannot be begun.
    """
    if again:
        forget_cancelled(workflow)
    wanted = _needed(workflow, until)
    wrong: OsgbatchError | None = None
    for stage in workflow.stages():
        asked = [step for step in stage if step.name in wanted]
        todo = [step for step in asked if _is_due(workflow, step, again)]
        if not todo:
            continue
        if is_cancelled(workflow):
            break
        if workflow.backend(stage[0]) == "local":
            for step in asked:  # what one of them makes may make a later one stale
                if not _is_due(workflow, step, again) or _is_blocked(workflow, step):
                    continue
                try:
                    run_here(workflow, step, say, again=again)
                except OsgbatchError as error:  # steps that do not need it run all the same
                    wrong = wrong or error
            continue
        note = read_dag_note(workflow)
        if wait and note and note.stage != stage[0].stage and dag_runs(workflow, say):
            _wait(workflow, look)  # an earlier stage's, which has its last words to say
        if not dag_runs(workflow, say):
            note = read_dag_note(workflow)
            ended = note is not None and note.cluster and note.stage == stage[0].stage
            if ended and not again and not any(is_stale(workflow, step) for step in todo):
                continue  # it has ended, and not all is done
            here = {step.name for step in stage}
            if only_here or any(_is_blocked(workflow, step, here) for step in todo):
                continue
            start_dag(workflow, stage[0].stage, say)
        if not wait:
            break
        _wait(workflow, look)
    if wrong is not None:
        raise wrong
    return workflow_status(workflow)


def _is_blocked(workflow: Workflow, step: StepNote, but: Collection[str] = ()) -> bool:
    """Whether a step waits for one that is not done. but: for these DAGMan waits."""
    before = (workflow.step(name) for name in step.after if name not in but)
    return any(not _is_done(workflow, one) for one in before)


def _needed(workflow: Workflow, until: str) -> set[str]:
    """The steps that a step needs, and itself; all of them when none is named."""
    if not until:
        return {step.name for step in workflow.steps}
    found, ahead = set[str](), [until]
    while ahead:
        name = ahead.pop()
        found.add(name)
        ahead += workflow.step(name).after
    return found


def _is_done(workflow: Workflow, step: StepNote) -> bool:
    batch = workflow.batch(step.name)
    return batch is not None and succeeded(step, status(batch)) and not is_stale(workflow, step)


def _is_due(workflow: Workflow, step: StepNote, again: bool) -> bool:
    """Whether a step is to run. again: also for some tasks that later steps went on without."""
    return not _is_done(workflow, step) or (again and _is_partial(workflow, step))


def _is_partial(workflow: Workflow, step: StepNote) -> bool:
    batch = workflow.batch(step.name)
    return batch is not None and not set(status(batch).counts) <= {"succeeded"}


# --- here ----------------------------------------------------------------------------------------


def run_here(workflow: Workflow, step: StepNote, say: Say, *, again: bool = False) -> bool:
    """Run a step on this machine, in the foreground; whether later steps may begin.

    One that ran already is waited for, or looked at. again: what has not succeeded is run once
    more. On Ctrl-C its jobs are ended, if it was begun here. Raises OsgbatchError when it cannot be
    run.
    """
    with folders.locked(workflow.folder, wait=True):  # another osgbatch may watch it, too
        if is_cancelled(workflow):
            return False
        batch = workflow.batch(step.name)
        if batch is not None and folders.read_submitted(batch.rounds()[-1]) is not None:
            now = status(batch)
            ended = not now.stalled and not live_tasks(now)
            if ended and not again and not is_stale(workflow, step):
                return succeeded(step, now)
            runs = live_tasks(now) and not now.stalled
        else:
            runs = False
        if not runs:
            say(f"step {step.name}: runs here")
            if next_round(workflow, step, say) is None:
                return True
    batch = workflow.batch(step.name)
    assert batch is not None
    try:
        for _ in watch(batch, 2.0):
            pass
    except KeyboardInterrupt:
        if not runs:  # else another osgbatch has begun it, and goes on
            cancel_batch(batch)
        raise
    now, collected, failure = collect_batch(batch, say)
    for note in collected.notes:
        say(f"note: {note}")
    if failure is not None:
        raise failure
    say(f"step {step.name}: {_told(now.counts)}")
    return succeeded(step, now) and not is_stale(workflow, step)


def _told(counts: object) -> str:
    assert isinstance(counts, dict)
    return ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items()))


# --- in the pool ---------------------------------------------------------------------------------


def start_dag(workflow: Workflow, stage: int, say: Say) -> None:
    """Give the DAG of a stage to DAGMan, once.

    Raises BusyError when jobs of its steps are in the queue still, CondorError.
    """
    condor.check_alive()
    with folders.locked(workflow.folder, wait=True) as lock:
        if is_cancelled(workflow) or dag_runs(workflow, say):
            return
        found = condor.find_dag(workflow.id)
        if found:
            raise BusyError(
                f"a DAGMan of it that was not noted is in the queue, cluster {found}",
                where=str(workflow.folder),
                fix=f"Wait for it, or `osgbatch cancel {shown_path(workflow.folder)}`.",
            )
        for step in workflow.steps:
            batch = workflow.batch(step.name) if step.stage == stage else None
            if batch is not None and folders.read_submitted(batch.rounds()[-1]):
                now = status(batch)
                if live_tasks(now) and now.cluster:
                    raise BusyError(
                        f"{live_tasks(now):,} tasks of step {step.name} are in jobs that live",
                        where=str(batch.folder),
                        fix=f"Wait for them, or `osgbatch cancel {shown_path(workflow.folder)}`.",
                    )
        dag = workflow.dag_file(stage)
        # A rescue leaves out what it calls done: also what went on without some tasks.
        here = [step for step in workflow.steps if step.stage == stage]
        redone = (
            s for s in here if is_stale(workflow, s) or (s.partial and _is_partial(workflow, s))
        )
        rescue = next(redone, None) is None
        earlier = condor.dag_in_log(workflow.folder, dag)
        schedd = condor.name_here()
        begun = DagNote(stage, 0, socket.gethostname(), time.time(), earlier, schedd=schedd)
        before = read_dag_note(workflow)
        write_dag_note(workflow, begun)
        try:
            cluster = condor.submit_dag(
                workflow.folder, dag, workflow.id, workflow.name, lock, rescue=rescue
            )
        except CondorError as error:
            cluster = _queued_after(workflow, begun, error)  # else what came of it is not known
            if not cluster:
                if before is not None:
                    write_dag_note(workflow, before)
                else:
                    forget_dag_note(workflow)
                raise
            say(f"condor_submit said: {error.what}; it is queued all the same")
        write_dag_note(workflow, DagNote(stage, cluster, begun.host, begun.time, schedd=schedd))
    steps = [step.name for step in workflow.steps if step.stage == stage]
    say(f"submitted {dag} to DAGMan, cluster {cluster}: {', '.join(steps)}")


def _queued_after(workflow: Workflow, begun: DagNote, error: CondorError) -> int:
    """The cluster of a DAGMan whose submission has failed; 0 when it is not in the queue.

    Raises CondorError when that cannot be found out: then the note that it was begun stays.
    """
    cluster = condor.dag_in_log(workflow.folder, workflow.dag_file(begun.stage))
    if cluster != begun.before:
        return cluster
    try:
        return condor.find_dag(workflow.id)
    except CondorError as later:
        raise CondorError(
            f"{error.what}; and whether it is queued is not known: {later.what}",
            where=str(workflow.folder),
            fix=f"When HTCondor answers, `osgbatch watch {shown_path(workflow.folder)}` goes on.",
        ) from None


def dag_runs(workflow: Workflow, say: Say) -> bool:
    """Whether a DAGMan of this workflow lives; one whose submission was cut short is looked for."""
    note = read_dag_note(workflow)
    if note is None:
        return False
    if not note.cluster:
        if note.host != socket.gethostname():
            raise BatchError(
                f"its DAG was being submitted on {note.host}, whose queue alone knows of it",
                where=str(workflow.folder),
                fix="Run the same command there.",
            )
        cluster = condor.dag_in_log(workflow.folder, workflow.dag_file(note.stage))
        if cluster == note.before:
            cluster = condor.find_dag(workflow.id, asdict(note))
        if not cluster:
            return False
        say(f"its DAG had been submitted, as cluster {cluster}")
        write_dag_note(workflow, replace(note, cluster=cluster, before=0, over=False))
    return not dag_now(workflow).is_over


def _wait(workflow: Workflow, look: Callable[[WorkflowStatus], None]) -> None:
    """Look at the workflow until DAGMan has ended."""
    pause, before = SHORTEST_S, None
    while True:
        began = time.process_time()
        dag = dag_now(workflow)  # first: what was written before it ended is then seen
        now = workflow_status(workflow)
        look(now)
        if dag.is_over or dag.state == "held":
            return
        told = [step.counts for step in now.steps]
        pause = SHORTEST_S if told != before else min(pause * 1.5, LONGEST_S)
        before = told
        cost = (time.process_time() - began) / SHARE
        time.sleep(max(pause, min(cost, LONGEST_COST_S)))

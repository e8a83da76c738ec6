"""How a workflow is getting on: its steps, each by its own batch, and DAGMan."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from osgbatch import condor, exits, names
from osgbatch.batches.folder import Batch, read_submitted
from osgbatch.condor import DagState
from osgbatch.errors import CondorError
from osgbatch.life.following import Status, status
from osgbatch.workflows.folder import DagNote, StepNote, Workflow, is_cancelled, read_dag_note
from osgbatch.workflows.nodes import succeeded
from osgbatch.workflows.stale import is_stale

EVENT_LATE_S = 30.0
"""After which the event of DAGMan's own submission is in its log."""
_FAILED = re.compile(r"^(\S+ \S+ error: |Traceback \(most recent call last\):)", re.M)
"""In a node's log: its script has failed, or died."""
SILENT_S = 1200.0
"""DAGMan writes each 600 s how its nodes are. Source: DAGMAN_PENDING_REPORT_INTERVAL."""


@dataclass(frozen=True)
class StepStatus:
    """A step. state: `waiting`, `running`, `succeeded`, `partial`, `failed`, `held`.

    counts: of its tasks in each state; none before it has begun. batch: the status of its batch.
    """

    name: str
    state: str
    here: bool
    after: tuple[str, ...]
    tasks: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    batch: Status | None = None


@dataclass(frozen=True)
class WorkflowStatus:
    """A workflow. dag: what DAGMan's own job does; None before there is one.

    due: the steps that run on this machine, and could now. cancelled: it goes on only when it is
    resubmitted.
    """

    workflow: Workflow
    steps: tuple[StepStatus, ...]
    dag: DagState | None = None
    due: tuple[str, ...] = ()
    cancelled: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether every step has ended as it should."""
        return all(step.state in ("succeeded", "partial") for step in self.steps)

    @property
    def complete(self) -> bool:
        """Whether every task of every step has succeeded: nothing is left to resubmit."""
        return all(step.state == "succeeded" for step in self.steps)

    @property
    def collected(self) -> bool:
        """Whether the results of every step are in their place, as far as times tell."""
        return all(_is_collected(self.workflow, step.name) for step in self.steps)

    @property
    def failed(self) -> tuple[str, ...]:
        """The steps that have failed."""
        return tuple(step.name for step in self.steps if step.state == "failed")

    def is_done(self, name: str) -> bool:
        """Whether a step has ended as it should."""
        return any(s.name == name and s.state in ("succeeded", "partial") for s in self.steps)

    @property
    def dag_works(self) -> bool:
        """Whether there is a DAGMan of it."""
        dag = self.dag
        return dag is not None and not dag.is_over and dag.state != "interrupted"

    @property
    def was_stopped(self) -> bool:
        """Whether it was cancelled, or its DAGMan ended without an end of its steps."""
        return self.cancelled or self.dag_stopped

    @property
    def dag_stopped(self) -> bool:
        """Whether DAGMan was removed, or ended without an end of its steps."""
        return self.dag is not None and self.dag.is_over and self.dag.exit_code != 0

    @property
    def dag_failed(self) -> bool:
        """Whether DAGMan has ended badly, and no step tells why."""
        return self.dag_stopped and not self.failed and not self.succeeded

    @property
    def runs(self) -> bool:
        """Whether something goes on by itself."""
        if self.dag_works and self.dag is not None and self.dag.state != "held":
            return True
        return any(step.state == "running" for step in self.steps)

    @property
    def ended(self) -> bool:
        """Whether nothing changes any more without somebody acting."""
        return not self.runs

    @property
    def exit_code(self) -> int:
        """0 when every step has succeeded, else 1."""
        return exits.OK if self.succeeded else exits.SOME_FAILED


def dag_now(workflow: Workflow) -> DagState:
    """What DAGMan does, by the log of its own job; by the queue, where that tells nothing."""
    note = read_dag_note(workflow)
    if note is not None and note.over:
        return DagState("removed")
    if note is None:
        return DagState("interrupted")
    dag = workflow.dag_file(note.stage)
    if not note.cluster:  # whoever submitted it was killed: did that come to anything?
        cluster = condor.dag_in_log(workflow.folder, dag)
        if cluster == note.before:
            return DagState("interrupted")
        note = replace(note, cluster=cluster)
    told = condor.dag_state(workflow.folder, dag, note.cluster)
    if told.is_over or not _is_silent(workflow, note, dag) or note.host != socket.gethostname():
        return told
    with suppress(CondorError):  # then nothing better is known
        if condor.configured() and not condor.find_dag(workflow.id, asdict(note)):
            return DagState("removed")
    return told


def _is_silent(workflow: Workflow, note: DagNote, dag: str) -> bool:
    """Whether DAGMan should have written something and has not: its logs are lost, or it is."""
    if condor.dag_in_log(workflow.folder, dag) != note.cluster:
        return time.time() - note.time > EVENT_LATE_S
    newest = note.time
    for name in (f"{dag}.dagman.log", f"{dag}.dagman.out"):
        with suppress(OSError):
            newest = max(newest, (workflow.folder / name).stat().st_mtime)
    return time.time() - newest > SILENT_S


def workflow_status(workflow: Workflow, *, most_wrong: int = 100) -> WorkflowStatus:
    """Look at every step of a workflow."""
    note = read_dag_note(workflow)
    dag = dag_now(workflow) if note is not None else None
    dag_runs = dag is not None and not dag.is_over and dag.state != "interrupted"
    steps = []
    for step in workflow.steps:
        in_dag = dag_runs and note is not None and step.stage == note.stage
        steps.append(_step(workflow, step, in_dag=in_dag, most_wrong=most_wrong))
    done = {step.name for step in steps if step.state in ("succeeded", "partial")}
    due = [
        step.name
        for step, note_ in zip(steps, workflow.steps, strict=True)
        if workflow.backend(note_) == "local"
        and step.state == "waiting"
        and done.issuperset(step.after)
    ]
    cancelled = is_cancelled(workflow)
    return WorkflowStatus(workflow, tuple(steps), dag, () if cancelled else tuple(due), cancelled)


def _step(workflow: Workflow, step: StepNote, *, in_dag: bool, most_wrong: int) -> StepStatus:
    batch = workflow.batch(step.name)
    if batch is None:
        log = workflow.step_log(step.name)
        failed = not in_dag and bool(_FAILED.search(_text(log)))
        return StepStatus(step.name, "failed" if failed else "waiting", step.here, step.after)
    now = status(batch, most_wrong=most_wrong)
    state = "running"
    if set(now.counts) <= {"succeeded"}:
        state = "succeeded"
    elif in_dag:
        state = "held" if set(now.counts) <= {"held", "succeeded", "failed"} and now.counts.get(
            "held"
        ) else "running"  # fmt: skip
    elif succeeded(step, now):
        state = "partial"
    elif now.stalled and _was_cut_short(batch):
        state = "waiting"
    elif now.stalled or now.ended:
        state = "failed"
    if state in ("succeeded", "partial") and is_stale(workflow, step):
        state = "waiting"  # what it has read is not what is there now: it is to run anew
    return StepStatus(step.name, state, step.here, step.after, batch.tasks, now.counts, now)


def _was_cut_short(batch: Batch) -> bool:
    """Whether this machine was to run a step, and who submitted it was killed before that began."""
    noted = read_submitted(batch.rounds()[-1])
    return noted is not None and noted.backend == "local" and not noted.cluster


def _is_collected(workflow: Workflow, name: str) -> bool:
    batch = workflow.batch(name)
    if batch is None:
        return False
    try:
        made = (batch.folder / names.RESULTS / names.RESULTS_TABLE).stat().st_mtime_ns
        return made >= (batch.rounds()[-1].folder / names.EVENTS).stat().st_mtime_ns
    except OSError:
        return False


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[-20_000:]
    except OSError:
        return ""

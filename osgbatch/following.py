"""The flow from a submitted batch to its results: status, watch, collect, logs, cancel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from osgbatch import condor, exits, local, names
from osgbatch.batches import folder as folders
from osgbatch.batches.eventlog import summarize
from osgbatch.batches.folder import Batch
from osgbatch.batches.states import Attempt, RoundView, task_states
from osgbatch.collecting.collect import Collected, collect, results_folder
from osgbatch.collecting.gather import run_gather
from osgbatch.collecting.table import write_results
from osgbatch.errors import OsgbatchError, ResultError
from osgbatch.model import Round, TaskState
from osgbatch.returned import Returned, open_archive, read_records
from osgbatch.task_ranges import parse_task_ranges

Say = Callable[[str], None]


@dataclass(frozen=True)
class Status:
    """A batch and the states of all its tasks."""

    batch: Batch
    states: list[TaskState]
    backend: str
    cluster: int
    alive: bool
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many tasks are in each state that occurs."""
        counts: dict[str, int] = {}
        for state in self.states:
            counts[state.state] = counts.get(state.state, 0) + 1
        return counts

    @property
    def ended(self) -> bool:
        """Whether nothing can change any more without somebody acting."""
        return not any(s.state in ("waiting", "running") for s in self.states) or not self.alive


def status(batch: Batch) -> Status:
    """Read the event logs and the returned archives. Nothing is asked of the schedd."""
    views: list[RoundView] = []
    backend, cluster, alive = "", 0, True
    notes: list[str] = []
    for round_ in batch.rounds():
        submitted = folders.read_submitted(round_)
        summary = summarize(round_.folder / names.EVENTS, submitted.cluster if submitted else 0)
        attempts, damaged = _attempts(batch, round_, summary.cluster)
        notes += damaged.values()
        views.append(
            RoundView(
                tasks=[parse_task_ranges(text) for text in folders.round_tasks(round_)],
                jobs=summary.jobs,
                attempts=attempts,
                submitted=bool(submitted or summary.cluster),
                removed=summary.removed,
                damaged=damaged,
            )
        )
        backend = submitted.backend if submitted else ""
        cluster = summary.cluster
        if backend == "local" and not local.alive(round_, cluster):
            alive = False
    states = task_states(batch.tasks, views)
    if not alive:
        states = [_interrupted(state) for state in states]
    return Status(batch, states, backend, cluster, alive, tuple(notes))


def _interrupted(state: TaskState) -> TaskState:
    """A task that the local runner left behind when it died."""
    if state.state not in ("waiting", "running"):
        return state
    detail = "the local runner has died; `osgbatch cancel` ends the batch, then submit it again"
    return replace(state, state="unknown", reason="runner-died", detail=detail)


def _attempts(batch: Batch, round_: Round, cluster: int) -> tuple[list[Attempt], dict[int, str]]:
    """The archives that came back for a round, and why any of a proc is not accepted."""
    attempts: list[Attempt] = []
    damaged: dict[int, str] = {}
    for path in sorted((round_.folder / names.RETURNED).glob("*/*.tar.gz")):
        parsed = names.parse_archive_name(path.name)
        if parsed is None or parsed[0] != cluster:
            continue
        try:
            stat = path.stat()
            returned = _records(path, stat.st_mtime_ns, stat.st_size)
        except (ResultError, OSError) as error:
            damaged[parsed[1]] = (
                f"{path.name}: {error.what if isinstance(error, ResultError) else error}"
            )
            continue
        if returned.job.get("batch") != batch.id:
            damaged[parsed[1]] = f"{path.name} is of another batch"
            continue
        attempts.append(Attempt(parsed[1], parsed[2], returned))
    return attempts, damaged


@lru_cache(maxsize=100_000)
def _records(path: Path, mtime_ns: int, size: int) -> Returned:
    """The records of an archive, read once while it does not change: `watch` looks often."""
    return read_records(path)


def watch(batch: Batch, longest_s: float = 5.0) -> Iterator[Status]:
    """The batch's status, whenever its counts have changed, until nothing can change by itself.

    It looks at the event log, more rarely the longer nothing happens; it asks the schedd nothing.
    """
    pause = 0.5
    shown: dict[str, int] | None = None
    marks: object = None
    while True:
        logs = [round_.folder / names.EVENTS for round_ in batch.rounds()]
        latest = [(p.stat().st_mtime_ns, p.stat().st_size) if p.exists() else None for p in logs]
        now = status(batch) if latest != marks or pause >= longest_s else None
        marks = latest
        if now is not None and now.counts != shown:
            shown, pause = now.counts, 0.5
            yield now
        if now is not None and now.ended:
            return
        time.sleep(pause)
        pause = min(pause * 1.5, longest_s)


# --- logs -----------------------------------------------------------------------------------------


def task_log(state: TaskState, stream: str) -> bytes:
    """What a task wrote to stdout or stderr (`stream`), from the archive that came back.

    Raises OsgbatchError when nothing came back.
    """
    if state.archive is None:
        raise OsgbatchError(
            f"nothing came back of task {state.index} yet",
            fix=f"It is {state.state}{': ' + state.reason if state.reason else ''}.",
        )
    wanted = f"tasks/{state.index}/{stream}"
    with open_archive(state.archive) as tar:
        for member in tar:
            if member.name.removeprefix("./") == wanted and member.isreg():
                content = tar.extractfile(member)
                return content.read() if content else b""
    return b""


# --- collecting -----------------------------------------------------------------------------------


def collect_batch(batch: Batch, say: Say, gather: bool = True) -> tuple[Status, Collected]:
    """Unpack and verify what came back, write `results.csv`, gather when all succeeded."""
    with folders.locked(batch.folder, wait=True):
        now = status(batch)
        results = results_folder(batch.folder)
        collected = collect(results, now.states)
        write_results(
            results / names.RESULTS_TABLE,
            batch.data["columns"],
            folders.read_tasks_csv(batch),
            collected.states,
        )
    now = replace(now, states=collected.states)
    script = batch.data["gather"]
    if script and gather:
        if all(state.state == "succeeded" for state in now.states):
            _gather(batch, script, results, say)
        elif now.ended:
            say("gather: left out, since some task did not succeed")
    return now, collected


def _gather(batch: Batch, script: str, results: Path, say: Say) -> None:
    spec_folder = Path(batch.data["spec_folder"])
    payload = {
        kind: [batch.folder / p["file"] for p in batch.data["payload"] if p["kind"] == kind]
        for kind in ("environment", "library")
    }
    say(f"gather: {script}")
    run_gather(
        spec_folder / script,
        results,
        spec_folder=spec_folder,
        batch_folder=batch.folder,
        environment=next(iter(payload["environment"]), None),
        libraries=payload["library"],
    )


# --- acting ---------------------------------------------------------------------------------------


def cancel_batch(batch: Batch) -> int:
    """Remove the batch's jobs, and only those; gives how many tasks had not ended."""
    before = status(batch)
    open_tasks = sum(s.state in ("waiting", "running", "held") for s in before.states)
    acted = False
    for round_ in batch.rounds():
        submitted = folders.read_submitted(round_)
        if submitted is None:
            continue
        cluster = submitted.cluster or summarize(round_.folder / names.EVENTS).cluster
        if submitted.backend == "local":
            local.cancel(round_, cluster)
            acted = True
        else:
            cluster = cluster or condor.find_cluster(round_) or 0
            if cluster:
                condor.cancel(round_, cluster)
                acted = True
    if not acted:
        raise OsgbatchError("this batch was never submitted", where=str(batch.folder))
    return open_tasks


def exit_code(states: Sequence[TaskState]) -> int:
    """0 when all tasks succeeded, else 1."""
    return exits.OK if all(s.state == "succeeded" for s in states) else exits.SOME_FAILED

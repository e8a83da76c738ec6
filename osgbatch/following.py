"""Follows a submitted batch: status, watch, and what tasks wrote."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from osgbatch import exits, local, names
from osgbatch.batches import folder as folders
from osgbatch.batches.eventlog import LogReader
from osgbatch.batches.folder import Batch
from osgbatch.batches.states import Attempt, RoundView, task_states
from osgbatch.errors import BatchError, OsgbatchError, ResultError
from osgbatch.model import Round, Submitted, TaskState
from osgbatch.returned import Expected, copy_member, read_records
from osgbatch.task_ranges import parse_task_ranges

Say = Callable[[str], None]


@dataclass(frozen=True)
class Status:
    """A batch and the states of all its tasks.

    stalled: why nothing can change any more without somebody acting; empty when it can.
    """

    batch: Batch
    states: list[TaskState]
    backend: str
    cluster: int
    stalled: str = ""
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
        open_tasks = any(s.state in ("waiting", "running") for s in self.states)
        return bool(self.stalled) or not open_tasks


RUNNER_DIED = "the local runner has died; `osgbatch cancel` ends the batch, then submit it again"
CUT_SHORT = "its submission was cut short; `osgbatch submit` of its sweep continues it"
NOT_SUBMITTED = "it was rendered, not submitted"


class Follower:
    """Reads a batch's logs and returned archives; a later look reads only what is new.

    Nothing is asked of the schedd.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        required = _Required(batch)
        self._rounds = [_RoundFollower(batch, round_, required) for round_ in batch.rounds()]

    def status(self) -> Status:
        """The states of all tasks as they are now."""
        # Whether the runner lives is asked first: what it wrote before it ended is then seen.
        stalled = [reason for follower in self._rounds if (reason := follower.stalled())]
        views = [follower.view() for follower in self._rounds]
        latest = self._rounds[-1]
        states = task_states(self.batch.tasks, views)
        why = stalled[-1] if stalled else ""
        if why == RUNNER_DIED:
            states = [_left_behind(state) for state in states]
        return Status(
            batch=self.batch,
            states=states,
            backend=latest.backend,
            cluster=latest.log.cluster,
            stalled=why,
            notes=(*self._moved(), *(n for f in self._rounds for n in f.damaged.values())),
        )

    def _moved(self) -> Iterator[str]:
        """HTCondor delivers to the folder that a batch was submitted from."""
        made_at = Path(str(self.batch.data.get("folder", self.batch.folder)))
        if made_at != self.batch.folder and made_at.is_dir():
            yield f"this folder was moved; HTCondor may have delivered to {made_at}"


def _left_behind(state: TaskState) -> TaskState:
    """A task that the local runner left behind when it died."""
    if state.state not in ("waiting", "running"):
        return state
    return replace(state, state="unknown", reason="runner-died", detail=RUNNER_DIED)


class _Required:
    """The patterns of outputs that each task must have brought."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        data = batch.data
        self.patterns = [tuple(o["parts"]) for o in data["outputs"] if not o["optional"]]
        self.constant = [parts[0] for parts in self.patterns if len(parts) == 1]
        self.rows: list[list[str]] | None = None

    def __call__(self, index: int) -> Sequence[str]:
        """The patterns of a task, filled in as its command was, wildcards of values escaped."""
        if len(self.constant) == len(self.patterns):
            return self.constant
        if self.rows is None:
            self.rows = list(folders.read_tasks_csv(self.batch))
        values = {"index": str(index)}
        columns = self.batch.data["columns"]
        for name, text in zip(columns, self.rows[index], strict=True):
            seen = names.task_path(text) if name in self.batch.data["file_columns"] else text
            values[name] = names.escape_glob(seen)
        return [
            "".join(values[part] if i % 2 else part for i, part in enumerate(parts))
            for parts in self.patterns
        ]


class _RoundFollower:
    """One round: its log, and its archives, each read once when it has come back whole."""

    def __init__(self, batch: Batch, round_: Round, required: _Required) -> None:
        self.batch = batch
        self.round = round_
        self.required = required
        self.tasks = [_task_list(text, round_) for text in folders.round_tasks(round_)]
        self.log = LogReader(round_.folder / names.EVENTS)
        self.attempts: dict[str, Attempt] = {}
        self.damaged: dict[int, str] = {}
        self.submitted: Submitted | None = None

    @property
    def backend(self) -> str:
        return self.submitted.backend if self.submitted else "condor" if self.log.cluster else ""

    def stalled(self) -> str:
        """Why nothing of this round will change by itself; empty when it may."""
        self.submitted = folders.read_submitted(self.round)
        noted = self.submitted
        self.log.read()
        cluster = (noted.cluster if noted else 0) or self.log.cluster
        if cluster and noted and noted.backend == "local":
            return "" if local.alive(self.round, cluster) else RUNNER_DIED
        if cluster:
            return ""
        return CUT_SHORT if noted else NOT_SUBMITTED

    def view(self) -> RoundView:
        """What is known of the round now."""
        if self.submitted and self.submitted.cluster:
            self.log.given = self.log.cluster = self.submitted.cluster
        self.log.read()
        self._read_archives()
        return RoundView(
            tasks=self.tasks,
            jobs=self.log.jobs,
            attempts=list(self.attempts.values()),
            submitted=bool(self.log.cluster),
            removed=self.log.removed,
            damaged=self.damaged,
        )

    def _read_archives(self) -> None:
        """Read the archives that are new; those that are not whole are looked at again later."""
        self.damaged = {}
        for path in _archives(self.round.folder / names.RETURNED):
            parsed = names.parse_archive_name(path.name)
            if parsed is None or path.name in self.attempts or parsed[0] != self.log.cluster:
                continue
            _, proc, number = parsed
            if proc >= len(self.tasks):
                continue
            expected = Expected(
                batch=self.batch.id,
                round=self.round.number,
                cluster=self.log.cluster,
                proc=proc,
                tasks=self.tasks[proc],
                required=self.required,
                light=bool(self.batch.data.get("outputs_to")),
            )
            try:
                self.attempts[path.name] = Attempt(proc, number, read_records(path, expected))
            except ResultError as error:
                self.damaged[proc] = f"{path.name}: {error.what}"
            except OSError as error:
                self.damaged[proc] = f"{path.name}: {error.strerror or error}"


def _archives(returned: Path) -> Iterator[Path]:
    try:
        subfolders = sorted(os.scandir(returned), key=lambda entry: entry.name)
    except OSError:
        return
    for folder in subfolders:
        if folder.name.isdigit() and folder.is_dir():
            with os.scandir(folder) as entries:
                found = sorted(e.name for e in entries if e.name.endswith(".tar.gz"))
            yield from (Path(folder.path) / name for name in found)


def _task_list(text: str, round_: Round) -> list[int]:
    try:
        return parse_task_ranges(text)
    except ValueError as error:
        raise BatchError(f"cannot read {names.ITEMS}: {error}", where=str(round_.folder)) from None


def status(batch: Batch) -> Status:
    """The states of all tasks of a batch as they are now."""
    return Follower(batch).status()


def watch(batch: Batch, longest_s: float = 5.0) -> Iterator[Status]:
    """The batch's status, whenever its counts have changed, until nothing can change by itself.

    It looks at the event log, more rarely the longer nothing happens; it asks the schedd nothing.
    """
    follower = Follower(batch)
    pause = 0.5
    shown: Mapping[str, int] | None = None
    while True:
        began = time.monotonic()
        now = follower.status()
        if now.counts != shown:
            shown, pause = now.counts, 0.5
            yield now
        if now.ended:
            return
        # A look at a large batch takes a while: at most a tenth of the time goes into looking.
        time.sleep(max(pause, 10 * (time.monotonic() - began)))
        pause = min(pause * 1.5, longest_s)


def copy_log(state: TaskState, stream: str, out: BinaryIO) -> int:
    """Copy what a task wrote to stdout or stderr (`stream`) from the archive that came back.

    Gives the number of bytes. Raises OsgbatchError when nothing came back.
    """
    if state.archive is None:
        why = re.sub(r"\s+", " ", state.reason)
        raise OsgbatchError(
            f"nothing came back of task {state.index}",
            fix=f"It is {state.state}{f' ({why})' if why else ''}.",
        )
    return copy_member(state.archive, f"tasks/{state.index}/{stream}", out)


def exit_code(states: Sequence[TaskState]) -> int:
    """0 when all tasks succeeded, else 1."""
    return exits.OK if all(s.state == "succeeded" for s in states) else exits.SOME_FAILED

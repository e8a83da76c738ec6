"""Follows a submitted batch: status, watch, and what tasks wrote."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from osgbatch import condor, exits, names
from osgbatch.batches.folder import Batch
from osgbatch.batches.store import Store
from osgbatch.batches.tasks import TaskReader
from osgbatch.errors import CondorError, OsgbatchError
from osgbatch.model import OPEN, TaskState
from osgbatch.returned import copy_member
from osgbatch.rounds import (
    RUNNER_DIED,
    Required,
    RoundFollower,
)


@dataclass(frozen=True)
class Status:
    """A batch, and how many of its tasks are in each state.

    counts: of each state that occurs; wrong: the tasks that failed, are held, removed or unknown,
    by index (not all of them where `status` was told so); all_states: those of all tasks, when
    they were asked for. stalled: why nothing can change any more without somebody acting; empty
    when it can.
    """

    batch: Batch
    counts: Mapping[str, int]
    wrong: Sequence[TaskState]
    backend: str
    cluster: int
    stalled: str = ""
    notes: tuple[str, ...] = ()
    all_states: Sequence[TaskState] | None = None

    @property
    def states(self) -> Sequence[TaskState]:
        """The states of all tasks, by index; only of a status that was asked for them."""
        assert self.all_states is not None, "the status was not asked for all tasks"
        return self.all_states

    def with_states(self, states: Sequence[TaskState]) -> Status:
        """The same, where a closer look has told of other states."""
        counts: dict[str, int] = {}
        for state in states:
            counts[state.state] = counts.get(state.state, 0) + 1
        wrong = [state for state in states if state.state in WRONG]
        return replace(self, counts=counts, wrong=wrong, all_states=states)

    @property
    def ended(self) -> bool:
        """Whether nothing can change any more without somebody acting."""
        return bool(self.stalled) or not any(self.counts.get(state) for state in OPEN)

    @property
    def exit_code(self) -> int:
        """0 when all tasks succeeded, else 1."""
        return exits.OK if set(self.counts) <= {"succeeded"} else exits.SOME_FAILED


class Follower:
    """Reads a batch's logs and returned archives; a later look reads only what is new.

    What is known is kept in `state.db`, where several osgbatch find it. The schedd is asked only
    when events may be lost, or when there were none for long.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._required = Required(batch)
        self._rounds: dict[int, RoundFollower] = {}
        self._store = Store(batch.folder / names.STATE)

    def status(self, *, all_tasks: bool = False, most_wrong: int = -1) -> Status:
        """The tasks as they are now. all_tasks: those that wait, run and succeeded, too.

        most_wrong: of those that went wrong no more are told one by one; -1 for all.
        """
        for round_ in self.batch.rounds():
            if round_.number not in self._rounds:
                self._rounds[round_.number] = RoundFollower(self.batch, round_, self._required)
        # Whether the runner lives is asked first: what it wrote before it ended is then seen.
        reasons = [follower.stalled() for follower in self._rounds.values()]
        try:
            return self._look(reasons, all_tasks, most_wrong)
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError):  # it is damaged: made anew
                with suppress(OSError):
                    self._store.path.unlink()
                with suppress(sqlite3.DatabaseError):
                    return self._look(reasons, all_tasks, most_wrong)
            self._store.use_memory(str(error))
            return self._look(reasons, all_tasks, most_wrong)

    def _look(self, reasons: Sequence[str], all_tasks: bool, most_wrong: int) -> Status:
        why = next((reason for reason in reversed(reasons) if reason), "")
        rounds = self._rounds.values()
        with self._store.look() as store:
            notes = [note for follower in rounds for note in follower.look(store)]
            asking = [follower for follower in rounds if follower.should_ask()]
            if not asking or not condor.configured():
                return self._told(store, why, notes, all_tasks, most_wrong)
        # The store is not kept waiting for the schedd.
        answers, faults = _asked(asking)
        with self._store.look() as store:
            notes = [note for follower in rounds for note in follower.look(store)]
            for follower, answer in answers:
                follower.take(store, answer)
            return self._told(store, why, [*notes, *faults], all_tasks, most_wrong)

    def _told(
        self, store: Store, why: str, notes: Sequence[str], all_tasks: bool, most_wrong: int
    ) -> Status:
        """The status that the store tells."""
        counts = dict(store.counts())
        waiting = self.batch.tasks - sum(counts.values())
        if waiting:
            counts["waiting"] = counts.get("waiting", 0) + waiting
        reader = TaskReader(store, {n: f.round for n, f in self._rounds.items()})
        died = why == RUNNER_DIED
        if all_tasks or died:
            states = [TaskState(index, "waiting") for index in range(self.batch.tasks)]
            for state in reader.read():
                states[state.index] = state
        else:
            states = list(reader.read(WRONG, most_wrong))
        if died:
            states = [_left_behind(state) for state in states]
            left = sum(counts.pop(state, 0) for state in OPEN)
            if left:
                counts["unknown"] = counts.get("unknown", 0) + left
        latest = self._rounds[max(self._rounds)]
        return Status(
            batch=self.batch,
            counts=counts,
            wrong=[state for state in states if state.state in WRONG],
            backend=latest.backend,
            cluster=latest.cluster,
            stalled=why,
            notes=(*self._moved(), *notes),
            all_states=states if all_tasks else None,
        )

    def _moved(self) -> Iterator[str]:
        """HTCondor delivers to the folder that a batch was submitted from."""
        made_at = Path(str(self.batch.data.get("folder", self.batch.folder)))
        if made_at != self.batch.folder and made_at.is_dir():
            yield f"this folder was moved; HTCondor may have delivered to {made_at}"
        if self._store.problem:
            yield f"{names.STATE} cannot be written ({self._store.problem}): each look reads all"


WRONG = ("failed", "held", "removed", "unknown")
"""States of tasks that did not go as they should."""


def _asked(
    asking: Sequence[RoundFollower],
) -> tuple[list[tuple[RoundFollower, condor.Queued]], list[str]]:
    """What the schedd answers, and why it cannot be asked now."""
    answers, faults = [], []
    for follower in asking:
        try:
            answers.append((follower, follower.ask()))
        except CondorError as error:
            faults.append(
                f"HTCondor cannot be asked now, so this is what the event log tells: {error.what}"
            )
    return answers, faults


def _left_behind(state: TaskState) -> TaskState:
    """A task that the local runner left behind when it died."""
    if state.state not in OPEN:
        return state
    return replace(state, state="unknown", reason="runner-died", detail=RUNNER_DIED)


def status(batch: Batch, *, all_tasks: bool = False) -> Status:
    """The tasks of a batch as they are now. all_tasks: see Follower."""
    return Follower(batch).status(all_tasks=all_tasks)


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


def exit_code_so_far(now: Status) -> int:
    """As Status.exit_code, of what has ended: tasks that still wait or run have not failed."""
    return exits.SOME_FAILED if any(now.counts.get(state) for state in WRONG) else exits.OK

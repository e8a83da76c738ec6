"""What tasks print: what came back of those that have ended, the echo of those that run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from osgbatch import condor, exits, names
from osgbatch.batches.folder import Batch, read_submitted
from osgbatch.batches.notes import cluster_so_far, other_host
from osgbatch.condor.tail import tail as condor_tail
from osgbatch.errors import OsgbatchError
from osgbatch.life.following import Status, copy_log
from osgbatch.life.naming import in_commands
from osgbatch.local.output import tail as local_tail
from osgbatch.model import ACTIVE, OPEN, Round, TaskState

STREAMS = ("stdout", "stderr")
LAST_LINES = 20
_LAST_BYTES = 64 * 1024
ECHOED = re.compile(rb"\[(\d+)( err)?\] (.*)", re.S)
_NOTE = b"[osgbatch] "


@dataclass(frozen=True)
class RunningJob:
    """A job that runs, as its backend knows it."""

    round: Round
    backend: str
    cluster: int
    proc: int

    def echo(self) -> bytes:
        """What its shim has echoed of its tasks so far; OsgbatchError when that cannot be had."""
        if self.backend == "local":
            return local_tail(self.round, self.proc)
        self._check_host()
        return condor_tail(self.cluster, self.proc)

    def _check_host(self) -> None:
        """Raises OsgbatchError when the job is in the queue of another access point.

        There may be a job of this number here, too. But this machine may only have another name.
        """
        host = other_host(self.round)
        if not host:
            return
        is_here = condor.configured() and self.proc in condor.look(self.round, self.cluster).jobs
        if not is_here:
            raise OsgbatchError(
                f"job {self.cluster}.{self.proc} is in the queue of {host}, not of this machine",
                fix=f"Ask on {host}; what its tasks print comes home when it has ended.",
            )


class NoOutputError(OsgbatchError):
    """A task did not end as it should, and nothing of what it printed is there."""

    exit_code = exits.SOME_FAILED


def running_job(batch: Batch, state: TaskState) -> RunningJob | None:
    """The job that runs a task now; None when none does."""
    if state.state not in ACTIVE or state.job is None:
        return None
    round_ = batch.round(state.round)
    submitted = read_submitted(round_)
    cluster = cluster_so_far(round_)
    backend = submitted.backend if submitted else "condor"
    return RunningJob(round_, backend, cluster, state.job.proc)


def choose_task(now: Status, index: int | None) -> TaskState:
    """The task to show: the one named, else the first that failed, that runs, or that has ended.

    Raises OsgbatchError when there is no such task, or there is nothing to show yet.
    """
    if index is not None:
        if not 0 <= index < len(now.states):
            raise OsgbatchError(
                f"there is no task {index}", fix=f"Tasks are 0 to {len(now.states) - 1}."
            )
        return now.states[index]
    # What came back of an earlier start of a job that runs again is not its end.
    returned = [
        state
        for state in now.states
        if (state.archive and state.state not in OPEN) or is_reused(state)
    ]
    running = [state for state in now.states if state.state in ACTIVE]
    failed = [state for state in returned if state.state != "succeeded"]
    printing = [state for state in running if has_output(state)]
    for found in (failed, printing, returned, running):
        if found:
            return found[0]
    name = in_commands(now.batch)
    raise OsgbatchError(
        "nothing runs, and nothing has come back yet",
        fix=f"{now.stalled or f'`osgbatch why {name}` says what it waits for'}.",
    )


def has_output(state: TaskState) -> bool:
    """Whether what the task printed can be had: it came back, or may be asked for."""
    here = state.archive is not None or is_reused(state)
    return here or state.state in ("running", "suspended")


def is_reused(state: TaskState) -> bool:
    """Whether an earlier batch has computed the task: what it printed is in results/, too."""
    return state.state == "succeeded" and not state.round and state.archive is None


def copy_output(batch: Batch, state: TaskState, stream: str, out: BinaryIO) -> None:
    """Copy what a task that has ended printed on `stream`.

    Raises OsgbatchError when nothing came back, or it is not there any more.
    """
    if not is_reused(state):
        copy_log(state, stream, out)
        return
    path = batch.folder / names.RESULTS / str(state.index) / stream
    try:
        with path.open("rb") as printed:
            shutil.copyfileobj(printed, out)
    except OSError as error:
        raise OsgbatchError(
            f"what task {state.index} printed cannot be read: {error.strerror}",
            where=str(path),
            fix=f"It was {state.detail}; `osgbatch collect {in_commands(batch)}` copies it anew "
            "while that batch is there.",
        ) from None


def no_output(now: Status, state: TaskState, reason: str) -> OsgbatchError:
    """Why there is nothing to show of a task. reason: why it is in its state, in words."""
    name = in_commands(now.batch)
    why = f"`osgbatch why {name} {state.index}` says more."
    if state.state == "waiting":
        fix = now.stalled or f"`osgbatch logs {name} {state.index} -f` waits for it; {why}"
        return OsgbatchError(f"task {state.index} does not run yet", fix=fix)
    if state.state in ACTIVE:
        return OsgbatchError(
            f"nothing has come back of task {state.index}",
            fix=f"Its job is {state.state}: try again in a moment.",
        )
    if state.state in ("held", "removed"):
        return NoOutputError(
            f"task {state.index} is {state.state} now; what it printed does not come back",
            fix=f"{reason.rstrip('.')}: {why}" if reason else why,
        )
    told = f"It is {state.state}{f' ({reason})' if reason else ''}. {why}"
    return OsgbatchError(f"nothing came back of task {state.index}", fix=told)


def echoed(echo: bytes, task: int, stream: str = "both") -> bytes:
    """What the echo of a job holds of one task, as the task printed it.

    stream: stdout, stderr, or both in the order in which they were seen.
    """
    wanted = {"stdout": (None,), "stderr": (b" err",), "both": (None, b" err")}[stream]
    found = []
    for line in lines_of(echo):
        match = ECHOED.fullmatch(line)
        if match and int(match[1]) == task and match[2] in wanted:
            found.append(match[3])
    return b"".join(found)


def lines_of(text: bytes) -> list[bytes]:
    """Lines that end in LF alone: a CR is a task's own."""
    *whole, last = text.split(b"\n")
    return [line + b"\n" for line in whole] + ([last] if last else [])


def is_cut(echo: bytes) -> bool:
    """Whether the shim has stopped to echo because there was so much."""
    return echo.startswith(_NOTE) or b"\n" + _NOTE in echo


# -- the first failure of each kind -------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """The first of the tasks that went wrong alike; stream and lines are empty where none came."""

    state: TaskState
    alike: Sequence[int]
    stream: str
    lines: str


def first_failures(now: Status, lines: int = LAST_LINES) -> list[Failure]:
    """Of each kind of failure the first task, how many are alike, and its last lines.

    Those of stderr, or of stdout where stderr is empty.
    """
    kinds: dict[tuple[object, ...], list[TaskState]] = {}
    for state in now.wrong:
        job = state.job
        hold = (job.hold_code, job.hold_subcode) if job and state.state == "held" else ()
        key = (state.state, state.reason, state.exit_code, state.signal, *hold)
        kinds.setdefault(key if not hold else ("held", *hold), []).append(state)
    return [_failure(same, lines) for same in kinds.values()]


def _failure(same: Sequence[TaskState], lines: int) -> Failure:
    first = next((state for state in same if state.archive), same[0])
    alike = [state.index for state in same if state is not first]
    for stream in reversed(STREAMS):
        text = last_lines(first, stream, lines) if first.archive else ""
        if text.strip():
            return Failure(first, alike, stream, text)
    return Failure(first, alike, "", "")


def last_lines(state: TaskState, stream: str, lines: int) -> str:
    """The last lines of what came back of a task."""
    kept = _Last()
    copy_log(state, stream, cast(BinaryIO, kept))
    text = bytes(kept.text).decode("utf-8", "replace")
    return "\n".join(text.rstrip("\n").split("\n")[-lines:])


class _Last:
    """A file that keeps the end of what is written to it."""

    def __init__(self) -> None:
        self.text = bytearray()

    def write(self, data: bytes) -> int:
        self.text += data
        del self.text[:-_LAST_BYTES]
        return len(data)

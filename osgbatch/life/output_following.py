"""`osgbatch logs -f`: shows what tasks print as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from osgbatch.batches.folder import Batch
from osgbatch.errors import JobGoneError, OsgbatchError
from osgbatch.life.following import Follower, Status, copy_log
from osgbatch.life.task_output import (
    ECHOED,
    STREAMS,
    RunningJob,
    choose_task,
    echoed,
    lines_of,
    no_output,
    running_job,
)
from osgbatch.model import ACTIVE, TaskState

FOLLOWED = 3
"""At most so many jobs are followed at once."""
TAIL_S = 10.0
"""Seconds between two calls of condor_tail for a job: each asks schedd, startd and starter."""
LOOK_S = 1.0
"""Seconds between two looks at the event log, and at a job of the local runner."""
_EARLIER_BYTES = 1024 * 1024
_LINE_BREAK = 10


@dataclass
class _Followed:
    """A job that is followed, or that of the one task.

    echo: the last one that was shown; earlier: those before the shim began anew, of all tasks.
    """

    tasks: list[int]
    job: RunningJob | None = None
    echo: bytes = b""
    earlier: bytes = b""
    due: float = 0.0
    said: set[str] = field(default_factory=set)


class Following:
    """Shows what tasks print as it comes, until they have ended; asks nothing but condor_tail.

    index: of the task, None for those of the first jobs that run, each line then begins with the
    task. say: is told what is not output. out: bytes.
    """

    def __init__(
        self,
        batch: Batch,
        index: int | None,
        stream: str,
        out: BinaryIO,
        say: Callable[[str], None],
        explain: Callable[[TaskState], str],
    ) -> None:
        self._batch = batch
        self._index = index
        self._stream = stream
        self._out = out
        self._say = say
        self._explain = explain
        self._follower = Follower(batch)
        self._said_waiting = False

    def run(self) -> Status:
        """Follow to the end; gives the last status. Raises OsgbatchError when nothing will come."""
        followed: list[_Followed] | None = None
        while True:
            began = time.monotonic()
            now = self._follower.status(all_tasks=True)
            took = time.monotonic() - began
            if followed is None:
                followed = self._choose(now)
            if followed is not None:
                followed = [one for one in followed if self._goes_on(now, one)]
            if followed is not None and not followed:
                return now
            # A look at a large batch takes a while: at most a tenth of the time goes into looking.
            time.sleep(max(LOOK_S, 10 * took))

    def _choose(self, now: Status) -> list[_Followed] | None:
        """What is followed; None when nothing runs yet."""
        if self._index is not None:
            choose_task(now, self._index)
            return [_Followed([self._index])]
        jobs: dict[tuple[int, int], list[int]] = {}
        for state in now.states:
            if state.state in ACTIVE and state.job:
                jobs.setdefault((state.round, state.job.proc), []).append(state.index)
        if jobs:
            if len(jobs) > FOLLOWED:
                self._say(f"following the first {FOLLOWED} of {len(jobs):,} jobs that run")
            return [_Followed(tasks) for tasks in list(jobs.values())[:FOLLOWED]]
        if now.ended:
            return [_Followed([choose_task(now, None).index])]
        self._wait("no job runs yet: waiting for the first")
        return None

    def _wait(self, text: str) -> None:
        if not self._said_waiting:
            self._say(text)
        self._said_waiting = True

    def _goes_on(self, now: Status, one: _Followed) -> bool:
        """Show what is new of a job; whether there will be more."""
        states = [now.states[index] for index in one.tasks]
        running = next((job for s in states if (job := running_job(self._batch, s))), None)
        if running is not None:
            one.job = running
            if any(state.state in ("running", "suspended") for state in states):
                self._look(one)
            return True
        if any(state.state == "waiting" for state in states):
            if now.ended:
                raise no_output(now, states[0], self._explain(states[0]))
            again = " again: it was evicted" if one.echo else ""
            self._wait(f"task {states[0].index} waits{again}")
            return True
        for state in states:
            self._show_end(now, one, state)
        return False

    def _look(self, one: _Followed) -> None:
        if time.monotonic() < one.due or one.job is None:
            return
        try:
            echo = one.job.echo()
        except JobGoneError:  # it has ended since the look: what it printed is on its way home
            pass
        except OsgbatchError as error:
            if str(error) not in one.said:
                self._say(str(error))
            one.said.add(str(error))
        else:
            self._said_waiting = False
            self._write_new(one, echo)
        one.due = time.monotonic() + (LOOK_S if one.job.backend == "local" else TAIL_S)

    def _write_new(self, one: _Followed, echo: bytes) -> None:
        """Show what the echo has more than the last one."""
        if self._index is None:  # another job's line must not go on in an unfinished one
            echo = echo[: echo.rfind(b"\n") + 1]
        before, after = self._chosen(one.echo), self._chosen(echo)
        if not after and before:
            return  # the echo began anew with a later task
        if not after.startswith(before):
            if self._index is not None:
                self._say(f"task {self._index} was started again")
            else:
                one.earlier = (one.earlier + one.echo)[-_EARLIER_BYTES:]
            before = b""
        one.echo = echo
        self._write(after[len(before) :])

    def _chosen(self, echo: bytes) -> bytes:
        if self._index is not None:
            return echoed(echo, self._index, self._stream)
        if self._stream == "both":
            return echo
        wanted = self._stream == "stderr"
        lines = [(line, ECHOED.fullmatch(line)) for line in lines_of(echo)]
        return b"".join(line for line, match in lines if match and bool(match[2]) == wanted)

    def _show_end(self, now: Status, one: _Followed, state: TaskState) -> None:
        """What the archive of a task has more than was shown of it."""
        if state.archive is None:
            error = no_output(now, state, self._explain(state))
            if self._index is not None:
                raise error
            self._say(str(error))
            return
        for stream in STREAMS if self._stream == "both" else (self._stream,):
            mark = f"[{state.index}{' err' if stream == 'stderr' else ''}] "
            out = Marked(self._out, mark.encode() if self._index is None else b"")
            rest = After(out, echoed(one.earlier + one.echo, state.index, stream))
            copy_log(state, stream, cast(BinaryIO, rest))
            rest.close()
            out.end_line()
        self._out.flush()
        reason = self._explain(state)
        self._say(f"task {state.index} {state.state}{f': {reason}' if reason else ''}")

    def _write(self, text: bytes) -> None:
        self._out.write(text)
        self._out.flush()


class Marked:
    """A file in which each line begins with a mark; without a mark all is written as it comes."""

    def __init__(self, out: BinaryIO, mark: bytes) -> None:
        self._out = out
        self._mark = mark
        self._at_start = True

    def write(self, data: bytes) -> int:
        """As of a file."""
        if not self._mark:
            return self._out.write(data)
        for line in lines_of(data):
            self._out.write((self._mark if self._at_start else b"") + line)
            self._at_start = line.endswith(b"\n")
        return len(data)

    def end_line(self) -> None:
        """The next mark begins a line."""
        if not self._at_start:
            self.write(b"\n")


def covered(known: bytes, text: bytes) -> int | None:
    """How many bytes of what a task printed its echo shows; None when the echo is of another start.

    An echo has a line break after a line that was not finished, and where stderr came between. The
    shell that copies short texts leaves out NUL.
    """
    if text.startswith(known):
        return len(known)
    at = 0
    for byte in known:
        while text[at : at + 1] == b"\0" and byte:
            at += 1
        if at < len(text) and text[at] == byte:
            at += 1
        elif byte != _LINE_BREAK:
            return None
    return at


class After:
    """A file that leaves out what its echo has shown; all is written when it begins otherwise."""

    def __init__(self, out: Marked, known: bytes) -> None:
        self._out = out
        self._known = known
        self._head: bytes | None = b""

    def write(self, data: bytes) -> int:
        """As of a file."""
        if self._head is None:
            return self._out.write(data)
        self._head += data
        if len(self._head) - self._head.count(0) >= len(self._known):
            self.close()
        return len(data)

    def close(self) -> None:
        """Decide about what was kept back so far."""
        head, self._head = self._head, None
        if head:
            self._out.write(head[covered(self._known, head) or 0 :])

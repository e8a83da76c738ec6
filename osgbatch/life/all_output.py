"""What all tasks of a batch print, as it comes, and each byte of it once: for `osgbatch run`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, cast

from osgbatch import names
from osgbatch.batches.folder import Batch
from osgbatch.errors import JobGoneError, OsgbatchError
from osgbatch.life.following import Follower, Status, copy_log
from osgbatch.life.output_following import FOLLOWED, LOOK_S, TAIL_S, After, Marked
from osgbatch.life.task_output import STREAMS, RunningJob, echoed, running_job
from osgbatch.model import OPEN, TaskState

QUICK_S, SLOW_S = 0.1, 1.0
"""Seconds between two looks at the event log's size and time: soon after something has happened,
and when nothing has for a while."""
REST_S = 5.0
"""Seconds between two looks when the log does not grow and nothing is to be had for the asking."""
SHARE, CREDIT_S, LONGEST_S = 0.02, 1.0, 60.0
"""Of a core that looking may take, in the long run; what it may take before; the longest pause."""
FIRST_S = 3.0
"""Seconds until HTCondor is asked first: what a short job prints comes home by itself."""

Say = Callable[[str], None]


@dataclass
class _Running:
    """A job whose echo is asked for. due: when, by time.monotonic()."""

    job: RunningJob
    due: float = 0.0


class AllOutput:
    """Shows what tasks print until nothing can change by itself.

    outs: stdout and stderr, by these names. Of several tasks each line begins with `[7] `. While
    jobs run, no more than three are asked at a time, and HTCondor's no more than every ten seconds;
    what was not shown then is shown when a task's archive has come back. seen: is given each look.
    """

    def __init__(
        self,
        batch: Batch,
        outs: Mapping[str, BinaryIO],
        say: Say,
        seen: Callable[[Status], None],
    ) -> None:
        self._batch = batch
        self._outs = outs
        self._say = say
        self._seen = seen
        self._several = batch.tasks > 1
        self._follower = Follower(batch)
        self._log = batch.rounds()[-1].folder / names.EVENTS
        self._running: dict[tuple[int, int], _Running] = {}
        self._shown: dict[tuple[int, str], bytes] = {}
        self._done: set[int] = set()
        self._said: set[str] = set()

    def run(self) -> Status:
        """Follow to the end; gives the last status."""
        began, spent = time.monotonic(), 0.0
        while True:
            log = self._stamp()
            used = time.process_time()
            now = self._follower.status(all_tasks=True)
            spent += time.process_time() - used
            self._show(now)
            self._seen(now)
            if now.ended:
                return now
            self._wait(log, began + (spent - CREDIT_S) / SHARE)

    def _wait(self, log: object, not_before: float) -> None:
        """Until the event log grows, or it is time for the echoes."""
        began = time.monotonic()
        is_local = any(one.job.backend == "local" for one in self._running.values())
        most = began + (LOOK_S if is_local else REST_S)
        not_before = min(not_before, began + LONGEST_S)
        pause = QUICK_S
        while (moment := time.monotonic()) < max(most, not_before):
            time.sleep(pause)
            pause = min(pause * 1.1, SLOW_S)
            if moment >= not_before and self._stamp() != log:
                return

    def _stamp(self) -> tuple[int, int]:
        try:
            status = self._log.stat()
        except OSError:
            return 0, 0
        return status.st_size, status.st_mtime_ns

    # --- of tasks that have ended -------------------------------------------------------------

    def _show(self, now: Status) -> None:
        jobs: dict[tuple[int, int], list[int]] = {}
        for state in now.states:
            if state.state in ("running", "suspended") and state.job:
                jobs.setdefault((state.round, state.job.proc), []).append(state.index)
            elif state.state not in OPEN and state.archive and state.index not in self._done:
                self._done.add(state.index)
                self._end(state)
        self._running = {key: one for key, one in self._running.items() if key in jobs}
        for key, tasks in jobs.items():
            if key not in self._running and len(self._running) < FOLLOWED:
                job = running_job(self._batch, now.states[tasks[0]])
                assert job is not None  # its state says so
                wait = 0.0 if job.backend == "local" else FIRST_S
                self._running[key] = _Running(job, time.monotonic() + wait)
            if key in self._running:
                self._look(self._running[key], tasks)

    def _end(self, state: TaskState) -> None:
        """What came back of a task and was not shown yet."""
        for stream in STREAMS:
            out = self._marked(stream, state.index)
            rest = After(out, self._shown.pop((state.index, stream), b""))
            try:
                copy_log(state, stream, cast(BinaryIO, rest))
            except OsgbatchError as error:  # damaged: collect tells
                self._once(str(error))
            rest.close()
            out.end_line()
            self._outs[stream].flush()

    # --- of those that run --------------------------------------------------------------------

    def _look(self, one: _Running, tasks: list[int]) -> None:
        if time.monotonic() < one.due:
            return
        try:
            echo = one.job.echo()
        except JobGoneError:  # it has ended since the look: what it printed is on its way home
            pass
        except OsgbatchError as error:
            if one.job.backend == "local":
                self._once(str(error))
        else:
            for index in tasks:
                for stream in STREAMS:
                    self._new(index, stream, echoed(echo, index, stream))
        one.due = time.monotonic() + (LOOK_S if one.job.backend == "local" else TAIL_S)

    def _new(self, index: int, stream: str, text: bytes) -> None:
        """Show what the echo of a task has more than the last one."""
        if self._several:  # another task's line must not go on in an unfinished one
            text = text[: text.rfind(b"\n") + 1]
        before = self._shown.get((index, stream), b"")
        if not text or text == before:
            return
        if not text.startswith(before):
            self._say(f"task {index} was started again")
            before = b""
        self._shown[index, stream] = text
        out = self._marked(stream, index)
        out.write(text[len(before) :])
        self._outs[stream].flush()

    def _marked(self, stream: str, index: int) -> Marked:
        return Marked(self._outs[stream], f"[{index}] ".encode() if self._several else b"")

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)

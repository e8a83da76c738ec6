"""The local runner's loop: starts jobs a few at a time, and writes down how each one ends."""

from __future__ import annotations

import errno
import heapq
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from osgbatch.local import endings, events, fetch, processes, requests, sandbox, starting
from osgbatch.local.cgroups import Limits
from osgbatch.local.endings import Outcome
from osgbatch.local.events import EventLog, Usage
from osgbatch.local.jobs import FIRST_ATTEMPT, WATCHED, History, Running, Setting
from osgbatch.local.record import CANCEL, CHECKPOINT_CODE, Item, Items, Need
from osgbatch.urls import file_name, is_url

LEFTOVERS_LIMIT_S = 10.0
"""How long the processes that a job left behind may take to go once they are killed."""
FORK_PAUSE_S = 1.0
"""How long to wait when the system has no room for another process."""
STOPPED = "the local runner was told to stop (SIGTERM)"


class Loop:
    """Runs all jobs of a round to their ends. Signals in BLOCKED must be blocked.

    held: the jobs of a round that is run again; all others have ended. starts: of them, so far.
    """

    def __init__(
        self,
        setting: Setting,
        items: Items,
        log: EventLog,
        limits: Limits,
        held: Sequence[int] | None = None,
        starts: Mapping[int, int] | None = None,
    ) -> None:
        self._set = setting
        self._items = items
        self._log = log
        self._limits = limits
        self._waiting = list(range(len(items))) if held is None else []
        self._running: dict[int, Running] = {}
        self._history = {proc: History(count) for proc, count in (starts or {}).items()}
        self._held = list(held or ())
        self._more = requests.asked_for(setting.round_folder)
        self._stop = ""
        self._not_before = 0.0

    def run(self) -> None:
        """Start, watch and end jobs until none is left, or the runner is told to stop."""
        self._obey()
        while self._running or (self._waiting and not self._stop):
            if time.monotonic() >= self._not_before and self._may_start():
                self._start(heapq.heappop(self._waiting))
            found = self._wait()
            self._reap()
            if found == signal.SIGTERM and not self._stop:
                self._stop_all()
            elif found == signal.SIGUSR1 and not self._stop:
                self._obey()
            self._meet_deadlines()

    def _may_start(self) -> bool:
        """Whether the next job may start: in their order, so that a large one is not passed by."""
        if not self._waiting or self._stop:
            return False
        return self._set.room.fits(self._item(self._waiting[0]).need)

    def _wait(self) -> int:
        """Wait for a signal or the next deadline; returns the signal, or 0."""
        if not self._running and not self._waiting:  # the last job was held before it ran
            return 0
        due = [job.deadline for job in self._running.values() if job.deadline]
        if self._may_start():
            due.append(self._not_before)
        if not due:
            return signal.sigwait(WATCHED)
        return processes.wait_for_signal(WATCHED, min(due) - time.monotonic())

    def _item(self, proc: int) -> Item:
        return requests.with_amounts(self._items[proc], self._more.get(proc))

    # -- starting ------------------------------------------------------------------------------

    def _start(self, proc: int) -> None:
        """Bring in what a job needs; then it runs, or what it names by URL is fetched first."""
        setting = self._set
        item = self._item(proc)
        starts = self._history[proc].starts if proc in self._history else 0
        slot = setting.room.take(item.need)
        scratch = setting.scratch / f"{proc}_{starts}"
        inputs = (*setting.work.shared_inputs, *item.inputs)
        files = {text: file_name(text) for text in inputs if is_url(text)}
        try:
            received = starting.fill(setting, scratch, proc, item, _slot(slot))
        except sandbox.TransferError as problem:
            self._give_up(slot, scratch)
            self._hold(
                proc,
                13,
                problem.subcode,
                f"Transfer input files failure at access point {setting.host} while sending files "
                f"to execution point {_slot(slot)}@{setting.host}. "
                f"Details: reading from file {problem}",
            )
            return
        if not files:
            self._launch(proc, item, FIRST_ATTEMPT + starts, slot, scratch, received)
            return
        answer = tempfile.TemporaryFile(dir=setting.scratch)  # noqa: SIM115 - its process writes
        try:
            process = fetch.start(files, scratch, answer, starting.preparation())
        except OSError as problem:
            answer.close()
            self._give_up(slot, scratch)
            self._not_started(proc, slot, problem, sys.executable)
            return
        self._running[process.pid] = Running(
            proc,
            item,
            FIRST_ATTEMPT + starts,
            slot,
            scratch,
            process,
            received,
            time.monotonic(),
            answer=answer,
        )

    def _launch(
        self,
        proc: int,
        item: Item,
        attempt: int,
        slot: int,
        scratch: Path,
        received: int,
        *,
        goes_on: bool = False,
    ) -> None:
        """Start a job whose scratch folder is full. goes_on: it has saved its state there."""
        setting, need = self._set, item.need
        group = self._open_group(scratch.name, need)
        try:
            process = starting.spawn(setting, scratch, group, _slot(slot), proc, item)
        except OSError as problem:
            self._limits.close(group)
            self._give_up(slot, scratch)
            self._not_started(proc, slot, problem, str(scratch / sandbox.EXECUTABLE))
            return
        now = time.monotonic()
        self._running[process.pid] = Running(
            proc,
            item,
            attempt,
            slot,
            scratch,
            process,
            received,
            now,
            group,
            deadline=now + need.execute_s if need.execute_s else 0.0,
        )
        if not goes_on:
            self._log.write(
                events.execute_event(
                    setting.cluster, proc, setting.host, _slot(slot), str(scratch), need.request
                )
            )

    def _give_up(self, slot: int, scratch: Path) -> None:
        self._set.room.give_back(slot)
        sandbox.remove(scratch)

    def _not_started(self, proc: int, slot: int, problem: OSError, program: str) -> None:
        """The system has no room for a process, then the job waits; or the program is no good."""
        if problem.errno in (errno.EAGAIN, errno.ENOMEM):
            heapq.heappush(self._waiting, proc)
            self._not_before = time.monotonic() + FORK_PAUSE_S
            return
        number = problem.errno or errno.EIO
        self._hold(
            proc,
            6,
            number,
            f"Error from {_slot(slot)}@{self._set.host}: Failed to execute "
            f"'{program}': (errno={number}: '{os.strerror(number)}')",
        )

    def _open_group(self, name: str, need: Need) -> Path | None:
        try:
            return self._limits.open(f"job_{name}", need.request.memory_mb)
        except OSError as problem:
            print(f"job_{name}: its memory is not limited: {problem}", flush=True)
            return None

    # -- ending --------------------------------------------------------------------------------

    def _reap(self) -> None:
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            job = self._running.pop(pid, None)
            if job is not None:  # others are orphans that jobs left behind
                job.process.returncode = os.waitstatus_to_exitcode(status)
                if job.answer is None:
                    self._end(job, used)
                else:
                    self._end_fetch(job, job.answer)

    def _end_fetch(self, job: Running, answer: BinaryIO) -> None:
        """A job's URLs have been fetched, or not: it runs, is held, or has been stopped."""
        setting, proc = self._set, job.proc
        try:
            size = fetch.read_answer(answer, job.process.returncode)
        except fetch.FetchError as problem:
            self._give_up(job.slot, job.scratch)
            if not job.ending:
                point = f"{_slot(job.slot)}@{setting.host}"
                self._hold(
                    proc,
                    13,
                    fetch.SUBCODE,
                    f"Transfer input files failure at execution point {point} while fetching a "
                    f"URL. Details: {problem}",
                )
        else:
            if not job.ending:
                self._launch(
                    proc, job.item, job.attempt, job.slot, job.scratch, job.received + size
                )
            else:
                self._give_up(job.slot, job.scratch)
        finally:
            answer.close()
        if job.ending == "cancel":
            self._log.write(events.aborted_event(setting.cluster, proc, job.why))

    def _end(self, job: Running, used: resource.struct_rusage) -> None:
        code = job.process.returncode
        wall = time.monotonic() - job.started
        others = self._running.keys()
        if not processes.kill_leftovers(
            job.process.pid, str(job.scratch), others, LEFTOVERS_LIMIT_S
        ):
            print(f"job {job.proc}: a process that it left behind cannot be ended", flush=True)
        over_memory = self._limits.close(job.group)
        if (
            code == CHECKPOINT_CODE
            and self._set.work.checkpoint
            and not (job.ending or over_memory)
        ):
            where = (job.slot, job.scratch, job.received)
            self._launch(job.proc, job.item, job.attempt, *where, goes_on=True)
            return
        self._set.room.give_back(job.slot)
        sent, problem = 0, None
        if not job.ending and not over_memory:
            try:
                sent = endings.bring_home(self._set, job)
            except sandbox.TransferError as found:
                problem = found
        disk = sandbox.remove(job.scratch)
        run = Usage(used.ru_utime, used.ru_stime, wall, _peak_mb(used), disk, sent, job.received)
        history = self._history.setdefault(job.proc, History())
        history.add(run)
        self._judge(job, Outcome(code, over_memory, problem, self._stop), run, history)

    def _judge(self, job: Running, outcome: Outcome, run: Usage, history: History) -> None:
        """Write down what the end of a start means, and see to what follows from it."""
        proc = job.proc
        point = f"{_slot(job.slot)}@{self._set.host}"
        verdict = endings.judge(self._set, job, point, outcome, run, history)
        if verdict.memory_mb:  # before the log tells of it: a runner that comes after knows it
            requests.ask_for(self._set.round_folder, [proc], verdict.memory_mb, 0)
            self._more = requests.asked_for(self._set.round_folder)
            history.over_memory += 1
        self._log.write(verdict.event)
        if verdict.then == endings.HELD:
            self._held.append(proc)
        elif verdict.then == endings.AGAIN:
            heapq.heappush(self._waiting, proc)
        else:
            self._history.pop(proc, None)

    def _hold(self, proc: int, code: int, subcode: int, why: str) -> None:
        self._log.write(events.held_event(self._set.cluster, proc, code, subcode, why))
        self._held.append(proc)

    # -- stopping ------------------------------------------------------------------------------

    def _stop_all(self) -> None:
        """Stop everything: for good when `osgbatch cancel` asks, else so that jobs wait again."""
        try:
            self._stop = (self._set.round_folder / CANCEL).read_text().strip()
            ending = "cancel"
        except OSError:
            self._stop, ending = STOPPED, "evict"
        for job in self._running.values():
            # one that was cancelled by itself is not to run again
            job.ending, job.why = (job.ending, job.why) if job.why else (ending, self._stop)
            self._terminate(job)
        if ending == "cancel":
            cluster, why = self._set.cluster, self._stop
            left = sorted([*self._waiting, *self._held])
            self._log.write(b"".join(events.aborted_event(cluster, proc, why) for proc in left))

    def _obey(self) -> None:
        """Do what is asked of the runner, if anything is: see `requests`."""
        folder, cluster = self._set.round_folder, self._set.cluster
        wanted = requests.read_request(folder)
        if wanted is None:
            return
        self._more = requests.asked_for(folder)
        for proc in {*wanted.release} & {*self._held}:
            self._held.remove(proc)
            self._log.write(events.released_event(cluster, proc, wanted.why))
            heapq.heappush(self._waiting, proc)
        end = set(wanted.end)
        for proc in sorted(end & {*self._held, *self._waiting}):
            self._log.write(events.aborted_event(cluster, proc, wanted.why))
        self._held = [proc for proc in self._held if proc not in end]
        self._waiting = [proc for proc in self._waiting if proc not in end]
        heapq.heapify(self._waiting)
        for job in self._running.values():
            if job.proc in end and not job.ending:
                job.ending, job.why = "cancel", wanted.why
                self._terminate(job)
        requests.done(folder)

    def _terminate(self, job: Running) -> None:
        processes.signal_group(job.process.pid, signal.SIGTERM)
        job.deadline = time.monotonic() + self._set.grace_s

    def _meet_deadlines(self) -> None:
        now = time.monotonic()
        for job in self._running.values():
            if not job.deadline or job.deadline > now:
                continue
            if job.ending:
                processes.signal_group(job.process.pid, signal.SIGKILL)
                job.deadline = 0.0
            else:
                job.ending = "time"
                self._terminate(job)


def _peak_mb(used: resource.struct_rusage) -> int:
    """Source: getrusage(2), ru_maxrss: KiB on Linux, bytes on macOS."""
    return used.ru_maxrss >> (20 if sys.platform == "darwin" else 10)


def _slot(number: int) -> str:
    return f"slot1_{number}"

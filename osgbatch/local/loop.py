"""The local runner's loop: starts jobs a few at a time, and writes down how each one ends."""

from __future__ import annotations

import errno
import heapq
import os
import resource
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from osgbatch import names
from osgbatch.local import events, processes, sandbox
from osgbatch.local.cgroups import Limits
from osgbatch.local.events import EventLog, Usage
from osgbatch.local.record import CANCEL, Items, Work

FIRST_ATTEMPT = 0
"""The number of a job's first start in the names of returned archives ($$([NumJobStarts]))."""
LEFTOVERS_LIMIT_S = 10.0
"""How long the processes that a job left behind may take to go once they are killed."""
FORK_PAUSE_S = 1.0
"""How long to wait when the system has no room for another process."""
WATCHED = (signal.SIGCHLD, signal.SIGTERM)
BLOCKED = (*WATCHED, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
STOPPED = "the local runner was told to stop (SIGTERM)"


@dataclass(frozen=True)
class Setting:
    """What the loop works with, all of a round. scratch: the folder of the scratch folders."""

    round_folder: Path
    work: Work
    cluster: int
    slots: int
    host: str
    scratch: Path
    grace_s: float


@dataclass
class Running:
    """A job that runs. deadline: when something is due, in monotonic seconds; 0 for never."""

    proc: int
    attempt: int
    slot: int
    scratch: Path
    group: Path | None
    process: subprocess.Popen[bytes]
    received: int
    started: float
    deadline: float = 0.0
    ending: str = ""
    killed: bool = False


@dataclass
class History:
    """What the earlier starts of a job add up to."""

    starts: int = 0
    total: Usage = field(default_factory=Usage)


class Loop:
    """Runs all jobs of a round to their ends. Signals in BLOCKED must be blocked."""

    def __init__(self, setting: Setting, items: Items, log: EventLog, limits: Limits) -> None:
        self._set = setting
        self._items = items
        self._log = log
        self._limits = limits
        self._waiting = list(range(len(items)))
        self._free = list(range(1, setting.slots + 1))
        self._running: dict[int, Running] = {}
        self._history: dict[int, History] = {}
        self._held: list[int] = []
        self._stop = ""
        self._not_before = 0.0

    def run(self) -> None:
        """Start, watch and end jobs until none is left, or the runner is told to stop."""
        while self._running or (self._waiting and not self._stop):
            if self._may_start() and time.monotonic() >= self._not_before:
                self._start(heapq.heappop(self._waiting))
            found = self._wait()
            self._reap()
            if found == signal.SIGTERM and not self._stop:
                self._stop_all()
            self._meet_deadlines()

    def _may_start(self) -> bool:
        return bool(self._waiting and self._free and not self._stop)

    def _wait(self) -> int:
        """Wait for a signal or the next deadline; returns the signal, or 0."""
        if not self._running and not self._waiting:  # the last job was held before it ran
            return 0
        due = [job.deadline for job in self._running.values() if job.deadline]
        if self._may_start():
            due.append(self._not_before)
        if not due:
            return signal.sigwait(WATCHED)
        found = signal.sigtimedwait(WATCHED, max(0.0, min(due) - time.monotonic()))
        return found.si_signo if found else 0

    # -- starting ------------------------------------------------------------------------------

    def _start(self, proc: int) -> None:
        setting, work = self._set, self._set.work
        item = self._items[proc]
        starts = self._history[proc].starts if proc in self._history else 0
        slot = self._free[0]
        slot_name = f"slot1_{slot}"
        scratch = setting.scratch / f"{proc}_{starts}"
        try:
            received = self._bring_in(scratch, proc, item.tasks, slot_name, item.inputs)
        except sandbox.TransferError as problem:
            sandbox.remove(scratch)
            self._hold(
                proc,
                13,
                problem.subcode,
                f"Transfer input files failure at access point {setting.host} while sending files "
                f"to execution point {slot_name}@{setting.host}. "
                f"Details: reading from file {problem}",
            )
            return
        group = self._open_group(f"job_{proc}_{starts}")
        try:
            process = self._spawn(scratch, group, slot_name, [b"%d" % proc, item.tasks, item.rows])
        except OSError as problem:
            self._limits.close(group)
            sandbox.remove(scratch)
            if problem.errno in (errno.EAGAIN, errno.ENOMEM):
                heapq.heappush(self._waiting, proc)
                self._not_before = time.monotonic() + FORK_PAUSE_S
            else:
                number = problem.errno or errno.EIO
                self._hold(
                    proc,
                    6,
                    number,
                    f"Error from {slot_name}@{setting.host}: Failed to execute "
                    f"'{scratch / sandbox.EXECUTABLE}': (errno={number}: '{os.strerror(number)}')",
                )
            return
        heapq.heappop(self._free)
        now = time.monotonic()
        self._running[process.pid] = Running(
            proc,
            FIRST_ATTEMPT + starts,
            slot,
            scratch,
            group,
            process,
            received,
            now,
            now + work.execute_s if work.execute_s else 0.0,
        )
        self._log.write(
            events.execute_event(
                setting.cluster, proc, setting.host, slot_name, str(scratch), work.request
            )
        )

    def _bring_in(
        self, scratch: Path, proc: int, tasks: bytes, slot: str, inputs: tuple[str, ...]
    ) -> int:
        """Fill a new scratch folder; returns the bytes that were copied."""
        setting, work = self._set, self._set.work
        batch = setting.round_folder.parent.parent
        try:
            scratch.mkdir(0o700)
            sandbox.write_ads(
                scratch,
                {
                    "ClusterId": setting.cluster,
                    "ProcId": proc,
                    names.BATCH_ATTRIBUTE: work.batch_id,
                    "RequestCpus": work.request.cpus,
                    "RequestMemory": work.request.memory_mb,
                    "RequestDisk": work.request.disk_kb,
                    "Tasks": os.fsdecode(tasks),
                },
                slot,
                setting.host,
            )
        except OSError as problem:
            raise sandbox.TransferError(str(scratch), problem.errno or errno.EIO) from problem
        size = sandbox.bring_in(setting.round_folder / names.SHIM, scratch, sandbox.EXECUTABLE)
        (scratch / sandbox.EXECUTABLE).chmod(0o755)
        for file, carried in work.payload:
            size += sandbox.bring_in(batch / file, scratch, carried)
        for path in inputs:
            size += sandbox.bring_in(Path(work.initialdir, path), scratch, path)
        return size

    def _open_group(self, name: str) -> Path | None:
        try:
            return self._limits.open(name)
        except OSError as problem:
            print(f"{name}: its memory is not limited: {problem}", flush=True)
            return None

    def _spawn(
        self, scratch: Path, group: Path | None, slot: str, arguments: list[bytes]
    ) -> subprocess.Popen[bytes]:
        runner = os.getpid()

        def prepare() -> None:
            processes.die_with_parent(runner)
            if group is not None:
                (group / "cgroup.procs").write_text("0")
            os.umask(0o022)
            resource.setrlimit(
                resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1])
            )
            signal.pthread_sigmask(signal.SIG_SETMASK, ())

        with (
            (scratch / sandbox.STDOUT).open("wb") as out,
            (scratch / sandbox.STDERR).open("wb") as err,
        ):
            return subprocess.Popen(
                [str(scratch / sandbox.EXECUTABLE), b"%d" % self._set.cluster, *arguments],
                cwd=scratch,
                env=sandbox.environment(scratch, slot, self._set.work.request.cpus),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=prepare,
            )

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
                self._end(job, used)

    def _end(self, job: Running, used: resource.struct_rusage) -> None:
        code = job.process.returncode
        wall = time.monotonic() - job.started
        others = self._running.keys()
        if not processes.kill_leftovers(
            job.process.pid, str(job.scratch), others, LEFTOVERS_LIMIT_S
        ):
            print(f"job {job.proc}: a process that it left behind cannot be ended", flush=True)
        over_memory = self._limits.close(job.group)
        heapq.heappush(self._free, job.slot)
        sent, problem = 0, None
        if not job.ending and not over_memory:
            try:
                sent = self._bring_home(job)
            except sandbox.TransferError as found:
                problem = found
        disk = sandbox.remove(job.scratch)
        run = Usage(
            used.ru_utime, used.ru_stime, wall, used.ru_maxrss >> 10, disk, sent, job.received
        )
        history = self._history.setdefault(job.proc, History())
        history.starts += 1
        history.total = _sum(history.total, run)
        self._write_end(job, code, over_memory, problem, run, history)

    def _write_end(
        self,
        job: Running,
        code: int,
        over_memory: bool,
        problem: sandbox.TransferError | None,
        run: Usage,
        history: History,
    ) -> None:
        work, cluster, proc = self._set.work, self._set.cluster, job.proc
        point = f"slot1_{job.slot}@{self._set.host}"
        if job.ending == "cancel":
            self._log.write(events.aborted_event(cluster, proc, self._stop))
        elif job.ending == "evict":
            self._log.write(events.evicted_event(cluster, proc, run, work.request, self._stop))
        elif job.ending == "time":
            limit = duration(work.execute_s)
            self._hold(proc, 47, 0, f"The job exceeded allowed execute duration of {limit}")
        elif over_memory:
            limit = f"{work.request.memory_mb} megabytes"
            self._hold(
                proc,
                34,
                102,
                f"Error from {point}: Job has gone over cgroup memory limit of {limit}. "
                f"Last measured usage: {run.memory_mb} megabytes.  "
                "Consider resubmitting with a higher request_memory.",
            )
        elif problem is not None:
            self._hold(
                proc,
                12,
                problem.subcode,
                f"Transfer output files failure at execution point {point} while sending files to "
                f"access point {self._set.host}. Details: reading from file {problem}",
            )
        elif work.retries(code) and history.starts <= work.retry_times:
            how = f"exit code {code}" if code >= 0 else f"signal {-code}"
            why = f"{how}: start {history.starts} of at most {work.retry_times + 1}"
            self._log.write(events.requeued_event(cluster, proc, code, run, work.request, why))
            heapq.heappush(self._waiting, proc)
        else:
            self._log.write(
                events.terminated_event(cluster, proc, code, history.total, run, work.request)
            )
            self._history.pop(proc, None)

    def _bring_home(self, job: Running) -> int:
        """Deliver a job's archive and what the shim itself printed; returns their bytes."""
        folder = names.return_folder(self._set.round_folder, job.proc)
        stem = f"{self._set.cluster}_{job.proc}"
        deliveries = (
            sandbox.Delivery(
                names.OUT_ARCHIVE, folder / f"{stem}_{job.attempt}.tar.gz", required=True
            ),
            sandbox.Delivery(sandbox.STDOUT, folder / f"{stem}.out"),
            sandbox.Delivery(sandbox.STDERR, folder / f"{stem}.err"),
        )
        return sum(sandbox.bring_home(job.scratch, delivery) for delivery in deliveries)

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
            job.ending = ending
            self._terminate(job)
        if ending == "cancel":
            cluster, why = self._set.cluster, self._stop
            left = sorted([*self._waiting, *self._held])
            self._log.write(b"".join(events.aborted_event(cluster, proc, why) for proc in left))

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


def _sum(one: Usage, two: Usage) -> Usage:
    return Usage(
        one.user_s + two.user_s,
        one.system_s + two.system_s,
        one.wall_s + two.wall_s,
        max(one.memory_mb, two.memory_mb),
        max(one.disk_kb, two.disk_kb),
        one.sent_bytes + two.sent_bytes,
        one.received_bytes + two.received_bytes,
    )


def duration(seconds: int) -> str:
    """Seconds as HTCondor prints an allowed duration: 20:00:00, 3+00:00:00."""
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}+{clock.rjust(8, '0')}" if days else clock

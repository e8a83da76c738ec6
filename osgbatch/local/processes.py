"""Processes and locks of the local runner: who lives, whose child is it, how it is ended."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cache
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """From now on, orphans below this process become its children (Linux; elsewhere nothing)."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Be killed when the parent, process `parent`, dies. Called between fork and exec."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    prctl = _libc_prctl()
    if prctl is not None:
        prctl(option, value, 0, 0, 0)


@cache
def _libc_prctl() -> Callable[..., int] | None:
    """prctl(2); None where the system has none. Looked up once, before any fork."""
    import ctypes

    return getattr(ctypes.CDLL(None), "prctl", None)


def start_time(pid: int) -> int:
    """When the process began, in clock ticks since boot; 0 when there is none or it is dead.

    Source: proc(5), /proc/<pid>/stat, fields 3 (state) and 22.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    fields = stat.rpartition(b")")[2].split()
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def boot_id() -> str:
    """A name of this boot of the machine; start times of other boots mean nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _boot_id_of_macos() if sys.platform == "darwin" else ""


@cache
def _boot_id_of_macos() -> str:
    import subprocess

    with suppress(OSError, subprocess.SubprocessError):
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    return ""


def children() -> list[int]:
    """The children of this (single-threaded) process, zombies included."""
    me = os.getpid()
    try:
        return [int(pid) for pid in Path(f"/proc/{me}/task/{me}/children").read_bytes().split()]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        return [pid for pid in all_pids() if _parent(pid) == me]


def all_pids() -> list[int]:
    """Every process that can be seen; none on a system without /proc, such as macOS."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


def runs_below(pid: int, folder: str) -> bool:
    """Whether the process was started for a job whose scratch folder is `folder` or below it."""
    path = os.fsencode(folder)
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        environment = []
    mark = b"_CONDOR_SCRATCH_DIR=" + path
    if any(entry == mark or entry.startswith(mark + b"/") for entry in environment):
        return True
    try:
        where = os.fsencode(os.readlink(f"/proc/{pid}/cwd"))
    except OSError:
        return False
    return where == path or where.startswith(path + b"/")


def signal_group(leader: int, number: int) -> None:
    """Send a signal to a process group; nothing when it is gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def kill(pid: int) -> None:
    """KILL a process; nothing when it is gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def wait_for_signal(watched: Collection[int], limit_s: float) -> int:
    """Wait for one of these signals; returns it, or 0 when the time is over.

    They and SIGALRM must be blocked: macOS has no sigtimedwait(2), so that there a timer ends it.
    """
    limit_s = max(limit_s, 0.0)
    if hasattr(signal, "sigtimedwait"):
        found = signal.sigtimedwait(watched, limit_s)
        return found.si_signo if found else 0
    signal.setitimer(signal.ITIMER_REAL, max(limit_s, 0.001))  # 0 would be no timer at all
    try:
        number = int(signal.sigwait({*watched, signal.SIGALRM}))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return 0 if number == signal.SIGALRM else number


def kill_leftovers(leader: int, scratch: str, running: Collection[int], limit_s: float) -> bool:
    """End what a job left running, also what has put itself into another session.

    leader: the process group of the job, whose leader has ended; running: the leaders of other
    jobs. Needs become_subreaper. Returns False when something cannot be ended within the limit.
    """
    limit = time.monotonic() + limit_s
    while True:
        signal_group(leader, signal.SIGKILL)
        left = [
            pid
            for pid in children()
            if pid not in running and (_group(pid) == leader or runs_below(pid, scratch))
        ]
        if not left:
            return True
        if time.monotonic() > limit:
            return False
        for pid in left:
            kill(pid)
            reap(pid, limit - time.monotonic())


def kill_children(limit_s: float) -> bool:
    """End all descendants, as a subreaper. Returns False when the limit was too short."""
    limit = time.monotonic() + limit_s
    while left := children():
        if time.monotonic() > limit:
            return False
        for pid in left:
            kill(pid)
            reap(pid, limit - time.monotonic())
    return True


def kill_strangers(scratch: str, limit_s: float) -> bool:
    """End all processes of jobs below `scratch`, whoever their parent is."""
    limit = time.monotonic() + limit_s
    pause = 0.005
    while left := [p for p in all_pids() if start_time(p) and runs_below(p, scratch)]:
        if time.monotonic() > limit:
            return False
        for pid in left:
            kill(pid)
        time.sleep(pause)  # nobody tells us when a process that is not our child has ended
        pause = min(2 * pause, 0.2)
    return True


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


def reap(pid: int, limit_s: float) -> None:
    """Wait for a child that was killed, no longer than the limit."""
    try:
        watched = os.pidfd_open(pid)
    except (AttributeError, OSError):
        watched = -1
    try:
        if watched >= 0:
            poller = select.poll()
            poller.register(watched, select.POLLIN)
            if not poller.poll(max(0, int(limit_s * 1000))):
                return
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
    finally:
        if watched >= 0:
            os.close(watched)


def take_lock(path: Path, limit_s: float) -> int | None:
    """Take the lock on `path`, made if need be; None when another process keeps it.

    Returns the descriptor that holds it, not inherited by programs that are started.
    """
    limit = time.monotonic() + limit_s
    pause = 0.005
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == _inode(path):
                return descriptor
        except OSError as problem:
            if problem.errno not in (errno.EAGAIN, errno.EACCES):
                os.close(descriptor)
                raise
        os.close(descriptor)
        if time.monotonic() >= limit:
            return None
        time.sleep(pause)
        pause = min(2 * pause, 0.2)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return -1


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock on `path`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as problem:
        if problem.errno in (errno.EAGAIN, errno.EACCES):
            return True
        raise
    else:
        return False
    finally:
        os.close(descriptor)

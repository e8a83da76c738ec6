"""The detached process that runs a round: a guardian, and below it the loop.

The loop runs the jobs. The guardian only waits for it: when the loop is killed, all processes of
its jobs become children of the guardian, which ends them and removes their scratch folders.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path

from osgbatch import names
from osgbatch.errors import BatchError, BusyError, OsgbatchError
from osgbatch.local import cgroups, events, processes, record, sandbox
from osgbatch.local.jobs import BLOCKED, Setting
from osgbatch.local.loop import Loop
from osgbatch.local.slots import SLOTS_VARIABLE, room

GRACE_VARIABLE = "OSGBATCH_LOCAL_GRACE"
GRACE_S = 10.0
"""Seconds between TERM and KILL for a job that is stopped."""
CLEANUP_LIMIT_S = 30.0


def main() -> None:
    """Run the round named by the arguments: its folder, the cluster, a pipe to answer on, its lock.

    A fifth one: the round has been run, and some of its held jobs are released.
    """
    folder, cluster, pipe, lock = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    for inherited in (pipe, lock):
        os.set_inheritable(inherited, False)
    if os.fork():
        os._exit(0)  # so that whoever submits has no child to wait for
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    for number in BLOCKED:  # what was ignored would be ignored in jobs, too
        signal.signal(number, signal.SIG_DFL)
    # macOS forgets a blocked SIGCHLD that nobody waits for at the moment, unless it has a handler.
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    status = 1
    try:
        status = guard(folder, cluster, pipe, again=len(sys.argv) > 5)
    except OsgbatchError as problem:
        answer(pipe, problem)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def answer(pipe: int, problem: OsgbatchError | None) -> None:
    """Tell the process that submits how it went, and let it go."""
    words: dict[str, str | bool] = {"ok": problem is None}
    if problem is not None:
        words |= {
            "busy": isinstance(problem, BusyError),
            "what": problem.what,
            "where": problem.where,
            "fix": problem.fix,
        }
    try:
        os.write(pipe, json.dumps(words).encode())
    except OSError:
        traceback.print_exc()
    os.close(pipe)


def guard(folder: Path, cluster: int, pipe: int, *, again: bool = False) -> int:
    """Start the loop, and clean up after it, however it ends."""
    log = folder / names.EVENTS
    if not again and log.exists() and log.stat().st_size:
        raise BatchError("this round has already been submitted", where=str(log))
    work = record.read_work(record.resolved_path(folder))
    scratch = make_scratch(work, folder)
    os.chdir("/")
    processes.become_subreaper()
    limits = cgroups.memory_limits(scratch.name)
    try:
        child = os.fork()
    except OSError as problem:
        limits.remove()
        sandbox.remove(scratch)
        raise OsgbatchError(f"no process can be made: {problem.strerror}") from problem
    if child == 0:
        run(folder, cluster, pipe, work, scratch, limits, again=again)
    os.close(pipe)
    status = wait_for(child)
    if not processes.kill_children(CLEANUP_LIMIT_S):
        print("a process of a job cannot be ended", flush=True)
    limits.remove()
    sandbox.remove(scratch)
    return status


def wait_for(child: int) -> int:
    """Wait for the loop, handing on what this process is told; returns its exit code."""
    while True:
        found = signal.sigwait((signal.SIGCHLD, signal.SIGTERM))
        if found == signal.SIGTERM:
            os.kill(child, signal.SIGTERM)
            continue
        pid = -1
        while pid:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                return os.waitstatus_to_exitcode(status) & 0xFF


def make_scratch(work: record.Work, folder: Path) -> Path:
    """Make the folder for the jobs' scratch folders. Raises OsgbatchError when it is no good."""
    parent = sandbox.scratch_parent()
    try:
        prefix = sandbox.scratch_prefix(work.batch_id, folder)
        scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    except OSError as problem:
        raise OsgbatchError(
            f"no scratch folder can be made here: {problem.strerror}",
            where=str(parent),
            fix=f"Name a folder with room for the jobs: {sandbox.FOLDER_VARIABLE}=/some/folder",
        ) from problem
    if os.statvfs(scratch).f_flag & getattr(os, "ST_NOEXEC", 0):  # macOS tells nothing of it
        scratch.rmdir()
        raise OsgbatchError(
            "jobs cannot run here: the file system forbids programs (mounted noexec)",
            where=str(parent),
            fix=f"Name a folder that allows programs: {sandbox.FOLDER_VARIABLE}=/some/folder",
        )
    return scratch


def run(
    folder: Path,
    cluster: int,
    pipe: int,
    work: record.Work,
    scratch: Path,
    limits: cgroups.Limits,
    *,
    again: bool,
) -> None:
    """The loop's process: writes down who it is, enters all jobs, answers, runs them."""
    status = 1
    try:
        processes.become_subreaper()
        items = record.Items(folder / names.ITEMS, work)
        try:
            loop, log = enter(folder, cluster, work, items, scratch, limits, again=again)
        except BaseException as problem:
            for name in () if again else (names.EVENTS, record.RECORD):
                (folder / name).unlink(missing_ok=True)
            if isinstance(problem, OsgbatchError):
                answer(pipe, problem)
            raise
        answer(pipe, None)
        loop.run()
        log.close()
        status = 0
    except OsgbatchError:
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def enter(
    folder: Path,
    cluster: int,
    work: record.Work,
    items: record.Items,
    scratch: Path,
    limits: cgroups.Limits,
    *,
    again: bool,
) -> tuple[Loop, events.EventLog]:
    """Write `local.json` and the submit events; `again`: of jobs that are held the log goes on."""
    setting = write_down(folder, cluster, work, items, scratch, limits)
    path = folder / names.EVENTS
    if not again:
        log = events.EventLog(path)
        log.write(events.submit_events(cluster, range(len(items)), setting.host))
        return Loop(setting, items, log, limits), log
    events.drop_partial_event(path)
    states = events.job_states(path, cluster, len(items))
    held = [proc for proc, state in enumerate(states) if state == "held"]
    log = events.EventLog(path)
    return Loop(setting, items, log, limits, held, events.starts(path, cluster)), log


def write_down(
    folder: Path,
    cluster: int,
    work: record.Work,
    items: record.Items,
    scratch: Path,
    limits: cgroups.Limits,
) -> Setting:
    """Write `local.json`: who runs the round, and where."""
    host = names.slug(socket.gethostname() or "localhost")
    space = room(work, os.environ.get(SLOTS_VARIABLE))
    grace_s = float(os.environ.get(GRACE_VARIABLE) or GRACE_S)
    (folder / record.CANCEL).unlink(missing_ok=True)
    record.write_record(
        record.Record(
            host=host,
            boot_id=processes.boot_id(),
            pid=os.getpid(),
            start_time=processes.start_time(os.getpid()),
            guardian=os.getppid(),
            cluster=cluster,
            jobs=len(items),
            slots=space.count,
            scratch=str(scratch),
            group=str(limits.group or ""),
            memory_enforced=not limits.why,
            why=limits.why,
            started=time.time(),
            grace_s=grace_s,
            folder=str(folder),
        ),
        folder / record.RECORD,
    )
    return Setting(folder, work, cluster, space, host, scratch, grace_s)

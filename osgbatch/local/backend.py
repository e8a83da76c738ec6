"""The local backend: a round's jobs on this machine, without HTCondor."""

from __future__ import annotations

import getpass
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import closing, suppress
from pathlib import Path

from osgbatch import names, urls
from osgbatch.errors import BatchError, BusyError, OsgbatchError
from osgbatch.local import cgroups, container, events, fetch, processes, record, sandbox
from osgbatch.local.record import Record
from osgbatch.model import Round, Submitted

BACKEND = "local"
START_LIMIT_S = 60.0
"""How long the runner may take until it has entered all jobs."""
CANCEL_LIMIT_S = 60.0
"""How long a runner may take to end its jobs."""
PATIENCE_S = 10.0
"""How long after its grace time a runner that was told to cancel may go on before it is killed."""
STRANGERS_LIMIT_S = 10.0
LOCK_LIMIT_S = 0.5
TIDY_LIMIT_S = 5.0

_BOOT = (
    "import sys; here = sys.argv.pop(1); sys.path[:] = [p for p in sys.path if p]; "
    "sys.path += [here] * (here not in sys.path); "
    "from osgbatch.local.runner import main; main()"
)


def submit(round_: Round, limit_s: float = START_LIMIT_S) -> Submitted:
    """Start the detached process that runs the round, and wait until it has entered all jobs.

    Raises BusyError when the round is being run, BatchError when it has been, or its folder is not
    what it should be, OsgbatchError when the process does not start. Nothing is left behind then.
    """
    _check(round_.folder.resolve(), round_)
    _start(round_, limit_s)
    return Submitted(BACKEND, round_.number, round_.jobs, time.time())


def run_again(round_: Round, limit_s: float = START_LIMIT_S) -> None:
    """Start a runner for a round whose runner has ended: it does what its request file says.

    Raises as `submit` does; the round's log stays as it is then.
    """
    _start(round_, limit_s, "again")


def _start(round_: Round, limit_s: float, *mode: str) -> None:
    """The runner inherits the round's lock: at no moment does it seem not to be there."""
    folder = round_.folder.resolve()
    lock = processes.take_lock(folder / record.LOCK, LOCK_LIMIT_S)
    if lock is None:
        raise BusyError(
            "this round is already being run on this machine or another", where=str(folder)
        )
    reader, writer = os.pipe()
    try:
        with (folder / record.LOG).open("ab") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _BOOT,
                    str(Path(names.__file__).parents[1]),
                    str(folder),
                    str(round_.number),
                    str(writer),
                    str(lock),
                    *mode,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(writer, lock),
            )
        os.close(writer)
        os.close(lock)
        writer = lock = -1
        said = _read_answer(reader, limit_s)
    except BaseException:
        if writer < 0:
            _abort(folder, process, *mode)
        else:
            os.close(lock)
            _tidy(folder)
        raise
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    if said is None:
        _abort(folder, process, *mode)
        raise OsgbatchError(
            f"the local runner has not entered the jobs within {limit_s:g} s",
            where=str(folder),
            fix="The machine may be overloaded: try again later.",
        )
    process.wait()
    if not said:
        last = _last_line(folder / record.LOG)
        _tidy(folder)
        raise OsgbatchError(f"the local runner did not start: {last}", where=str(folder))
    if not said["ok"]:
        if not said["busy"]:
            _tidy(folder)
        kind = BusyError if said["busy"] else OsgbatchError
        raise kind(str(said["what"]), where=str(said["where"]), fix=str(said["fix"]))


def alive(round_: Round, cluster: int) -> bool:
    """Whether the process that runs the round is still there."""
    return processes.is_locked(round_.folder / record.LOCK)


def await_entered(round_: Round, limit_s: float = START_LIMIT_S) -> None:
    """Wait while a runner is there that has not entered its jobs in the event log yet.

    Whoever started it may be gone, and that nobody ran the round was true only for that moment.
    Raises BusyError when it has not entered them in this time.
    """
    limit = time.monotonic() + limit_s
    log = round_.folder / names.EVENTS
    while not (log.exists() and log.stat().st_size) and alive(round_, 0):
        if time.monotonic() > limit:
            raise BusyError(
                "the local runner is starting this round",
                where=str(round_.folder),
                fix="Try again in a moment.",
            )
        time.sleep(0.05)


def runner_record(round_: Round) -> Record | None:
    """What the process that runs, or ran, the round has written down: slots, limits, who it is."""
    return record.read_record(round_.folder / record.RECORD)


def interrupted(round_: Round, cluster: int) -> bool:
    """Whether jobs have not ended though nobody runs them any more: the runner was killed."""
    if alive(round_, cluster) or not (round_.folder / names.EVENTS).exists():
        return False
    states = events.job_states(round_.folder / names.EVENTS, cluster, round_.jobs)
    return not alive(round_, cluster) and any(s in ("waiting", "running") for s in states)


def cancel(
    round_: Round,
    cluster: int,
    limit_s: float = CANCEL_LIMIT_S,
    *,
    why: str = "",
    held: Collection[int] | None = None,
) -> None:
    """Stop all jobs of the round that have not ended, and wait until none runs any more.

    A loop that does not end within its grace time and PATIENCE_S is killed: it may be waiting for a
    file system. Its guardian, or this process, cleans up then.
    limit_s: beside the grace time. why: what the event log says of it. held: of the held jobs only
    these; None for all.
    Raises BusyError when the runner is on another host, or does not end within the limit.
    """
    folder = round_.folder.resolve()
    if not (folder / names.EVENTS).exists():
        return
    why = why or f"via osgbatch cancel (by user {user()})"
    lock = _stop_runner(folder, why, limit_s)
    if lock is None:
        raise BusyError(
            f"the local runner has not ended its jobs within {limit_s:g} s after their grace time",
            where=str(folder),
            fix="Its log is local.log in this folder.",
        )
    try:
        _clean_up(record.read_record(folder / record.RECORD))
        _abort_jobs(folder, round_, cluster, why, held)
        (folder / record.CANCEL).unlink(missing_ok=True)
    finally:
        os.close(lock)


def _check(folder: Path, round_: Round) -> None:
    for name in (names.ITEMS, names.SHIM):
        if not (folder / name).is_file():
            raise BatchError(f"{name} is missing in this round", where=str(folder))
    work = record.read_work(record.resolved_path(folder))
    container.check(work)
    for text in work.shared_inputs:
        _check_scheme(text)
    with closing(record.Items(folder / names.ITEMS, work)) as items:
        if len(items) != round_.jobs:
            raise BatchError(
                f"{names.ITEMS} has {len(items)} jobs, the round has {round_.jobs}",
                where=str(folder),
            )
        for item in items:
            for text in item.inputs:
                _check_scheme(text)


def _check_scheme(text: str) -> None:
    """Refuse, before anything runs, an input that only HTCondor's plugins can fetch."""
    scheme = urls.scheme(text)
    if scheme and scheme not in fetch.SCHEMES:
        raise OsgbatchError(
            f"this machine's local runner cannot fetch {text}",
            fix=f"Use --pool condor, where jobs fetch {scheme}:// themselves.",
        )
    if scheme and urls.file_name(text) in ("", ".", ".."):
        raise OsgbatchError(
            f"{text} ends in no file name", fix="A URL among the inputs names one file."
        )


def _read_answer(reader: int, limit_s: float) -> dict[str, object] | None:
    """What the runner says; {} when it ends without a word, None when it is silent too long."""
    limit = time.monotonic() + limit_s
    text = b""
    while select.select([reader], [], [], max(0.0, limit - time.monotonic()))[0]:
        part = os.read(reader, 1 << 16)
        if not part:
            return dict(json.loads(text)) if text else {}
        text += part
    return None


def _abort(folder: Path, process: subprocess.Popen[bytes], *mode: str) -> None:
    """End a runner that has not answered, with all it has begun."""
    processes.signal_group(process.pid, signal.SIGKILL)
    process.wait()
    lock = processes.take_lock(folder / record.LOCK, STRANGERS_LIMIT_S)
    if lock is None:
        return
    _clean_up(record.read_record(folder / record.RECORD))
    # It may have been ended before it wrote down where it works.
    work = record.read_work(record.resolved_path(folder))
    prefix = sandbox.scratch_prefix(work.batch_id, folder)
    for scratch in sandbox.scratch_parent().iterdir():
        if scratch.name.startswith(prefix):
            _remove_places(scratch, cgroups.group_named(scratch.name))
    if not mode:
        (folder / names.EVENTS).unlink(missing_ok=True)
    os.close(lock)
    _tidy(folder)


def _tidy(folder: Path) -> None:
    """Leave the folder as it was before a submission that failed, unless another succeeded."""
    lock = processes.take_lock(folder / record.LOCK, TIDY_LIMIT_S)
    if lock is None:
        return
    if not (folder / names.EVENTS).exists():
        for name in (record.RECORD, record.LOG, record.LOCK):
            (folder / name).unlink(missing_ok=True)
    os.close(lock)


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it ended without a word"


def _stop_runner(folder: Path, why: str, limit_s: float) -> int | None:
    """Ask the runner to end, if there is one; the round's lock once it has, None when too late."""
    limit = time.monotonic() + limit_s
    found: Record | None = None
    kill_at = 0.0
    while True:
        lock = processes.take_lock(folder / record.LOCK, 0.1)
        if lock is not None or time.monotonic() > limit:
            return lock
        if found is None:
            found = record.read_record(folder / record.RECORD)
            if found is None:
                continue
            if not is_here(found):
                raise BusyError(
                    f"the local runner of this round is on {found.host}",
                    where=str(folder),
                    fix="Run the same command there.",
                )
            (folder / record.CANCEL).write_text(why + "\n", encoding="utf-8")
            signal_loop(found, signal.SIGTERM)
            kill_at = time.monotonic() + found.grace_s + PATIENCE_S
            limit += found.grace_s
        elif time.monotonic() > kill_at:
            signal_loop(found, signal.SIGKILL)


def signal_loop(found: Record, number: int) -> None:
    """Send the loop a signal, unless its number belongs to another process by now."""
    if processes.boot_id() == found.boot_id and (
        processes.start_time(found.pid) == found.start_time
    ):
        with suppress(ProcessLookupError):
            os.kill(found.pid, number)


def is_here(found: record.Record) -> bool:
    """Whether the runner was started on this machine; its name may have changed since."""
    host = names.slug(socket.gethostname() or "localhost")
    return found.host == host or found.boot_id == processes.boot_id() != ""


def _clean_up(found: record.Record | None) -> None:
    """End what a dead runner's jobs may have left, and remove their scratch folder."""
    if found is None or not is_here(found):
        return
    scratch = Path(found.scratch)
    if not scratch.name.startswith("osgbatch-"):
        return
    if not processes.kill_strangers(found.scratch, STRANGERS_LIMIT_S):
        raise BusyError("a process of a job cannot be ended", where=found.scratch)
    _remove_places(scratch, Path(found.group) if found.group else None)


def _remove_places(scratch: Path, group: Path | None) -> None:
    if group is not None and group.name == scratch.name:
        cgroups.remove_group(group)
    if scratch.is_dir() and not scratch.is_symlink() and scratch.stat().st_uid == os.getuid():
        sandbox.remove(scratch)


def _abort_jobs(
    folder: Path, round_: Round, cluster: int, why: str, held: Collection[int] | None
) -> None:
    """Write event 009 for every job that has not ended; of those held only for these, if told."""
    log = folder / names.EVENTS
    events.drop_partial_event(log)
    states = events.job_states(log, cluster, round_.jobs)
    spared = () if held is None else {p for p, s in enumerate(states) if s == "held"} - set(held)
    left = [p for p, state in enumerate(states) if state != "ended" and p not in spared]
    if left:
        writer = events.EventLog(log)
        writer.write(b"".join(events.aborted_event(cluster, proc, why) for proc in left))
        writer.close()


def user() -> str:
    """Who acts: the user's name, else the number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())

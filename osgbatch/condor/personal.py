"""Runs the daemons of the user's personal pool: finds HTCondor, starts, asks, stops."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from osgbatch import personal_pool
from osgbatch.condor.commands import run
from osgbatch.condor.personal_config import FOLDERS, VACATE_S, Installation
from osgbatch.errors import CondorError, OsgbatchError

START_LIMIT_S = 60.0
FAST_LIMIT_S = 10.0
"""Seconds for a fast shutdown, after which what is left is killed."""
FIRST_PERSON = 1000
"""The first user id of people (UID_MIN in login.defs of Debian and Fedora)."""
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/condor/sbin")
"""Where condor_master is, besides PATH: of ordinary users the first is often not on it."""
_DAEMONS = frozenset(
    f"condor_{name}"
    for name in (
        "master", "procd", "shared_port", "collector", "negotiator", "schedd", "startd", "shadow",
        "starter", "dagman",
    )
)  # fmt: skip
_LOGS = ("master.out", "MasterLog", "CollectorLog", "SchedLog", "StartLog")
_LINES = 4
_STEP_S = 0.1
_SCHEDD_ADDRESS = "spool/.schedd_address"


@dataclass(frozen=True)
class Totals:
    """The jobs in the queue. idle: those that wait."""

    jobs: int
    idle: int
    running: int
    held: int


@dataclass(frozen=True)
class Slots:
    """What the pool offers to jobs, and what of it is free. Memory in MiB."""

    cpus: int
    memory_mb: int
    free_cpus: int
    free_memory_mb: int


def find() -> Installation | None:
    """The HTCondor that is installed, daemons included; None where there is none."""
    submit = shutil.which("condor_submit")
    beside = [str(Path(submit).resolve().parents[1] / "sbin")] if submit else []
    found = shutil.which("condor_master") or shutil.which(
        "condor_master", path=os.pathsep.join([*beside, *_PLACES])
    )
    if not found:
        return None
    sbin = Path(found).resolve().parent
    release = sbin.parent
    libexec = [release / part for part in ("libexec/condor", "lib/condor/libexec", "libexec")]
    libraries = [release / part for part in ("lib/condor", "lib64/condor", "lib")]
    programs = release / "bin"
    if submit and not (programs / "condor_submit").exists():
        programs = Path(submit).resolve().parent
    return Installation(
        release=release,
        bin=programs,
        sbin=sbin,
        libexec=next((path for path in libexec if (path / "curl_plugin").exists()), libexec[0]),
        lib=next((path for path in libraries if path.is_dir()), libraries[-1]),
    )


def schedd_host() -> str:
    """The machine whose schedd the configuration in use names (SCHEDD_HOST); empty when none."""
    with suppress(CondorError):
        return run(["condor_config_val", "SCHEDD_HOST"])[0].strip()
    return ""


def of_the_system() -> str:
    """A daemon of this machine's own HTCondor that runs, by its name; empty when there is none."""
    return next(all_of_the_system(), "")


def all_of_the_system() -> Iterator[str]:
    """All of them: they run as root or as an account of the system.

    What a person runs is a pool of that person.
    """
    for entry in Path("/proc").iterdir():
        try:
            if not entry.name.isdigit() or entry.stat().st_uid >= FIRST_PERSON:
                continue
            program = (entry / "cmdline").read_bytes().split(b"\0")[0]
        except OSError:
            continue
        name = os.path.basename(program).decode(errors="replace")
        if name in ("condor_master", "condor_schedd"):
            yield f"{name}, process {entry.name},"


def says_there_is_none(error: CondorError) -> bool:
    """Whether condor_q has failed since no schedd is there to be reached, as 23.9 and 25.14 say."""
    return bool(re.search(r"Failed to connect|[Cc]an't find address", error.what))


def start(folder: Path, installation: Installation) -> None:
    """Start condor_master in a session of its own, and return when its pool answers.

    folder: with condor_config in it, which this process uses already.
    Raises CondorError, with the ends of the logs, when it does not come up; then it is ended.
    """
    for part in FOLDERS:
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "etc/passwords.d").chmod(0o700)
    for stale in (*folder.glob("log/.*_address*"), folder / _SCHEDD_ADDRESS):
        stale.unlink(missing_ok=True)
    # Settings in variables would win over its own, and a master's children are told others.
    theirs = {name for name in os.environ if name.upper().startswith(("_CONDOR_", "CONDOR_"))}
    env = {name: value for name, value in os.environ.items() if name not in theirs}
    env[personal_pool.CONFIG] = str(folder / "condor_config")
    with (folder / "log" / "master.out").open("wb") as out:
        master = subprocess.Popen(
            [installation.sbin / "condor_master", "-f"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
            umask=0o022,
        )
    try:
        await_answers(lambda: master.poll() is None, folder)
    except BaseException:
        with suppress(ProcessLookupError):
            master.send_signal(signal.SIGQUIT)
        with suppress(subprocess.TimeoutExpired):
            master.wait(FAST_LIMIT_S)
        end_leftovers(folder)
        master.wait()
        raise
    master.returncode = 0  # it outlives us, and Python need not warn of that


def await_answers(runs: Callable[[], bool], folder: Path) -> None:
    """Wait until schedd and startd answer. Raises CondorError, with the ends of the logs, if not.

    runs: whether its condor_master is there.
    """
    began, deadline = time.time(), time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if not runs():
            raise CondorError(
                "the personal pool did not start", where=str(folder), fix=_story(folder, began)
            )
        if (folder / _SCHEDD_ADDRESS).exists():  # before, asking would only cost time
            with suppress(CondorError):
                slots()
                totals()
                return
        time.sleep(_STEP_S)
    raise CondorError(
        f"the personal pool did not answer within {START_LIMIT_S:.0f} s",
        where=str(folder),
        fix=_story(folder, began),
    )


def _story(folder: Path, since: float) -> str:
    """The ends of the logs that were written since a time, for who has to find out."""
    parts = []
    for path in (folder / "log" / name for name in _LOGS):
        with suppress(OSError):
            lines = path.read_text(errors="replace").splitlines()[-_LINES:]
            if lines and path.stat().st_mtime >= since - 1:
                parts += [f"--- {path}", *lines]
    return "\n".join(["Its logs end with:", *parts]) if parts else f"See {folder / 'log'}."


def totals() -> Totals:
    """How many jobs are in the queue, DAGMan's included (`-totals` leaves these out).

    Raises CondorError when the schedd does not answer.
    """
    said, _ = run(["condor_q", "-allusers", "-af", "JobStatus"])
    count = Counter(said.split())
    # Source: the job attribute JobStatus; 6: transferring output, 7: suspended.
    running = count["2"] + count["6"] + count["7"]
    return Totals(count.total(), count["1"], running, count["5"])


def slots() -> Slots:
    """What the pool offers. Raises CondorError when the collector does not answer or knows none."""
    columns = ("TotalSlotCpus", "TotalSlotMemory", "Cpus", "Memory")
    said, _ = run(["condor_status", "-constraint", 'SlotType =!= "Dynamic"', "-af", *columns])
    rows = [list(map(int, line.split())) for line in said.splitlines() if line.strip()]
    if not rows:
        raise CondorError("the personal pool has no slot", fix="See StartLog in its log folder.")
    return Slots(*(sum(column) for column in zip(*rows, strict=True)))


def stop(folder: Path, pid: int, say: Callable[[str], None]) -> None:
    """End the pool: jobs are told, and have seconds for their end; the queue keeps them.

    pid: of its condor_master. What does not end by itself is killed, jobs' processes included.
    Raises OsgbatchError when the process is none, OSError when it may not be signalled.
    """
    for number, limit_s in ((signal.SIGTERM, VACATE_S + 15.0), (signal.SIGQUIT, FAST_LIMIT_S)):
        _signal(pid, number)
        if _ended(limit_s):
            break
        say("the daemons take long to end; asking them to be quick")
    else:
        say("the daemons do not end: killing them")
        _signal(pid, signal.SIGKILL)
    end_leftovers(folder)


def _signal(pid: int, number: int) -> None:
    """Signal a condor_master; nothing is done when it is gone. Raises OsgbatchError for others."""
    try:
        words = (Path("/proc") / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return
    if os.path.basename(words[0]) == b"condor_master":
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    elif words[0]:  # else it has ended, and nobody has asked how
        raise OsgbatchError(
            f"the process that holds the pool's lock, {pid}, is no condor_master of this machine",
            where=str(personal_pool.instance_lock()),
            fix="Does the pool run on another machine that has this folder? Stop it there.",
        )


def _ended(limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while personal_pool.master() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_STEP_S)
    return True


def end_leftovers(folder: Path) -> None:
    """End daemons and jobs of the pool whose condor_master is gone, as after a crash of it."""
    for number in (signal.SIGQUIT, signal.SIGKILL):
        deadline = time.monotonic() + FAST_LIMIT_S
        told: set[int] = set()
        while left := set(leftovers(folder)):
            for pid in left - told:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            told |= left
            if time.monotonic() > deadline:
                break
            time.sleep(_STEP_S)
        else:
            return


def leftovers(folder: Path) -> Iterator[int]:
    """Process ids of the pool's daemons and of its jobs, by their environment.

    Not those of HTCondor's other commands: they are the user's, who may look at the pool.
    """
    config = f"{personal_pool.CONFIG}={folder / 'condor_config'}".encode()
    scratch = f"_CONDOR_SCRATCH_DIR={folder / 'execute'}/".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            program = (entry / "cmdline").read_bytes().split(b"\0")[0]
        except OSError:  # another user's, or it has just ended
            continue
        daemon = config in environment and os.path.basename(program).decode(errors="replace")
        if daemon in _DAEMONS or any(variable.startswith(scratch) for variable in environment):
            yield int(entry.name)

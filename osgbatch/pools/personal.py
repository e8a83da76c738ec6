"""The user's personal pool goes up and down; where it may, and how it stands."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from osgbatch import personal_pool
from osgbatch.condor import personal as daemons
from osgbatch.condor.commands import SYSTEM_CONFIGS, check_alive, version
from osgbatch.condor.personal_config import Installation, Machine, condor_config
from osgbatch.errors import CondorError, OsgbatchError
from osgbatch.local.slots import machine_memory_mb, usable_cpus
from osgbatch.spec.profiles import access_point

Say = Callable[[str], None]

UP, DOWN, SILENT, ELSEWHERE = "up", "down", "silent", "elsewhere"
LOCAL_TOO = (
    "Without a pool sweeps run on this machine by themselves: `osgbatch submit --pool local`."
)
HOW_TO_GET_IT = (
    "Install it: `sudo apt install condor` on Ubuntu and Debian 13, `sudo dnf install condor` on "
    "Fedora; elsewhere as https://htcondor.readthedocs.io tells (getting-htcondor). "
    f"{LOCAL_TOO}"
)
_UNPLAIN = re.compile(r"[\s$#,;:\"'\\*?%=()\[\]{}<>|&!`]")
"""What HTCondor's configuration, or one of its programs, reads as something else in a path."""


@dataclass(frozen=True)
class PoolStatus:
    """How the personal pool stands.

    state: UP; DOWN; SILENT, when it runs and does not answer; ELSEWHERE, when it runs on another
    machine that has this folder, too. host: where it was started last.
    """

    state: str
    folder: Path
    pid: int | None = None
    host: str = ""
    version: str = ""
    slots: daemons.Slots | None = None
    jobs: daemons.Totals | None = None

    @property
    def config(self) -> Path:
        """Its condor_config."""
        return self.folder / "condor_config"


def status() -> PoolStatus:
    """Look how it stands; change nothing. Raises OsgbatchError where that cannot be known."""
    folder = personal_pool.folder()
    try:
        pid = personal_pool.master()
    except PermissionError:
        raise _another_users(folder) from None
    except OSError as error:
        raise _no_locks(folder, error) from None
    noted = personal_pool.note()
    host, version_ = str(noted.get("host", "")), str(noted.get("version", ""))
    if pid is None:
        return PoolStatus(DOWN, folder, None, host, version_)
    if pid == personal_pool.ELSEWHERE:
        return PoolStatus(ELSEWHERE, folder, None, host, version_)
    with _used():
        try:
            slots, jobs = daemons.slots(), daemons.totals()
        except CondorError:
            return PoolStatus(SILENT, folder, pid, host, version_)
    return PoolStatus(UP, folder, pid, host, version_, slots, jobs)


def up(say: Say) -> tuple[PoolStatus, bool]:
    """Start it, with the queue that it had; how it stands then, and whether it was down before.

    It has answered once; how it stands then may be another than UP all the same. Two that do so at
    once start one pool. Raises OsgbatchError where it may not be started, and CondorError when
    HTCondor is not installed or does not come up; then nothing runs.
    """
    refuse_here()
    folder = personal_pool.folder()
    if personal_pool.another_named():
        raise OsgbatchError(
            "this shell uses an HTCondor already",
            where=f"{personal_pool.CONFIG}={os.environ[personal_pool.CONFIG]}",
            fix="Use that one; or type `unset CONDOR_CONFIG` for a pool of your own.",
        )
    _check_folder(folder)
    with _alone(folder, say):
        now = status()
        if now.state == UP:
            return now, False
        if now.state == ELSEWHERE:
            raise _elsewhere(now)
        if now.state == SILENT:  # as when who started it was killed meanwhile
            say(f"the personal pool runs (process {now.pid}); waiting until it answers")
            with _used():
                daemons.await_answers(personal_pool.is_up, folder)
            return status(), False
        _check_no_other()
        installation = _installation()
        user = _user_name()
        folder.chmod(0o700)  # what is in it may command the pool
        daemons.end_leftovers(folder)
        machine = _machine(installation)
        text = condor_config(installation, folder, user, machine, _id(folder))
        (folder / "condor_config").write_text(text, encoding="utf-8")
        note = {"bin": str(installation.bin), "version": "", "host": socket.gethostname()}
        with _used(installation.bin):
            _write_note(note)  # before its version is asked: by the note its commands are found
            _write_note({**note, "version": ".".join(map(str, version()))})
            say("starting the personal pool")
            daemons.start(folder, installation)
        return status(), True


def down(say: Say) -> PoolStatus | None:
    """Stop it, its jobs first; how it stood before, None when it was down.

    Raises OsgbatchError when it runs where it cannot be stopped from.
    """
    folder = personal_pool.folder()
    if not folder.is_dir():
        if left := len([*daemons.leftovers(folder)]):
            daemons.end_leftovers(folder)
            some = "a process" if left == 1 else f"{left} processes"
            say(f"its folder is gone, with its queue; {some} of it had gone on, and ended now")
        return None
    if folder.stat().st_uid != os.geteuid():
        raise _another_users(folder)
    with _alone(folder, say):
        now = status()
        if now.state == ELSEWHERE:
            raise _elsewhere(now)
        if now.pid is None:
            daemons.end_leftovers(folder)
            return None
        daemons.stop(folder, now.pid, say)
        return now


# --- where it may be started ------------------------------------------------------------------


def refuse_here() -> None:
    """Raises OsgbatchError where nobody should run a pool: access points, root, no Linux."""
    known = access_point()
    if known:
        raise OsgbatchError(
            f"this machine is an access point of {known.profile.title}, which many people share: "
            "no pool is started on it",
            where=known.host,
            fix="`osgbatch submit` gives your sweep to the HTCondor that is here.",
        )
    if sys.platform != "linux":
        raise CondorError(
            "HTCondor's daemons are run on Linux only",
            fix=f"Start the pool in a container or a virtual machine. {LOCAL_TOO}",
        )
    if daemons.find() is None:
        raise CondorError(
            "HTCondor is not installed here: there is no condor_master", fix=HOW_TO_GET_IT
        )
    if os.geteuid() == 0:
        raise OsgbatchError(
            "you are root, and HTCondor runs no jobs of root",
            fix="Become an ordinary user (in a container: `useradd -m alice`, then `su - alice`). "
            f"{LOCAL_TOO}",
        )


def _user_name() -> str:
    """The name that HTCondor knows the user by. Raises OsgbatchError when there is none."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise OsgbatchError(
            f"your user id {os.geteuid()} has no name on this machine, and HTCondor needs one",
            fix=f"Let it be entered in /etc/passwd. {LOCAL_TOO}",
        ) from None
    if not re.fullmatch(r"[\w.-]+", name):
        raise OsgbatchError(
            f'your user name "{name}" has characters that HTCondor reads as something else',
            fix=LOCAL_TOO,
        )
    return name


def _check_folder(folder: Path) -> None:
    """Make it. Raises OsgbatchError when it cannot serve."""
    if _UNPLAIN.search(str(folder)) or not str(folder).isprintable():
        raise OsgbatchError(
            "the path of the pool's folder has characters that HTCondor reads as something else",
            where=str(folder),
            fix="Let XDG_STATE_HOME name a folder without them, in all terminals.",
        )
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise _another_users(folder)


def _another_users(folder: Path) -> OsgbatchError:
    return OsgbatchError(
        "the personal pool of this folder is another user's", where=str(folder),
        fix="Type it as that user; you have a pool of your own where HOME is your own.",
    )  # fmt: skip


def _check_no_other() -> None:
    """Raises OsgbatchError when this machine has an HTCondor, CondorError when that is silent.

    Packages bring a configuration without daemons: that is none.
    """
    found = next((path for path in SYSTEM_CONFIGS if Path(path).is_file()), "")
    if not found or personal_pool.in_use():
        return
    programs = shutil.which("condor_q") is not None
    if programs and (host := daemons.schedd_host()):
        raise OsgbatchError(
            f"this machine uses the HTCondor of {host} (SCHEDD_HOST)", where=found,
            fix="`osgbatch submit` uses it.",
        )  # fmt: skip
    problem = None
    try:
        if programs:
            check_alive()
    except CondorError as error:
        problem = error
    if programs and not problem:
        raise OsgbatchError(
            "this machine has an HTCondor already, and it answers", where=found,
            fix="`osgbatch submit` uses it.",
        )  # fmt: skip
    daemon = daemons.of_the_system()
    if daemon:
        raise CondorError(
            f"this machine has an HTCondor already ({daemon} runs), and it does not answer",
            where=found,
            fix="Wait until it does, or ask its administrator.",
        )
    if problem and not daemons.says_there_is_none(problem):
        raise CondorError(
            f"this machine has an HTCondor already, and whether it runs is not known: "
            f"{problem.what}",
            where=found,
            fix="Wait until it answers, or ask its administrator.",
        )


def _id(folder: Path) -> str:
    """What its schedd's name has, made when it is started for the first time, and kept.

    Else two pools of a user would look like one, and what one has be submitted to the other, too.
    Those that had a queue before there were ids keep their names: batches are known by them.
    """
    file = folder / "id"
    if file.exists():
        found = file.read_text(encoding="utf-8", errors="replace").strip()
        if re.fullmatch(r"[0-9a-f]+", found):
            return found
    elif (folder / "spool" / "job_queue.log").exists():
        return ""
    made = secrets.token_hex(3)
    file.write_text(f"{made}\n", encoding="utf-8")
    return made


def _write_note(note: dict[str, str]) -> None:
    personal_pool.note_file().write_text(json.dumps(note) + "\n", encoding="utf-8")


def _installation() -> Installation:
    found = daemons.find()
    assert found is not None  # refuse_here() has looked
    if _UNPLAIN.search(str(found.release)):
        raise CondorError(
            "HTCondor's daemons do not find their parts in a folder of this name",
            where=str(found.release),
            fix="Install it in a folder without blanks and such characters.",
        )
    return found


def _machine(installation: Installation) -> Machine:
    host = socket.gethostname().split(".")[0]
    return Machine(
        host=host if re.fullmatch(r"[A-Za-z0-9-]+", host) else "localhost",
        cpus=usable_cpus(),
        memory_mb=machine_memory_mb(),
        container_program=shutil.which("apptainer") or shutil.which("singularity") or "",
        # The image that it finds out with is not in Debian's packages.
        sif=not (installation.libexec / "exit_37.sif").is_file(),
        gpus=(installation.libexec / "condor_gpu_discovery").is_file(),
    )


def _elsewhere(now: PoolStatus) -> OsgbatchError:
    return OsgbatchError(
        f"your personal pool {personal_pool.elsewhere(now.host)}",
        where=str(now.folder),
        fix="Type it there; or let XDG_STATE_HOME name a folder of this machine alone.",
    )


def _no_locks(folder: Path, error: OSError) -> OsgbatchError:
    return OsgbatchError(
        f"files cannot be locked here: {error.strerror}",
        where=str(folder),
        fix="Let XDG_STATE_HOME name a folder on a disk of this machine.",
    )


# --- meanwhile --------------------------------------------------------------------------------


@contextmanager
def _used(programs: Path | None = None) -> Iterator[None]:
    """HTCondor's commands that are run meanwhile are for the personal pool."""
    before = {name: os.environ.get(name) for name in (personal_pool.CONFIG, "PATH")}
    os.environ[personal_pool.CONFIG] = str(personal_pool.config_file())
    first = str(programs or personal_pool.note().get("bin") or "")
    if first:
        os.environ["PATH"] = os.pathsep.join([first, before["PATH"] or os.defpath])
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _alone(folder: Path, say: Say) -> Iterator[None]:
    """Nobody else starts or stops the pool meanwhile; who comes second waits, and says so.

    Raises OsgbatchError where files cannot be locked.
    """
    with (folder / "up.lock").open("a") as lock:
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another osgbatch starts or stops the pool just now; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise _no_locks(folder, error) from None
        yield

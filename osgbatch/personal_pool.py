"""The user's personal pool: where it is, whether it is up, and that this process uses it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
import struct
from pathlib import Path
from typing import Any

from osgbatch import places

CONFIG = "CONDOR_CONFIG"
"""The variable by which HTCondor's commands, daemons and bindings find their configuration."""
ELSEWHERE = 0
"""Instead of a process id: it runs on another machine, or in another container."""
DOMAIN = "personal.pool"
"""What the name of its schedd ends with: alice-3f9c2a@personal.pool."""
_FLOCK = "hhqqi0q"
"""struct flock of Linux: type, whence, start, length, process id."""


def folder() -> Path:
    """Where it keeps its configuration, logs and queue."""
    return places.state_folder() / "pool"


def config_file() -> Path:
    """Its condor_config."""
    return folder() / "condor_config"


def instance_lock() -> Path:
    """What its condor_master has locked for as long as it lives (MASTER_INSTANCE_LOCK)."""
    return folder() / "lock" / "InstanceLock"


def note_file() -> Path:
    """What was noted when it was started: `bin`, `version` and `host`."""
    return folder() / "pool.json"


def master() -> int | None:
    """The process id of its condor_master; None when there is none, ELSEWHERE when it is not here.

    The kernel knows: neither a file from before a reboot nor a process that got the same number can
    deceive. In a folder that several machines share it knows the number, but not whose it is: the
    machine was noted. Raises PermissionError when it is another user's, OSError where files cannot
    be locked.
    """
    try:
        descriptor = os.open(instance_lock(), os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(errno.EACCES, "another user's", str(instance_lock()))
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        held = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    if held[0] == fcntl.F_UNLCK:
        return None
    host = note().get("host")
    pid = max(int(held[4]), ELSEWHERE)
    if isinstance(host, str) and host not in ("", socket.gethostname()) and not _is_its(pid):
        return ELSEWHERE
    return pid


def _is_its(pid: int) -> bool:
    """Whether a process of this machine, which may have another name by now, is of the pool."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{CONFIG}={config_file()}".encode() in environment.split(b"\0")


def note() -> dict[str, Any]:
    """What was noted; empty when nothing was, or it cannot be read."""
    try:
        found = json.loads(note_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_up() -> bool:
    """Whether its condor_master runs on this machine, as far as can be known."""
    try:
        return bool(master())
    except OSError:
        return False


def is_down() -> bool:
    """Whether the user has one that is up nowhere, as far as can be known."""
    try:
        return config_file().exists() and master() is None
    except OSError:
        return False


def why_not_here() -> str:
    """Why the user's pool is not used here, to go on from its name; empty: it is, or none is."""
    if is_down():
        return "is down (`osgbatch pool up`)"
    try:
        return elsewhere(str(note().get("host", ""))) if master() == ELSEWHERE else ""
    except OSError:
        return ""


def elsewhere(host: str) -> str:
    """What is said of one that is up elsewhere, to go on from its name. host: empty if unknown."""
    return "runs on another machine or in another container" + (f" ({host})" if host else "")


def in_use() -> bool:
    """Whether this process, and what it starts, uses it: by use(), or as the user's shell says."""
    return os.environ.get(CONFIG) == str(config_file())


def is_name(schedd: str) -> bool:
    """Whether this is the name of a personal pool's schedd."""
    return schedd.casefold().endswith(f"@{DOMAIN}")


def another_named() -> bool:
    """Whether the user's shell names another HTCondor.

    The bindings (25.14.1) name /dev/null themselves where they find no configuration.
    """
    return os.environ.get(CONFIG, "") not in ("", os.devnull, str(config_file()))


def use() -> bool:
    """Use it from now on, if it is up and the user has named no other HTCondor; whether it is used.

    Whoever is about to look for HTCondor calls this first, so that it is found in any terminal.
    Where no pool was ever made that costs one look at a file.
    """
    if another_named():
        return False
    if not in_use():
        if not is_up():
            return False
        os.environ[CONFIG] = str(config_file())
    programs = note().get("bin")
    if isinstance(programs, str) and programs.startswith("/"):
        found, path = shutil.which("condor_submit"), os.environ.get("PATH", os.defpath)
        before = os.path.dirname(found) if found else path.split(os.pathsep)[0]
        if before != programs:
            os.environ["PATH"] = os.pathsep.join([programs, path])
    return True

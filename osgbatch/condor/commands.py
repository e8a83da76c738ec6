"""Runs HTCondor's commands, and says in plain words when they cannot be run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from osgbatch import personal_pool
from osgbatch.errors import CondorError

ANSWER_LIMIT_S = 30
"""Seconds after which a schedd that does not answer is called silent."""


SYSTEM_CONFIGS = ("/etc/condor/condor_config", "/usr/local/etc/condor_config")
"""Where HTCondor looks where no CONDOR_CONFIG is given."""


def configured() -> bool:
    """Whether HTCondor is meant to be used on this machine: the user's personal pool, too."""
    personal_pool.use()
    if os.environ.get("CONDOR_CONFIG"):
        return True
    return shutil.which("condor_submit") is not None and (
        any(Path(place).is_file() for place in SYSTEM_CONFIGS)
        or Path("~/.condor/user_config").expanduser().is_file()
    )


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    limit: float | None = ANSWER_LIMIT_S,
    keep: Sequence[int] = (),
) -> tuple[str, str]:
    """Run one of HTCondor's commands and give its stdout and stderr.

    limit: seconds, None for no limit; keep: file descriptors that it inherits.
    Raises CondorError when it is missing, silent or fails, with what it said.
    """
    said, complained = run_bytes(command, cwd=cwd, limit=limit, keep=keep)
    return said.decode("utf-8", "replace"), complained.decode("utf-8", "replace")


def run_bytes(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    limit: float | None = ANSWER_LIMIT_S,
    keep: Sequence[int] = (),
) -> tuple[bytes, bytes]:
    """The same, of a command that prints what need not be text."""
    personal_pool.use()
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit,
            pass_fds=keep,
            check=False,
        )
    except FileNotFoundError:
        local = _local_too(command)
        if local and not configured():
            raise CondorError(
                f"there is no {command[0]} on PATH: this machine has no HTCondor",
                fix=f"Submit on an access point.{local}",
            ) from None
        if local:
            raise CondorError(
                f"there is no {command[0]} on PATH, though HTCondor is configured",
                fix=f"Install HTCondor.{local}",
            ) from None
        raise CondorError(
            f"this needs HTCondor, but there is no {command[0]} here",
            fix="Type it on the access point on which the batch was submitted, in a shell that has "
            "HTCondor's commands on PATH.",
        ) from None
    except subprocess.TimeoutExpired:
        raise CondorError(
            f"HTCondor is configured but silent: {command[0]} had no answer in {limit:.0f} s",
            fix=f"Does the schedd run (condor_status -schedd)?{or_personal()}{_local_too(command)}",
        ) from None
    if done.returncode:
        if personal_down():
            raise CondorError(PERSONAL_DOWN, fix=PERSONAL_UP + _local_too(command))
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        fix = "See `condor_q` and the administrator of this access point."
        if _NO_CONNECTION.search(said):
            fix += or_personal()
        raise CondorError(
            f"{command[0]} failed (exit code {done.returncode}): {said or 'it said nothing'}",
            fix=fix + _local_too(command),
        )
    return done.stdout, done.stderr


_NO_CONNECTION = re.compile(r"connect|address of|fetch ads|communicat|no answer", re.I)
PERSONAL_DOWN = "your personal pool is down"
PERSONAL_UP = "`osgbatch pool up` starts it, with the queue that it had."


def personal_down() -> bool:
    """Whether HTCondor does not answer because the user's personal pool is down: there is no other.

    Asked where something has failed already.
    """
    if not personal_pool.is_down():
        return False
    system = any(Path(place).is_file() for place in SYSTEM_CONFIGS)
    return personal_pool.in_use() or not (system or personal_pool.another_named())


def or_personal() -> str:
    """A word on the user's personal pool, where another HTCondor cannot be reached and it is down.

    Packages bring a configuration of the system that nobody has set up.
    """
    if personal_pool.another_named() or not personal_pool.is_down():
        return ""
    return " Or `osgbatch pool up`: your personal pool is down."


def _local_too(command: Sequence[str]) -> str:
    """A word on the local runner, where a batch is about to be submitted: others have no --pool."""
    submits = command[0] in ("condor_submit", "condor_version") or "-totals" in command
    return " Or run locally: --pool local." if submits else ""


def version() -> tuple[int, ...]:
    """The version of HTCondor here, (25, 14, 1); empty when it does not say. Raises CondorError."""
    found = re.search(r"CondorVersion: (\d+(?:\.\d+)+)", run(["condor_version"])[0])
    return tuple(map(int, found[1].split("."))) if found else ()


def check_alive() -> None:
    """Ask the schedd for its totals. Raises CondorError when it does not answer."""
    run(["condor_q", "-totals"])

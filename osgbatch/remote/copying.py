"""Files to a host and back, by rsync: what is unchanged costs nothing, what is cut short goes on.

Only options that rsync 2.6.9 and openrsync know are used: macOS had the one until 15.4 and has the
other since. Sources: rsync(1), openrsync(1).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from osgbatch import exits
from osgbatch.remote.connection import LOST, Connection, HostError

_VANISHED = 24
"""Some files were gone before they were copied. Source: rsync(1), exit values."""
_INTERRUPTED = 20
"""It was ended by a signal. Source: rsync(1), exit values."""
_USUAL = ["rsync", "-t", "-z", "--from0"]
PARTIAL = ".osgbatch-partial"
"""Beside a file that is being sent: what is cut short never has the file's own name."""


class Interrupted(HostError):
    """A copy was ended by a signal."""

    exit_code = exits.INTERRUPTED


def check_rsync(name: str) -> None:
    """Raises HostError where there is no rsync on this machine. name: of the host."""
    if shutil.which("rsync") is None:
        raise HostError(
            "there is no rsync here to bring files with",
            where=name,
            fix="Install it (Debian, Ubuntu: apt install rsync; macOS: brew install rsync).",
        )


def send(connection: Connection, base: Path, names: Sequence[str], folder: str) -> None:
    """Bring files to a folder of the host, links as what they lead to. Raises HostError.

    names: of files and of empty folders, relative to base, of any characters.
    """
    # -p: what can be executed here can be there.
    options = [*_USUAL, "-p", "-L", f"--partial-dir={PARTIAL}"]
    _rsync(connection, options, names, base, [".", "host:."], folder)


def fetch(connection: Connection, folder: str, names: Sequence[str], to: Path) -> list[str]:
    """Bring files of a folder of the host here. Raises HostError; what has come stays.

    names: relative to the folder. Links among them do not come. Gives those that did not come;
    those that are gone meanwhile are passed over.
    """
    code = _rsync(connection, [*_USUAL, "--partial"], names, to, ["host:.", "."], folder)
    if code == _VANISHED:
        return []
    lacking = [one for one in names if not os.path.lexists(to / one)]
    if lacking and len(lacking) == len(names):  # one of macOS's may take no list from here
        raise HostError(
            f"rsync brought none of {len(names):,} files, and did not say why",
            where=connection.name,
            fix=f"Nothing is lost. {_other()}",
        )
    return lacking


def _rsync(
    connection: Connection,
    options: Sequence[str],
    names: Sequence[str],
    here: Path,
    places: Sequence[str],
    folder: str,
) -> int:
    listed = connection.folder / "names"
    # With ./ before it no name is taken for a comment, as those with # and ; are.
    listed.write_bytes(b"".join(b"./" + os.fsencode(name) + b"\0" for name in names))
    shell = connection.shell_for_rsync(folder)
    command = [*options, f"--files-from={listed}", "-e", shell, *places]
    # rsync's own words about Ctrl-C help nobody.
    done = subprocess.run(
        command, cwd=here, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    if done.returncode in (0, _VANISHED):
        return done.returncode
    if done.returncode == _INTERRUPTED:
        raise Interrupted(
            "copying was interrupted",
            where=connection.name,
            fix="The same command goes on where it stopped.",
        )
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    if done.returncode == LOST or not connection.alive():
        raise HostError(
            "the connection was lost while files were copied",
            where=connection.name,
            fix="The same command goes on where it stopped.",
        )
    fix = "Free some space or mend that, and give the same command again."
    if done.returncode in (1, 2, 4):  # syntax, protocol, an unsupported action
        fix = _other()
    elif _version().startswith("openrsync"):  # may lack what it was asked for
        fix = f"{fix} Should that not help: {_other()}"
    what = "\n    ".join(said[-6:]) or f"exit code {done.returncode}"
    raise HostError(f"rsync could not copy all files:\n    {what}", where=connection.name, fix=fix)


def _other() -> str:
    return f"rsync here is {_version()}; install rsync 3 (macOS: brew install rsync)."


def _version() -> str:
    done = subprocess.run(
        ["rsync", "--version"], capture_output=True, text=True, check=False, errors="replace"
    )
    return (done.stdout or done.stderr).strip().split("\n")[0] or "of an unknown version"

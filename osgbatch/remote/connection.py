"""One connection to a host by the system's own ssh, shared by all that is done there.

A person is asked for a password or a code once: whatever follows goes through the first connection.
Nothing of that is seen or kept here; ssh asks on the terminal itself.
"""

from __future__ import annotations

import base64
import fcntl
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from osgbatch import exits
from osgbatch.errors import OsgbatchError

MARK = "osgbatch-begins"
"""What a script prints before all else: shells of hosts may say things of their own first."""
LOST = 255
"""ssh's own exit code. Source: ssh(1), exit status."""
_KEPT_S = 300
"""So long an unused connection stays when this process was killed and could not end it."""
_LONGEST_SCRIPT = 90_000
"""Bytes: as base64 it is one word of a command, of which Linux takes 128 KiB."""
_LONGEST_SOCKET = 80
"""Bytes of the socket's path: 104 on macOS, to which ssh adds 17 while it makes it."""


_ENDING = tuple(
    getattr(signal, name) for name in ("SIGPIPE", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Signals that end us: the connection is closed first."""
_FRESH_S = 60
"""A folder of another process that is younger may not be locked yet."""


class _EndedError(BaseException):
    """One of these signals has come. Its number is the argument."""


class HostError(OsgbatchError):
    """A host cannot be reached, or not be used."""

    exit_code = exits.HTCONDOR


def quoted(words: Sequence[str]) -> str:
    """Words as a POSIX shell takes them."""
    return " ".join(map(shlex.quote, words))


def command_for(script: str, arguments: str = "") -> str:
    """A command that runs a POSIX script whatever the host's login shell is, odd names included.

    ssh gives its words to that shell, joined. So the script travels as base64, which has nothing
    that any shell would change (no single quote, `!`, line break). arguments: plain words that
    the script has as "$@". Raises OsgbatchError for a script that is too long.
    """
    data = os.fsencode(script)
    if len(data) > _LONGEST_SCRIPT:
        raise OsgbatchError(
            f"the command line has {len(data):,} bytes, more than ssh can bring",
            fix="Put long lists into a file: --push @list, or a table of parameters.",
        )
    text = base64.b64encode(data).decode()
    return f"exec sh -c 'eval \"$(echo {text} | base64 -d)\"' osgbatch {arguments}".rstrip()


class Connection:
    """The connection to one host, opened by what is asked first; a context that ends it.

    name: what the user calls it; destination: what ssh calls it.
    """

    def __init__(self, name: str, destination: str) -> None:
        self.name = name
        self.destination = destination
        self._options: list[str] = []
        self._folder: Path | None = None
        self._lock = -1
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Connection:
        if shutil.which("ssh") is None:
            raise HostError(
                "there is no ssh here",
                where=self.name,
                fix="Install OpenSSH's client (Debian, Ubuntu: apt install openssh-client).",
            )
        self._catch_signals()
        self._folder = _private_folder()
        self._lock = os.open(self._folder, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # so that nobody sweeps it while we are
        sweep(self._folder.parent)
        if not self._is_shared():
            path = self._folder / "s"
            kept = f"ControlPersist={_KEPT_S}"
            self._options = ["-o", "ControlMaster=auto", "-o", f"ControlPath={path}", "-o", kept]
            # A connection that is cut is noticed after a minute, not never.
            self._options += ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for one in self._handlers:
            signal.signal(one, signal.SIG_IGN)
        if self._options:
            self._control("exit")
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
        for one, handler in self._handlers.items():
            signal.signal(one, handler)
        number = error.args[0] if isinstance(error, _EndedError) else 0
        if isinstance(error, BrokenPipeError) and signal.SIGPIPE in self._handlers:
            number = signal.SIGPIPE
        if number:
            os.kill(os.getpid(), number)  # now that all is closed, as it would have been

    def _catch_signals(self) -> None:
        """A broken pipe and what ends us come as exceptions, so that the connection is closed."""

        def ended(number: int, frame: FrameType | None) -> None:
            raise _EndedError(number)

        if threading.current_thread() is not threading.main_thread():
            return
        for one in _ENDING:
            before = signal.getsignal(one)
            if before == signal.SIG_DFL:  # not what nohup, or Python, ignores
                self._handlers[one] = before
                # A pipe to ssh may break, too: that is no reason to end without a word.
                signal.signal(one, signal.SIG_IGN if one == signal.SIGPIPE else ended)

    @property
    def folder(self) -> Path:
        """A private folder that goes with the connection."""
        assert self._folder is not None
        return self._folder

    def alive(self) -> bool:
        """Whether the connection is still there."""
        return self._control("check") == 0

    def ask(self, script: str, given: bytes | None = None) -> tuple[int, bytes]:
        """Run a script on the host; gives its exit code and what it printed after MARK.

        given: its stdin. What it and ssh say besides goes to stderr, prompts to the terminal.
        """
        done = subprocess.run(
            [*self._ssh(), "-T", "--", self.destination, command_for(f"echo {MARK}\n{script}")],
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            stdout=subprocess.PIPE,
            check=False,
        )
        _, _, told = done.stdout.partition(f"{MARK}\n".encode())
        return done.returncode, told

    def run(self, script: str, on_terminal: bool, interrupt: Callable[[int], None]) -> int:
        """Run a script with our own stdin, stdout and stderr; gives its exit code.

        on_terminal: it has a terminal there, so that Ctrl-C goes through it as any other key.
        interrupt: told of signals that end us, to pass them on.
        """
        command = [*self._ssh(), "-tt" if on_terminal else "-T"]
        if on_terminal:
            command += ["-q"]  # no "Shared connection closed." at the end
        command += ["--", self.destination, command_for(script)]
        # Without a terminal there, the Ctrl-C of ours must not end ssh, or nobody would see how
        # the command ends: it is passed on instead. A background process cannot read a terminal.
        alone = not on_terminal
        stdin = subprocess.DEVNULL if alone and sys.stdin and sys.stdin.isatty() else None
        process = subprocess.Popen(command, stdin=stdin, start_new_session=alone)

        def passed_on(number: int, frame: FrameType | None) -> None:
            interrupt(number)

        before = {one: signal.signal(one, passed_on) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            return process.wait()
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
            if process.poll() is None:
                process.kill()

    def shell_for_rsync(self, folder: str) -> str:
        """What rsync is to be given as its remote shell (-e), so that it works in a folder there.

        folder: made where it is not there. rsync splits the words at blanks, and gives paths to
        the host's shell: so it is a script without blanks in its name, which goes to the folder
        itself. rsync's own path is then `.`.
        """
        script = self.folder / "rsh"
        made = f"umask 077; mkdir -p -- {shlex.quote(folder)} && cd {shlex.quote(folder)}"
        there = command_for(f'{made} && exec "$@"')
        ssh = quoted([*self._ssh(), "-T", "--", self.destination])
        script.write_text(f'#!/bin/sh\nshift\nexec {ssh} {shlex.quote(there)}" $*"\n')
        return f"sh {script}"

    def _ssh(self) -> list[str]:
        return ["ssh", *self._options]

    def _control(self, what: str) -> int:
        command = [*self._ssh(), "-O", what, "--", self.destination]
        null = subprocess.DEVNULL
        done = subprocess.run(command, stdin=null, stdout=null, stderr=null, check=False)
        return done.returncode

    def _is_shared(self) -> bool:
        """Whether the user's own ssh configuration shares connections, and one is open."""
        with suppress(OSError):
            return self._control("check") == 0
        return False


def sweep(folder: Path) -> None:
    """End the connections of ours that killed processes left in a folder, and remove them."""
    for path in folder.glob("osgh-*"):
        with suppress(OSError):
            status = path.lstat()
            old = time.time() - status.st_mtime > _FRESH_S
            if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode) or not old:
                continue
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its process lives
                if (path / "s").is_socket():
                    command = ["ssh", "-o", f"ControlPath={path}/s", "-O", "exit", "--", "left"]
                    null = subprocess.DEVNULL
                    subprocess.run(command, stdin=null, stdout=null, stderr=null, check=False)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _private_folder() -> Path:
    """A folder of ours alone, with a path that is short and plain enough."""
    made = Path(tempfile.mkdtemp(prefix="osgh-"))
    if len(os.fsencode(made)) <= _LONGEST_SOCKET and str(made).isascii() and _is_plain(made):
        return made
    made.rmdir()
    return Path(tempfile.mkdtemp(prefix="osgh-", dir="/tmp"))


def _is_plain(path: Path) -> bool:
    """Neither blanks, at which rsync splits, nor what ssh or a shell would expand."""
    return all(c.isalnum() or c in "/._-+" for c in str(path))

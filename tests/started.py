"""Runs the command line as users do, in a process of its own, but hundreds of times a minute.

Nine tenths of a short command's time are the loading of Python, of other people's libraries and of
osgbatch. A server process loads them once; each command is a fork of it. Tests of what is loaded,
of signals, terminals and crashes, or of other people's libraries that are absent, start a Python
instead (`subprocess`).
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
LIBRARIES = [
    *("csv", "http.client", "sqlite3", "ssl", "tarfile", "urllib.request", "zipfile"),
    *("isal.igzip", "jinja2", "pydantic.type_adapter", "rich", "yaml"),
    *("boto3.session", "rocrate.rocrate", "typer.main"),
]
"""Not htcondor2: it reads CONDOR_CONFIG when it is loaded."""
HEEDED = ("PYTHON", "LC_", "LANG")
"""How variables begin that Python heeds when it starts, and not later; PYTHONPATH is heeded."""
CLIENT = CHECKOUT / "tests" / "started_client.py"
_DIGITS = 20
"""Of the length of what is asked for, which comes first."""
_COLD = b"a Python that starts\n"
"""The answer where only that would do."""


def osgbatch(
    arguments: Sequence[str | Path],
    cwd: Path,
    env: Mapping[str, str] | None = None,
    seconds: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run `osgbatch ARGUMENTS` in a folder with just this environment and no input.

    env: None for our own. seconds: after which it is killed, and subprocess.TimeoutExpired raised.
    """
    words = [str(word) for word in arguments]
    address, env = server().address, os.environ if env is None else env
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        code = _ask(address, words, cwd, env, (out.fileno(), err.fileno()), seconds)
        said = [(stream.seek(0), stream.read())[1] for stream in (out, err)]
    if code is None:
        raise subprocess.TimeoutExpired(words, seconds, *said)
    return subprocess.CompletedProcess(words, code, *said)


def program(path: Path) -> None:
    """Write a program that is `osgbatch`, for scripts whose commands are not disturbed.

    Only its standard streams, folder and environment are the script's: not its process group.
    Completion asks of which shell it is the child, so that is a Python that starts.
    """
    cold = f'case $1 in --*-completion) exec {sys.executable} -m osgbatch "$@";; esac'
    path.write_text(f'#!/bin/sh\n{cold}\nexec {shlex.join(command())} "$@"\n')
    path.chmod(0o755)


def command() -> list[str]:
    """The first words of a command that is `osgbatch`, for subprocess.Popen.

    INT, HUP and TERM are handed on to what it stands for; that is killed when it is killed.
    """
    return [sys.executable, "-I", "-S", str(CLIENT), server().address, sys.executable]


# --- who asks ------------------------------------------------------------------------------------


class _Server:
    """The server of this process. It ends when the pipe to it is closed, thus with us."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="osgs-")
        self.address = f"{self.folder.name}/socket"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.address)
        listener.listen(64)
        ours, self.alive = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno()), str(ours)],
            pass_fds=(listener.fileno(), ours),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        listener.close()
        os.close(ours)
        self.owner = os.getpid()
        atexit.register(self.end)

    def end(self) -> None:
        if os.getpid() == self.owner:
            os.close(self.alive)
            self.process.wait()
            self.folder.cleanup()


_servers: list[_Server] = []


def server() -> _Server:
    """The server of this process, started when it is first needed."""
    if not _servers:
        _servers.append(_Server())
    return _servers[0]


def _ask(
    address: str,
    words: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    streams: tuple[int, int],
    seconds: float,
) -> int | None:
    """The exit code of a command (minus a signal), None when it was killed for its time."""
    mask = os.umask(0)
    os.umask(mask)
    fields = [str(mask), str(len(words)), str(cwd), *words, *(f"{k}={v}" for k, v in env.items())]
    deadline = time.monotonic() + seconds
    with socket.socket(socket.AF_UNIX) as connection, open(os.devnull, "rb") as nothing:
        connection.connect(address)
        asked = b"\0".join(map(os.fsencode, fields))
        length = b"%0*d" % (_DIGITS, len(asked))
        socket.send_fds(connection, [length], [nothing.fileno(), *streams])
        connection.sendall(asked)
        connection.settimeout(max(0.1, deadline - time.monotonic()))
        answer = b""
        try:
            while not answer.endswith(b"\n"):
                if not (more := connection.recv(64)):
                    raise RuntimeError("the server of tests/started.py has died")
                answer += more
        except TimeoutError:
            return None  # it is killed when we are gone
    if answer == _COLD:
        raise ValueError(f"only a Python that starts heeds one of {HEEDED}*: use subprocess")
    return int(answer)


# --- the server ----------------------------------------------------------------------------------


def _load() -> None:
    """Load what commands load. What cannot be is left to them."""
    found = sorted((CHECKOUT / "osgbatch").rglob("*.py"))
    names = [".".join(path.relative_to(CHECKOUT).with_suffix("").parts) for path in found]
    ours = [name.removesuffix(".__init__") for name in names if not name.endswith(".__main__")]
    for name in (*LIBRARIES, *ours):
        with suppress(Exception):
            importlib.import_module(name)
    assert "htcondor2" not in sys.modules
    gc.collect()
    gc.freeze()  # so that forks share what is loaded


def _serve(listener: socket.socket, alive: int) -> list[str]:
    """Answer until who started us is gone. Returns in forks: the arguments of a command."""
    while True:
        ready, _, _ = select.select([listener, alive], [], [])
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if alive in ready:
            os._exit(0)
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            os.close(alive)
            os.setpgid(0, 0)
            return _keep(connection)
        connection.close()


def _keep(connection: socket.socket) -> list[str]:
    """Read what is asked for and fork it; in the fork: become it. Tells who asked how it ended.

    It is killed when who asked is gone.
    """
    length, streams, _, _ = socket.recv_fds(connection, _DIGITS, 3)
    asked = bytearray()
    while len(asked) < int(length or 0):
        if not (more := connection.recv(1 << 16)):
            os._exit(0)  # who asked has ended in the middle of it
        asked += more
    mask, count, cwd, *rest = map(os.fsdecode, bytes(asked).split(b"\0"))
    words, variables = rest[: int(count)], dict(one.split("=", 1) for one in rest[int(count) :])
    heeded = {k for k in {*variables, *os.environ} if k.startswith(HEEDED)} - {"PYTHONPATH"}
    if any(variables.get(name) != os.environ.get(name) for name in heeded):
        connection.sendall(_COLD)
        os._exit(0)
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes)
    if (pid := os.fork()) == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(woken)
        os.close(wakes)
        connection.close()
        _become(cwd, int(mask), variables, streams)
        return words
    for stream in streams:
        os.close(stream)
    while woken not in select.select([connection, woken], [], [])[0]:
        asked_for = connection.recv(1)
        os.kill(pid, asked_for[0] if asked_for else signal.SIGKILL)
        if not asked_for:
            break
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(OSError):
        connection.sendall(b"%d\n" % code)
    os._exit(0)


def _become(cwd: str, mask: int, variables: dict[str, str], streams: Sequence[int]) -> None:
    """In the process of a command: all that `python -m osgbatch` would find."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.umask(mask)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
    ours = (CHECKOUT / "tests", CHECKOUT / "tools")
    others = [p for p in sys.path if p and not any(Path(p).is_relative_to(o) for o in ours)]
    more = list(filter(None, variables.get("PYTHONPATH", "").split(os.pathsep)))
    sys.path[:] = [cwd, *more, *others]


def _run(words: list[str]) -> int:
    """Run osgbatch, and do what Python does at its end, but for the clearing of its memory."""
    sys.argv = ["osgbatch", *words]
    code = 1
    try:
        runpy.run_module("osgbatch", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError:
        code = 120
    return code & 0xFF


if __name__ == "__main__":
    arguments: list[str] = []
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        pipe = int(sys.argv[2])
        os.set_inheritable(listener.fileno(), False)
        os.set_inheritable(pipe, False)
        _load()
        arguments = _serve(listener, pipe)
    os._exit(_run(arguments))

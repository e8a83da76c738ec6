"""Runs a check in a process of its own: one that hangs or crashes takes nothing with it."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict

from osgbatch.errors import OsgbatchError
from osgbatch.examining.check import FAILURE, Found, failure

_GONE_S = 2.0
"""A process that was killed and waits for a file server cannot be waited for."""


def bounded(look: Callable[[], Found], limit_s: float) -> Found:
    """What `look` finds; a failure when it takes longer, raises, or its process ends.

    It runs in a fork, in a session of its own: what it has started ends with it. Nothing that it
    prints is seen.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _run(look, writer)
    os.close(writer)
    try:
        answer = _read(reader, limit_s)
    except BaseException:  # Ctrl-C
        _end(child)
        raise
    finally:
        os.close(reader)
    status = _end(child)
    if answer is None:
        return failure(f"no answer within {limit_s:g} s", "It was given up. Try again later.")
    try:
        return Found(**json.loads(answer))
    except ValueError:
        how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "no word"
        return failure(f"the check ended with {how}", _REPORT)


@contextmanager
def told_to_end() -> Iterator[None]:
    """A connection that is lost, or TERM, ends what is done here as Ctrl-C does: tidily."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {}
    try:
        with suppress(ValueError):  # not the main thread, which alone is told
            for number in (signal.SIGHUP, signal.SIGTERM):
                before[number] = signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_REPORT = "The others went on. Please report this, with the output of `osgbatch doctor --json`."


def _run(look: Callable[[], Found], writer: int) -> None:
    """In the child: never returns."""
    try:
        os.setsid()
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(name, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        answer = json.dumps(asdict(_looked(look)), default=str).encode()
        while answer:
            answer = answer[os.write(writer, answer) :]
    finally:
        os._exit(0)


def _looked(look: Callable[[], Found]) -> Found:
    try:
        return look()
    except OsgbatchError as error:
        what = f"{error.where}: {error.what}" if error.where else error.what
        return Found(FAILURE, what, error.fix)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return failure(f"{where}{error.strerror or error}", _by_number(error))
    except Exception as error:
        return failure(f"the check itself failed: {type(error).__name__}: {error}", _REPORT)


def _by_number(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Make room there."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "It must be readable and writable for you."
    return "Ask the administrator of this machine."


def _read(reader: int, limit_s: float) -> bytes | None:
    """All that is written until the end; None when that does not come in time."""
    deadline = time.monotonic() + limit_s
    found = b""
    while True:
        left = deadline - time.monotonic()
        ready, _, _ = select.select([reader], [], [], max(0.0, left))
        if not ready:
            return None
        block = os.read(reader, 1 << 16)
        if not block:
            return found
        found += block


def _end(child: int) -> int:
    """End the process with all that it has started; its status, 0 where it cannot be had."""
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(child, signal.SIGKILL)
    deadline = time.monotonic() + _GONE_S
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        select.select([], [], [], 0.005)
    return 0

"""Running commands, and leaving no process behind. Standard library only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

CHECKOUT = Path(__file__).resolve().parent.parent

PART_SECONDS = 2400  # a part that hangs is ended, before CI ends the whole without a word
GRACE_SECONDS = 60  # a pool needs some to shut down in order
LINGER_SECONDS = 10


class Stopped(Exception):
    """TERM, HUP or Ctrl-C reached the driver."""


SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def stop(number: int, frame: FrameType | None) -> None:
    """A signal handler: raises Stopped, once, so that no second signal disturbs the clearing up."""
    for name in SIGNALS:
        signal.signal(name, signal.SIG_IGN)
    raise Stopped(signal.Signals(number).name)


def heed_signals() -> None:
    """Have what would end us raise Stopped."""
    for name in SIGNALS:
        signal.signal(name, stop)


def say(text: str) -> None:
    """One line about the step that begins."""
    print(f"=== {text}", flush=True)


def adopt() -> None:
    """Become the parent of every orphan among our descendants.

    And be told by TERM when make is killed.
    Source: prctl(2), PR_SET_CHILD_SUBREAPER and PR_SET_PDEATHSIG.
    """
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)


def children(parent: int) -> list[int]:
    """The processes that a process is the parent of, ended ones too. Source: proc_pid_stat(5)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(errors="replace")
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry.name))
    return found


def descendants() -> dict[int, str]:
    """Our living descendants and their commands."""
    found: dict[int, str] = {}
    rest = children(os.getpid())
    while rest:
        pid = rest.pop()
        rest += children(pid)
        try:
            words = (
                Path(f"/proc/{pid}/cmdline")
                .read_bytes()
                .replace(b"\0", b" ")
                .decode(errors="replace")
            )
        except OSError:
            continue
        if words:  # a zombie has none
            found[pid] = words.strip()
    return found


def reap() -> None:
    """Collect what has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def clear_away(linger: float = LINGER_SECONDS) -> list[str]:
    """End what a part has left running, after a time (s) to end by itself.

    Returns the commands of what did not.
    """
    left: dict[int, str] = {}
    for number, seconds in (
        (0, linger),
        (signal.SIGTERM, LINGER_SECONDS),
        (signal.SIGKILL, 5),
    ):
        now = descendants()
        if not now:
            break
        if number:
            left.update(now)
            for pid in now:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        limit = time.monotonic() + seconds
        while descendants() and time.monotonic() < limit:
            reap()
            time.sleep(0.1)
    reap()
    return sorted(set(left.values()))


def run(
    command: list[str],
    folder: Path = CHECKOUT,
    words: list[str] | None = None,
    seconds: float | None = PART_SECONDS,
) -> int:
    """Run a command to its end, its words going where ours go.

    words: receives the lines of its stderr, which are shown all the same. seconds: that it may
    take; None: as long as it likes. Returns its exit code, 124 when it took more.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stderr=None if words is None else subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        if words is not None and process.stderr is not None:
            for line in process.stderr:
                words.append(line.strip())
                print(line, end="", file=sys.stderr, flush=True)
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        say(f"ended after {seconds} s: {' '.join(command)}")
        return 124
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

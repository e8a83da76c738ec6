"""The daemons of the pool that a test runs in: restart, stop, start and kill them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools/htcondor"))

import daemons
from provide import provide

LIMIT_S = 90.0


class Daemons:
    """The running pool in a folder."""

    def __init__(self, folder: Path) -> None:
        self.pool = daemons.Pool(folder, provide())

    def pids(self, name: str) -> list[int]:
        """The processes below the pool's master that run a program of this name."""
        parents: dict[int, int] = {}
        programs: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    stat = (entry / "stat").read_text().rpartition(")")[2].split()
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    parents[int(entry.name)] = int(stat[1])
                    programs[int(entry.name)] = os.path.basename(os.fsdecode(words[0]))
        master = daemons.master_pid(self.pool.folder)
        return [pid for pid in programs if programs[pid] == name and _below(pid, master, parents)]

    def kill(self, *names: str) -> None:
        """KILL to all of these programs; the master starts its daemons again."""
        for pid in [pid for name in names for pid in self.pids(name)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def off(self, name: str) -> None:
        """Stop a daemon fast and wait until it is gone. name: "schedd"."""
        self._command("condor_off", "-fast", f"-{name}")
        self._until(lambda: not self.pids(f"condor_{name}"), f"no {name}")

    def on(self, name: str) -> None:
        """Start a daemon that was stopped; returns when the pool answers."""
        self._command("condor_on", f"-{name}")
        self.wait()

    def wait(self) -> None:
        """Wait until the pool answers."""
        self._until(self.pool.answers, "an answer of the pool")

    def stop_all(self) -> None:
        """Stop the whole pool, fast; its queue stays in its folder."""
        daemons.stop(self.pool.folder)

    def start_all(self) -> None:
        """Start the whole pool again, as it was."""
        daemons.start_again(self.pool, LIMIT_S)

    def _command(self, *command: str) -> None:
        json_of(str(self.pool.htcondor.sbin / command[0]), *command[1:])

    def _until(self, look: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not look():
            assert time.monotonic() < deadline, f"not within {LIMIT_S:g} s: {what}"
            time.sleep(0.1)


def _below(pid: int, ancestor: int | None, parents: dict[int, int]) -> bool:
    while pid in parents:
        if pid == ancestor:
            return True
        pid = parents[pid]
    return False


def json_of(*command: str) -> str:
    """What a command of HTCondor prints; fails when it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout

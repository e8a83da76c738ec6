"""One server as a process: started, waited for, stopped, by whichever process wants to."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "htcondor"))

from common import ToolError, last_lines

START_LIMIT = 30.0  # seconds
TRIES = 2
STOP_LIMIT = 3.0
PORT_LIMIT = 1.0
# Becomes the command, to be killed when its parent ends (1: PR_SET_PDEATHSIG, 9: KILL). Not a
# preexec_fn, which Python does not want in a process with threads.
ENDING_WITH_PARENT = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class PortTakenError(ToolError):
    """Another process listens on a server's port."""


@dataclass(frozen=True)
class Server:
    """A server that listens on one loopback port.

    folder: its own; its pid, its words and its files are there. log: where it says why it cannot
    start, if not in its words. It ends with the process that started it, even when that one is
    killed.
    """

    name: str
    folder: Path
    port: int
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    _ours: list[subprocess.Popen[bytes]] = field(default_factory=list, repr=False, compare=False)

    @property
    def words(self) -> Path:
        """The file with what it prints."""
        return self.folder / "out"

    def start(self, limit: float = START_LIMIT) -> None:
        """Start it and return when its port answers; nothing when it runs already.

        limit: seconds, for each of two tries. Raises ToolError, with its last words, when it does
        not come up; PortTakenError when another process has its port.
        """
        for _ in range(TRIES):
            if self.pid():
                return
            if self._port_is_taken(PORT_LIMIT):
                raise PortTakenError(f"{self.name}: another process listens on port {self.port}")
            if self._came_up(limit):
                return
        raise ToolError(f"{self.name} did not come up:\n{self._said()}")

    def _came_up(self, limit: float) -> bool:
        with self.words.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", ENDING_WITH_PARENT, *self.command],
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._ours.append(process)
        (self.folder / "pid").write_text(f"{process.pid} {_began(process.pid)}\n")
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if process.poll() is not None:
                kind = PortTakenError if self._port_is_taken(0) else ToolError
                raise kind(f"{self.name} ended at once:\n{self._said()}")
            if self.answers():
                return True
            time.sleep(0.05)
        self.stop()
        return False

    def _port_is_taken(self, limit: float) -> bool:
        """Whether another process listens there; what was just stopped has `limit` s to be gone."""
        deadline = time.monotonic() + limit
        while True:
            with socket.socket() as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    trial.bind(("127.0.0.1", self.port))
                except OSError:
                    if time.monotonic() > deadline:
                        return True
                else:
                    return False
            time.sleep(0.05)

    def _said(self) -> str:
        """The ends of its words and of its log."""
        paths = [self.words, *([self.log] if self.log else [])]
        return "\n".join(last_lines(path, 20) for path in paths if path.exists())

    def answers(self) -> bool:
        """True when its port takes a connection."""
        with socket.socket() as trial:
            trial.settimeout(1)
            return trial.connect_ex(("127.0.0.1", self.port)) == 0

    def pid(self) -> int | None:
        """Its process, when that one is alive."""
        try:
            pid, began = (self.folder / "pid").read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if _began(int(pid)) == began else None

    def stop(self, kill: bool = False) -> None:
        """Stop it and return when it is gone. kill: by KILL, as when its machine fails."""
        pid = self.pid()
        if pid is None:
            self._reap()
            return
        _signal(pid, signal.SIGKILL if kill else signal.SIGTERM)
        deadline = time.monotonic() + STOP_LIMIT
        while self.pid():
            if time.monotonic() > deadline:
                _signal(pid, signal.SIGKILL)
            time.sleep(0.02)
        self._reap()
        (self.folder / "pid").unlink(missing_ok=True)

    def _reap(self) -> None:
        """Collect those of our processes that have ended, whoever ended them."""
        self._ours[:] = [process for process in self._ours if process.poll() is None]


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _began(pid: int) -> str:
    """When a process began, in the kernel's ticks; "" for one that has ended, zombies too.

    Source: proc_pid_stat(5).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    if fields[0] in "ZX":  # its other threads may take a little longer, and keep the port
        with contextlib.suppress(OSError):
            if len(os.listdir(f"/proc/{pid}/task")) > 1:
                return fields[19]
        return ""
    return fields[19]

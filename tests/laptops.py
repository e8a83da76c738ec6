"""A laptop and an access point on one machine, and what a person types on the laptop."""

from __future__ import annotations

import os
import pty
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import sshd
import started

PYTHONPATH = ":".join(
    [str(Path(__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
)


def install(
    host: sshd.Host, variables: Mapping[str, str] | None = None, *, cold: bool = False
) -> None:
    """Put osgbatch on the PATH of a host. variables: what it is to find there.

    cold: each command starts a Python of its own, which all signals and the terminal reach.
    """
    told = {"PYTHONPATH": PYTHONPATH, **(variables or {})}
    lines = [f"export {key}={shlex.quote(value)}" for key, value in told.items()]
    program = host.there_bin / "osgbatch"
    words = shlex.join([sys.executable, "-m", "osgbatch"] if cold else started.command())
    program.write_text("\n".join(["#!/bin/sh", *lines, f'exec {words} "$@"\n']))
    program.chmod(0o755)


@dataclass(frozen=True)
class Laptop:
    """A machine with folders of its own, from which the host can be reached."""

    host: sshd.Host
    folder: Path

    def environment(self, **more: str) -> dict[str, str]:
        """The variables of a command typed here."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("OSGBATCH_")},
            "HOME": str(self.folder / "home"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "PATH": f"{self.host.bin}:{os.environ['PATH']}",
            "PYTHONPATH": PYTHONPATH,
            "TERM": "xterm",
            **more,
        }

    def start(self, *words: str, cwd: Path, **more: str) -> subprocess.Popen[str]:
        """Start a command; without a terminal."""
        return subprocess.Popen(
            [sys.executable, "-m", "osgbatch", *words],
            cwd=cwd,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, cwd: Path, code: int = 0, **more: str) -> tuple[str, str]:
        """Run a command to its end; gives its stdout and stderr."""
        done = started.osgbatch(words, cwd, self.environment(**more))
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout, done.stderr

    def on_terminal(self, *words: str, cwd: Path, answer: tuple[bytes, bytes]) -> tuple[int, bytes]:
        """Run it on a terminal, and type something once a text is seen; its code, and all seen."""
        pid, master = pty.fork()
        if pid == 0:  # pragma: no cover
            os.chdir(cwd)
            command = [sys.executable, "-m", "osgbatch", *words]
            os.execve(sys.executable, command, self.environment())
        seen, typed, deadline = b"", False, time.monotonic() + 60
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 1)[0]:
                continue
            try:
                read = os.read(master, 4096)
            except OSError:  # the other end is closed
                break
            if not read:
                break
            seen += read
            if not typed and answer[0] in seen:
                os.write(master, answer[1])
                typed = True
        status = os.waitpid(pid, 0)[1]
        os.close(master)
        return os.waitstatus_to_exitcode(status), seen

    def there(self, path: Path) -> Path:
        """Where a folder of the laptop lies on the host."""
        (tree,) = (self.host.home / "osgbatch-work").iterdir()
        return Path(f"{tree}{path}")

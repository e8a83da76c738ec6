"""Start, look at and stop the daemons of a personal pool in a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common import ToolError, last_lines, say
from configuration import condor_config
from provide import Installation

START_LIMIT = 60.0  # seconds
MAX_FOLDER = 60  # bytes: HTCondor makes Unix sockets below it, whose paths end at 108


@dataclass(frozen=True)
class Pool:
    """A personal pool: its folder, and the HTCondor it is made of."""

    folder: Path
    htcondor: Installation

    @property
    def config(self) -> Path:
        return self.folder / "condor_config"

    def environment(self) -> dict[str, str]:
        """The environment in which commands talk to this pool."""
        env = {k: v for k, v in os.environ.items() if not k.upper().startswith("_CONDOR_")}
        return {**env, "CONDOR_CONFIG": str(self.config), "PATH": self.htcondor.path()}

    def ask(self, *command: str, limit: float = 20.0) -> subprocess.CompletedProcess[str]:
        """Run one of HTCondor's commands; one that takes too long counts as failed."""
        program = self.htcondor.bin / command[0]
        try:
            return subprocess.run(
                [program, *command[1:]],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(list(command), 124, "", "no answer in time")

    def slots(self) -> list[str]:
        """Names of the slots that the collector knows."""
        return self.ask("condor_status", "-af", "Name").stdout.split()

    def answers(self) -> bool:
        """True when the slot is advertised and the queue can be read."""
        return bool(self.slots()) and self.ask("condor_q", "-totals").returncode == 0


def free_port() -> int:
    """A free TCP port of the loopback interface, below those that the kernel hands out."""
    for _ in range(200):
        port = random.randrange(20000, 32000)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                continue
            return port
    raise ToolError("No free TCP port between 20000 and 32000.")


def master_pid(folder: Path) -> int | None:
    """The process id of the pool's condor_master, if that one is alive."""
    try:
        pid = int((folder / "master.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if b"condor_master" in command else None


def _plain(path: Path) -> bool:
    return not any(c in str(path) for c in " \t\n$#,\"'")


def _through_plain_path(htcondor: Installation, folder: Path) -> Installation:
    """The same HTCondor, seen through a link in the pool's folder where its own path is odd.

    The startd of 25.14.1 splits the path of its GPU discovery at blanks and then gives up.
    """
    if _plain(htcondor.release):
        return htcondor
    link = folder / "htcondor"
    link.unlink(missing_ok=True)
    link.symlink_to(htcondor.release)

    def seen(path: Path) -> Path:
        return link / path.relative_to(htcondor.release)

    return replace(
        htcondor,
        release=link,
        bin=seen(htcondor.bin),
        sbin=seen(htcondor.sbin),
        libexec=seen(htcondor.libexec),
        lib=seen(htcondor.lib),
    )


def start(
    htcondor: Installation, folder: Path, extra: Sequence[str] = (), limit: float = START_LIMIT
) -> Pool:
    """Start a pool in the folder and return when it answers.

    extra: lines added to condor_config. limit: seconds.
    Raises ToolError, with the tail of the daemons' logs, when it does not come up.
    """
    folder = folder.resolve()
    if len(os.fsencode(folder)) > MAX_FOLDER:
        raise ToolError(f"The path of a pool's folder may have {MAX_FOLDER} bytes: {folder}")
    if not _plain(folder):
        raise ToolError(f"The path of a pool's folder must be plain: {folder}")
    if os.getuid() == 0:
        raise ToolError(
            "HTCondor refuses root's jobs: start the pool through tools/htcondor/inside."
        )
    if master_pid(folder):
        raise ToolError(f"A pool is running in {folder} already.")
    for part in ("log", "spool", "execute", "lock", "run", "tmp", "sock", "etc/tokens.d"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "etc/passwords.d").mkdir(mode=0o700, exist_ok=True)
    htcondor = _through_plain_path(htcondor, folder)
    pool = Pool(folder, htcondor)
    deadline = time.monotonic() + limit
    for attempt in (1, 2, 3):
        shutil.rmtree(folder / "log")
        (folder / "log").mkdir()
        pool.config.write_text(condor_config(htcondor, folder, free_port(), extra))
        problem = _start_master(pool, deadline)
        if problem is None:
            return pool
        stop(folder)
        if attempt == 3 or "Address already in use" not in problem:
            raise ToolError(problem)
    raise AssertionError("unreachable")


def _start_master(pool: Pool, deadline: float) -> str | None:
    """Start condor_master and wait until the pool answers; returns what went wrong, or None."""
    log = pool.folder / "log"
    with (log / "master.out").open("wb") as out:
        master = subprocess.Popen(
            [pool.htcondor.sbin / "condor_master", "-f"],
            env=pool.environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=pool.folder,
            start_new_session=True,
        )
    (pool.folder / "master.pid").write_text(f"{master.pid}\n")
    address_file = pool.folder / "spool" / ".schedd_address"
    while time.monotonic() < deadline:
        if master.poll() is not None:
            return f"condor_master ended with code {master.returncode}.\n{_story(log)}"
        if address_file.exists() and pool.answers():
            master.returncode = 0  # stop() waits for it, so Python need not warn of it
            return None
        time.sleep(0.1)
    return f"The pool did not answer in time.\n{_story(log)}"


def start_again(pool: Pool, limit: float = START_LIMIT) -> None:
    """Start a pool that was stopped, as it is configured, with its queue and on its port.

    limit: seconds. Raises ToolError when it does not come up.
    """
    (pool.folder / "spool" / ".schedd_address").unlink(missing_ok=True)
    problem = _start_master(pool, time.monotonic() + limit)
    if problem:
        raise ToolError(problem)


def _story(log: Path) -> str:
    """The ends of the daemons' logs, for the person who has to find out."""
    parts = []
    for name in (
        "master.out",
        "MasterLog",
        "SharedPortLog",
        "CollectorLog",
        "SchedLog",
        "StartLog",
    ):
        text = last_lines(log / name, 8)
        if text:
            parts.append(f"--- {name}\n{text}")
    return "\n".join(parts) or f"No log was written in {log}."


def stop(folder: Path, limit: float = 5.0) -> bool:
    """Stop the pool's daemons, with their jobs; returns False when none was running."""
    pid = master_pid(folder)
    if pid is None:
        return False
    os.kill(pid, signal.SIGQUIT)  # fast shutdown
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if master_pid(folder) is None:
            break
        time.sleep(0.05)
    else:
        say("the daemons take too long to stop: killing them")
        os.killpg(pid, signal.SIGKILL)
    (folder / "master.pid").unlink(missing_ok=True)
    return True

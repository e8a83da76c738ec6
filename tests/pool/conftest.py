"""The pool fixture: a live HTCondor pool, and helpers that wait for what it does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

PATIENCE = 3
"""Limits are written for a quiet machine; `make test` runs two pools and the unit tests at once."""

HEADER = re.compile(r"^(\d{3}) \((\d+)\.(\d+)\.\d+\) (\S+ \S+) (.*)$")


@dataclass(frozen=True)
class Event:
    """One event of a text event log: number, job, the rest of its first line, its other lines."""

    number: int
    cluster: int
    proc: int
    when: str
    headline: str
    body: str

    @property
    def exit_code(self) -> int | None:
        """The job's exit code, of a terminate event (005) that has one."""
        found = re.search(r"Normal termination \(return value (-?\d+)\)", self.body)
        return int(found.group(1)) if found else None

    @property
    def signal(self) -> int | None:
        """The signal that ended the job, of a terminate event (005) that has one."""
        found = re.search(r"Abnormal termination \(signal (\d+)\)", self.body)
        return int(found.group(1)) if found else None


def events(log: Path) -> list[Event]:
    """The whole events of a text event log so far; none when it does not exist yet."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return []
    found: list[Event] = []
    *whole, _unfinished = re.split(r"^\.\.\.\n", text, flags=re.MULTILINE)
    for block in whole:
        first, _, body = block.partition("\n")
        match = HEADER.match(first)
        if match:
            number, cluster, proc = (int(match.group(i)) for i in (1, 2, 3))
            found.append(Event(number, cluster, proc, match.group(4), match.group(5), body))
    return found


class TookTooLong(AssertionError):
    """Something that a test waited for did not come in time."""


def wait_for(
    look: Callable[[], T | None], limit: float = 60.0, what: str | Callable[[], str] = ""
) -> T:
    """Ask until the answer is neither None nor false, and return it.

    limit: seconds, PATIENCE times which TookTooLong is raised after. what: was waited for; a
    function is called then, to say how things stand.
    """
    limit *= PATIENCE
    deadline = time.monotonic() + limit
    while True:
        began = time.monotonic()
        answer = look()
        if answer is not None and answer is not False:
            return answer
        if time.monotonic() > deadline:
            text = what() if callable(what) else what
            raise TookTooLong(f"not within {limit:g} s: {text or look}")
        # One of HTCondor's commands takes a core, which what is waited for needs, too.
        time.sleep(min(max(0.1, 3 * (time.monotonic() - began)), 0.5))


@dataclass(frozen=True)
class Pool:
    """A live pool. Commands find it through CONDOR_CONFIG and PATH."""

    folder: Path

    @property
    def ospool(self) -> bool:
        """Whether its execution point is like the OSPool's: every job runs in a small container."""
        return "\nSINGULARITY_JOB = True\n" in (self.folder / "condor_config").read_text()

    def run(self, *command: str | Path, cwd: Path | None = None) -> str:
        """Run one of HTCondor's commands; returns its stdout, fails the test when it fails."""
        done = subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60 * PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def submit(self, text: str, folder: Path) -> int:
        """Submit a description from a folder; returns the cluster."""
        (folder / "job.submit").write_text(text)
        answer = self.run("condor_submit", "-terse", "job.submit", cwd=folder)
        return int(answer.split(".")[0])

    def wait_for(
        self, look: Callable[[], T | None], limit: float = 60.0, what: str | Callable[[], str] = ""
    ) -> T:
        """See the function of this name; a failure also shows the queue and the logs."""

        def story() -> str:
            return f"{what() if callable(what) else what}\n{self.queue_story()}"

        return wait_for(look, limit, story)

    def events(self, log: Path) -> list[Event]:
        """See the function of this name."""
        return events(log)

    def event(self, number: int, log: Path, cluster: int, proc: int, limit: float = 60.0) -> Event:
        """Wait for the job's newest event of this number in a text event log."""

        def look() -> Event | None:
            wanted = (number, cluster, proc)
            return next(
                (e for e in reversed(events(log)) if (e.number, e.cluster, e.proc) == wanted), None
            )

        return self.wait_for(look, limit, f"event {number:03} of {cluster}.{proc} in {log}")

    def terminate_event(self, log: Path, cluster: int, proc: int, limit: float = 60.0) -> Event:
        """Wait for the job's terminate event (005)."""
        return self.event(5, log, cluster, proc, limit)

    def history_ad(self, cluster: int, proc: int, limit: float = 30.0) -> dict[str, Any]:
        """Wait for the job's ad in the history."""

        def look() -> dict[str, Any] | None:
            # -limit 1 keeps condor_history from reading on once it has found the job
            answer = self.run("condor_history", f"{cluster}.{proc}", "-json", "-limit", "1")
            ads: list[dict[str, Any]] = json.loads(answer) if answer.strip() else []
            return ads[0] if ads else None

        return self.wait_for(look, limit, f"{cluster}.{proc} in the history")

    def queue_ads(self, constraint: str = "true") -> list[dict[str, Any]]:
        """The ads of jobs in the queue, cluster ads of late materialization left out."""
        answer = self.run("condor_q", "-allusers", "-json", "-constraint", constraint)
        ads: list[dict[str, Any]] = json.loads(answer) if answer.strip() else []
        return ads

    def queue_story(self) -> str:
        """The queue and the ends of the logs, for the message of a failure."""
        parts = [self.run("condor_q", "-allusers", "-nobatch"), self.run("condor_q", "-hold")]
        for name in ("SchedLog", "ShadowLog"):
            path = self.folder / "log" / name
            if path.is_file():
                parts += [f"--- {name}", *path.read_text(errors="replace").splitlines()[-15:]]
        return "\n".join(parts)

    def clear(self) -> None:
        """Remove all jobs and wait until the queue is empty."""
        self.run("condor_rm", "-all")
        self.wait_for(lambda: not self.queue_ads(), 30, "an empty queue")


@pytest.fixture(scope="session")
def pool() -> Pool:
    """The developers' pool; a test that asks for it fails (never skips) where there is none."""
    folder = os.environ.get("OSGBATCH_POOL", "")
    config = os.environ.get("CONDOR_CONFIG", "")
    if not folder or config != str(Path(folder) / "condor_config"):
        pytest.fail(
            "Pool tests need the HTCondor pool that `make test-pool` starts "
            "(tools/htcondor/pool.py run -- pytest tests/pool).",
            pytrace=False,
        )
    done = subprocess.run(
        ["condor_status", "-af", "Name"],
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        check=False,
    )
    if done.returncode or not done.stdout.strip():
        pytest.fail(
            f"The pool in {folder} does not answer; run `make test-pool` again.\n{done.stderr}",
            pytrace=False,
        )
    return Pool(Path(folder))


@pytest.fixture(scope="session")
def python_environment(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The line of a spec that brings Python to its tasks, and nothing else than Python.

    Empty where the execution point has one of its own, the machine's; like the OSPool's it has
    none, so an environment without packages is packed, once for all tests.
    """
    if not pool.ospool:
        return ""
    folder = tmp_path_factory.mktemp("python")
    for arguments in (
        ["venv", "--without-pip", str(folder / "venv")],
        ["osgbatch", "pack", "env", "venv", "--strip", "--out", "python.tar.gz"],
    ):
        subprocess.run([sys.executable, "-m", *arguments], cwd=folder, check=True)
    return f'environment: {{archive: "{folder}/python.tar.gz"}}\n'

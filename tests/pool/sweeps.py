"""Helpers of pool tests: write a sweep, run osgbatch as a user does, read what it says."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import started
from conftest import Pool, events

BACKENDS = ("condor", pytest.param("local", marks=pytest.mark.once))
"""What a test that holds for both is run with; the local runner sees nothing of the pool's kind."""


def osgbatch(
    *arguments: str | Path, cwd: Path, check: int | None = 0, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line; a test fails when its exit code is not `check` (None: any)."""
    # 300 s: an environment may have to be fetched and packed, beside another pool
    done = started.osgbatch(arguments, cwd, {**os.environ, **(env or {})}, 300)
    if check is not None:
        assert done.returncode == check, (
            f"osgbatch {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
    return done


def write_sweep(folder: Path, spec: str, files: Mapping[str, str]) -> Path:
    """Write sweep.yaml and other files into a folder that is made for it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "sweep.yaml").write_text(spec)
    return folder / "sweep.yaml"


@dataclass(frozen=True)
class Ran:
    """A batch that has ended: what submit said, what status says, and where it lies."""

    backend: str
    submitted: Mapping[str, Any]
    status: Mapping[str, Any]
    folder: Path

    @property
    def log(self) -> Path:
        """The event log of its round."""
        return self.folder / "rounds" / "001" / "events.log"

    def task(self, index: int) -> dict[str, Any]:
        """What status says of a task."""
        task: dict[str, Any] = self.status["tasks"][index]
        assert task["index"] == index
        return task

    def result(self, index: int, name: str) -> bytes:
        """A file of a succeeded task."""
        return (self.folder / "results" / str(index) / name).read_bytes()


def run_sweep(backend: str, spec: Path) -> Ran:
    """Submit, watch until it has ended, collect; no matter whether tasks failed."""
    said = osgbatch("submit", "--pool", backend, "--json", spec, cwd=spec.parent)
    submitted = json.loads(said.stdout)
    folder = Path(submitted["folder"])
    osgbatch("watch", folder, cwd=spec.parent, check=None)
    osgbatch("collect", folder, "--no-gather", cwd=spec.parent, check=None)
    status = json.loads(osgbatch("status", folder, "--json", cwd=spec.parent, check=None).stdout)
    return Ran(backend, submitted, status, folder)


def ended_truly(ran: Ran, pool: Pool, proc: int) -> None:
    """Hold the job's terminate event against its history ad, so that no fake passes."""
    cluster = int(ran.submitted["cluster"])
    if ran.backend == "local":
        kinds = [e.number for e in events(ran.log) if (e.cluster, e.proc) == (cluster, proc)]
        assert kinds[0] == 0
        assert 5 in kinds
        return
    event = pool.terminate_event(ran.log, cluster, proc)
    ad = pool.history_ad(cluster, proc)
    assert ad["OSGBatchID"] == ran.submitted["id"]
    assert ad["JobStatus"] == 4
    if event.signal is not None:
        assert ad["ExitBySignal"] is True
        assert ad["ExitSignal"] == event.signal
    else:
        assert ad["ExitCode"] == event.exit_code

"""The example, as a user runs it; on the OSPool-like pool that is where there is no Python."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from conftest import Pool
from sweeps import osgbatch

pytestmark = [pytest.mark.pool, pytest.mark.environments]

ROOT = Path(__file__).parents[2]


def copy_example(folder: Path) -> Path:
    """The example as it is shipped."""
    return Path(
        shutil.copytree(
            ROOT / "examples/find_peaks",
            folder / "find_peaks",
            ignore=shutil.ignore_patterns("batches", "__pycache__"),
        )
    )


def check_results(batch: Path, tasks: int = 10, drawn: bool = True) -> None:
    """All tasks succeeded, and the table and, if drawn, the picture are there."""
    with (batch / "results/results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["state"] for row in rows] == ["succeeded"] * tasks
    assert [row["lfp"] for row in rows] == [f"data/{i}.npy" for i in range(tasks)]
    assert all(25 < int(row["peaks"]) < 60 and row["seconds"] == "5.0" for row in rows)
    if drawn:
        assert (batch / "results/peaks.png").read_bytes().startswith(b"\x89PNG")
        with (batch / "results/peaks.csv").open(newline="") as stream:
            assert len(list(csv.DictReader(stream))) == tasks


def check_ends(pool: Pool, batch: Path, jobs: int) -> None:
    """HTCondor says of each job that it ended with 0, in the event log and in the history."""
    said = json.loads((batch / "rounds/001/submitted.json").read_text())
    batch_id = json.loads((batch / "resolved.json").read_text())["batch_id"]
    for proc in range(jobs):
        log = batch / "rounds/001/events.log"
        assert pool.terminate_event(log, said["cluster"], proc).exit_code == 0
        ad = pool.history_ad(said["cluster"], proc)
        assert (ad["ExitCode"], ad["OSGBatchID"]) == (0, batch_id)


def test_the_example_runs_to_its_picture(pool: Pool, tmp_path: Path) -> None:
    folder = copy_example(tmp_path)
    # As shipped it is ten jobs (test_envs.py); fewer unpack its 400 MB, which takes most time.
    jobs = 1 if pool.ospool else 2
    more = ("--set", f"tasks_per_job={10 // jobs}")
    said = osgbatch("submit", "--pool", "condor", "--watch", *more, "sweep.yaml", cwd=folder)
    assert "10 succeeded" in said.stdout
    (batch,) = (folder / "batches").iterdir()
    check_results(batch)
    check_ends(pool, batch, jobs)
    record = json.loads((batch / "results/0/status.json").read_text())["job"]
    assert ("Debian GNU/Linux 11" in record["os"]) == pool.ospool

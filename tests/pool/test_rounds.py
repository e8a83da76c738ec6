"""Later rounds of a batch: resubmission and canary, each task in one job of a round."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Pool
from sweeps import osgbatch, write_sweep
from test_submission import slow_condor_submit

from osgbatch.task_ranges import parse_task_ranges

pytestmark = [pytest.mark.pool, pytest.mark.once]  # of the queue, whatever runs the jobs

SPEC = """\
command: sh job.sh {x}
sweep: {x: [0, 1, 2, 3, 4, 5]}
files: [job.sh]
outputs: [outputs/x]
resources: {memory: 100 MB, disk: 50 MB}
"""
MENDED = "echo $1 >outputs/x\n"


def submitted(batch: Path, number: int) -> dict[str, Any]:
    """What a round's `submitted.json` says."""
    told: dict[str, Any] = json.loads((batch / f"rounds/{number:03}/submitted.json").read_text())
    return told


def tasks_of_rounds(pool: Pool, batch: Path, rounds: int) -> dict[int, list[int]]:
    """The tasks of all procs of each round, by HTCondor's history: the oracle of rule 2."""
    found: dict[int, list[int]] = {}
    for number in range(1, rounds + 1):
        told = submitted(batch, number)
        for proc in range(told["jobs"]):
            ad = pool.history_ad(told["cluster"], proc)
            assert ad["OSGBatchID"] == json.loads((batch / "resolved.json").read_text())["batch_id"]
            assert ad["OSGBatchRound"] == number
            found.setdefault(number, []).extend(parse_task_ranges(ad["Arguments"].split(" ")[2]))
    assert not pool.queue_ads(f'OSGBatchID == "{ad["OSGBatchID"]}"')
    return {number: sorted(tasks) for number, tasks in found.items()}


def status(folder: Path) -> dict[str, Any]:
    """What status says of the newest batch below a folder."""
    told: dict[str, Any] = json.loads(osgbatch("status", "--json", cwd=folder, check=None).stdout)
    return told


def results(batch: Path) -> list[tuple[str, str]]:
    """Index and state of each row of results.csv."""
    with (batch / "results/results.csv").open(newline="") as stream:
        return [(row["index"], row["state"]) for row in csv.DictReader(stream)]


@pytest.mark.parametrize("backend", ["condor", "local"])
def test_a_canary_that_fails_is_mended_and_then_the_rest_runs(
    pool: Pool, tmp_path: Path, backend: str
) -> None:
    job = f"case $1 in 0) exit 7;; esac\n{MENDED}"
    folder = write_sweep(tmp_path / "sweep", SPEC, {"job.sh": job}).parent
    arguments = ("submit", "--pool", backend, "--canary", "2", "--watch", "sweep.yaml")
    said = osgbatch(*arguments, cwd=folder, check=1)
    assert "submitted 2 tasks" in said.stdout
    assert "canary: 1 of 2 tasks succeeded, so the other 4 were not submitted" in said.stderr
    (batch,) = (folder / "batches").iterdir()
    now = status(folder)
    assert now["counts"] == {"failed": 1, "succeeded": 1, "waiting": 4}
    assert now["ended"]
    assert now["tasks"][1]["reason"] == "waits for the canary"

    (folder / "job.sh").write_text(MENDED)
    mended = ("resubmit", "--set", "resources.memory=120MB")
    if backend == "condor":
        said = osgbatch(*mended, "--watch", cwd=folder)
        assert "resubmitted 1 task in 1 job" in said.stdout
    else:  # nobody watches: the next submit goes on
        osgbatch(*mended, cwd=folder)
        pool.wait_for(lambda: status(folder)["counts"].get("succeeded") == 2)
        said = osgbatch(*arguments, cwd=folder)
        assert "which waited for its canary" in said.stderr
    assert "canary: 2 tasks succeeded" in said.stderr
    assert results(batch) == [(str(index), "succeeded") for index in range(6)]
    assert (batch / "results/0/outputs/x").read_text() == "0\n"
    assert sorted(p.name for p in (batch / "rounds").iterdir()) == ["001", "002", "003"]
    notes = [json.loads((batch / f"rounds/00{n}/round.json").read_text()) for n in (1, 2, 3)]
    assert [note["why"] for note in notes] == ["canary", "resubmit", "rest"]
    assert len(list((batch / "payload").iterdir())) == 2
    expected = {1: [0, 5], 2: [0], 3: [1, 2, 3, 4]}
    if backend == "condor":
        assert tasks_of_rounds(pool, batch, 3) == expected
        assert pool.history_ad(submitted(batch, 3)["cluster"], 0)["RequestMemory"] == 120
    assert {n: parse_task_ranges(notes[n - 1]["tasks"]) for n in (1, 2, 3)} == expected
    assert "nothing to resubmit" in osgbatch("resubmit", cwd=folder).stdout


@pytest.mark.both_versions
def test_no_task_is_in_two_live_jobs(pool: Pool, tmp_path: Path) -> None:
    job = "case $1 in 2) exit 7;; esac\nsleep 600\n"
    spec = SPEC.replace("2, 3, 4, 5]", "2]")
    folder = write_sweep(tmp_path / "sweep", spec, {"job.sh": job}).parent
    osgbatch("submit", "--pool", "condor", "sweep.yaml", cwd=folder)
    (batch,) = (folder / "batches").iterdir()
    cluster = submitted(batch, 1)["cluster"]
    log = batch / "rounds/001/events.log"
    again = osgbatch("submit", "--pool", "condor", "sweep.yaml", cwd=folder, check=6)
    assert "does the very same" in again.stderr
    assert list((folder / "batches").iterdir()) == [batch]
    pool.terminate_event(log, cluster, 2)
    assert "has not ended" in osgbatch("resubmit", "--tasks", "0,2", cwd=folder, check=6).stderr
    pool.run("condor_hold", f"{cluster}.1")
    pool.event(12, log, cluster, 1)
    assert "is held" in osgbatch("resubmit", "--tasks", "1", cwd=folder, check=6).stderr
    assert sorted(p.name for p in (batch / "rounds").iterdir()) == ["001"]

    # killed while condor_submit works, it is found again and not submitted twice
    (folder / "job.sh").write_text(MENDED)
    victim = subprocess.Popen(
        [sys.executable, "-m", "osgbatch", "resubmit", "--failed"],
        cwd=folder,
        env={**os.environ, "PATH": slow_condor_submit(tmp_path / "bin", 1, 0)},
        stdout=subprocess.DEVNULL,
    )
    pool.wait_for((tmp_path / "bin/begun").exists, 30, "condor_submit to begin")
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    said = osgbatch("resubmit", "--failed", "--held", cwd=folder)
    assert "it had been submitted to HTCondor, as cluster" in said.stderr
    assert "resubmitted 1 task" in said.stdout
    assert "round 3" in said.stdout
    assert pool.event(9, log, cluster, 1, 5).body.strip().startswith("removed by osgbatch resubmit")

    # removed by hand, it is missing
    pool.run("condor_rm", f"{cluster}.0")
    pool.event(9, log, cluster, 0)
    osgbatch("resubmit", "--missing", "--watch", cwd=folder)
    assert results(batch) == [(str(index), "succeeded") for index in range(3)]
    assert tasks_of_rounds(pool, batch, 4) == {1: [0, 1, 2], 2: [2], 3: [1], 4: [0]}
    statuses = [pool.history_ad(cluster, proc)["JobStatus"] for proc in range(3)]
    assert statuses == [3, 3, 4]

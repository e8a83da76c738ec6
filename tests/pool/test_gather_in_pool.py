"""The table of results from a real log, and gathering as a last job of the pool."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Pool
from sweeps import osgbatch, write_sweep

pytestmark = [pytest.mark.pool, pytest.mark.once]

SPEC = """\
name: g
command: sh job.sh {x}
files: [job.sh, "lib/*.sh"]
sweep: {x: [3, 4]}
outputs: [outputs/y]
requirements: {expr: "Cpus > 0"}
resources: {memory: 64 MB, disk: 100 MB}
gather: {script: gather.py, in: pool, resources: {memory: 96 MB, disk: 100 MB}}
"""
JOB = """\
printf '{"loss": %s.5, "fit": {"ok": true}}' "$1" > outputs/metrics.json
echo "$1" > outputs/y
sleep 1
"""
GATHER = """\
import csv, pathlib
rows = list(csv.DictReader(open("results.csv")))
total = sum(float(row["loss"]) for row in rows)
total += sum(float(path.read_text()) for path in pathlib.Path().glob("*/outputs/y"))
assert pathlib.Path("../lib/odd name.sh").exists()
pathlib.Path("total").write_text(str(total))
"""


def killed_collect(batch: Path) -> None:
    """Collect, and be killed as soon as the job that gathers has a submit file."""
    words = [sys.executable, "-m", "osgbatch", "collect", str(batch)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not list(batch.glob("gather/*/rounds/001/submitted.json")):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_last_job_gathers_what_the_table_tells(pool: Pool, tmp_path: Path) -> None:
    files = {"job.sh": JOB, "gather.py": GATHER, "lib/odd name.sh": "true\n"}
    spec = write_sweep(tmp_path / "s", SPEC, files)
    batch = Path(json.loads(osgbatch("submit", "--json", spec, cwd=tmp_path).stdout)["folder"])
    osgbatch("watch", batch, cwd=tmp_path)
    killed_collect(batch)
    said = osgbatch("collect", batch, "--watch", "--parquet", cwd=tmp_path)
    assert "as a job of the pool, and what it made is in results/" in said.stderr

    assert (batch / "results/total").read_text() == "15.0"
    (folder,) = [path.parent for path in batch.glob("gather/*/resolved.json")]
    job = json.loads((folder / "rounds/001/submitted.json").read_text())
    assert pool.terminate_event(folder / "rounds/001/events.log", job["cluster"], 0).exit_code == 0
    ad = pool.history_ad(job["cluster"], 0)
    assert (ad["ExitCode"], ad["RequestMemory"], ad["NumJobStarts"]) == (0, 96, 1)
    # No other job has gathered, whatever became of the one that was killed.
    ids = {json.loads((f / "resolved.json").read_text())["batch_id"] for f in (batch, folder)}
    assert ad["OSGBatchID"] in ids and len(list(batch.glob("gather/*/resolved.json"))) == 1

    with (batch / "results/results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["loss"], row["fit.ok"]) for row in rows] == [("3.5", "true"), ("4.5", "true")]
    for proc, row in enumerate(rows):
        told = pool.history_ad(json.loads(osgbatch_cluster(batch))["cluster"], proc)
        assert int(row["memory_requested_mb"]) == told["RequestMemory"] == 64
        assert int(row["cpus_requested"]) == told["RequestCpus"] == 1
        queued = told["JobCurrentStartTransferInputDate"] - told["QDate"]
        assert abs(float(row["queue_s"]) - queued) <= 1
        arriving = told["JobCurrentStartExecutingDate"] - told["JobCurrentStartTransferInputDate"]
        assert abs(float(row["transfer_in_s"]) - arriving) <= 1
        assert 0 <= float(row["transfer_out_s"]) < 30 and float(row["wall_s"]) >= 1
    assert (batch / "results/results.parquet").stat().st_size > 1000

    # A job that gathers goes with its batch.
    (spec.parent / "gather.py").write_text("import time\ntime.sleep(600)\n")
    osgbatch("collect", batch, cwd=tmp_path, check=1)
    (other,) = {path.parent for path in batch.glob("gather/*/resolved.json")} - {folder}
    told = json.loads(osgbatch("cancel", batch, "--json", cwd=tmp_path).stdout)
    assert (told["cancelled"], told["gather_jobs"]) == (0, 1)
    job = json.loads((other / "rounds/001/submitted.json").read_text())
    assert pool.history_ad(job["cluster"], 0)["JobStatus"] == 3


def osgbatch_cluster(batch: Path) -> str:
    """What was written down of the batch's own submission."""
    return (batch / "rounds/001/submitted.json").read_text()

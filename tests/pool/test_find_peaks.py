"""The example, as a user runs it: on the pool, and on an execution point that has nothing."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Pool
from sweeps import osgbatch

pytestmark = pytest.mark.pool

ROOT = Path(__file__).parents[2]
POOL = ROOT / "tools" / "htcondor" / "pool.py"

# HTCondor starts every job through this: the job sees only an old, small system, with its scratch
# folder at /srv and an empty environment, as in a pilot's container.
WRAPPER = """\
import os, sys
sys.path.insert(0, {tools!r})
import bareroot
from pathlib import Path

program = "/srv/" + os.path.basename(sys.argv[1])
inner = ["/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "_CONDOR_SCRATCH_DIR=/srv", "HOME=/nowhere"]
scratch = Path(os.environ["_CONDOR_SCRATCH_DIR"])
# the folder first: the mounts of the new name space must not hold the old working folder
inner += ["/bin/sh", "-c", 'cd /srv && exec "$@"', "sh", program, *sys.argv[2:]]
command = bareroot.command(Path({root!r}), [(scratch, "/srv")], inner)
os.execvp(command[0], command)
"""


def copy_example(folder: Path) -> Path:
    """The example as it is shipped."""
    return Path(
        shutil.copytree(
            ROOT / "examples/find_peaks",
            folder / "find_peaks",
            ignore=shutil.ignore_patterns("batches", "__pycache__"),
        )
    )


def check_results(batch: Path) -> None:
    """All ten succeeded, and the table and the picture are there."""
    with (batch / "results/results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["state"] for row in rows] == ["succeeded"] * 10
    assert [row["lfp"] for row in rows] == [f"data/{i}.npy" for i in range(10)]
    assert (batch / "results/peaks.png").read_bytes().startswith(b"\x89PNG")
    with (batch / "results/peaks.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 10


def test_the_example_runs_to_its_picture(pool: Pool, tmp_path: Path) -> None:
    folder = copy_example(tmp_path)
    said = osgbatch("submit", "--pool", "condor", "--watch", "sweep.yaml", cwd=folder)
    assert "10 succeeded" in said.stdout
    (batch,) = (folder / "batches").iterdir()
    check_results(batch)
    cluster = json.loads((batch / "rounds/001/submitted.json").read_text())["cluster"]
    for proc in range(10):
        log = batch / "rounds/001/events.log"
        assert pool.terminate_event(log, cluster, proc).exit_code == 0
        assert pool.history_ad(cluster, proc)["ExitCode"] == 0


def test_the_example_runs_where_there_is_no_python_and_an_older_glibc(
    pool: Pool, tmp_path: Path
) -> None:
    folder = copy_example(tmp_path)
    sys.path.insert(0, str(ROOT / "tools"))
    import bareroot

    root = bareroot.provide()
    program = tmp_path / "wrapper.py"
    program.write_text(WRAPPER.format(tools=str(ROOT / "tools"), root=str(root)))
    python = shlex.quote(sys.executable)
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\nexec {python} {shlex.quote(str(program))} "$@"\n')
    wrapper.chmod(0o755)
    told = (
        f"{python} -m osgbatch submit --pool condor --watch sweep.yaml"
        " && condor_history -json > history.json"
    )
    done = subprocess.run(
        [
            *(sys.executable, str(POOL), "run", "--config", f"USER_JOB_WRAPPER = {wrapper}", "--"),
            *("sh", "-c", told),
        ],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (batch,) = (folder / "batches").iterdir()
    check_results(batch)
    ads = json.loads((folder / "history.json").read_text())
    assert sorted((ad["ProcId"], ad["ExitCode"]) for ad in ads) == [(i, 0) for i in range(10)]
    assert (batch / "rounds/001/events.log").read_text().count("return value 0") == 10
    record = json.loads((batch / "results/0/status.json").read_text())
    assert "Debian GNU/Linux 11" in record["job"]["os"]

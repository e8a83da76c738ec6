"""`osgbatch logs` of a job that runs on HTCondor (condor_tail), and of the same once it ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Pool, events
from sweeps import osgbatch, write_sweep

pytestmark = pytest.mark.pool

SPEC = """\
command: sh work.sh {n}
sweep: {n: [1, 2]}
files: [work.sh]
tasks_per_job: 2
resources: {memory: 100 MB, disk: 50 MB}
"""
# The test makes the file in the scratch folder; the number only ends what is never told.
WORK = """\
echo first $1; printf '\\351 %s\n' $1 >&2
i=0; until [ -e ../../go ] || [ $i -ge 600 ]; do i=$((i + 1)); sleep 0.2; done
echo second $1; echo second >&2
"""


def test_logs_of_a_running_task_and_of_the_same_task_once_ended(pool: Pool, tmp_path: Path) -> None:
    spec = write_sweep(tmp_path, SPEC, {"work.sh": WORK})
    said = osgbatch("submit", "--pool", "condor", "--json", spec, cwd=tmp_path)
    cluster, batch = json.loads(said.stdout)["cluster"], Path(json.loads(said.stdout)["folder"])
    log = batch / "rounds/001/events.log"
    pool.event(1, log, cluster, 0)

    def first() -> bool:
        done = osgbatch("logs", batch, "0", "--json", cwd=tmp_path)
        data = json.loads(done.stdout)
        assert data["state"] == "running"
        assert not data["whole"]
        return (data["stdout"], data["stderr"]) == ("first 1\n", "\ufffd 1\n")

    pool.wait_for(first, 30, "the first line of the running task")
    later = osgbatch("logs", batch, "1", cwd=tmp_path)
    assert "task 1 has printed nothing so far" in later.stderr
    follow = subprocess.Popen(
        [sys.executable, "-m", "osgbatch", "logs", batch, "0", "-f", "--stream", "stderr"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert follow.stdout is not None
    assert follow.stdout.readline() == b"\xe9 1\n"  # as it is, though that is no UTF-8
    numbers = [event.number for event in events(log) if event.proc == 0]
    assert 1 in numbers
    assert 5 not in numbers, "all of this was said while the job ran"
    for path in pool.folder.glob("execute/**/tasks/0"):
        (path.parents[1] / "go").touch()
    pool.terminate_event(log, cluster, 0)
    assert follow.stdout.read() == b"second\n"
    follow.communicate(timeout=180)
    assert follow.returncode == 0
    for index in (0, 1):
        ended = osgbatch("logs", batch, str(index), "--stream", "stdout", cwd=tmp_path)
        assert ended.stdout == f"first {index + 1}\nsecond {index + 1}\n"
    # Nothing of the echo is left, and no job has a file for it.
    returned = batch / "rounds/001/returned"
    assert (returned / "echo.out").read_bytes() == b""
    assert [p.name for p in returned.glob("0/*.out")] == []
    osgbatch("collect", batch, cwd=tmp_path)

"""Workflows through the real DAGMan: nothing is lost, nothing is run twice, failures stay alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Pool
from sweeps import osgbatch
from test_submission import slow_condor_submit

from osgbatch.task_ranges import parse_task_ranges

pytestmark = pytest.mark.pool

SPEC = """\
name: flow
files: job.sh
resources: {memory: 50 MB, disk: 100 MB}
retries: 1
steps:
  - name: sum
    here: true
    command: sh job.sh sum
    inputs: ["step:run/*/outputs/y.txt"]
    outputs: outputs/sum.txt
  - name: run
    sweep: {table: "step:scatter/0/outputs/rows.csv"}
    max_running: 3
    command: sh job.sh run {x}
    outputs: outputs/y.txt
  - name: scatter
    command: sh job.sh scatter
    outputs: outputs/rows.csv
"""
JOB = """\
case $1$2 in
    scatter) printf 'x\\n1\\n2\\n3\\n4\\n' >outputs/rows.csv ;;
    run1) sleep 3 && echo 10 >outputs/y.txt ;;
    run2) exit 7 ;;
    run4) rm -rf "$PWD/../../.osgbatch" "$PWD/../../tasks" && exit 1 ;;
    run*) echo 10 >outputs/y.txt ;;
    sum) cat inputs/run/*/outputs/y.txt | paste -sd+ - | sed 's/[+]/ + /g' >outputs/sum.txt ;;
esac
"""


@pytest.fixture(autouse=True)
def quick_dagman(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """DAGMan looks at its log each second, not each five."""
    monkeypatch.setenv("_CONDOR_DAGMAN_USER_LOG_SCAN_INTERVAL", "1")
    yield


def write(folder: Path, spec: str = SPEC, job: str = JOB) -> Path:
    folder.mkdir(parents=True)
    (folder / "flow.yaml").write_text(spec)
    (folder / "job.sh").write_text(job)
    return folder


def workflow_in(folder: Path) -> Path:
    (found,) = (folder / "batches").iterdir()
    return found


def status(folder: Path) -> Mapping[str, Any]:
    told: Mapping[str, Any] = json.loads(
        osgbatch("status", "--json", cwd=folder, check=None).stdout
    )
    return told


def counts(folder: Path) -> dict[str, Mapping[str, int]]:
    return {step["name"]: step["counts"] for step in status(folder)["steps"]}


def rounds(step: Path) -> list[list[int]]:
    """The tasks of each round of a step."""
    notes = sorted(step.glob("rounds/[0-9]*/round.json"))
    return [parse_task_ranges(json.loads(note.read_text())["tasks"]) for note in notes]


@pytest.mark.both_versions
def test_one_failing_element_leaves_its_siblings_and_a_rescue_runs_it_alone(
    pool: Pool, tmp_path: Path
) -> None:
    folder = write(tmp_path / "odd name's")
    done = osgbatch("submit", "--watch", "flow.yaml", cwd=folder, check=1)
    flow = workflow_in(folder)
    run = flow / "steps" / "run"
    assert counts(folder)["run"] == {"succeeded": 2, "failed": 1, "unknown": 1}, done.stderr
    # RETRY ran again what may go better, and nothing else
    assert rounds(run) == [[0, 1, 2, 3], [3]]
    # the siblings ended by themselves: every job of the cluster exited with 0, none was removed
    cluster = json.loads((run / "rounds/001/submitted.json").read_text())["cluster"]
    for proc in range(4):
        assert pool.terminate_event(run / "rounds/001/events.log", cluster, proc).exit_code == 0
    assert "task 1 failed: exit code 7" in osgbatch("why", cwd=folder, check=1).stdout

    (folder / "job.sh").write_text("[ $1 = sum ] || set -- run; " + JOB)
    # it goes on after logout; what runs here does when somebody is there again
    osgbatch("resubmit", "--no-watch", cwd=folder)
    dagman = json.loads((flow / "dag.json").read_text())["cluster"]
    assert pool.terminate_event(flow / "workflow.dag.dagman.log", dagman, 0).exit_code == 0
    assert status(folder)["due"] == ["sum"]
    osgbatch("collect", cwd=folder)
    assert counts(folder)["run"] == {"succeeded": 4}
    assert (flow / "steps/sum/results/0/outputs/sum.txt").read_text() == "10 + 10 + 10 + 10\n"
    assert rounds(flow / "steps/scatter") == [[0]]
    assert rounds(run) == [[0, 1, 2, 3], [3], [1, 3]]
    assert os.path.exists(flow / "workflow.dag.rescue001")
    assert "nothing to resubmit" in osgbatch("resubmit", cwd=folder).stdout


@pytest.mark.once
def test_cancelled_or_killed_it_goes_on_where_it_was(pool: Pool, tmp_path: Path) -> None:
    """Cancelled, its jobs leave the queue; a killed DAGMan is started again by the schedd."""
    waits = JOB.replace("run1) sleep 3 &&", "run1) sleep 600 &&").replace("run4)", "run0)")
    folder = write(tmp_path / "flow", job=waits.replace("run2)", "run9)"))
    victim = subprocess.Popen(
        [sys.executable, "-m", "osgbatch", "submit", "flow.yaml"],
        cwd=folder,
        env={**os.environ, "PATH": slow_condor_submit(tmp_path / "bin", 1, 0)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    pool.wait_for((tmp_path / "bin/begun").exists, 30, "condor_submit to begin")
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    again = osgbatch("submit", "--json", "flow.yaml", cwd=folder)
    said = json.loads(again.stdout)
    assert "had been submitted, as cluster" in again.stderr
    flow = workflow_in(folder)
    assert said["folder"] == str(flow)
    assert "does the very same" in osgbatch("submit", "flow.yaml", cwd=folder, check=6).stderr
    run = flow / "steps" / "run"
    pool.wait_for(lambda: counts(folder)["run"].get("running") == 1, 60, "a task that runs")
    pool.wait_for(lambda: counts(folder)["run"].get("succeeded") == 3, 60, "the other tasks")
    osgbatch("cancel", cwd=folder)
    mine = f'OSGBatchID == "{said["id"]}" || regexp("flow", JobBatchName)'
    assert pool.queue_ads(mine) == []
    assert counts(folder)["run"] == {"succeeded": 3, "removed": 1}

    (folder / "job.sh").write_text(waits.replace("sleep 600", "sleep 3").replace("run2)", "run9)"))
    osgbatch("resubmit", cwd=folder)
    pool.wait_for(lambda: len(rounds(run)) == 2, 60, "the round of the rescue")
    (dagman,) = pool.queue_ads(f'OSGBatchID == "{said["id"]}" && JobUniverse == 7')
    pool.run("condor_vacate_job", "-fast", str(dagman["ClusterId"]))
    osgbatch("watch", cwd=folder)
    assert (flow / "steps/sum/results/0/outputs/sum.txt").read_text() == "10 + 10 + 10 + 10\n"
    assert rounds(run) == [[0, 1, 2, 3], [0]]

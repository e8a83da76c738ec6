"""Workflows through the real DAGMan: nothing is lost, nothing is run twice, failures stay alone."""

from __future__ import annotations

import json
import os
import shlex
import shutil
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


def unsure_condor_submit(folder: Path) -> str:
    """A PATH whose condor_submit says that it has failed, of a DAG, after it has queued it."""
    folder.mkdir()
    real = shutil.which("condor_submit")
    (folder / "condor_submit").write_text(
        f'#!/bin/sh\n{real} "$@" || exit\n'
        f"case $* in *.condor.sub) touch {shlex.quote(str(folder / 'failed'))}; exit 1; esac\n"
    )
    (folder / "condor_submit").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.both_versions
def test_one_failing_element_leaves_its_siblings_and_a_rescue_runs_it_alone(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    # what is done before the node fails once, which may pass; so may an answer of condor_submit
    script = (flow / "node.sh").read_text()
    once = '[ "$1$2$3" = preparerun0 ] && [ ! -e hiccup ] && touch hiccup && exit 1\n'
    (flow / "node.sh").write_text(script.replace("exec >>", f"{once}exec >>"))
    # it goes on after logout; what runs here does when somebody is there again
    monkeypatch.setenv("PATH", unsure_condor_submit(tmp_path / "unsure"))
    said = osgbatch("resubmit", "--no-watch", cwd=folder).stderr
    assert "it is queued all the same" in said and (tmp_path / "unsure/failed").exists()
    dagman = json.loads((flow / "dag.json").read_text())["cluster"]
    assert pool.terminate_event(flow / "workflow.dag.dagman.log", dagman, 0).exit_code == 0
    assert status(folder)["due"] == ["sum"]
    osgbatch("collect", cwd=folder)
    assert counts(folder)["run"] == {"succeeded": 4}
    assert (flow / "steps/sum/results/0/outputs/sum.txt").read_text() == "10 + 10 + 10 + 10\n"
    assert rounds(flow / "steps/scatter") == [[0]]
    assert rounds(run) == [[0, 1, 2, 3], [3], [1, 3]]
    assert (flow / "hiccup").exists()
    assert os.path.exists(flow / "workflow.dag.rescue001")
    assert "nothing to resubmit" in osgbatch("resubmit", cwd=folder).stdout
    # where DAGMan's log is lost, the queue tells that it is over
    (flow / "workflow.dag.dagman.log").unlink()
    note = json.loads((flow / "dag.json").read_text())
    (flow / "dag.json").write_text(json.dumps({**note, "time": note["time"] - 60}))
    assert "next:" not in osgbatch("status", cwd=folder).stderr  # all is over and collected
    osgbatch("rm", "--yes", str(flow), cwd=folder)
    assert not flow.exists()


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
    assert "1 task had not ended" in osgbatch("cancel", cwd=folder).stdout
    assert '"cancelled by `osgbatch cancel`"' in osgbatch("why", cwd=folder, check=1).stdout
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


@pytest.mark.once
def test_a_rescue_runs_again_what_a_later_step_went_on_without(pool: Pool, tmp_path: Path) -> None:
    """DAGMan's rescue file calls the partial step done; the step after it read too little."""
    spec = (
        "files: job.sh\nresources: {memory: 50 MB, disk: 100 MB}\nretries: 0\nsteps:\n"
        "  - {name: run, partial: true, sweep: {x: [1, 2]}, command: 'sh job.sh {x}'}\n"
        "  - {name: sum, inputs: ['step:run/*/outputs/y'], command: sh job.sh sum}\n"
    )
    job = "case $1 in sum) cat inputs/run/*/outputs/y >outputs/sum; exit %d ;; esac\n"
    folder = write(tmp_path / "flow", spec, f"{job % 4}[ $1 = 1 ] && echo 1 >outputs/y")
    osgbatch("submit", "--watch", "flow.yaml", cwd=folder, check=1)
    assert counts(folder) == {"run": {"succeeded": 1, "failed": 1}, "sum": {"failed": 1}}
    flow = workflow_in(folder)
    assert (flow / "workflow.dag.rescue001").exists()
    (folder / "job.sh").write_text(f"{job % 0}echo $1 >outputs/y")
    osgbatch("resubmit", "--watch", cwd=folder)
    osgbatch("collect", cwd=folder)
    assert counts(folder) == {"run": {"succeeded": 2}, "sum": {"succeeded": 1}}
    assert (flow / "steps/sum/results/0/outputs/sum").read_text() == "1\n2\n"
    assert rounds(flow / "steps/run") == [[0, 1], [1]]

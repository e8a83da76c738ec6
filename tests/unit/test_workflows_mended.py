"""Workflows: nothing stale is called done, nothing is deleted on a guess, a cancel is heeded."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_workflows import SPEC, counts, osgbatch, rounds, write

from osgbatch import names
from osgbatch.errors import BatchError
from osgbatch.life.following import status
from osgbatch.workflows import advancing
from osgbatch.workflows.acting import cancel_workflow
from osgbatch.workflows.advancing import advance, run_here
from osgbatch.workflows.folder import DagNote, Workflow, load_workflow, write_dag_note
from osgbatch.workflows.nodes import _which, is_ended
from osgbatch.workflows.starting import submit_workflow
from osgbatch.workflows.telling import workflow_status

PARTIAL = SPEC.replace("name: run\n", "name: run\n    partial: true\n")


def say(text: str) -> None:
    print(text)


def begun(folder: Path, spec: str = SPEC) -> Workflow:
    """A workflow of the local runner of which nothing has run yet."""
    return submit_workflow(write(folder, spec) / "flow.yaml", "local", say)


def test_a_step_that_read_what_is_mended_now_is_not_done_and_runs_anew(tmp_path: Path) -> None:
    flow = begun(tmp_path / "flow", PARTIAL)
    assert advance(flow, say, wait=True).succeeded
    all_ = flow.step_folder("last") / "results/0/outputs/all"
    assert all_.read_text() == "1\n3\n"
    (tmp_path / "flow/gate").touch()
    done = osgbatch("resubmit", "flow/run", cwd=tmp_path / "flow")  # the step alone
    assert done.returncode == 0, done.stderr
    osgbatch("watch", "flow/run", cwd=tmp_path / "flow")
    now = workflow_status(flow)
    assert [step.state for step in now.steps] == ["succeeded", "succeeded", "waiting"]
    assert not now.succeeded and now.due == ("last",)
    now = advance(flow, say, wait=True)
    assert now.complete and all_.read_text() == "1\n2\n3\n"
    earlier = flow.folder / "steps/last.earlier-1/results/0/outputs/all"
    assert earlier.read_text() == "1\n3\n"
    made = [rounds(flow.folder, step) for step in ("first", "run", "last")]
    assert made == [[[0]], [[0, 1, 2], [1]], [[0]]]
    assert advance(flow, say, wait=True, again=True).complete
    assert [rounds(flow.folder, step) for step in ("first", "run", "last")] == made


def test_resubmit_runs_what_later_steps_went_on_without(tmp_path: Path) -> None:
    flow = begun(tmp_path / "flow", PARTIAL)
    advance(flow, say, wait=True)
    (tmp_path / "flow/gate").touch()
    done = osgbatch("resubmit", cwd=tmp_path / "flow")
    assert done.returncode == 0, done.stderr
    assert "what it reads has changed" in done.stderr
    assert counts(tmp_path / "flow")["run"] == {"succeeded": 3}
    assert (flow.step_folder("last") / "results/0/outputs/all").read_text() == "1\n2\n3\n"


def test_what_only_looks_half_written_is_not_deleted(tmp_path: Path) -> None:
    flow = begun(tmp_path / "flow")
    (tmp_path / "flow/gate").touch()
    assert advance(flow, say, wait=True).complete
    run = flow.step_folder("run")
    (run / names.RESOLVED).rename(tmp_path / "away")
    with pytest.raises(BatchError, match=r"its resolved\.json is missing"):
        advance(flow, say, wait=True)
    assert (run / "results/1/outputs/y").read_text() == "2\n"
    (tmp_path / "away").rename(run / names.RESOLVED)
    (run / "rounds/001/submitted.json").unlink()  # nobody is known to run it
    with pytest.raises(BatchError, match="there are results in it"):
        run_here(flow, flow.step("run"), say)
    assert (run / "results/1/outputs/y").read_text() == "2\n"


def test_cancelled_before_it_began_it_begins_only_when_resubmitted(tmp_path: Path) -> None:
    flow = begun(tmp_path / "flow")
    (tmp_path / "flow/gate").touch()
    assert cancel_workflow(flow) == 0
    now = advance(flow, say, wait=True)
    assert [step.state for step in now.steps] == ["waiting"] * 3 and now.was_stopped
    told = osgbatch("watch", cwd=tmp_path / "flow")
    assert "next: osgbatch resubmit" in told.stderr and "runs here" not in told.stderr
    assert advance(flow, say, wait=True, again=True).complete
    assert cancel_workflow(flow) == 0  # what is done stays done
    assert not workflow_status(flow).was_stopped


def test_who_only_looks_on_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "flow", SPEC.replace("job.sh first", "job.sh first '' slowly"))
    (folder / "gate").touch()
    words = [sys.executable, "-m", "osgbatch", "submit", "--pool", "local", "flow.yaml"]
    first = subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (found := list(folder.glob("batches/*/steps/first/rounds/001/events.log"))):
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.05)
    flow = load_workflow(found[0].parents[4])

    def interrupted(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(advancing, "watch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_here(flow, flow.step("first"), say)
    _, told = first.communicate(timeout=180)
    assert first.returncode == 0, told


def test_a_node_done_again_runs_what_this_dagman_has_not_run(tmp_path: Path) -> None:
    """A passing failure before the node's jobs were made: its second try makes them."""
    flow = begun(tmp_path / "flow", PARTIAL)
    advance(flow, say, wait=True, until="run")
    batch = flow.batch("run")
    assert batch is not None
    now = status(batch, all_tasks=True)
    for began, retry, expected in ((time.time() + 1, 1, [1]), (1.0, 1, []), (1.0, 0, [1])):
        write_dag_note(flow, DagNote(0, 1, "host", began))
        assert _which(flow, retry)(now) == expected


def test_a_foreach_goes_on_though_each_task_has_a_failed_element(tmp_path: Path) -> None:
    flow = begun(tmp_path / "flow", PARTIAL.replace("run {x}", "run 2"))
    assert advance(flow, say, wait=True).failed == ("run",)
    batch = flow.batch("run")
    assert batch is not None
    assert not is_ended(status(batch))  # of a sweep nothing has succeeded
    (flow.folder / names.FOREACH_NOTE).write_text("{}")
    assert is_ended(status(batch))

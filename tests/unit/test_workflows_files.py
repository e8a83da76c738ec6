"""Workflows: copies are what was kept, and do without the user's own; one slot where it is due."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from test_workflows import SPEC, write
from test_workflows_kept import made, say

from osgbatch import names
from osgbatch.batches.half_made import half_made
from osgbatch.errors import BatchError, OsgbatchError, SpecErrors
from osgbatch.local import SLOTS_VARIABLE
from osgbatch.places import cache_folder
from osgbatch.spec import profiles
from osgbatch.staging import hashes
from osgbatch.submission.planned import AS_WRITTEN
from osgbatch.submission.resubmitting import Wanted, resubmit
from osgbatch.workflows import kept, looks
from osgbatch.workflows.advancing import advance
from osgbatch.workflows.changing import take_changes
from osgbatch.workflows.continuing import begun
from osgbatch.workflows.flow import reasons
from osgbatch.workflows.folder import Workflow
from osgbatch.workflows.starting import submit_workflow
from osgbatch.workflows.telling import workflow_status


def failed(folder: Path, spec: str = SPEC) -> Workflow:
    """A workflow of which a step has failed, and would succeed now."""
    flow = submit_workflow(write(folder, spec) / "flow.yaml", "local", say)
    assert advance(flow, say, wait=True).failed == ("run",)
    (folder / "gate").touch()
    return flow


def the_copy(flow: Workflow) -> Path:
    (found,) = flow.folder.glob("files/*/job.sh")
    return found


def test_where_the_users_own_are_gone_resubmit_uses_the_copies(tmp_path: Path) -> None:
    flow = failed(tmp_path / "flow")
    (tmp_path / "flow/job.sh").unlink()
    said: list[str] = []
    take_changes(flow, said.append)
    assert [line.partition(":")[0] for line in said] == ["note"] * 2
    assert all("job.sh" in line and "the copies of its files are used" in line for line in said)
    assert advance(flow, say, wait=True, again=True).complete
    assert made(flow, "last", "0/outputs/all") == "1\n2\n3\n"
    # what was never there is told, as ever; and nothing is said to begin that does not
    spec = tmp_path / "flow/flow.yaml"
    said.clear()
    missing = pytest.raises(SpecErrors, match=r'"job\.sh" does not exist')
    with missing, begun(spec, "local", said.append):
        pass
    assert not said
    spec.write_text(spec.read_text().replace("job.sh\nenv", "other.sh\nenv"))
    with pytest.raises(SpecErrors, match=r'"other\.sh" does not exist'):
        take_changes(flow, say)


def test_an_error_of_the_system_is_told_as_one_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = submit_workflow(write(tmp_path / "flow") / "flow.yaml", "local", say)

    def denied(*_: object) -> object:
        raise PermissionError(13, "Permission denied", "/far/job.sh")

    with monkeypatch.context() as patched:
        patched.setattr(kept, "_look", denied)
        assert kept.changed_since(flow, ["run"]) == [
            "/far/job.sh cannot be read: Permission denied"
        ]
        spec = kept.as_kept(flow, flow.step("run"), ())
        assert spec is not None and spec.written_files == ()
    (tmp_path / "flow/job.sh").unlink()
    (tmp_path / "flow/job.sh").symlink_to("job.sh")  # root cannot read that either
    assert "symbolic links" in kept.changed_since(flow, ["run"])[0]
    said: list[str] = []
    take_changes(flow, said.append)
    assert "the copies of its files are used" in said[0]


def test_copies_that_are_not_what_was_kept_are_not_used(tmp_path: Path) -> None:
    flow = submit_workflow(write(tmp_path / "flow") / "flow.yaml", "local", say)
    run, note = flow.step("run"), flow.folder / "steps/run.kept.json"
    for damage, told in (
        (lambda: the_copy(flow).write_text("exit 0\n"), r"are not what was copied: job\.sh"),
        (lambda: the_copy(flow).unlink(), r"are not what was copied: job\.sh"),
        (lambda: shutil.rmtree(the_copy(flow).parent), "copies .* cannot be read"),
        (lambda: note.write_text(note.read_text()[:40]), "is to run with cannot be read"),
        (lambda: note.write_text("[]"), "is to run with cannot be read"),
    ):
        damage()
        with pytest.raises(BatchError, match=told) as caught:
            kept.as_kept(flow, run, ())
        assert "osgbatch resubmit" in caught.value.fix
        take_changes(flow, say)  # from the user's own
        assert kept.as_kept(flow, run, ()) is not None
    note.unlink()  # as of an earlier osgbatch
    assert kept.as_kept(flow, run, ()) is None


def test_a_workflow_killed_while_files_are_copied_is_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "flow")

    class Killed(BaseException):
        pass

    def killed(*_: object) -> object:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(kept, "_copy", killed)
        patched.setattr("osgbatch.batches.folder.remove", lambda folder: None)
        with pytest.raises(Killed):
            submit_workflow(folder / "flow.yaml", "condor", say, asked=False)
    (half,) = (folder / "batches").iterdir()
    assert (half / "workflow.dag").exists() and (half / "files").is_dir()
    old = time.time() - 100
    os.utime(half, (old, old))
    (half / "steps/first").mkdir()  # it has begun: not to be guessed about
    assert not list(half_made(folder / "batches"))
    (half / "steps/first").rmdir()
    flow = submit_workflow(folder / "flow.yaml", "local", say)
    assert list((folder / "batches").iterdir()) == [flow.folder]
    os.utime(flow.folder, (old, old))
    assert not list(half_made(folder / "batches"))


def test_large_files_are_told_of_and_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "flow")
    old = time.time() - 100
    os.utime(folder / "job.sh", (old, old))
    monkeypatch.setattr(hashes, "_YOUNG_NS", 0)
    monkeypatch.setattr(kept, "LARGE", 10)
    said: list[str] = []
    flow = submit_workflow(folder / "flow.yaml", "local", said.append)
    (told,) = (line for line in said if "copied" in line)
    assert told.startswith("warning: step first: its files: are 0 MB") and "inputs:" in told
    with hashes.Hashes(cache_folder()) as known:
        assert known.known(folder / "job.sh")
        monkeypatch.setattr(hashes.Hashes, "_read", lambda *_: pytest.fail("it is read again"))
        kept.look(kept.step_as_written(flow, flow.step("run"), ()))


def test_here_on_an_access_point_is_one_job_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SPEC.replace("name: run\n", "name: run\n    here: true\n")
    monkeypatch.setenv(SLOTS_VARIABLE, "8")
    monkeypatch.delenv(names.ON_ACCESS_POINT, raising=False)
    folder = write(tmp_path / "flow", spec)
    flow = submit_workflow(folder / "flow.yaml", "local", say)
    monkeypatch.setattr(profiles, "host_names", lambda: ("ap40.uw.osg-htc.org",))
    assert advance(flow, say, wait=True).failed == ("run",)
    assert os.environ[SLOTS_VARIABLE] == "1"
    (folder / "gate").touch()
    batch = flow.batch("run")
    assert batch is not None
    with pytest.raises(OsgbatchError, match="access point of Open Science Pool") as caught:
        resubmit(batch, Wanted(), say, AS_WRITTEN)
    assert not caught.value.where and "--on-access-point" in caught.value.fix
    take_changes(flow, say)
    assert advance(flow, say, wait=True, again=True).complete


def test_results_of_an_earlier_batch_are_known_by_those_of_its_tasks(tmp_path: Path) -> None:
    results = tmp_path / "batches/b/results"
    (results / "0/outputs").mkdir(parents=True)
    (results / "0/outputs/y").write_text("1")
    (results / "results.csv").write_text("index\n0\n")
    before = looks.looks(results)
    (results / "results.csv").write_text("index\n0\n1\n")
    assert looks.looks(results) != before  # of no batch: a folder of the user's
    (results.parent / names.RESOLVED).touch()
    before = looks.looks(results)
    (results / "results.csv").write_text("index\n0\n1\n2\n")
    (results / "results.parquet").touch()
    assert looks.looks(results) == before and looks.newest(results)
    (results / "0/outputs/results.csv").write_text("of the task")
    assert looks.looks(results) != before


def test_a_node_whose_script_died_has_failed_and_leads_to_its_log(tmp_path: Path) -> None:
    flow = submit_workflow(write(tmp_path / "flow") / "flow.yaml", "condor", say, asked=False)
    flow.step_log("first").write_text(
        "x y warning: z\nTraceback (most recent call last):\n  File x\nValueError: odd\n"
    )
    now = workflow_status(flow)
    assert [step.state for step in now.steps] == ["failed", "waiting", "waiting"]
    (reason,) = reasons(flow, now)
    assert reason.said[0] == "osgbatch died: ValueError: odd"
    assert reason.said[1].endswith("steps/first.log")

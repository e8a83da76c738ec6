"""Workflows: all steps run with the files that were submitted; what cannot be kept is watched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from test_workflows import JOB, osgbatch, write

from osgbatch.batches import folder as folders
from osgbatch.errors import BatchError, OsgbatchError
from osgbatch.workflows.advancing import advance
from osgbatch.workflows.changing import take_changes
from osgbatch.workflows.continuing import begun
from osgbatch.workflows.folder import Workflow, load_workflow
from osgbatch.workflows.kept import read_kept
from osgbatch.workflows.starting import submit_workflow
from osgbatch.workflows.telling import workflow_status

OTHER = JOB.replace("echo 2 >", "echo new 2 >").replace('echo "$2" >', 'echo "new $2" >')


def say(text: str) -> None:
    print(text)


def made(flow: Workflow, step: str, name: str) -> str:
    return (flow.step_folder(step) / "results" / name).read_text()


def test_later_steps_use_the_files_that_were_submitted(tmp_path: Path) -> None:
    folder = write(tmp_path / "flow")
    spec = (folder / "flow.yaml").read_text()
    (folder / "flow.yaml").write_text(spec.replace("files: job.sh", "files: [job.sh, 'a*', odd]"))
    (folder / "gate").touch()
    (folder / "a [1]'\n.txt").write_text("odd")
    (folder / "a.sh").write_text("#!/bin/sh\n")
    (folder / "a.sh").chmod(0o755)
    (folder / "odd/below").mkdir(parents=True)
    (folder / "odd/link").symlink_to("below")
    flow = submit_workflow(folder / "flow.yaml", "local", say)
    advance(flow, say, wait=True, until="first")
    (folder / "job.sh").write_text(OTHER)
    said: list[str] = []
    with begun(folder / "flow.yaml", "local", said.append) as found:
        assert found.workflow.id == flow.id
    assert "of which first is done" in said[0]
    assert "job.sh has changed since it was submitted: it goes on with what was there" in said[1]
    assert "--again begins anew" in said[1]
    shutil.rmtree(folder / "odd")  # nor need they be there any more
    assert advance(flow, say, wait=True).complete
    assert made(flow, "last", "0/outputs/all") == "1\n2\n3\n"
    sums = [folders.payload_sums(flow.batch(step.name).data) for step in flow.steps]  # type: ignore[union-attr]
    assert sums[0] == sums[1] == sums[2] != []
    assert len(list((flow.folder / "files").iterdir())) == 1


def test_the_copies_are_packed_as_the_files_were(tmp_path: Path) -> None:
    """So that what has run is known to be the same: done is done."""
    folder = write(tmp_path / "flow")
    (folder / "gate").touch()
    (folder / "job.sh").chmod(0o754)
    done = osgbatch("submit", "--pool", "local", "flow.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    again = osgbatch("submit", "--pool", "local", "flow.yaml", cwd=folder)
    assert "has done this already" in again.stderr, again.stderr
    told = osgbatch("status", cwd=folder)
    assert not told.stderr  # all is collected: nothing is left to type
    assert "nothing to cancel" in osgbatch("cancel", "--yes", cwd=folder).stdout


def test_resubmit_takes_them_anew_and_says_which(tmp_path: Path) -> None:
    folder = write(tmp_path / "flow")
    flow = submit_workflow(folder / "flow.yaml", "local", say)
    assert advance(flow, say, wait=True).failed == ("run",)
    (folder / "gate").touch()
    (folder / "job.sh").write_text(OTHER)
    said: list[str] = []
    take_changes(flow, said.append)
    assert said == [
        "step first: it has run with job.sh as it was, and is not run again",
        "step run: job.sh has changed and is taken anew",
        "step last: job.sh has changed and is taken anew",
    ]
    assert advance(flow, say, wait=True, again=True).complete
    assert made(flow, "last", "0/outputs/all") == "1\nnew 2\n3\n"


WATCHED = """\
files: job.sh
steps:
  - {name: first, command: "true"}
  - name: second
    after: first
    sweep: {table: rows.csv}
    inputs: [data.txt, "{x}.txt"]
    libraries: lib
    command: "true"
"""


def watched(folder: Path) -> Workflow:
    folder.mkdir()
    (folder / "job.sh").write_text("")
    (folder / "flow.yaml").write_text(WATCHED)
    (folder / "rows.csv").write_text("x\n1\n")
    for name in ("data.txt", "1.txt", "2.txt"):
        (folder / name).write_text("x")
    (folder / "lib").mkdir()
    (folder / "lib/__init__.py").write_text("")
    flow = submit_workflow(folder / "flow.yaml", "local", say)
    advance(flow, say, wait=True, until="first")
    return flow


@pytest.mark.parametrize("name", ["data.txt", "1.txt", "lib", "the table of step second's tasks"])
def test_what_is_not_kept_must_be_what_it_was(tmp_path: Path, name: str) -> None:
    flow = watched(tmp_path / "flow")
    above = flow.spec_folder
    place = above / {"lib": "lib/__init__.py"}.get(
        name, name if "table" not in name else "rows.csv"
    )
    before = place.stat()
    place.write_text("x\n2\n" if place.name == "rows.csv" else "other")
    if name == "data.txt":  # as rsync does
        os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BatchError, match=r"has changed since the workflow was submitted") as caught:
        advance(flow, say, wait=True)
    assert name in caught.value.what and "osgbatch resubmit" in caught.value.fix
    assert flow.batch("second") is None
    take_changes(flow, say)
    assert advance(flow, say, wait=True, again=True).complete


def test_what_was_only_touched_or_moved_is_the_same(tmp_path: Path) -> None:
    flow = watched(tmp_path / "flow")
    for name in ("data.txt", "1.txt"):
        (flow.spec_folder / name).chmod(0o600)
    (flow.spec_folder / "2.txt").write_text("of no task")
    assert advance(flow, say, wait=True).complete
    kept = read_kept(flow, flow.step("second"))
    assert kept is not None and set(kept.sums) == {"job.sh"}


def test_steps_that_do_not_need_one_that_failed_run_here_too(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(
        "steps:\n"
        "  - {name: a, command: sh -c 'exit 3'}\n"
        "  - {name: b, after: a, command: 'true'}\n"
        "  - {name: c, command: 'true'}\n"
        "  - {name: d, after: c, command: 'true'}\n"
    )
    done = osgbatch("submit", "--pool", "local", "flow.yaml", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    (folder,) = (tmp_path / "batches").iterdir()
    states = {step.name: step.state for step in workflow_status(load_workflow(folder)).steps}
    assert states == {"a": "failed", "b": "waiting", "c": "succeeded", "d": "succeeded"}


def test_commands_of_batches_work_with_a_workflow_or_say_what_does(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text("steps: [{name: a, command: 'true'}]\n")
    assert osgbatch("submit", "--pool", "local", "flow.yaml", cwd=tmp_path).returncode == 0
    done = osgbatch("config", "flow.yaml", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr
    for words, told in (
        (["archive", "flow"], "`tar -czf flow-"),
        (["archive", "--rm", "--yes", "flow/a"], "which would run it anew"),
        (["tag", "flow", "good"], "Name one of its steps: flow/a."),
        (["tasks", "flow"], "Name one of its steps: flow/a."),
    ):
        assert told in osgbatch(*words, cwd=tmp_path).stderr


def test_a_container_that_cannot_be_started_here_is_told_before_the_pool_has_worked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "flow.yaml").write_text(
        "environment: docker://python:3.12\nsteps:\n  - {name: a, command: 'true'}\n"
        "  - {name: b, here: true, after: a, command: 'true'}\n"
    )
    with pytest.raises(OsgbatchError, match="no apptainer on this machine"):
        submit_workflow(tmp_path / "flow.yaml", "condor", say, asked=False)
    assert not list(tmp_path.glob("batches/*"))

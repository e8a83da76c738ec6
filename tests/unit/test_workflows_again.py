"""The same workflow submitted once more: nothing is done twice, and nothing is ignored."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import started

from osgbatch.cli.completing import batches
from osgbatch.errors import BusyError, OsgbatchError
from osgbatch.submission.planned import Choices
from osgbatch.workflows.alone import alone
from osgbatch.workflows.continuing import begun

SPEC = """\
files: job.sh
steps:
  - name: first
    inputs: near.txt
    command: sh job.sh first
    outputs: outputs/rows.csv
  - name: run
    partial: true
    sweep: {table: "step:first/0/outputs/rows.csv"}
    command: sh job.sh run {x}
"""
JOB = """\
echo "$*" >>"$LOG"
while [ -e "$LOG.wait" ]; do sleep 0.1; done
case $1$2 in
    first) cat inputs/near.txt >outputs/rows.csv ;;
    run2) [ -e "$LOG.good" ] ;;
esac
"""


def write(folder: Path) -> Path:
    folder.mkdir()
    log = f"files: job.sh\nenvironment_variables: {{LOG: {folder}/log}}"
    (folder / "flow.yaml").write_text(SPEC.replace("files: job.sh", log))
    (folder / "job.sh").write_text(JOB)
    (folder / "near.txt").write_text("x\n1\n2\n")
    (folder / "log.good").touch()
    return folder


def submitting(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "osgbatch", "submit", "--pool", "local", "flow.yaml", *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def submit(folder: Path, *words: str) -> tuple[int, str]:
    done = started.osgbatch(["submit", "--pool", "local", "flow.yaml", *words], folder)
    return done.returncode, done.stderr


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ran(folder: Path) -> list[str]:
    return sorted((folder / "log").read_text().splitlines())


def flows(folder: Path) -> list[Path]:
    return sorted(folder.glob("batches/*/workflow.json"))


def test_two_at_once_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "flow")
    (folder / "log.wait").touch()
    both = [submitting(folder), submitting(folder)]
    until(lambda: any(one.poll() is not None for one in both))
    (folder / "log.wait").unlink()
    said = [one.communicate(timeout=120)[1] for one in both]
    assert sorted(one.returncode for one in both) == [0, 6], said
    assert sum("does the very same, and has not ended" in text for text in said) == 1
    assert ran(folder) == ["first", "run 1", "run 2"]
    (made,) = flows(folder)
    monkeypatch.chdir(folder)
    assert batches("fl") == ["flow", made.parent.name]
    assert batches("flow/") == ["flow/first", "flow/run"]
    assert batches("flow/r") == ["flow/run"]


def test_who_asks_meanwhile_is_sent_away_unless_he_insists(tmp_path: Path) -> None:
    path = write(tmp_path / "flow") / "flow.yaml"
    said: list[str] = []
    with begun(path, "local", said.append) as one:
        with pytest.raises(BusyError, match="does the very same"), begun(path, "auto", said.append):
            pass
        with pytest.raises(BusyError, match="another osgbatch"), alone(one.workflow):
            pass
        with begun(path, "local", said.append, again=True) as other:
            assert other.workflow.id != one.workflow.id
        # The newest is free, and the one before is not.
        with pytest.raises(BusyError, match=one.workflow.id), begun(path, "local", said.append):
            pass
    with begun(path, "auto", said.append) as found:
        assert found.workflow.id == other.workflow.id
    with (
        pytest.raises(OsgbatchError, match="no step"),
        begun(path, "auto", said.append, until="frist"),
    ):
        pass
    assert len(flows(path.parent)) == 2


def test_what_is_done_is_not_done_again_unless_something_changed(tmp_path: Path) -> None:
    folder = write(tmp_path / "flow")
    settings = ("--set", "resources.memory=333MB")
    assert submit(folder, *settings)[0] == 0
    code, said = submit(folder, *settings)
    assert code == 0
    assert "has done this already" in said
    assert ran(folder) == ["first", "run 1", "run 2"]
    assert len(flows(folder)) == 1
    path, told = folder / "flow.yaml", list[str]()
    chosen = Choices(settings[1:])
    (folder / "job.sh").write_text(f"# new\n{JOB}")
    with begun(path, "local", told.append, chosen) as found:
        assert not found.done
    assert "its files or its environment have changed: this begins anew" in told[-1]
    shutil.rmtree(found.workflow.folder)
    (folder / "job.sh").write_text(JOB)
    with begun(path, "auto", told.append, chosen) as found:
        assert found.done
    old = (folder / "near.txt").stat()
    (folder / "near.txt").write_text("x\n1\n3\n")
    os.utime(folder / "near.txt", ns=(old.st_atime_ns, old.st_mtime_ns))  # as cp -p
    with begun(path, "local", told.append, chosen) as fresh:
        assert "near.txt is newer: this begins anew" in told[-1]
    # What was interrupted is gone on with by who asks for the very same, and nobody else.
    with begun(path, "local", told.append) as found:
        assert "continuing" not in told[-1]
        assert found.workflow.settings == ()
    with begun(path, "local", told.append, chosen) as found:
        assert "continuing workflow" in told[-1]
        assert found.workflow.id == fresh.workflow.id


def test_one_whose_osgbatch_was_killed_is_told_to_run_still(tmp_path: Path) -> None:
    folder = write(tmp_path / "flow")
    (folder / "log.wait").touch()
    victim = submitting(folder, "--until", "first")
    until((folder / "log").exists)
    victim.kill()
    victim.communicate()
    other = submitting(folder)
    assert other.stderr is not None
    line = other.stderr.readline()
    (folder / "log.wait").unlink()
    other.communicate(timeout=120)
    assert "whose step runs still" in line
    assert other.returncode == 0
    assert ran(folder) == ["first", "run 1", "run 2"]


def test_a_changed_step_that_has_succeeded_is_told_not_to_run_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "flow")
    (folder / "log.good").unlink()
    submit(folder)
    spec = (folder / "flow.yaml").read_text()
    (folder / "flow.yaml").write_text(spec.replace("job.sh first", "job.sh first '' more"))
    (folder / "log.good").touch()
    done = started.osgbatch(["resubmit", "flow"], folder)
    assert done.returncode == 0, done.stderr
    assert "step first: its spec has changed, but it has succeeded and is not run" in done.stderr
    with begun(folder / "flow.yaml", "local", lambda text: None) as found:
        assert not found.done
    assert len(flows(folder)) == 2

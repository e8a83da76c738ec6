"""Whether a submission that was cut short would still do what the spec now says."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_local_harness import wait_until

from osgbatch import names
from osgbatch.batches.folder import Batch, locked, same_work
from osgbatch.batches.half_made import half_made
from osgbatch.errors import BusyError
from osgbatch.life.following import status
from osgbatch.submission import steps
from osgbatch.submission.only_once import DoneAlreadyError, OnlyOnce
from osgbatch.submission.steps import Ways

SPEC = "command: cat {a} {b}\nsweep: {table: t.csv}\ninputs: '@list.txt'\nfiles: job.py\n"


def rendered(folder: Path) -> Batch:
    return steps.render_sweep(folder / "sweep.yaml", None, lambda text: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "sweep.yaml": SPEC, "t.csv": "a,b\n1,2\n", "list.txt": "x\n", "x": "x", "y": "y",
        "job.py": "1",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    return tmp_path


def test_nothing_has_changed(folder: Path) -> None:
    assert same_work(rendered(folder), rendered(folder))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "b,a\n1,2\n"),
        ("t.csv", "a,b\n1,3\n"),
        ("list.txt", "y\n"),
        ("job.py", "2"),
        ("sweep.yaml", SPEC + "resources: {memory: 3 GB}\n"),
    ],
)
def test_something_has_changed(folder: Path, name: str, text: str) -> None:
    before = rendered(folder)
    (folder / name).write_text(text)
    assert not same_work(before, rendered(folder))


# --- what is being done already ------------------------------------------------------------------

RUNS = "for i in $(seq 200); do [ -e go ] && exit; sleep 0.1; done"


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A sweep for the local runner, whose task runs until there is a file `go`."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "run.sh").write_text(f"cd {tmp_path}\n{RUNS}\n")
    (tmp_path / "sweep.yaml").write_text(
        "command: sh run.sh {x}\nsweep: {x: [0]}\nfiles: [run.sh]\n"
    )
    yield tmp_path / "sweep.yaml"
    (tmp_path / "go").touch()


def submit(sweep: Path, **ways: object) -> Batch:
    asked = Ways(again=lambda reason: bool(ways.get("again")))
    return steps.submit_sweep(sweep, "local", lambda text: None, ways=asked)


def test_what_runs_in_any_batch_of_the_folder_is_not_submitted_again(sweep: Path) -> None:
    """A, then B, whose files differ, and A again."""
    submit(sweep)
    text = (sweep.parent / "run.sh").read_text()
    (sweep.parent / "run.sh").write_text(f"# B\n{text}")
    submit(sweep)
    (sweep.parent / "run.sh").write_text(text)
    with pytest.raises(BusyError, match="does the very same"):
        submit(sweep)
    assert len(list((sweep.parent / "batches").iterdir())) == 2
    submit(sweep, again=True)


def test_what_was_done_and_has_succeeded_is_told(sweep: Path) -> None:
    (sweep.parent / "go").touch()
    done = submit(sweep)
    wait_until(lambda: status(done).ended, "it ends")
    reasons: list[str] = []
    ways = Ways(repeat=lambda reason: bool(reasons.append(reason)))
    with pytest.raises(DoneAlreadyError, match="did the very same, and has succeeded") as raised:
        steps.submit_sweep(sweep, "local", lambda text: None, ways=ways)
    assert raised.value.folder == done.folder
    assert "--reuse takes its results" in reasons[0]


def test_of_two_submissions_at_the_same_moment_one_is_refused(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have looked when neither was submitted, and both are then given to the backend."""
    together = threading.Barrier(2, timeout=60)
    check = OnlyOnce.check
    looked = threading.local()

    def check_together(self: OnlyOnce, spec: bytes) -> None:
        check(self, spec)
        if not getattr(looked, "once", False):
            looked.once = True
            together.wait()

    monkeypatch.setattr(OnlyOnce, "check", check_together)
    with ThreadPoolExecutor(2) as both:
        found = [both.submit(submit, sweep) for _ in range(2)]
        errors = [one.exception() for one in found]
    assert sorted(type(error).__name__ for error in errors) == ["DoneAlreadyError", "NoneType"]
    assert len(list((sweep.parent / "batches").iterdir())) == 1


def test_what_a_submission_killed_early_has_left_is_cleared(folder: Path) -> None:
    parent = folder / "batches"
    made = rendered(folder)
    old = time.time() - 100
    for name in ("half", "half-too", "new", "mine", "given"):
        (parent / name / "rounds/001").mkdir(parents=True)
        (parent / name / names.LOCK).touch()
        (parent / name / "payload").mkdir()
    (parent / "half/.sweep.yaml.107").touch()
    (parent / "mine/notes.txt").touch()
    (parent / "given/rounds/001/submitted.json").touch()
    for path in parent.iterdir():
        os.utime(path, (old, old))
    (parent / "new/tasks.csv").touch()
    assert [path.name for path in half_made(parent)] == ["half", "half-too"]
    with locked(parent / "half"):
        assert [path.name for path in half_made(parent)] == ["half-too"]
    assert made.folder.is_dir()

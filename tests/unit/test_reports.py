"""What `status`, `check` and `submit` say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from osgbatch import following, steps, ui
from osgbatch.cli.app import app
from osgbatch.cli.reports import SHOWN, collect_text, endings_text, status_text
from osgbatch.following import Status
from osgbatch.model import Submitted, TaskState


@pytest.fixture
def status(tmp_path: Path) -> Callable[..., Status]:
    """The status of a rendered batch of so many tasks, all waiting, but for those given."""

    def made(tasks: int, *states: TaskState) -> Status:
        (tmp_path / "sweep.yaml").write_text(f"command: e\nsweep: {{n: {{range: {tasks}}}}}\n")
        batch = steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)
        now = following.status(batch, all_tasks=True)
        every = list(now.states)
        for state in states:
            every[state.index] = state
        return replace(now.with_states(every), backend="condor", cluster=7, stalled="")

    return made


def removed(index: int) -> TaskState:
    return TaskState(index, "removed", "removed by osgbatch cancel")


def test_one_task_is_not_tasks(status: Callable[..., Status]) -> None:
    now = status(1, TaskState(0, "failed", "exit", exit_code=3))
    assert "\n1 task: 1 failed\n" in status_text(now)
    assert collect_text(now, 1).startswith("1 task: 1 failed; 1 newly unpacked")


@pytest.mark.parametrize(
    ("detail", "tip"),
    [
        ("the input inputs/a is not what was staged", "try: osgbatch stage verify"),
        ("the input inputs/a has 5 bytes, not 6", "try: submit again if it has changed"),
        ("the input inputs/a is not what was staged: an earlier task or try has changed it",
         "try: tasks_per_job: 1"),
    ],
)  # fmt: skip
def test_what_to_do_about_a_damaged_input_is_said_once(
    status: Callable[..., Status], detail: str, tip: str
) -> None:
    ended = [TaskState(n, "failed", "infrastructure", detail, exit_code=114) for n in range(2)]
    (said,) = (line for line in endings_text(status(3, *ended)).splitlines() if "try: " in line)
    assert said.startswith(tip)
    other = TaskState(0, "failed", "exit", exit_code=114)
    assert "try: " not in endings_text(status(1, other))


def test_thousands_are_separated_everywhere_alike() -> None:
    assert ui.work(252_000, 1_000) == "252,000 tasks in 1,000 jobs"
    assert ui.counts({"waiting": 12_345, "failed": 1}) == "1 failed, 12,345 waiting"


def test_tasks_that_were_removed_alike_are_one_line(status: Callable[..., Status]) -> None:
    gone = [removed(n) for n in range(40) if n != 20]
    now = status(40, *gone, TaskState(20, "failed", "exit", exit_code=3))
    lines = endings_text(now).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["0-19+21-39", "removed", "39", "tasks:", "removed", "by", "osgbatch", "cancel"],
        ["20", "n=20", "failed", "exit", "code", "3"],
    ]


def test_one_removed_task_is_shown_as_any_other(status: Callable[..., Status]) -> None:
    line = endings_text(status(2, removed(1))).splitlines()[1]
    assert line.split() == ["1", "n=1", "removed", "removed", "by", "osgbatch", "cancel"]


def test_failures_are_never_folded_and_the_rest_is_counted(status: Callable[..., Status]) -> None:
    now = status(15, *(TaskState(n, "failed", "exit", exit_code=3) for n in range(15)))
    lines = endings_text(now).splitlines()
    assert len(lines) == 1 + SHOWN + 1
    assert lines[-1] == "and 5 more"


@pytest.mark.parametrize("as_json", [False, True])
def test_submit_without_a_terminal_says_what_comes_next(
    status: Callable[..., Status], monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    batch = status(1).batch
    monkeypatch.setattr("osgbatch.steps.submit_sweep", lambda *given: batch)
    monkeypatch.setattr(
        "osgbatch.batches.folder.read_submitted", lambda round_: Submitted("local", 1, 1, 0.0)
    )
    done = CliRunner().invoke(app, ["submit", "sweep.yaml", *["--json"] * as_json])
    assert done.exception is None
    name = batch.folder.name
    told = f"osgbatch watch {name}" in done.output and f"osgbatch collect {name}" in done.output
    assert told != as_json

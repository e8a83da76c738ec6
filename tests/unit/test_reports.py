"""What `status`, `check` and `submit` say."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from osgbatch import names, ui
from osgbatch.batches import store
from osgbatch.batches.folder import load
from osgbatch.batches.measures import Measures, measure
from osgbatch.cli.app import command_line
from osgbatch.cli.reports import (
    SHOWN,
    collect_text,
    endings_text,
    left_words,
    next_steps,
    status_text,
)
from osgbatch.errors import BatchError
from osgbatch.life import following
from osgbatch.life.following import Status
from osgbatch.life.naming import in_commands
from osgbatch.life.rounds import LATER_CUT_SHORT, RUNNER_DIED
from osgbatch.model import JobState, Submitted, TaskState
from osgbatch.submission import steps


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


def test_tasks_that_went_wrong_alike_are_one_line(status: Callable[..., Status]) -> None:
    gone = [removed(n) for n in range(40) if n != 20]
    now = status(40, *gone, TaskState(20, "failed", "exit", exit_code=3))
    lines = endings_text(now).splitlines()
    assert [line.split() for line in lines] == [
        ["tasks", "state", "parameters", "why"],
        ["20", "1", "failed", "n=20", "exit", "code", "3"],
        ["0-19,21-39", "39", "removed", "removed", "by", "osgbatch", "cancel"],
    ]
    many = [TaskState(n, "failed", "exit", exit_code=3) for n in range(0, 100, 2)]
    line = endings_text(status(100, *many)).splitlines()[1]
    assert line.split() == ["0,2,4,6,8,10,12,...", "50", "failed", "exit", "code", "3"]


def test_groups_that_are_not_shown_are_counted(status: Callable[..., Status]) -> None:
    now = status(15, *(TaskState(n, "failed", "exit", exit_code=n + 1) for n in range(15)))
    lines = endings_text(now).splitlines()
    assert len(lines) == 1 + SHOWN + 1
    assert lines[-1] == "and 5 more"


def test_of_a_held_job_one_line_says_what_its_codes_mean(status: Callable[..., Status]) -> None:
    reason = "Error from slot1@ep: " + "very long words " * 60
    job = JobState(0, "held", reason=reason, hold_code=34, hold_subcode=102)
    text = endings_text(status(1, TaskState(0, "held", reason, job=job, round=1)))
    assert len(text.splitlines()) <= 3
    assert "hold 34.102: " in text
    assert max(map(len, text.splitlines())) <= 80


def test_of_a_long_line_both_ends_are_kept() -> None:
    path = "/var/lib/condor/execute/dir_4711/scratch/tasks/0/run.sh"
    assert ui.cut(f"sh: 1: {path}: not found", 40) == "sh: 1: .../tasks/0/run.sh: not found"
    assert ui.cut(f"sh: 1: {path}: not found", 35) == "sh: 1: .../0/run.sh: not found"
    assert ui.cut(f"sh: 1: {path}: not found", 80) == f"sh: 1: {path}: not found"
    cut = ui.cut("a" * 50 + "z" * 50, 30)
    assert (len(cut), cut[0], cut[-1]) == (30, "a", "z")
    assert ui.cut("  two\x1b", 20) == "  two\\x1b"


def test_commands_name_the_batch_so_that_a_shell_finds_it_here(
    status: Callable[..., Status], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = status(1).batch
    monkeypatch.chdir(tmp_path)
    batch = load(made.folder.rename(made.folder.with_name("b-1")))
    assert in_commands(batch) == batch.id[:6]
    other = batch.folder.with_name(batch.id[:6])  # a folder that has that for its name
    shutil.copytree(batch.folder, other)
    noted = json.loads((other / names.RESOLVED).read_text())
    (other / names.RESOLVED).write_text(json.dumps({**noted, "batch_id": "0123456789ab"}))
    moved = batch.folder.rename(batch.folder.with_name("my b"))
    assert in_commands(load(moved)) == "'my b'"
    shutil.rmtree(other)
    again = moved.rename(moved.with_name("its own"))
    assert in_commands(load(again)) == batch.id[:6]
    copy = tmp_path / "other" / "copy"
    shutil.copytree(again, copy)
    assert in_commands(load(copy)) == "other/copy"
    monkeypatch.chdir(copy.parent)
    assert in_commands(load(copy)) == "copy"


def test_what_was_collected_is_not_to_be_collected_again(status: Callable[..., Status]) -> None:
    now = status(1, TaskState(0, "succeeded"))
    collect = f"osgbatch collect {in_commands(now.batch)}"
    assert next_steps(now) == [collect]
    events = now.batch.rounds()[0].folder / names.EVENTS
    results = now.batch.folder / names.RESULTS
    results.mkdir()
    for path, when in ((events, 1000), (results / names.RESULTS_TABLE, 2000)):
        path.touch()
        os.utime(path, (when, when))
    assert next_steps(now) == []
    os.utime(events, (3000, 3000))
    assert next_steps(now) == [collect]


def test_why_is_pointed_to_when_nothing_runs(status: Callable[..., Status]) -> None:
    now = status(2)
    assert next_steps(now)[1:] == [f"osgbatch why {in_commands(now.batch)}"]
    assert len(next_steps(status(2, TaskState(0, "running")))) == 1


def test_what_waits_for_a_canary_says_how_it_goes_on(status: Callable[..., Status]) -> None:
    good = status(3, TaskState(0, "succeeded"))
    name = in_commands(good.batch)
    # its canary has succeeded; has failed; is held; and the submission was cut short
    assert next_steps(replace(good, held_back=2)) == [f"osgbatch watch {name}"]
    failed = replace(status(3, TaskState(0, "failed", "exit", exit_code=3)), held_back=2)
    steps_ = [step.split()[1] for step in next_steps(failed)]
    assert steps_ == ["why", "resubmit", "watch"]
    held = replace(status(3, TaskState(0, "held")), held_back=2)
    assert [step.split()[1] for step in next_steps(held)] == ["why", "release", "watch"]
    assert next_steps(replace(good, held_back=2, counts={"waiting": 3}, stalled="cut short")) == []
    cut = replace(status(1, TaskState(0, "removed")), stalled=LATER_CUT_SHORT)
    assert f"\nnote: {LATER_CUT_SHORT}\nnext: osgbatch watch " in status_text(cut)
    assert [step.split()[1] for step in next_steps(cut)] == ["watch", "resubmit"]
    died = replace(status(1, TaskState(0, "unknown", "runner-died")), stalled=RUNNER_DIED)
    assert [step.split()[1] for step in next_steps(died)] == ["why", "resubmit"]
    both = status(2, TaskState(0, "held"), TaskState(1, "unknown"))
    assert [step.split()[1] for step in next_steps(both)] == ["why", "release", "resubmit"]


def test_tasks_that_run_in_turn_are_told_with_their_jobs(status: Callable[..., Status]) -> None:
    now = status(12, *(TaskState(n, "running") for n in range(11)))
    told = "\n12 tasks: 11 running{}, 1 waiting\n"
    for jobs, text in ((2, " in 2 jobs"), (1, " in 1 job"), (11, ""), (0, "")):
        measured = replace(now, measures=Measures(running_jobs=jobs))
        assert told.format(text) in status_text(measured)


def test_use_is_told_of_what_all_jobs_asked_for(status: Callable[..., Status]) -> None:
    now = status(1)
    for asked, told in (
        ((), "709.0 MB of 1.0 GB memory"),  # nothing has ended: as its round says
        ((1536,), "709.0 MB of 1.5 GB memory"),  # as `release --memory` has it
        ((600, 1500), "at most 709.0 MB memory"),
    ):
        measured = replace(now, measures=Measures(memory_mb=709, requested_mb=asked))
        assert told in status_text(measured)


def test_the_next_step_for_held_tasks_is_that_of_why(status: Callable[..., Status]) -> None:
    def held(index: int, code: int, reason: str) -> TaskState:
        job = JobState(index, "held", hold_code=code, hold_subcode=102, reason=reason)
        return TaskState(index, "held", reason, job=job)

    much = "memory usage exceeded request_memory"
    alike = next_steps(status(2, held(0, 21, much), held(1, 21, much)))
    assert any(" --memory 2GB" in step for step in alike), alike
    differing = next_steps(status(2, held(0, 21, much), held(1, 13, "no such file")))
    stopped = next_steps(status(2, held(0, 1, "osgbatch --stop-after: all fail")))
    assert not any("release" in step for step in (*differing, *stopped))
    assert any(step.startswith("osgbatch why ") for step in differing)


def test_a_rate_is_that_of_successes(tmp_path: Path) -> None:
    with store.Store(tmp_path / "state.db").look():
        pass
    database = sqlite3.connect(tmp_path / "state.db")
    for task in range(6):
        database.execute(
            "INSERT INTO jobs (round, proc, state, started, ended) VALUES (1, ?, '', 100, 200)",
            (task,),
        )
        database.execute(
            "INSERT INTO tasks (task, state, round, proc) VALUES (?, ?, 1, ?)",
            (task, "succeeded" if task > 3 else "failed", task),
        )
    assert measure(database, 4, 200.0).rate is None  # two tell too little
    database.execute("UPDATE tasks SET state = 'succeeded' WHERE task = 0")
    assert measure(database, 4, 200.0).rate == pytest.approx(0.03)
    database.close()


def test_the_time_left_is_at_least_so_much_while_slower_tasks_run(tmp_path: Path) -> None:
    with store.Store(tmp_path / "state.db").look():
        pass
    database = sqlite3.connect(tmp_path / "state.db")
    insert = "INSERT INTO jobs (round, proc, state, started, ended) VALUES (1, ?, ?, ?, ?)"
    for proc in range(3):
        database.execute(insert, (proc, "", 100, 110))
        database.execute(
            "INSERT INTO tasks (task, state, round, proc) VALUES (?1, 'succeeded', 1, ?1)", (proc,)
        )
    database.execute(insert, (3, "running", 195, 0))
    assert not measure(database, 1, 200.0).at_least
    database.execute(insert, (4, "running", 100, 0))
    found = measure(database, 2, 200.0)
    assert found.at_least
    assert left_words(14, found) == "at least 14 s left"
    database.close()


def test_the_memory_that_a_task_used_is_that_of_the_table(tmp_path: Path) -> None:
    with store.Store(tmp_path / "state.db").look():
        pass
    database = sqlite3.connect(tmp_path / "state.db")

    def job(proc: int, memory: int, tasks: str, record: str | None) -> None:
        for task in map(int, tasks.split("-")):
            database.execute(
                "INSERT INTO tasks (task, state, round, proc, attempt) VALUES (?, '', 1, ?, ?)",
                (task, proc, None if record is None else 0),
            )
            if record is not None:
                database.execute(
                    "INSERT INTO records (round, attempt, proc, task, record) "
                    "VALUES (1, 0, ?, ?, ?)",
                    (proc, task, record),
                )
        database.execute(
            "INSERT INTO jobs (round, proc, state, memory_mb) VALUES (1, ?, '', ?)", (proc, memory)
        )
        if record is not None:
            database.execute(
                "INSERT INTO archives (round, proc, attempt, job) VALUES (1, ?, 0, ?)",
                (proc, f'{{"tasks": "{tasks}"}}'),
            )

    job(0, 900, "0-1", '{"memory_kb": "51200"}')  # of two tasks: no task's own
    assert measure(database, 0, 0).memory_mb == 50
    job(1, 70, "2", '{"memory_kb": "1024"}')
    assert measure(database, 0, 0).memory_mb == 70
    job(2, 80, "3", "")  # whose record does not tell
    assert measure(database, 0, 0).memory_mb == 80
    job(3, 300, "4", None)  # held: nothing came back
    assert measure(database, 0, 0).memory_mb == 300
    database.close()


def test_a_folder_is_told_as_seen_from_here(
    status: Callable[..., Status], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = status(1, TaskState(0, "succeeded"))
    assert f"\n{now.batch.folder}\n" in status_text(now)
    monkeypatch.chdir(tmp_path)
    assert f"\nbatches/{now.batch.folder.name}\n" in status_text(now)
    assert f"results: batches/{now.batch.folder.name}/results\n" in collect_text(now, 1)
    monkeypatch.chdir(now.batch.folder)
    assert f"\n{now.batch.folder}\n" in status_text(now)


def test_a_lone_number_may_be_meant_as_a_task(status: Callable[..., Status]) -> None:
    status(1)
    for command in ("why", "logs"):
        done = CliRunner().invoke(command_line(), [command, "3"])
        assert isinstance(done.exception, BatchError)
        assert f"`osgbatch {command} --task 3`" in str(done.exception)


@pytest.mark.parametrize("as_json", [False, True])
def test_submit_without_a_terminal_says_what_comes_next(
    status: Callable[..., Status], monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    batch = status(1).batch
    monkeypatch.setattr("osgbatch.submission.steps.submit_sweep", lambda *given: batch)
    monkeypatch.setattr(
        "osgbatch.batches.folder.read_submitted", lambda round_: Submitted("local", 1, 1, 0.0)
    )
    done = CliRunner().invoke(command_line(), ["submit", "sweep.yaml", *["--json"] * as_json])
    assert done.exception is None
    name = in_commands(batch)
    told = f"osgbatch watch {name}" in done.output and f"osgbatch collect {name}" in done.output
    assert told != as_json

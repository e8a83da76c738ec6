"""What `osgbatch logs` shows: of tasks that ended, that run, that failed alike, and followed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import started

from osgbatch.cli import logs_commands
from osgbatch.condor import Queue, QueuedJob
from osgbatch.condor import tail as condor_tail
from osgbatch.errors import CondorError, JobGoneError, OsgbatchError
from osgbatch.life import following, output_following, task_output
from osgbatch.life.output_following import Following
from osgbatch.life.task_output import echoed, first_failures, is_cut
from osgbatch.model import JobState, Round, TaskState

ECHO = b"[3] a\r\n[3 err] oops\n[13] other\n[3] [4] b\n[osgbatch] no more\n[3] unfin"


@pytest.mark.parametrize(
    ("task", "stream", "text"),
    [
        (3, "stdout", b"a\r\n[4] b\nunfin"),
        (3, "stderr", b"oops\n"),
        (3, "both", b"a\r\noops\n[4] b\nunfin"),
        (13, "both", b"other\n"),
        (4, "both", b""),
    ],
)
def test_a_task_is_found_in_the_echo_of_its_job(task: int, stream: str, text: bytes) -> None:
    assert echoed(ECHO, task, stream) == text
    assert is_cut(ECHO)
    assert not is_cut(b"[3] [osgbatch] x\n")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("condor_tail failed (exit code 1): No such job: 1.0", "job 1.0 is not in the queue any"),
        (
            "HTCondor is configured but silent: condor_tail had no answer in 20 s",
            "cannot be reached",
        ),
        (
            "condor_tail failed (exit code 1): Failed to peek",
            "job 1.0: .*Failed to peek(.|\n)*ended",
        ),
        ("there is no condor_tail on PATH", "there is no condor_tail on PATH"),
    ],
)
def test_what_condor_tail_says_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, said: str, told: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise CondorError(said)

    monkeypatch.setattr(condor_tail, "run_bytes", refuse)
    with pytest.raises(CondorError, match=told):
        condor_tail.tail(1, 0)


def now_with(*states: TaskState, stalled: str = "", ended: bool = False) -> Any:
    """A status as far as `logs` looks at it."""
    batch = SimpleNamespace(folder=Path("/b/sweep-1"), id="0123456789ab")
    wrong = [s for s in states if s.state in ("failed", "held", "removed", "unknown")]
    return SimpleNamespace(states=states, wrong=wrong, batch=batch, stalled=stalled, ended=ended)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (
            "waiting",
            "task 0 does not run yet\n .*logs /b/sweep-1 0 -f` waits for it; `osgbatch why",
        ),
        ("transferring input", "nothing has come back of task 0\n .*transferring input: try again"),
        ("held", "task 0 is held now; what it printed does not .*\n .*some reason: `osgbatch why"),
        ("removed", "task 0 is removed now"),
    ],
)
def test_where_there_is_no_output_it_is_said_why(state: str, says: str) -> None:
    task = TaskState(0, state)
    assert not task_output.has_output(task)
    with pytest.raises(OsgbatchError, match=says):
        raise task_output.no_output(now_with(task), task, "some reason")


def test_without_a_number_the_task_of_most_interest_is_chosen() -> None:
    ended = TaskState(0, "succeeded", archive=Path("a"))
    held, runs = TaskState(1, "held"), TaskState(2, "running")
    failed = TaskState(3, "failed", archive=Path("b"))
    choose = task_output.choose_task
    assert choose(now_with(ended, held, runs, failed), None) is failed
    assert choose(now_with(ended, held, runs), None) is runs
    assert choose(now_with(ended, held), None) is ended
    coming = TaskState(0, "transferring output")
    assert choose(now_with(coming, replace(ended, index=1)), None).index == 1
    assert choose(now_with(coming), None) is coming
    with pytest.raises(OsgbatchError, match="nothing has come back yet"):
        choose(now_with(TaskState(0, "waiting")), None)
    with pytest.raises(OsgbatchError, match=r"no task 4\n .*0 to 0"):
        choose(now_with(ended), 4)


@pytest.mark.parametrize(
    ("has_come", "error", "says"),
    [
        (True, JobGoneError, ""),
        (True, CondorError, ""),
        (False, JobGoneError, "its results are on their way"),
        (False, CondorError, "as condor_tail says"),
    ],
)
def test_a_job_that_has_just_left_the_queue_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    has_come: bool,
    error: type[CondorError],
    says: str,
) -> None:
    def gone(*_: object) -> bytes:
        raise error("as condor_tail says")

    def job(_: object, state: TaskState) -> Any:
        return SimpleNamespace(echo=gone) if state.state == "running" else None

    def copy(state: TaskState, stream: str, out: Any) -> int:
        return int(out.write(stream.encode()))

    runs, ended = TaskState(0, "running"), TaskState(0, "succeeded", archive=Path("a"))
    monkeypatch.setattr(task_output, "running_job", job)
    monkeypatch.setattr(following, "status", lambda *_, **__: now_with(ended if has_come else runs))
    monkeypatch.setattr(task_output, "copy_log", copy)
    monkeypatch.setattr(logs_commands, "LOOK_S", 0)
    if has_come:
        assert logs_commands._show(now_with(runs), runs, "both", as_json=False) == 0
        told = "=== task 0, succeeded\n=== stdout\nstdout\n=== stderr\nstderr\n"
        assert capfd.readouterr().out == told
    else:
        with pytest.raises(OsgbatchError, match=says) as told_no:
            logs_commands._show(now_with(runs), runs, "both", as_json=False)
        assert told_no.value.exit_code == (2 if error is JobGoneError else 5)


def test_what_a_task_prints_does_not_steer_the_terminal_that_follows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    shown = Terminal(io.BytesIO(), encoding="utf-8")
    steers = b"\x1b]0;title\x07 here\n"
    follows: Any = SimpleNamespace(run=lambda: follows.out.write(steers))

    def following(batch: Any, index: Any, stream: Any, out: Any, *_: Any) -> Any:
        follows.out = out
        return follows

    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(output_following, "Following", following)
    monkeypatch.setattr(task_output, "copy_log", lambda state, stream, out: out.write(steers))
    logs_commands._follow(cast(Any, None), 0, "stdout")
    ended = TaskState(0, "failed", "exit", exit_code=1, archive=Path("a"))
    logs_commands._show(now_with(ended), ended, "both", as_json=False)
    first = next(iter(first_failures(now_with(ended))))
    told = logs_commands.failure_text(first, "x") + shown.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert "\x1b" not in told
    assert told.count("?]0;title? here\n") == 3  # followed, stdout, stderr
    assert "?]0;title? here" in logs_commands.failure_text(first, "x")


def test_failures_are_told_once_for_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def copy(state: TaskState, stream: str, out: io.BytesIO) -> int:
        text = {"stdout": b"out\n" * 9, "stderr": b"\n" if state.index == 1 else b"x\n" * 99}
        return out.write(text[stream])

    monkeypatch.setattr(task_output, "copy_log", copy)
    here = Path("a")
    memory = [JobState(n, "held", hold_code=34, reason=f"used {n} MB") for n in (4, 5)]
    found = first_failures(
        now_with(
            TaskState(0, "failed", "exit", exit_code=1),
            TaskState(1, "failed", "exit", exit_code=1, archive=here),
            TaskState(2, "failed", "exit", exit_code=2, archive=here),
            TaskState(3, "failed", "exit", exit_code=1, archive=here),
            TaskState(4, "held", "used 4 MB", job=memory[0]),
            TaskState(5, "held", "used 5 MB", job=memory[1]),
        ),
        lines=2,
    )
    assert [(f.state.index, f.alike, f.stream, f.lines) for f in found] == [
        (1, [0, 3], "stdout", "out\nout"),
        (2, [], "stderr", "x\nx"),
        (4, [5], "", ""),
    ]


class Fake:
    """A batch that is looked at: what its tasks' states, and their jobs' echoes, are each time."""

    def __init__(self, looks: list[tuple[list[TaskState], bytes]], ends: dict[int, bytes]) -> None:
        self.looks, self.ends, self.asked = looks, ends, 0
        self.current = looks[0]

    def status(self, **_: Any) -> Any:
        self.current = self.looks.pop(0)
        return now_with(*self.current[0])

    def job(self, batch: Any, state: TaskState) -> Any:
        return self if state.state == "running" else None

    backend = "local"

    def echo(self) -> bytes:
        self.asked += 1
        return self.current[1]

    def copy(self, state: TaskState, stream: str, out: io.BytesIO) -> int:
        return out.write(self.ends[state.index] if stream == "stdout" else b"")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[bytes, list[str]]]:
    """What following shows, and says, of such a batch."""

    def follow(fake: Fake, index: int | None) -> tuple[bytes, list[str]]:
        monkeypatch.setattr(output_following, "Follower", lambda batch: fake)
        monkeypatch.setattr(output_following, "running_job", fake.job)
        monkeypatch.setattr(output_following, "copy_log", fake.copy)
        monkeypatch.setattr(output_following, "LOOK_S", 0.0)
        out, said = io.BytesIO(), list[str]()
        Following(None, index, "both", out, said.append, lambda state: "").run()  # type: ignore[arg-type]
        return out.getvalue(), said

    return follow


def runs(*indices: int) -> list[TaskState]:
    job = JobState(0, "running")
    return [TaskState(n, "running", job=job, round=1) for n in indices]


def done(*indices: int) -> list[TaskState]:
    return [TaskState(n, "succeeded", archive=Path("a"), round=1) for n in indices]


def test_of_one_task_only_what_is_new_is_shown(
    shown: Callable[..., tuple[bytes, list[str]]],
) -> None:
    looks = [
        ([TaskState(0, "waiting")], b""),
        (runs(0), b"[0] a\n[0] half"),
        (runs(0), b"[0] a\n[0] half done\n"),
        (done(0), b""),
    ]
    text, said = shown(Fake(looks, {0: b"a\nhalf done\nlast"}), 0)
    assert text == b"a\nhalf done\nlast"
    assert said == ["task 0 waits", "task 0 succeeded"]


def test_of_a_job_each_task_is_shown_once_also_when_its_echo_began_anew(
    shown: Callable[..., tuple[bytes, list[str]]],
) -> None:
    looks = [
        (runs(0, 1), b"[0] a\n"),
        (runs(0, 1), b"[1] c\n[1] half"),
        (done(0, 1), b""),
    ]
    text, said = shown(Fake(looks, {0: b"a\nb\n", 1: b"c\nhalf done"}), None)
    assert text == b"[0] a\n[1] c\n[0] b\n[1] half done\n"
    assert said == ["task 0 succeeded", "task 1 succeeded"]


def test_what_a_second_start_prints_is_shown_whole(
    shown: Callable[..., tuple[bytes, list[str]]],
) -> None:
    looks = [(runs(0), b"[0] seed 1\n"), (runs(0), b"[0] seed 2\n"), (done(0), b"")]
    text, said = shown(Fake(looks, {0: b"seed 2\nend\n"}), 0)
    assert text == b"seed 1\nseed 2\nend\n"
    assert said == ["task 0 was started again", "task 0 succeeded"]


# what a task printed, and its echo at two looks: within a character, with line breaks of its own
ODD = [
    (b"\xc3\xa9t\xe9\n", b"[0] \xc3", b"[0] \xc3\xa9t\xe9\n"),
    (b"\xff\0\xfe\0\n\0end", b"[0] \xff\xfe\n", b"[0] \xff\xfe\n[0] end\n"),
    (b"no end", b"[0] no", b"[0] no\n[0 err] x\n[0]  end\n"),
    (b"no end\n", b"[0] no\n", b"[0] no\n[0]  end\n"),
]


@pytest.mark.parametrize(("printed", "first", "second"), ODD)
def test_odd_bytes_are_shown_once(
    shown: Callable[..., tuple[bytes, list[str]]], printed: bytes, first: bytes, second: bytes
) -> None:
    looks = [(runs(0, 1), first), (runs(0, 1), second), (done(0, 1), b"")]
    text, said = shown(Fake(list(looks), {0: printed, 1: b""}), 0)
    assert said == ["task 0 succeeded"]
    seen = text.replace(b"x\n", b"")
    assert output_following.covered(seen, printed) is not None
    assert len(seen) <= len(printed) + 2, "shown twice"
    text, _ = shown(Fake(list(looks), {0: printed, 1: b""}), None)
    lines = [line.partition(b"] ")[2] for line in text.splitlines(keepends=True)]
    assert len(b"".join(lines).replace(b"x\n", b"")) <= len(printed) + 2, "shown twice"


def test_what_another_start_printed_is_not_taken_for_shown() -> None:
    assert output_following.covered(b"seed 1\n", b"seed 2\nend\n") is None
    assert output_following.covered(b"a\nb\nc\n", b"a\nb\n") is None


def test_a_job_of_another_access_point_is_not_asked_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    round_ = Round(tmp_path, "4a80deadbeef", "test", 1, 1, tmp_path)
    job = task_output.RunningJob(round_, "condor", 7, 0)
    monkeypatch.setattr(task_output, "condor_tail", lambda cluster, proc: b"[0] of 7.0\n")
    monkeypatch.setattr("osgbatch.condor.configured", lambda: True)
    jobs = {0: QueuedJob(0, "running")}
    monkeypatch.setattr("osgbatch.condor.look", lambda round_, cluster: Queue(cluster, jobs))
    (tmp_path / "submitted.json").write_text(
        '{"backend": "condor", "cluster": 7, "jobs": 1, "time": 1.0, "host": "ap.example.edu"}'
    )
    assert job.echo() == b"[0] of 7.0\n"  # this machine has only another name now
    jobs.clear()
    with pytest.raises(OsgbatchError, match=r"queue of ap.example.edu, not(.|\n)*Ask on ap.exa"):
        job.echo()


def test_no_more_than_three_jobs_are_followed(
    shown: Callable[..., tuple[bytes, list[str]]],
) -> None:
    states = [TaskState(n, "running", job=JobState(n, "running"), round=1) for n in range(5)]
    fake = Fake([(states, b""), (done(*range(5)), b"")], dict.fromkeys(range(5), b"x\n"))
    text, said = shown(fake, None)
    assert fake.asked == 3
    assert text == b"[0] x\n[1] x\n[2] x\n"
    assert said[0] == "following the first 3 of 5 jobs that run"


# -- on the local runner ------------------------------------------------------------------------


SPEC = """\
command: sh work.sh {{n}}
sweep: {{n: {{range: 4}}}}
files: [work.sh]
tasks_per_job: 1
"""
WORK = """\
echo first $1; echo oops >&2
[ $1 != 3 ] || exit 3
[ $1 != 1 ] || exit 4
[ $1 != 2 ] || exit 4
until [ -e {go} ]; do sleep 0.05; done
echo second
"""


def osgbatch(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*started.command(), *arguments],
        cwd=folder,
        env={**os.environ, "XDG_STATE_HOME": str(folder / "state"), "OSGBATCH_LOCAL_SLOTS": "2"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Path]:
    """A sweep on the local runner whose task 0 waits for a file `go`; the others have failed."""
    (tmp_path / "sweep.yaml").write_text(SPEC.format())
    (tmp_path / "work.sh").write_text(WORK.format(go=tmp_path / "go"))
    process = osgbatch(tmp_path, "submit", "--pool", "local", "--no-watch", "sweep.yaml")
    said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    end = time.monotonic() + 60
    while osgbatch(tmp_path, "tasks", "--state", "failed", "--ids").communicate()[0] != "1-3\n":
        assert time.monotonic() < end
        time.sleep(0.1)
    yield tmp_path
    (tmp_path / "go").touch()


def test_logs_of_tasks_that_run_and_that_failed(sweep: Path) -> None:
    end = time.monotonic() + 30
    while True:
        done = osgbatch(sweep, "logs", "--task", "0", "--stream", "stdout")
        text, said = done.communicate(timeout=120)
        if text:
            break
        assert time.monotonic() < end, said
        time.sleep(0.1)
    assert (done.returncode, text) == (0, "first 0\n")
    stopped = osgbatch(sweep, "logs", "-t", "0", "-f")
    assert stopped.stdout is not None
    assert stopped.stdout.readline() == "first 0\n"
    stopped.send_signal(signal.SIGINT)
    assert "the jobs go on" in stopped.communicate(timeout=120)[1]
    assert stopped.returncode == 130
    followed = osgbatch(sweep, "logs", "-f")
    assert followed.stdout is not None
    assert followed.stdout.readline() == "[0] first 0\n"
    (sweep / "go").touch()
    assert followed.stdout.read() == "[0 err] oops\n[0] second\n"
    followed.communicate(timeout=120)
    assert followed.returncode == 0
    whole = osgbatch(sweep, "logs", "-t", "0", "-f", "--stream", "stdout")
    assert whole.communicate(timeout=120)[0] == "first 0\nsecond\n"
    failed = osgbatch(sweep, "logs", "--failed").communicate(timeout=120)[0]
    assert failed == (
        "=== task 1, failed: exit code 4\n    1 more alike: 2\n=== the last lines of stderr\noops\n"
        "\n=== task 3, failed: exit code 3\n=== the last lines of stderr\noops\n"
    )
    data = json.loads(osgbatch(sweep, "logs", "-t", "3", "--json").communicate(timeout=120)[0])
    assert data == {
        "index": 3, "state": "failed", "whole": True, "stdout": "first 3\n", "stderr": "oops\n"
    }  # fmt: skip


def test_wishes_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from osgbatch.cli.app import command_line

    for wish in (["-f", "--failed"], ["-f", "--json"], ["--failed", "-t", "1"], ["--stream", "x"]):
        result = CliRunner().invoke(command_line(), ["logs", *wish])
        assert isinstance(result.exception, OsgbatchError), wish
        assert result.exception.exit_code == 2

"""What `osgbatch why` knows of holds, failures and places, and how it tells it."""

from __future__ import annotations

import re
import runpy
import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from osgbatch.batches.folder import Batch
from osgbatch.cli.reports import requested
from osgbatch.cli.why_commands import why_text
from osgbatch.condor.hold_codes import HOLD_CODES, explain_hold, subcode_words
from osgbatch.condor.idle_words import AGAIN, REMOVE, Waiting
from osgbatch.life import causes, following, why
from osgbatch.life.causes import describe, fill, group, suggestions, suspects
from osgbatch.life.naming import in_commands
from osgbatch.life.required import avoiding, required_now
from osgbatch.life.why import Why
from osgbatch.model import JobState, TaskState
from osgbatch.returned.codes import RETRIED_CODES, SHIM_CODES, STDERR_SIGNS, sign
from osgbatch.spec.load import load_spec
from osgbatch.submission import steps

ROOT = Path(__file__).parents[2]
_SCRIPT = runpy.run_path(str(ROOT / "tools" / "troubleshooting.py"))
PAGE, VALUES, page = _SCRIPT["PAGE"], _SCRIPT["VALUES"], _SCRIPT["page"]

MANUAL = {*range(3, 28), *range(32, 49), 1}
"""The codes of the manual's table, 25.14."""
SUBCODES = {
    34: {102, 104}, 37: {1, 2, 4, 9, 10, 20}, 38: {3, 5, 7, 21}, 39: {6}, 40: {11, 12, 17},
    41: {13, 14, 22}, 42: {15, 16, 17, 18, 19},
}  # fmt: skip
"""Those that it has rows for; 102 and 104 stand in one cell."""


# --- tables --------------------------------------------------------------------------------------


def test_every_code_and_subcode_of_the_manual_has_a_row() -> None:
    assert {row.code for row in HOLD_CODES} >= MANUAL
    for code, subcodes in SUBCODES.items():
        assert {row.subcode for row in HOLD_CODES if row.code == code} >= subcodes
    for row in HOLD_CODES:
        assert row.cause.endswith(".")
        assert row.todo[-1:] in ".?"
        assert any(other.code == row.code and other.subcode is None for other in HOLD_CODES)


@pytest.mark.parametrize(
    ("code", "subcode", "reason", "cause"),
    [
        (34, 102, "Job has gone over cgroup memory limit of 64 megabytes.", "more memory"),
        (21, 0, "Error from slot1@ep: memory usage exceeded request_memory", "more memory"),
        (26, 0, "disk usage is over the limit", "more disk"),
        (34, 104, "", "more disk"),
        (13, 2, "reading from file /a: (errno 2)", "not there any more"),
        (13, 2 << 8, "failed to transfer", "could not be fetched"),
        (13, 256, "404: No namespace found for path /ospol", "knows no such name"),
        (12, 122, "(errno 122) Disk quota exceeded", "quota is used up"),
        (12, 256, "remote object already exists, upload aborted", "never overwritten"),
        (6, 8, "Exec format error", "none that this machine can run"),
        (47, 0, "", "ran for longer"),
        (1, 1, "osgbatch --stop-after: 5 tasks failed alike", "osgbatch held the rest"),
        (3, 1, "osgbatch: the job was started too often in vain.", "never came to run"),
        (4711, 0, "new", "does not know"),
    ],
)
def test_the_row_that_tells_most_is_taken(code: int, subcode: int, reason: str, cause: str) -> None:
    assert cause in explain_hold(code, subcode, reason).cause


def test_subcodes_are_told_in_words() -> None:
    assert subcode_words(13, 28) == "no space left"
    assert subcode_words(13, 3 << 8) == "exit code 3 of a transfer plugin"
    assert subcode_words(47, 2) == ""


def test_the_shims_codes_are_those_of_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = dict(re.findall(r"^\| (1\d\d) \| (.*) \|$", text, re.M))
    told = {
        str(row.code): f"{row.cause} | {'yes' if row.retried else 'no'}"
        for row in SHIM_CODES.values()
    }
    assert rows == told
    assert list(RETRIED_CODES) == [*range(101, 110), 114, 137]
    shim = (ROOT / "templates" / "shim.sh.j2").read_text()
    used = set(
        map(int, re.findall(r"(?:fail|refuse|exit_code=|finish stopped) ?(1[01]\d)\b", shim))
    )
    assert used <= SHIM_CODES.keys()
    assert len(used) > 10


def test_the_page_is_that_of_the_tables() -> None:
    assert PAGE.read_text() == page(), "run python tools/troubleshooting.py"


def _commands() -> list[str]:
    """All that can be told to type: the page has the commands of all tables."""
    values = {**VALUES, "waiting": "--idle", "removed": "--missing --set a=b"}
    waiting = [fill(command, values) for command in (REMOVE, AGAIN)]
    return sorted({*waiting, *re.findall(r"`(osgbatch .*?)`", page())})


@pytest.mark.parametrize("command", _commands())
def test_every_command_can_be_typed(command: str) -> None:
    from osgbatch.cli.app import command_line

    assert "{" not in command
    _, *words = shlex.split(command)
    known: Any = typer.main.get_command(command_line())
    while hasattr(known, "commands"):
        known = known.commands[words.pop(0)]
    options = {option for parameter in known.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_what_stderr_shows_is_taken_for_what_it_is() -> None:
    for row in STDERR_SIGNS:
        assert sign(f"x\n{row.words}: y\n") == row
    found = sign("python: /lib/libc.so.6: version `GLIBC_2.34' not found")
    assert found is not None
    assert found.cause == "the machine's system is older than the program"
    assert sign("all is well") is None


# --- groups --------------------------------------------------------------------------------------


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """A rendered batch of 20 tasks, whose jobs differ in memory."""
    (tmp_path / "sweep.yaml").write_text(
        "command: e\nsweep: {n: {range: 20}}\n"
        'resources: {memory: {expr: "1 GB * (n + 1)"}, time: 20 min}\n'
    )
    return steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)


def held(index: int, code: int, subcode: int, reason: str, host: str = "ep1") -> TaskState:
    job = JobState(index, "held", reason=reason, hold_code=code, hold_subcode=subcode)
    job.host = f"slot1_{index}@{host}"
    return TaskState(index, "held", reason, job=job, round=1)


def failed(index: int, host: str, site: str, state: str = "failed") -> TaskState:
    place = {"host": host, "site": site}
    return TaskState(
        index, state, "exit", exit_code=3, job=JobState(index), job_record=place, round=1
    )


def test_tasks_are_put_together_by_cause_not_by_what_differs_between_jobs(batch: Batch) -> None:
    missing = "Error from slot1_{0}@ep{0}: reading from file /d/{0}.npy: (errno 2) No such file"
    states = [held(n, 13, 2, missing.format(n)) for n in range(3)]
    states += [held(3, 13, 2, "another reason"), held(4, 34, 102, "memory limit of 64 megabytes")]
    states += [TaskState(n, "failed", "exit", exit_code=3) for n in (5, 6)]
    states += [
        TaskState(7, "failed", "exit", exit_code=4),
        TaskState(8, "removed", "via condor_rm"),
    ]
    found = [[state.index for state in same] for same in group(states)]
    assert found == [[0, 1, 2], [3], [4], [5, 6], [7], [8]]


def test_the_next_memory_follows_from_what_the_job_asked_for_and_used(batch: Batch) -> None:
    def memory(*states: TaskState) -> str:
        return suggestions(batch, states)["memory"]

    assert memory(held(2, 34, 102, "")) == "6GB"  # its own line says 3 GB, the largest has 20
    assert memory(held(0, 34, 102, "limit of 4096 megabytes")) == "8GB"
    thirsty = held(0, 34, 102, "")
    assert thirsty.job
    thirsty.job.memory_mb = 9000
    assert memory(thirsty) == "14GB"
    assert suggestions(batch, [thirsty])["time"] == "40 min"


def test_a_command_names_the_tasks_where_others_failed_otherwise(batch: Batch) -> None:
    states = [TaskState(n, "failed", "time", exit_code=111) for n in (3, 5, 6)]
    alone = describe(batch, "b", states)
    assert alone.commands[-1] == 'osgbatch resubmit b --failed --set "resources.time=40 min"'
    assert alone.code == "shim code 111"
    among = describe(batch, "b", states, alone=False)
    assert among.commands[-1] == 'osgbatch resubmit b --tasks 3,5-6 --set "resources.time=40 min"'


def test_what_is_told_for_a_state_brings_its_tasks_back(batch: Batch) -> None:
    unknown = [TaskState(n, "unknown", "damaged", "x") for n in (3, 5)]
    assert describe(batch, "b", unknown).commands == ("osgbatch resubmit b --missing",)
    among = describe(batch, "b", unknown, alone=False)
    assert among.commands == ("osgbatch resubmit b --tasks 3,5",)
    long = [held(2, 47, 0, "")]
    again = ' --set "resources.time=40 min"'
    assert describe(batch, "b", long).commands[-1] == f"osgbatch resubmit b --held{again}"
    # what is held for another reason is left alone
    assert describe(batch, "b", long, alone=False).commands[-2:] == (
        "osgbatch cancel b --tasks 2",
        f"osgbatch resubmit b --tasks 2{again}",
    )


# --- places --------------------------------------------------------------------------------------


def test_a_release_names_the_tasks_where_others_are_held_otherwise(batch: Batch) -> None:
    cause = describe(batch, "b", [held(2, 34, 102, "")], alone=False)
    assert cause.commands == ("osgbatch release b --memory 6GB --tasks 2",)


def good(index: int, host: str, site: str) -> TaskState:
    return failed(index, host, site, "succeeded")


@pytest.mark.parametrize(
    ("states", "names"),
    [
        # all fail at one site, few elsewhere
        ([failed(0, "a", "X"), failed(1, "b", "X"), good(2, "c", "Y"), good(3, "c", "Y")], ["X"]),
        # one success there
        ([failed(0, "a", "X"), failed(1, "b", "X"), good(2, "a", "X"), good(3, "c", "Y")], []),
        # as bad elsewhere
        ([failed(0, "a", "X"), failed(1, "a", "X"), failed(2, "c", "Y"), good(3, "c", "Y")], []),
        # a single job is no evidence
        ([failed(0, "a", "X"), good(2, "c", "Y"), good(3, "c", "Y")], []),
        # a host of a site whose other hosts are well
        ([failed(0, "a", "X"), failed(1, "a", "X"), good(2, "b", "X"), good(3, "b", "X")], ["a"]),
        # sites are not always known
        ([failed(0, "a", ""), failed(1, "a", ""), good(2, "b", ""), good(3, "b", "")], ["a"]),
    ],
)
def test_a_place_where_all_goes_wrong_is_suspected(
    states: Sequence[TaskState], names: Sequence[str]
) -> None:
    assert [suspect.name for suspect in suspects(states, "b")] == names


def test_what_an_execution_point_calls_itself_never_comes_into_a_command() -> None:
    site = "x' ; rm -rf ~ '"
    states = [failed(0, "a", site), failed(1, "a", site), good(2, "b", "Y"), good(3, "b", "Y")]
    (suspect,) = suspects(states, "b")
    assert suspect.name == site
    assert suspect.command == ""
    assert causes.suspects([failed(n, "a", "X") for n in (0, 1)] + states[2:], "b")[0].command == (
        "osgbatch resubmit b --failed --set 'requirements.sites.avoid=[X]'"
    )
    states[0] = held(0, 34, 102, "", "a")
    states[1] = failed(1, "a", "", "unknown")
    assert suspects(states, "b")[0].command.startswith("osgbatch resubmit b --held --missing --set")


@pytest.mark.parametrize(
    ("requirements", "kind", "setting"),
    [
        ("{sites: {avoid: [A]}}", "site", "requirements.sites.avoid=[A, X]"),
        ("{sites: {only: [A, X, B c]}}", "site", 'requirements.sites.only=[A, "B c"]'),
        ("{sites: {only: [X]}}", "site", ""),
        ("{expr: '(HasX =?= true) || y'}", "host",
         'requirements.expr=((HasX =?= true) || y) && TARGET.Machine =!= "X"'),
        ("{expr: 'Site == \"a: b\"'}", "host",
         r'requirements.expr="(Site == \"a: b\") && TARGET.Machine =!= \"X\""'),
        ("{os: RHEL 9}", "host", 'requirements.expr=TARGET.Machine =!= "X"'),
    ],
)  # fmt: skip
def test_what_a_batch_requires_holds_on_where_a_place_is_avoided(
    tmp_path: Path, requirements: str, kind: str, setting: str
) -> None:
    spec = tmp_path / "sweep.yaml"
    spec.write_text(f"command: e\nrequirements: {requirements}\n")
    batch = steps.render_sweep(spec, None, lambda text: None)
    spec.unlink()  # the batch's copy tells, too
    before = required_now(batch)
    found = avoiding(kind, "X", before)
    assert shlex.split(found) == ([setting] if setting else [])
    if found:  # and it is read as it is meant
        spec.write_bytes((batch.folder / "sweep.yaml").read_bytes())
        now = load_spec(spec, shlex.split(found)).requirements
        assert before
        assert now.expr.startswith(f"({before.expr})" if before.expr and kind == "host" else "")
        assert ("X" in now.avoid_sites) or ("X" in now.expr) or ("X" not in now.only_sites)
        assert {*before.avoid_sites} <= {*now.avoid_sites}


def test_held_jobs_that_stop_a_batch_are_told(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {**batch.data, "max_idle": 2}
    now = following.status(Batch(batch.folder, data), all_tasks=True)
    states = list(now.states)
    states[3:5] = [held(3, 1, 0, "by hand"), held(4, 1, 0, "by hand")]
    monkeypatch.setattr(why, "status", lambda *_, **__: now.with_states(states))
    (note, *_) = why.explain(now.batch).notes
    assert note.startswith("2 jobs are held, and no more than 2 may wait or be held at once")
    monkeypatch.setattr(why, "status", lambda *_, **__: now.with_states([*states[:4], *states[5:]]))
    assert not any("2 may wait" in note for note in why.explain(now.batch).notes)


def test_tasks_that_wait_for_the_same_are_told_together(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # jobs that differ in what they ask for are told one by one
    (cause,) = why.explain(batch).causes
    assert cause.tasks == (0,)
    assert cause.details[-1].startswith("19 more tasks wait, which may be for another reason: `osg")
    (tmp_path / "sweep.yaml").write_text("command: e\nsweep: {n: {range: 3}}\n")
    found = why.explain(steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None))
    assert found.causes[0].tasks == (0, 1, 2)
    assert "3 tasks waiting (0-2)\n" in why_text(found, 80)


def test_what_is_told_of_a_waiting_task_that_was_named_touches_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sweep.yaml").write_text("command: e\nsweep: {n: {range: 3}}\n")
    batch = steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)
    words = Waiting("No.", commands=(REMOVE, AGAIN))
    monkeypatch.setattr(why, "_waiting", lambda *_: words)
    name = in_commands(batch)
    (cause,) = why.explain(batch, 1).causes
    assert cause.commands == (
        f"osgbatch cancel {name} --tasks 1",
        f"osgbatch resubmit {name} --tasks 1",
    )
    (cause,) = why.explain(batch).causes
    assert cause.commands[0] == f"osgbatch cancel {name} --idle"


def test_a_task_alone_in_its_job_does_not_wait_for_its_turn(batch: Batch) -> None:
    now = following.status(batch, all_tasks=True)
    states = list(now.states)
    states[:3] = [TaskState(n, "running", job=JobState(n // 2), round=1) for n in range(3)]
    now = now.with_states(states)
    assert "for its turn" in why._going(now, states[0]).cause
    assert why._going(now, states[2]).cause == "It runs."


def test_of_a_task_that_runs_it_is_told_for_how_long(batch: Batch) -> None:
    now = following.status(batch, all_tasks=True)
    states = list(now.states)
    job = JobState(0, "running")
    job.started = time.time() - 300
    states[0] = TaskState(0, "running", job=job, round=1)
    now = now.with_states(states)
    words = why._going(now, states[0])
    assert words.details == ("It has run for 5 min so far of at most 20 min.",)
    assert words.commands == ("osgbatch logs {batch} 0 -f",)
    states[1] = TaskState(1, "running", job=job, round=1)
    (detail,) = why._going(now.with_states(states), states[0]).details
    assert detail.endswith("has run for 5 min so far; each task may take 20 min.")


def test_the_time_limit_is_that_of_a_task_not_of_its_job(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(
        "command: e\nsweep: {n: {range: 9}}\ntasks_per_job: 4\nresources: {time: 1 min}\n"
    )
    batch = steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)
    assert causes.time_limit(batch, 1) == 60
    assert suggestions(batch, [failed(8, "a", "X")])["time"] == "2 min"
    assert requested(following.status(batch))["time_s"] == 60


def test_what_a_code_of_the_shim_means_stands_in_the_title(batch: Batch) -> None:
    now = following.status(batch, all_tasks=True)

    def told(*states: TaskState) -> list[str]:
        cause = describe(batch, "b", states)
        return why_text(Why(now, "b", (cause,)), 80).split("\n\n")[1].splitlines()

    late = TaskState(3, "failed", "time", "over its time limit of 60 s", 111)
    assert told(late)[0] == "task 3 failed: over its time limit of 60 s (shim code 111)"
    assert not any('"over' in line for line in told(late))
    both = told(late, replace(late, index=4))
    assert both[0] == "2 tasks failed (3-4): over their time limit (shim code 111)"
    assert '  task 3: "over its time limit of 60 s"' in both
    missing = told(TaskState(3, "failed", "missing-output", "no file matches x", 110))
    assert missing[:2] == [
        "task 3 failed: a required output is missing (shim code 110)",
        '  "no file matches x"',
    ]
    long = told(TaskState(3, "failed", "infrastructure", "killed", 137))
    assert long[0] == "task 3 failed: shim code 137"


# --- text ----------------------------------------------------------------------------------------


def test_the_text_fits_the_terminal_and_nothing_in_it_is_obeyed(batch: Batch) -> None:
    reason = "Error from slot1@ep: \x1b[31m" + "very long words " * 60
    cause = describe(batch, "b", [held(n, 34, 102, reason) for n in range(0, 20, 2)])
    cause = replace(cause, stream="stderr", output=("\x1b]0;x\x07" + "y" * 300, "\tindented"))
    blamed = suspects(
        [
            failed(0, "a", "X\x1b[1m"),
            failed(1, "a", "X\x1b[1m"),
            *(good(n, "b", "Y") for n in (2, 3)),
        ],
        "b",
    )
    now = following.status(batch, all_tasks=True)
    text = why_text(Why(now, "b", (cause,), tuple(blamed)), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "10 tasks held (0,2,4,6,8,10,12,14,16,18): hold 34.102, JobOutOfResources" in text
    assert "\n    osgbatch release b --memory 38GB\n" in text
    assert "  |     indented" in text
    few = replace(cause, hosts={"ep": 4}, output=())
    assert "\n  4 of them ran on ep.\n" in why_text(Why(now, "b", (few,)), 80)

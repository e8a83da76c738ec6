"""`osgbatch import`: a submit file written by hand to a sweep.yaml that gives the same jobs.

Where condor_submit is on the PATH, all of these are also compared by its dry run, as files of users
are; tests/pool/test_import.py sees to that, with many more files.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from osgbatch import personal_pool
from osgbatch.cli import app
from osgbatch.condor import submit_parser
from osgbatch.errors import OsgbatchError
from osgbatch.importing import text
from osgbatch.importing.ended import UNDEFINED, UNKNOWN, Unread, Value, condition
from osgbatch.importing.made import Converted
from osgbatch.plan_model import Plan
from osgbatch.submission import imported as module
from osgbatch.submission import imported_check, imported_jobs
from osgbatch.submission.imported import Imported, import_file, write
from osgbatch.submission.planned import Choices, plan_sweep

REQUESTS = "request_memory = 1GB\nrequest_disk = 1GB\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("foo", "a.dat", "b.dat", "c.dat", "common.txt", "books/one.txt", "run_0/in",
                 "run_1/in"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("#!/bin/sh\n")
    (tmp_path / "foo").chmod(0o755)
    (tmp_path / "items.txt").write_text("a.dat, 1\nb.dat 2\nc.dat  3\n")
    (tmp_path / "names.txt").write_text("a.dat\nb.dat\nc.dat\n")
    return tmp_path


def imported(folder: Path, lines: str, queue: str = "queue") -> Imported:
    if any(function in f"{lines}{queue}" for function in ("$Fn(", "1 + 1")):
        pytest.importorskip("htcondor2", reason="HTCondor's bindings are asked what it means")
    path = folder / "job.submit"
    path.write_text(f"executable = foo\n{REQUESTS}{lines}\n{queue}\n")
    return import_file(path, folder / "sweep.yaml", inline=True)


def planned(folder: Path, made: Imported) -> Plan:
    assert made.lost == ()
    return plan_sweep(folder / "sweep.yaml", choices=Choices(copy=made.text.encode()))


@pytest.mark.parametrize(
    ("queue", "argv"),
    [
        ("queue 3", ["0", "1", "2"]),
        ("queue 1 + 1", ["0", "1"]),
        ("queue x in (a, b c)", ["a", "b", "c"]),
        ("queue x in a,b", ["a", "b"]),
        ("queue x in (\n a\n # none\n b c\n)", ["a", "b", "c"]),
        ("queue x in [1:] (a b c)", ["b", "c"]),
        ("queue x in [1] (a b c)", ["b"]),
        ("queue 2 x in (a b)", ["a", "a", "b", "b"]),
        ("queue x from names.txt", ["a.dat", "b.dat", "c.dat"]),
        ("queue x from [::2] names.txt", ["a.dat", "c.dat"]),
        ("queue x, y from items.txt", ["a.dat 1", "b.dat 2", "c.dat 3"]),
        ("queue x,y from (\n a, 1\n b 2\n)", ["a 1", "b 2"]),
        ("queue x matching *.dat", ["a.dat", "b.dat", "c.dat"]),
        ("queue x matching files b* [ac]*.dat", ["b.dat", "a.dat", "c.dat"]),
        ("queue x matching dirs run_*", ["run_0/", "run_1/"]),
        ("queue in (a b)", ["a", "b"]),
    ],
)
def test_all_forms_of_queue(folder: Path, queue: str, argv: list[str]) -> None:
    name = "Item" if queue.startswith("queue in") else "x"
    text = "$(Process)" if " x" not in queue and name == "x" else f"$({name})"
    text += " $(y)" if "y from" in queue else ""
    plan = planned(folder, imported(folder, f"arguments = {text}", queue))
    assert [" ".join(task.argv[1:]) for task in plan.tasks] == argv


@pytest.mark.parametrize(
    ("lines", "queue", "argv"),
    [
        (r"arguments = one \"two\" 'three'", "queue", ["one", '"two"', "'three'"]),
        ("arguments = \"one \"\"two\"\" 'a ''b'' c' {x}\"", "queue",
         ["one", '"two"', "a 'b' c", "{x}"]),
        ("n = 4\narguments = --n=$(n) $(m:5) $(DOLLAR)HOME", "queue", ["--n=4", "5", "$HOME"]),
        ("arguments = $Fn(x) $INT(Process,%03d)", "queue x in (data/a.txt)", ["a", "000"]),
        ("if defined n\narguments = yes\nelse\narguments = no\nendif", "queue", ["no"]),
        ("if version >= 8.9\narguments = new\nendif", "queue", ["new"]),
        ("arguments = $(x)", "queue x from (\n a b\n)", ["a", "b"]),
        ("arguments = \"'$(x)'\"", "queue x from (\n a b\n)", ["a b"]),
        ("arguments = $(Step) $(ItemIndex)", "queue x in [1:] (a b)", ["0", "1"]),
        ("arguments = \"'' 1.50 010\"", "queue", ["", "1.50", "010"]),
        ("if $(big)\narguments = yes\nelse\narguments = no\nendif", "queue", ["no"]),
    ],
)  # fmt: skip
def test_arguments_arrive_as_htcondor_gives_them(
    folder: Path, lines: str, queue: str, argv: list[str]
) -> None:
    plan = planned(folder, imported(folder, lines, queue))
    assert list(plan.tasks[0].argv) == ["./foo", *argv]


def test_inputs_of_each_job_are_linked_to_where_a_job_finds_them(folder: Path) -> None:
    made = imported(folder, "arguments = $(x)\ntransfer_input_files = $(x), common.txt",
                    "queue x in (a.dat books/one.txt)")  # fmt: skip
    plan = planned(folder, made)
    assert 'ln -s "$f" .; else cp "$f" .; fi' in made.text
    lines = "arguments = $(x)\ntransfer_input_files = $(x)\ntransfer_output_files = new"
    assert "  ln -s inputs/* ." in imported(folder, lines, "queue x in (a.dat b.dat)").text
    assert "files: [foo, common.txt]" in made.text
    assert [f.task_path for f in plan.tasks[1].inputs] == ["inputs/one.txt"]


def test_folders_that_are_kept_are_not_lost(folder: Path) -> None:
    lines = "preserve_relative_paths = true\ntransfer_input_files = $(x)"
    assert "lies in folders" in imported(folder, lines, "queue x in (books/one.txt)").lost[0]
    assert imported(folder, lines, "queue x in (a.dat b.dat)").lost == ()


def test_messages_hold_no_commands_for_a_terminal(folder: Path) -> None:
    made = imported(folder, "universe = a\x1b[2j\u2028b")
    assert "a\\x1b[2j\\x2028b universe" in made.lost[0]


def test_a_list_in_a_variable_becomes_several_inputs(folder: Path) -> None:
    queue = "queue x from (\n a.dat, b.dat\n b.dat, c.dat\n)"
    plan = planned(folder, imported(folder, "transfer_input_files = $(x)", queue))
    assert [f.source.name for f in plan.tasks[1].inputs] == ["b.dat", "c.dat"]
    made = imported(
        folder, "transfer_input_files = $(x)", "queue x from (\n a.dat, b.dat\n c.dat\n)"
    )
    assert "different numbers" in made.lost[0]


def test_stdin_environment_outputs_and_the_rest(folder: Path) -> None:
    made = imported(
        folder,
        "input = in\ninitialdir = run_$(Process)\nenvironment = \"A=1.50 B='$(Process) x'\"\n"
        "transfer_output_files = out.txt, d\n"
        'transfer_output_remaps = "out.txt = r/$(Cluster)_$(Process).txt"\n'
        "request_cpus = 2\nrequest_gpus = 1\ngpus_minimum_memory = 8GB\nmax_retries = 3\n"
        "max_materialize = 5\nrequirements = Memory > 1\nrank = Memory\n+Mine = \"a b\"\n"
        "project_name = P\nlog = a.log",
        "queue 2",
    )  # fmt: skip
    plan = planned(folder, made)
    spec = plan.spec
    assert [f.source.parent.name for task in plan.tasks for f in task.inputs] == ["run_0", "run_1"]
    assert "  ./foo < in\n" in made.text
    assert [v.fill({"index": "1"}) for _, v in spec.environment_variables] == ["1.50", "1 x"]
    assert [o.pattern.fill({}) for o in spec.outputs] == ["out.txt", "d"]
    assert spec.resources.cpus == 2
    assert spec.gpus.min_memory_mb == 8192
    assert (spec.retries.times, spec.retries.on) == (3, "any")
    assert spec.max_running == 5
    assert dict(spec.submit) == {"rank": "Memory", "+Mine": '"a b"'}
    assert spec.project == "P"
    assert any("one event log" in note for note in made.notes)


@pytest.mark.parametrize(
    ("lines", "queue", "why"),
    [
        ("arguments = $(nowhere)", "queue", "set nowhere"),
        ("arguments = $$(Memory)", "queue", "by the slot"),
        ("arguments = $RANDOM_CHOICE(1,2)", "queue", "random"),
        ("universe = local", "queue", "local universe"),
        ("getenv = true", "queue", "do not travel"),
        ("rank = $(Cluster)", "queue", "known only when"),
        ("transfer_input_files = $(Cluster).txt", "queue", "known only when"),
        ("transfer_input_files = stash:///osgconnect/x", "queue", "osdf:///"),
        ("on_exit_hold = ExitCode == 0", "queue", "would not leave"),
        ("on_exit_hold = MemoryUsage > 3", "queue", "`retries:`"),
        ("checkpoint_exit_code = 85", "queue", "transfer_checkpoint_files"),
        ("checkpoint_exit_code = 85 # again", "queue", "on its own line"),
        ("request_memory = 2 GiBB", "queue", "is no size"),
        ("executable =", "queue", "nothing says what the jobs run"),
        ("arguments = $(Step)\nqueue\narguments = 2", "queue", "$(Step)"),
        ("", "queue x from", "names no file"),
        ("should_transfer_files = NO", "queue", "all machines share"),
        ("on_exit_remove = false", "queue", "would not leave"),
        ("retry_until = ExitCode == 3\nmax_retries = 2", "queue", "retries"),
        ("output_destination = osdf:///x/", "queue", "outputs_to"),
        ('transfer_output_remaps = "a = osdf:///x/a"', "queue", "outputs_to"),
        ("hold = true", "queue", "condor_release"),
        ("request_gpus = 1\ngpus_minimum_capability = x", "queue", "is no number"),
        ("request_gpus = 1\ngpus_minimum_memory = x", "queue", "is no size"),
        ("max_retries = \u00b2\nrequest_gpus = \u00b2", "queue", "is no number"),
        ("rank = $(Process)", "queue", "differs between jobs"),
        ("include : x.sub", "queue", "includes"),
        ("", "queue x from ls |", "a program"),
        ("", "queue x from nothing.txt", "is not there"),
        ("", "queue x matching *.nothing", "nothing matches"),
        ("", "", "no queue statement"),
        ("transfer_input_files = gone.txt", "queue", "gone.txt"),
    ],
)
def test_what_a_sweep_cannot_say_is_told_and_nothing_is_made(
    folder: Path, lines: str, queue: str, why: str
) -> None:
    made = imported(folder, lines, queue)
    assert made.text == ""
    assert why in " ".join(made.lost)


FAILED = "(ExitBySignal == True) || (ExitCode != 0)"
HELD = f"on_exit_hold = {FAILED}"
FIVE = "periodic_release = (NumJobStarts < 5) && ((time() - EnteredCurrentStatus) > 3600)\n"


@pytest.mark.parametrize(
    ("lines", "times"),
    [
        (f"{FIVE}on_exit_hold = {FAILED}", 4),
        (f"on_exit_hold = {FAILED} && (NumJobStarts < 9)", 0),
        (f"periodic_release = HoldReasonCode == 13\non_exit_hold = {FAILED}", 0),
        (f"periodic_release = true\non_exit_hold = {FAILED}", 10),
        (f"periodic_release = 5 > NumJobStarts\non_exit_hold = {FAILED}", 4),
        (f"{FIVE[:-1]} && HoldReasonCode != 3\non_exit_hold = {FAILED}", 0),
        (f"{FIVE[:-1]} && (HoldReasonCode == 13 || HoldReasonCode == 3)\n{HELD}", 4),
        (f"periodic_release = NumJobStarts < 3 || HoldReasonCode == 26\n{HELD}", 2),
        (
            f"periodic_release = JobRunCount < 3 && time() > EnteredCurrentStatus + 60 * 9\n{HELD}",
            2,
        ),
        (f"periodic_release = false && NumHolds < 3\n{HELD}", 0),
        (f"periodic_release = member(HoldReasonCode, {{3, 26}}) && JobRunCount < 3\n{HELD}", 2),
        ("on_exit_remove = (ExitBySignal =?= False) && (ExitCode == 0)", 10),
        ("on_exit_remove = ExitCode == 0 || NumJobStarts > 3", 3),
        ("on_exit_remove = !ExitBySignal && ExitCode =?= 0 || JobRunCount >= 2", 1),
    ],
)
def test_jobs_that_are_held_or_kept_when_they_fail_are_tried_again(
    folder: Path, lines: str, times: int
) -> None:
    made = imported(folder, lines)
    retries = planned(folder, made).spec.retries
    assert (retries.times, retries.on) == ((times, "any") if times else (2, "infrastructure"))
    assert lines.rpartition("\n")[2].partition(" ")[0] in made.differences[0]
    assert "DIFFERS: on_exit" in made.text


@pytest.mark.parametrize(
    ("until", "on"),
    [
        ("!member( ExitCode, {130, 3})", (3, 130)), ("ExitCode =!= 75", (75,)),
        ("ExitCode == 0", "any"),
    ],
)  # fmt: skip
def test_exit_codes_that_are_tried_again(folder: Path, until: str, on: object) -> None:
    made = imported(folder, f"max_retries = 3\nretry_until = {until}")
    retries = planned(folder, made).spec.retries
    assert retries.times == 3
    assert (retries.codes or retries.on) == on


@pytest.mark.parametrize(
    ("lines", "retries", "told"),
    [
        ("on_exit_remove = ExitCode =!= 75", (10, (75,)), "ends with 75 is tried again"),
        ("on_exit_remove = ExitCode =?= 0 || ExitCode =?= 3 || ExitBySignal", (10, "any"),
         "ends with 3 or is killed by a signal is tried again, too"),
        ("on_exit_remove = ExitBySignal == False", (2, "infrastructure"),
         "killed by a signal is told of as failed, and not tried again"),
        ("on_exit_hold = ExitCode == 5", (2, "infrastructure"),
         "a task that ends with 5 is told of as failed, and not held"),
        ("on_exit_hold = ExitBySignal", (2, "infrastructure"),
         "that is killed by a signal is told of as failed, and not held"),
        ("on_exit_hold = ExitCode =?= 5\non_exit_remove = ExitCode =!= 7 || NumJobStarts > 2",
         (2, (7,)), "ends with 5 is told of as failed"),
        (f"{FIVE}on_exit_hold = {FAILED}\nmax_retries = 2", (4, "any"), "max_retries: it says no"),
        (f"periodic_release = (NumJobStarts <= 5) && (ExitCode == 75)\non_exit_hold = {FAILED}",
         (5, (75,)), "ends with 75 is tried again at once"),
        ("on_exit_remove = ExitCode =!= undefined && ExitCode == 0", (10, "any"), "without end"),
        (f"on_exit_hold = {FAILED}\nmax_retries = 2", (2, "infrastructure"), "says nothing"),
        ("retry_until = ExitCode =?= 0 || NumJobStarts > 1", (1, "any"), ""),
        ("retry_until = ExitBySignal\nmax_retries = 4", (4, "any"), "signal is tried again, too"),
        ("retry_until = ExitCode =!= 3 || NumJobStarts > 5\nmax_retries = 4", (4, (3,)), "by a s"),
        ("when_to_transfer_output = ON_SUCCESS", (2, "infrastructure"), "also when it fails"),
        ("when_to_transfer_output = NEVER", (2, "infrastructure"), "comes back all the same"),
        ("on_exit_remove = true\non_exit_hold = false", (2, "infrastructure"), ""),
    ],
)  # fmt: skip
def test_policies_for_some_ends_of_a_job(
    folder: Path, lines: str, retries: tuple[int, object], told: str
) -> None:
    made = imported(folder, lines)
    found = planned(folder, made).spec.retries
    assert (found.times, found.codes or found.on) == retries
    assert told in " ".join(made.differences)
    assert bool(told) == ("# DIFFERS" in made.text)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("on_exit_remove = ExitCode == 0 || NumJobStarts > 3\nmax_retries = 2", "leave one"),
        ("on_exit_hold = ExitCode == 5\nretry_until = ExitCode == 7", "leave one"),
        ("retry_until = ExitCode == 3 && NumJobStarts > 2\nmax_retries = 4", "codes to try again"),
        ("on_exit_remove = ExitCode < 100", "many exit codes"),
        ("on_exit_remove = ExitCode == 0 || (ExitCode == 3 && NumJobStarts > 1)", "more often"),
        ("on_exit_remove = ExitCode == 0 && NumJobStarts < 3", "would not leave"),
        (f"periodic_release = NumHolds < 5\non_exit_hold = {FAILED}", "cannot be told"),
        (f"periodic_release = NumJobStarts % 2 == 1\non_exit_hold = {FAILED}", "cannot be told"),
        (f'periodic_release = HoldReason =?= "x"\non_exit_hold = {FAILED}', "cannot be told"),
        (f"periodic_release = time() - EnteredCurrentStatus < 60\non_exit_hold = {FAILED}", "long"),
        (
            f"periodic_release = NumJobStarts < {'(' * 40}5{')' * 40}\non_exit_hold = {FAILED}",
            "cannot be told",
        ),
        (f"periodic_release = {'1 + ' * 300}1\non_exit_hold = {FAILED}", "cannot be told"),
        ('on_exit_hold = ExitCode == "1"', "`retries:`"),
    ],
)
def test_policies_that_retries_cannot_say_are_refused(folder: Path, lines: str, why: str) -> None:
    made = imported(folder, lines)
    assert why in " ".join(made.lost)
    assert made.text == ""


def test_a_job_that_is_held_at_last_was_not_held_before_each_start(folder: Path) -> None:
    """HTCondor holds it at its 4th end; before that on_exit_remove leaves it in the queue. Killed
    by a signal it has no exit code, and leaves the queue: both policies are undefined."""
    lines = "on_exit_remove = ExitCode == 0\non_exit_hold = (NumJobStarts > 3) && "
    made = imported(folder, f"{lines}(ExitCode != 0)")
    assert planned(folder, made).spec.retries.times == 3
    told = " ".join(made.differences)
    assert "has failed is tried again, 3 times at most, and then told of as failed, and not" in told
    assert "held, as it was there at last" in told
    assert "held for a while" not in told
    assert "killed by a signal is tried again, too" in told
    assert "killed by a signal is told of as failed" not in told
    # Held and let go at its first ends, and left in the queue at later ones.
    lines_of_both = "on_exit_hold = NumJobStarts < 3 && ExitCode > 0\nperiodic_release = true\n"
    made = imported(folder, f"{lines_of_both}on_exit_remove = ExitCode == 0 || NumJobStarts > 4")
    told = " ".join(made.differences)
    assert "tried again, 4 times" in told
    assert "held for a while before some new starts" in told
    # What max_retries says counts where not all ends lead to a hold.
    asked = imported(folder, f"{lines}({FAILED})\nmax_retries = 2")
    assert "leave one of them out" in " ".join(asked.lost)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!B == false", True), ("2 < 3 == true", True), ("B =?= 1", False), ("B == 1", True),
        ("!3", False), ("3 && true", True), ("U && false", False), ("U || true", True),
        ("true && U", UNDEFINED), ("!U", UNDEFINED), ("U is undefined", True), ("U isnt 3", True),
        ("member(U, {1, 2})", UNDEFINED), ("member(3, {})", False), ("-1 < 0", True),
        ("X + 1 * 2 - 3 == 2", True), ("1 < 2 < 3", True), ("my.X >= 3", True),
        ("U + 1", UNDEFINED), ("1 + 2 * -X == -5", True), ("X =!= 3 || X <= 2", False),
        ("X =?= X", True),
    ],
)  # fmt: skip
def test_expressions_mean_what_they_mean_to_htcondor(text: str, value: object) -> None:
    ad: dict[str, Value] = {"x": 3, "b": True, "u": UNDEFINED}
    assert condition(text).value(ad) is value
    classad2 = pytest.importorskip("classad2", reason="HTCondor's bindings are asked, too")
    told = classad2.ExprTree(text).eval(classad2.ClassAd({"X": 3, "B": True}))
    assert value is (UNDEFINED if told == classad2.Value.Undefined else bool(told))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("N > 3", UNKNOWN), ("N > 3 && false", False), ("N > 3 || true", True), ("!N", UNKNOWN),
        ("f(1, 2) && true", UNKNOWN), ('N =?= "a"', UNKNOWN), ("N && U", UNKNOWN),
    ],
)  # fmt: skip
def test_what_is_not_known_stays_so_unless_it_does_not_matter(text: str, value: object) -> None:
    assert condition(text).value({"u": UNDEFINED}) is value


@pytest.mark.parametrize(
    "text", ["", "1 +", "(1", "1)", "1 ? 2 : 3", "&& 1", "f(1", "member(1)", "1.5"]
)
def test_what_is_no_expression_is_not_read(text: str) -> None:
    with pytest.raises(Unread):
        condition(text)


def test_none_of_gpus_is_none_and_texts_in_quotes_stay_texts(folder: Path) -> None:
    for name in ("10", "null"):
        (folder / name).write_text("")
    made = imported(folder, "request_gpus = 0\ngpus_minimum_memory = 4GB")
    assert planned(folder, made).spec.resources.gpus == 0
    made = imported(
        folder,
        '+ProjectName = "1234"\n+JobBatchName = "10"\ntransfer_input_files = 10, null\n'
        "transfer_output_files = 20, null\ncheckpoint_exit_code = 85\n"
        "transfer_checkpoint_files = null, 10",
    )
    spec = planned(folder, made).spec
    assert (spec.project, spec.name) == ("1234", "10")
    assert 'checkpoint: {files: ["null", "10"]}' in made.text
    assert [o.pattern.fill({}) for o in spec.outputs] == ["20", "null"]


def test_a_request_for_0_gpus_is_as_good_as_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(folder, imported(folder, ""))
    common = {"RequestMemory": "1024", "RequestDisk": "1048576"}
    mine = dict(common)
    monkeypatch.setattr(imported_check, "_ours", lambda *given: ([mine], ""))
    monkeypatch.setattr(imported_check, "_bare", lambda: ([{"RequestMemory": "1"}], ""))

    def wrong(**gpus: str) -> list[str]:
        return imported_check._requests([{**common, **gpus}], plan, Converted(), folder)[0]

    assert wrong(RequestGPUs="0", RequireGPUs="GlobalMemoryMb >= GPUsMinMemory") == []
    assert wrong(RequestGPUs="1") == ["RequestGPUs was 1, and is now not set"]
    mine["RequestGPUs"] = "1"
    assert wrong(RequestGPUs="0") == ["RequestGPUs was 0, and is now 1"]


LINE_BREAKS = [chr(code) for code in (0x85, 0x2028, 0x2029, 0x0B, 0x0C, 0x1C, 0xFEFF)]


@pytest.mark.parametrize("mark", LINE_BREAKS, ids=ascii)
def test_no_value_of_a_file_becomes_a_key_of_the_sweep(folder: Path, mark: str) -> None:
    odd = f"o{mark}gather: evil.py{mark}#=x/o"
    for lines in (
        f'transfer_output_remaps = "{odd}"', f"universe = local{mark}gather: evil.py{mark}",
        f"arguments = $(Process) o{mark}gather:evil.py{mark}", f"+Mine = \"{odd}\"",
        f"requirements = Name != \"{odd}\"", f"shell = true {odd}", f"+A{mark}gather: = 3",
        f"environment = A=$(Cluster){odd}", f"max_retries = {odd}",
        f"arguments = $(Cluster) {odd}",
    ):  # fmt: skip
        (folder / "job.submit").write_text(f"executable = foo\n{REQUESTS}{lines}\nqueue\n")
        try:
            made = import_file(folder / "job.submit", folder / "sweep.yaml", partly=True)
        except OsgbatchError:
            continue  # HTCondor's parser refuses it
        if made.text:
            plan = plan_sweep(folder / "sweep.yaml", choices=Choices(copy=made.text.encode()))
            assert plan.spec.gather is None
        else:
            assert made.lost
    made = imported(folder, f"arguments = $(Cluster) {odd}")
    assert made.text == ""
    if mark != "\x0b" and mark != "\x0c":  # which are blanks at the end of a line
        assert f"U+{ord(mark):04X}" in made.lost[0]
    made = imported(folder, f"arguments = a{mark}b c")
    assert planned(folder, made).tasks[0].argv[1:] == (f"a{mark}b", "c")


def test_a_spec_with_other_keys_than_were_meant_is_never_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "printable", str)
    made = imported(folder, 'transfer_output_remaps = "o\u2028gather: evil.py\u2028#=x/o"')
    assert made.text == ""
    assert "would be read as a key of the sweep" in made.lost[0]


@pytest.mark.parametrize(
    "value",
    [
        "A;B=$(Cluster)",
        '"A$(touch${IFS}/x)=$(Cluster) C-D=$(Cluster)"',
        '"A.B=1"',
        "\u00e9=1",
        '"cluster=1 A=$(Cluster)"',
    ],
)
def test_variables_with_odd_names_are_refused(folder: Path, value: str) -> None:
    made = imported(folder, f"environment = {value}")
    assert made.text == ""
    assert "line 4: environment" in made.lost[0]


@pytest.mark.parametrize(
    "wrong",
    ['A;B="$cluster"', 'A=$(id)"$cluster"', 'A="$cluster" B', 'B="$cluster"', "A='1", 'A="`id`"'],
)
def test_variables_that_the_script_sets_otherwise_are_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    right = module.spec_text
    monkeypatch.setattr(module, "spec_text", lambda *given: right(*given).replace(
        'A="$cluster"', wrong))  # fmt: skip
    made = imported(folder, "environment = A=$(Cluster)")
    assert made.text == ""
    assert made.lost[0].startswith("the jobs would differ: the script does not say export A=")
    monkeypatch.undo()
    plan = planned(folder, imported(folder, "environment = A=$(Cluster)"))
    assert imported_jobs._exported(plan) == [("A", "\0$cluster\0")]
    script = plan.spec.script
    assert script is not None
    other = replace(script, written=script.written.replace('A="$cluster"', wrong))
    found = imported_jobs._exported(replace(plan, spec=replace(plan.spec, script=other)))
    assert found in ([], [("B", "\0$cluster\0")])


def test_what_is_in_a_folder_is_brought_without_the_folder(folder: Path) -> None:
    lines = "transfer_input_files = $(x)/, books/\ntransfer_output_files = out/"
    made = imported(folder, lines, "queue x matching dirs run_*")
    assert "  ln -s inputs/{x}/* inputs/books/* .   #" in made.text
    assert "outputs: [out]\n" in made.text
    plan = planned(folder, made)
    found = [[one.task_path for one in task.inputs] for task in plan.tasks]
    assert list(map(sorted, found)) == [["inputs/books", f"inputs/run_{n}"] for n in range(2)]
    lines = "transfer_input_files = $(x)/"
    made = imported(folder, lines, "queue x in (run_0 run_1)")
    script = planned(folder, made).spec.script
    assert script is not None
    task = folder / "task"
    (task / "inputs").mkdir(parents=True)
    (task / "inputs" / "run_0").symlink_to(folder / "run_0")
    (task / "foo").write_text("#!/bin/sh\ntest ! -L in\ncat in > new\n")
    (task / "foo").chmod(0o755)
    text = script.written.replace("{x}", "run_0")
    subprocess.run(["bash", "-eo", "pipefail", "-c", text], cwd=task, check=True)
    assert sorted(path.name for path in task.iterdir()) == ["foo", "inputs", "new"]


def test_the_number_of_the_cluster_is_read_where_the_job_runs(folder: Path) -> None:
    made = imported(
        folder,
        "arguments = r$(Cluster)_$(Process) '$(ClusterId)\n"
        "environment = ID=$(JobId);LEVEL=1\ntransfer_output_files = r_$(Cluster)_$(Process).txt",
        "queue 2",
    )
    plan = planned(folder, made)
    assert 'outputs: ["r_*_{index}.txt"]' in made.text
    assert [name for name, _ in plan.spec.environment_variables] == ["LEVEL"]
    assert plan.spec.script is not None
    ad = folder / "ad"
    ad.write_text('ClusterAd = 1\nClusterId = 4711\nOther = "ClusterId = 5"\n')
    text = plan.spec.script.written.replace("{index}", "1").replace("./foo", "printenv ID; echo")
    env = {"_CONDOR_JOB_AD": str(ad), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", text], stdout=subprocess.PIPE, env=env)
    assert done.stdout == b"4711.1\nr4711_1 '4711\n"


@pytest.mark.parametrize("name", ["X=1", "time", "a;b"])
def test_the_name_of_a_program_is_no_code_of_the_script(folder: Path, name: str) -> None:
    made = imported(folder, f"executable = {name}\ntransfer_executable = false\n"
                    "arguments = $(Cluster) x")  # fmt: skip
    assert f"\n  '{name}' \"$cluster\" x\n" in made.text


def test_a_variable_with_several_words_becomes_several_arguments(folder: Path) -> None:
    made = imported(folder, "arguments = -a $(x) *.dat", "queue x from (\n a  b*\n c\n)")
    script = planned(folder, made).spec.script
    assert script is not None
    text = script.written.replace("{x}", "'a  b*'").replace("./foo", "printf '%s|'")
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", text], cwd=folder,
                          stdout=subprocess.PIPE, check=True)  # fmt: skip
    assert done.stdout == b"-a|a|b*|*.dat|"


def test_several_queue_statements_become_one_table(folder: Path) -> None:
    made = imported(
        folder,
        "n = 1\narguments = $(n) $(Process) $Fn(x)\nrequest_memory = 100M\nlog = a.log\n"
        "transfer_input_files = a.dat\n"
        "queue x in (a.dat b.dat)\nn = 2\narguments = $(n) $(Process) y\n"
        "request_memory = 2GB\ntransfer_input_files = c.dat\nlog = b.log",
        "queue 2",
    )
    plan = planned(folder, made)
    assert [f.source.name for task in plan.tasks for f in task.inputs] == [
        "a.dat", "a.dat", "c.dat", "c.dat"
    ]  # fmt: skip
    assert list(plan.each.memory_mb) == [100, 100, 2048, 2048]
    program = made.text.partition("./foo")[2].partition("\n")[0]
    assert program == " {arg1} {index} {arg3}"
    assert "log" not in made.text.partition("sweep:")[2]
    table = imported(folder, "arguments = a\nqueue 2\narguments = b", "queue").text
    assert "sweep:\n  arguments: [a, a, b]\n" in table


def test_requests_that_differ_between_jobs(folder: Path) -> None:
    lines = "request_cpus = $(c)\nrequest_memory = $(m)\nrequest_disk = $(d)"
    made = imported(folder, lines, "queue Sample, c, m, d from (\n a 2 1.5GB 900\n b 1 10 5\n)")
    plan = planned(folder, made)
    assert list(plan.each.cpus) == [2, 1]
    assert list(plan.each.memory_mb) == [1536, 10]
    assert [kb >= asked for kb, asked in zip(plan.each.disk_kb, (900, 5), strict=True)]
    assert "{Sample: a, " in made.text
    assert ", m: " not in made.text


def test_images_as_older_and_newer_files_name_them(folder: Path) -> None:
    image = "/cvmfs/singularity.opensciencegrid.org/a/b:1"
    made = imported(folder, f'+SingularityImage = "{image}"')
    assert planned(folder, made).spec.environment.kind == "container"
    assert "container_image" in made.differences[0]
    lines = "universe = container\ncontainer_image = oras://ghcr.io/a/b:1\nexecutable = /bin/sh"
    made = imported(folder, lines)
    assert planned(folder, made).spec.environment.kind == "container"
    assert any("transfer_executable = false" in note for note in made.notes)


def test_an_image_without_an_executable_runs_its_own_script(folder: Path) -> None:
    path = folder / "job.submit"
    lines = f"universe = container\ncontainer_image = docker://a/b:1\n{REQUESTS}"
    path.write_text(f"{lines}queue\n")
    made = import_file(path, folder / "sweep.yaml")
    assert planned(folder, made).tasks[0].argv == ()
    path.write_text(f"{lines}arguments = --in a.dat\nqueue\n")
    made = import_file(path, folder / "sweep.yaml")
    assert planned(folder, made).tasks[0].argv == ("/.singularity.d/runscript", "--in", "a.dat")


def test_each_job_may_have_a_program_of_its_own(folder: Path) -> None:
    made = imported(folder, "executable = $(x)", "queue x in (foo books/one.txt)")
    plan = planned(folder, made)
    assert [f.source.name for task in plan.tasks for f in task.inputs] == ["foo", "one.txt"]
    assert "\n  ./{x_name}\n" in made.text


def test_outputs_that_would_leave_results_lie_with_their_task(folder: Path) -> None:
    lines = "transfer_output_files = a, b, c\ntransfer_output_remaps = "
    lines += '"a = /staging/a; b = results/$(Process)/b; c = all/$(Process).c"'
    made = imported(folder, lines, "queue 2")
    planned(folder, made)
    assert 'outputs: [a, b, {path: c, to: "all/{index}.c"}]' in made.text
    assert "/staging/a" in made.differences[0]


def test_columns_are_spelled_as_in_the_file_where_they_may_be(folder: Path) -> None:
    made = imported(folder, "arguments = $(Town) $(SAMPLE)", "queue Town, sample from (\n a b\n)")
    assert "{Town: a, my_sample: b}" in made.text
    made = imported(folder, "arguments = -v $(ARGS)", "queue ARGS in (a b)")
    assert planned(folder, made).tasks[1].argv[1:] == ("-v", "b")


def run(monkeypatch: pytest.MonkeyPatch, *given: str) -> int:
    monkeypatch.setattr(sys, "argv", ["osgbatch", "import", *given])
    return app.run()


def test_as_it_is_typed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    (folder / "job.submit").write_text(f"executable = foo\n{REQUESTS}arguments = $(x)\n"
                                       "queue x in (a b)\n")  # fmt: skip
    before = sorted(folder.rglob("*"))
    assert run(monkeypatch, "job.submit", "--stdout") == 0
    assert "command: ./foo {x}\nsweep:\n  x: [a, b]\nfiles: [foo]\n" in capsys.readouterr().out
    assert run(monkeypatch, "job.submit", "--json") == 0
    assert json.loads(capsys.readouterr().out)["tasks"] == 2
    assert sorted(folder.rglob("*")) == before
    assert run(monkeypatch, "job.submit") == 0
    text = (folder / "sweep.yaml").read_text()
    assert run(monkeypatch, "job.submit") == 2
    assert "is not overwritten" in capsys.readouterr().err
    assert (folder / "sweep.yaml").read_text() == text
    assert run(monkeypatch, "job.submit", "--out", "/tmp/elsewhere.yaml") == 2
    assert run(monkeypatch, "nowhere.submit") == 2
    (folder / "job.submit").write_text("executable = foo\ngetenv = true\nqueue\n")
    assert run(monkeypatch, "job.submit", "--out", "b.yaml") == 1
    assert not (folder / "b.yaml").exists()
    assert run(monkeypatch, "job.submit", "--out", "b.yaml", "--partly") == 1
    assert "# NOT TAKEN OVER: line 2: getenv" in (folder / "b.yaml").read_text()
    monkeypatch.setenv("LEVEL_OF_IT", "3")
    (folder / "foo").write_text("#!/bin/sh\necho $HOME ${LEVEL_OF_IT}\n")
    capsys.readouterr()
    assert run(monkeypatch, "job.submit", "--out", "c.yaml") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "(foo names LEVEL_OF_IT)" in said
    assert "--partly writes the rest" in said
    (folder / "job.submit").write_text("executable = foo\nif defined n\nqueue\n")
    pytest.importorskip("htcondor2", reason="HTCondor's parser refuses it")
    assert run(monkeypatch, "job.submit", "--out", "c.yaml") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "job.submit: HTCondor cannot read this file: line 2: " in said
    assert "`osgbatch lint job.submit`" in said


def test_many_rows_go_into_a_file_beside_the_spec(folder: Path) -> None:
    rows = "\n".join(f" v{n}, {n}.50" for n in range(60))
    path = folder / "job.submit"
    path.write_text(f"executable = foo\n{REQUESTS}arguments = $(x) $(y)\n"
                    f"queue x, y from (\n{rows}\n)\n")  # fmt: skip
    made = import_file(path, folder / "sweep.yaml")
    write(made, folder / "sweep.yaml")
    assert len((folder / "sweep.csv").read_text().splitlines()) == 61
    plan = plan_sweep(folder / "sweep.yaml")
    assert plan.tasks[59].argv == ("./foo", "v59", "59.50")
    with pytest.raises(OsgbatchError, match="not overwritten"):
        write(made, folder / "sweep.yaml")


def test_where_there_are_no_hard_links_or_no_room_both_files_are_written_or_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*given: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    made = Imported("command: a\n", ("sweep.csv", "x\n1\n"))
    out = folder / "sweep.yaml"
    before = set(folder.iterdir())
    assert write(made, out) == [folder / "sweep.csv", out]
    assert set(folder.iterdir()) - before == {folder / "sweep.csv", out}
    for path in (folder / "sweep.csv", out):
        path.unlink()
    rename = Path.rename

    def full(path: Path, target: Path) -> Path:
        if target == out:
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OsgbatchError, match="No space left"):
        write(made, out)
    assert set(folder.iterdir()) == before

    def came_meanwhile(path: Path, target: Path) -> Path:
        out.write_text("another's")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", came_meanwhile)
    with pytest.raises(OsgbatchError, match="is not overwritten"):
        write(made, out)
    assert set(folder.iterdir()) - before == {out}
    assert out.read_text() == "another's"


def test_a_configuration_below_usr_local_is_the_systems_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONDOR_CONFIG", raising=False)
    monkeypatch.setattr(personal_pool, "use", lambda: None)
    places = (str(tmp_path / "etc"), str(tmp_path / "local"))
    monkeypatch.setattr(submit_parser, "SYSTEM_CONFIGS", places)
    assert submit_parser.quiet_environment() == {"CONDOR_CONFIG": os.devnull}
    (tmp_path / "local").write_text("")
    assert submit_parser.quiet_environment() == {}


def test_a_program_without_its_x_bit_is_given_it(folder: Path) -> None:
    (folder / "foo").chmod(0o644)
    assert "  chmod +x ./foo\n  ./foo\n" in imported(folder, "").text


def test_inputs_that_a_job_changes_come_home_changed_and_others_do_not(folder: Path) -> None:
    (folder / "foo").write_text('#!/bin/sh\necho more >> "$1"\nexit 3\n')
    made = imported(folder, "arguments = a.dat\ntransfer_input_files = $(x)",
                    "queue x from (\n a.dat, b.dat, books\n c.dat, b.dat, run_0\n)")  # fmt: skip
    script = planned(folder, made).spec.script
    assert script is not None
    # As the shim lays it out: inputs/ has links to what was brought.
    task = folder / "task"
    (task / "inputs").mkdir(parents=True)
    shutil.copy(folder / "foo", task)
    for name in ("a.dat", "b.dat", "books"):
        (task / "inputs" / name).symlink_to(folder / name)
    done = subprocess.run(["sh", "-e", "-c", script.written], cwd=task, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (3, b"")
    assert (task / "a.dat").read_text() == "#!/bin/sh\nmore\n"
    assert (folder / "a.dat").read_text() == "#!/bin/sh\n"
    assert sorted(path.name for path in task.iterdir()) == ["a.dat", "foo", "inputs"]
    assert (folder / "books" / "one.txt").exists()


def test_names_of_outputs_without_the_cluster(folder: Path) -> None:
    for name, stays in (("$(Cluster)_$(Process)", "{index}"), ("$(Cluster).$(Process)", "{index}"),
                        ("r_$(Cluster)_$(Process)", "r_{index}")):  # fmt: skip
        made = imported(folder, "transfer_output_files = o\n"
                        f'transfer_output_remaps = "o = r/{name}.txt"', "queue 2")  # fmt: skip
        assert f'"r/{stays}.txt"' in made.text


def test_variables_that_only_name_logs_stay_as_columns(folder: Path) -> None:
    made = imported(folder, "output = $(town).out", "queue town in (a b)")
    assert "sweep:\n  town: [a, b]\n" in made.text


def test_attributes_that_are_commands_are_written_as_those(folder: Path) -> None:
    made = imported(folder, 'PeriodicHold = NumJobStarts > 9\n+JobBatchName = "My run"')
    assert dict(planned(folder, made).spec.submit) == {"periodic_hold": "NumJobStarts > 9"}
    assert "name: My-run\n" in made.text


def test_a_misspelt_command_is_told_of(folder: Path) -> None:
    notes = imported(folder, "requst_cpus = 8\nrank_me = 3\narguments = $(rank_me)").notes
    told = [note for note in notes if "did you mean" in note]
    assert len(told) == 1
    assert "requst_cpus is no submit command" in told[0]


def test_what_the_users_own_defaults_add_is_found(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config" / "osgbatch" / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("resources: {cpus: 4, memory: 9 GB}\ngpus: 1\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", "/nowhere")
    text = "command: ./foo\nresources: {memory: 1 GB}\n"
    found = imported_check._defaults(text, folder / "sweep.yaml")
    assert found == [f"{file} adds resources.cpus, gpus"]


def test_a_mistake_in_the_users_defaults_is_told_as_theirs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config/osgbatch").mkdir(parents=True)
    (tmp_path / "config/osgbatch/config.yaml").write_text("resorces: {}\n")
    with pytest.raises(OsgbatchError) as caught:
        imported(folder, "arguments = 1")
    assert 'config.yaml:1:1: unknown key "resorces"' in str(caught.value)

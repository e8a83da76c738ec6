"""The command line: one clear error each, its exit code, and nothing changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import started

from osgbatch.cli import app
from osgbatch.version import VERSION


def osgbatch(
    *arguments: str | Path, cwd: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "CONDOR_CONFIG"} | {
        "XDG_STATE_HOME": str(cwd / "state"),
        "XDG_CACHE_HOME": str(cwd / "cache"),
        **variables,
    }
    return started.osgbatch(arguments, cwd, environment, 120)


def tree(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")} - {"state", "cache"}


def test_the_version_is_told(tmp_path: Path) -> None:
    assert osgbatch("--version", cwd=tmp_path).stdout == f"osgbatch {VERSION}\n"
    assert osgbatch("--version", "--help", cwd=tmp_path).returncode == 0


def test_help_lists_every_command(tmp_path: Path) -> None:
    text = osgbatch("--help", cwd=tmp_path).stdout
    for command in [
        "check",
        "plan",
        "render",
        "submit",
        "status",
        "watch",
        "logs",
        "collect",
        "cancel",
    ]:
        assert f"  {command} " in text
        assert osgbatch(command, "--help", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("command", app.EXAMPLES)
def test_a_command_without_what_it_needs_is_told_with_an_example(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["osgbatch", *command.split()])
    assert app.run() == 2
    told = capsys.readouterr().err
    assert f"Write for example `osgbatch {command} {app.EXAMPLES[command]}`." in told
    assert f"More: `osgbatch {command} --help`." in told


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("submit sweep.yaml --canary", "Write `--canary 1`. More: `osgbatch submit --help`."),
        ("pool start", "Write `osgbatch pool up`."),
        ("pool stop", "Write `osgbatch pool down`."),
        ("plan --set tasks_per_job 5 sweep.yaml", "Write --set 'KEY=VALUE', in quotes when"),
        ("plan sweep.yml", "Did you mean sweep.yaml, which is there?"),
        ("plan hello.sh", "hello.sh: this is a script, and no sweep.yaml"),
        ("plan sweep.yaml --set name=[A,B]", "For the column: `sweep.name=…`."),
    ],
)
def test_what_was_meant_is_told(
    typed: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "sweep.yaml").write_text("command: echo {name}\nsweep: {name: [x]}\n")
    (tmp_path / "hello.sh").write_text("#!/bin/sh\necho hi\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["osgbatch", *typed.split()])
    assert app.run() == 2
    assert said in capsys.readouterr().err


BAD_SPECS: Mapping[str, tuple[str, str]] = {
    "unknown key": ("command: echo\nmemroy: 1\n", "s.yaml:2:1: unknown key"),
    "missing file": ("command: echo\nfiles: [no.py]\n", 's.yaml:2:9: "no.py" does not exist'),
    "missing library": ("command: echo\nlibraries: [no]\n", 's.yaml:2:13: "no" does not'),
    "empty sweep": ("command: echo\nsweep: {x: []}\n", 's.yaml:2:12: the list of "x" is empty'),
    "no match": ("command: echo\nsweep: {x: {files: 'no*'}}\n", 'no file matches "no*"'),
    "memory without unit": ("command: echo\nresources: {memory: 1}\n", "a size needs a unit"),
    "not YAML": ("command: [echo\n", "not YAML"),
}


@pytest.mark.parametrize("name", BAD_SPECS)
@pytest.mark.parametrize("command", ["check", "submit"])
def test_a_bad_spec_is_one_error_and_changes_nothing(
    tmp_path: Path, name: str, command: str
) -> None:
    text, message = BAD_SPECS[name]
    (tmp_path / "s.yaml").write_text(text)
    before = tree(tmp_path)
    extra = ["--pool", "local"] if command == "submit" else []
    done = osgbatch(command, *extra, "s.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.startswith("s.yaml:")
    assert "Traceback" not in done.stderr
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["submit", "no.yaml"], 2, "no.yaml: cannot read the spec: No such file"),
        (["submit", "ok.yaml", "--pool", "cloud"], 2, 'unknown pool "cloud"'),
        (["submit", "ok.yaml", "--pool", "condor"], 5, "there is no condor_q on PATH"),
        (["submit"], 2, "Missing argument 'spec'"),
        (["frobnicate"], 2, "No such command 'frobnicate'"),
        (["submit", "/dev/stdin"], 2, "not a file, but a pipe or device"),
        (["submit", "pipe"], 2, "not a file, but a pipe or device"),
        (["submit", "ok.yaml", "--frob"], 2, "No such option"),
        (["status"], 2, "there is no batch here"),
        (["status", "nope"], 2, 'there is no batch "nope"'),
        (["collect", "nope"], 2, 'there is no batch "nope"'),
        (["cancel", "nope"], 2, 'there is no batch "nope"'),
        (["render", "ok.yaml", "--out", "."], 2, "this folder is already there"),
        (["logs", "--stream", "x"], 2, 'unknown stream "x"'),
        (["check", "."], 2, "cannot read the spec: Is a directory"),
    ],
)
def test_a_wrong_call_is_one_error_and_changes_nothing(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    (tmp_path / "ok.yaml").write_text("command: echo\n")
    if "pipe" in arguments:
        os.mkfifo(tmp_path / "pipe")
    before = tree(tmp_path)
    done = osgbatch(*arguments, cwd=tmp_path, PATH="/usr/bin:/bin")
    assert message in done.stderr
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert tree(tmp_path) == before


def test_htcondor_that_is_configured_but_absent_is_an_error_not_local(tmp_path: Path) -> None:
    (tmp_path / "ok.yaml").write_text("command: echo\n")
    config = tmp_path / "condor_config"
    config.write_text("")
    before = tree(tmp_path)
    done = osgbatch("submit", "ok.yaml", cwd=tmp_path, CONDOR_CONFIG=str(config), PATH="/bin")
    assert done.returncode == 5
    assert "though HTCondor is configured" in done.stderr
    assert tree(tmp_path) == before


def test_a_plan_writes_nothing_and_has_a_machine_form(tmp_path: Path) -> None:
    (tmp_path / "ok.yaml").write_text("command: echo {x}\nsweep: {x: [1, 2]}\n")
    before = tree(tmp_path)
    text = osgbatch("plan", "ok.yaml", cwd=tmp_path).stdout
    assert "2 jobs of 1 task" in text
    assert "task 0 runs  echo 1" in text
    data = json.loads(osgbatch("submit", "--dry-run", "--json", "ok.yaml", cwd=tmp_path).stdout)
    assert data["tasks"] == 2
    assert data["first"]["command"] == ["echo", "1"]
    assert tree(tmp_path) == before


def test_a_rendered_batch_is_found_but_not_submitted(tmp_path: Path) -> None:
    (tmp_path / "ok.yaml").write_text("name: mine\ncommand: echo\n")
    made = json.loads(osgbatch("render", "ok.yaml", "--json", cwd=tmp_path).stdout)
    for name in ([], ["mine"], [made["id"][:4]], [made["folder"]]):
        status = json.loads(osgbatch("status", "--json", *name, cwd=tmp_path).stdout)
        assert status["id"] == made["id"]
        assert status["counts"] == {"waiting": 1}
    assert osgbatch("cancel", cwd=tmp_path).returncode == 2


def test_a_failed_pack_leaves_no_batch(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "pipe.txt").symlink_to("/nowhere/at/all")
    (tmp_path / "ok.yaml").write_text("command: echo\nlibraries: [lib/]\n")
    (tmp_path / "lib" / "__init__.py").touch()
    before = tree(tmp_path)
    done = osgbatch("render", "ok.yaml", cwd=tmp_path)
    assert done.returncode == 3
    assert "pipe.txt" in done.stderr
    assert tree(tmp_path) == before

"""Shell completion: asked as bash, zsh and fish ask, and answered without reading a spec."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import started

from osgbatch.batches.registry import register
from osgbatch.cli import completing
from osgbatch.submission import steps


def asked(cwd: Path, line: str, *, shell: str = "bash", python: tuple[str, ...] = ()) -> list[str]:
    """What the shell is told for a line that ends at the cursor."""
    parts = line.split(" ")
    ways = {
        "bash": {"COMP_WORDS": "\n".join(parts), "COMP_CWORD": str(len(parts) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    env = {**os.environ, completing.VARIABLE: f"complete_{shell}", **ways[shell]}
    if python:
        words = [sys.executable, *python, "-m", "osgbatch"]
        done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    else:
        done = started.osgbatch([], cwd, env)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "import time" not in line]
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    heavy = ("osgbatch.spec.", "osgbatch.life", "osgbatch.condor", "yaml", "rich")
    assert not [name for name in loaded if name.startswith(heavy)]  # pydantic is typer's own
    return done.stdout.split("\n")[:-1] if done.stdout.strip() else []


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a batch of twelve tasks."""
    folder = tmp_path_factory.mktemp("completing")
    (folder / "sweep.yaml").write_text("name: peaks\ncommand: echo\nsweep: {count: 12}\n")
    batch = steps.render_sweep(folder / "sweep.yaml", None, lambda text: None)
    register(batch.id, batch.folder)
    return folder


def test_commands_batches_and_tasks(here: Path) -> None:
    (batch,) = [path.name for path in (here / "batches").iterdir()]
    assert set(asked(here, "osgbatch re")) == {"render", "resubmit", "release", "report"}
    timed = ("-X", "importtime")
    assert asked(here, "osgbatch logs p", python=timed) == ["peaks", batch]
    assert asked(here, "osgbatch logs peaks 1", python=timed) == ["1", "10", "11"]
    assert asked(here, "osgbatch cancel peaks --tasks 0,2-1") == ["0,2-1", "0,2-10", "0,2-11"]
    assert asked(here, "osgbatch rm pea") == ["peaks", batch]
    assert "--push" in asked(here, "osgbatch run --p")


def test_words_that_an_option_may_have(here: Path) -> None:
    (here / "flow.yaml").write_text(
        "name: other\nsteps:\n- name: first\n  command: x\n"
        "- {command: y, name: 'fit'}\n\nresources: {cpus: 1}\ntags: {name: no}\n"
    )
    assert asked(here, "osgbatch foreach --gather ") == ["pool", "here", "none"]
    assert asked(here, "osgbatch foreach --start-at g") == ["gather"]
    assert asked(here, "osgbatch logs --stream std") == ["stdout", "stderr"]
    assert asked(here, "osgbatch submit flow.yaml --until f") == ["first", "fit"]
    assert asked(here, "osgbatch submit --until f") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_told_the_same(here: Path, shell: str) -> None:
    assert "peaks" in "".join(asked(here, "osgbatch why p", shell=shell))


def test_nothing_is_an_error(tmp_path: Path) -> None:
    assert asked(tmp_path, "osgbatch logs no-such-batch 1") == []
    assert asked(tmp_path, "osgbatch logs --task x") == []


def test_numbers_are_those_that_begin_so() -> None:
    assert list(completing._beginning("1", 12)) == [1, 10, 11]
    assert list(completing._beginning("0", 12)) == [0]
    assert list(completing._beginning("01", 12)) == []
    assert len(list(completing._beginning("9", 1_000_000))) == 111_111


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_itself_completes(here: Path) -> None:
    folder = here / "bin"
    folder.mkdir()
    (folder / "osgbatch").write_text(f'#!/bin/sh\nexec {sys.executable} -m osgbatch "$@"\n')
    (folder / "osgbatch").chmod(0o755)
    script = """
eval "$(osgbatch --show-completion bash)"
COMP_WORDS=(osgbatch status pea); COMP_CWORD=2
_osgbatch_completion osgbatch pea status
echo "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=here, capture_output=True, text=True, check=True,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.stdout.split()[0] == "peaks", done.stderr

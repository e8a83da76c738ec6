"""Commands of tests/started.py are to who runs them as those that start a Python."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import started


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of scripts that have `warm` and `cold` on their PATH."""
    folder = tmp_path_factory.mktemp("bin")
    started.program(folder / "warm")
    (folder / "cold").write_text(f'#!/bin/sh\nexec {sys.executable} -m osgbatch "$@"\n')
    (folder / "cold").chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    "script",
    [
        "OSGBATCH status no-such-batch ''; echo $?",
        "umask 077; OSGBATCH init hello a >/dev/full; echo $?; stat -c %a a; rm -r a",
        "OSGBATCH schema 2>&1 | sha256sum",
        "LANG=C.UTF-8 LC_ALL=C OSGBATCH check 'é.yaml'; echo $?",
        "mkfifo f; OSGBATCH check f & sleep 1; kill -TERM $!; wait $!; echo $?; rm f",
    ],
)
def test_streams_codes_and_signals_are_the_same(
    tmp_path: Path, bash: dict[str, str], script: str
) -> None:
    said = []
    for name in ("warm", "cold"):
        words = ["bash", "-c", script.replace("OSGBATCH", name)]
        done = subprocess.run(words, cwd=tmp_path, env=bash, capture_output=True, text=True)
        said.append((done.stdout, done.stderr, done.returncode))
    assert said[0] == said[1] and any(said[0])


def test_a_reader_that_is_gone_ends_it(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*started.command(), "init", "--list"], cwd=tmp_path, stdout=writer)
    os.close(writer)
    assert done.returncode == -signal.SIGPIPE


def test_it_is_killed_for_its_time_and_no_other_python_is_asked_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "requirements.txt")  # reading it waits for ever
    with pytest.raises(subprocess.TimeoutExpired):
        started.osgbatch(["pack", "env", "requirements.txt"], tmp_path, seconds=1)
    with pytest.raises(ValueError, match="PYTHON"):
        started.osgbatch(["ls"], tmp_path, {**os.environ, "PYTHONUTF8": "0"})


def test_who_is_interrupted_says_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "requirements.txt")  # reading it waits for ever
    words = [*started.command(), "pack", "env", "requirements.txt"]
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        descriptor = os.open(tmp_path / "requirements.txt", os.O_WRONLY)  # it is reading now
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=120)
        os.close(descriptor)
    assert (running.returncode, said) == (130, "osgbatch: interrupted; nothing was packed\n")

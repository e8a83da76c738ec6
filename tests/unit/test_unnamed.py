"""Commands without a name in a folder without batches: looks say whose they tell, acts refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_finishing import batch

from osgbatch.batches import registry
from osgbatch.batches.folder import Batch
from osgbatch.cli import app

__all__ = ["batch"]

ROOT = Path(__file__).resolve().parents[2]

LOOKS = ("status", "why", "tasks", "report --sizing")
ACTS = ("cancel", "cancel --held --yes", "release", "release --memory 4GB", "resubmit",
        "resubmit --missing --no-watch", "prioritize 5", "collect --drop-archives")  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["osgbatch", *words.split()])
    return app.run()


def tree(folder: Path) -> list[tuple[str, bytes]]:
    return sorted((str(p), p.read_bytes()) for p in folder.rglob("*") if p.is_file())


def test_of_another_folder_is_told_and_nothing_there_is_changed(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("osgbatch.condor.configured", lambda: False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    registry.register(batch.id, batch.folder)
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    said = f"no batch in this folder; the newest of all: {batch.name} in {batch.folder.parents[1]}"
    before = tree(batch.folder)
    for words in ACTS:
        assert run(monkeypatch, words) == 2, words
        told = capsys.readouterr().err
        act = "prioritize 5" if "prior" in words else words.split(" --")[0]
        assert said in told and f"`osgbatch {act}" in told and f"{batch.id[:6]}`" in told, words
    same = said.replace("no batch", f'no batch "{batch.name}"').replace("of all", "of that name")
    for act in ("cancel --yes", "resubmit --no-watch", "release"):  # another one of that name
        assert run(monkeypatch, f"{act} {batch.name}") == 2, act
        told = capsys.readouterr().err
        assert same in told and f"`osgbatch {act.split()[0]} {batch.id[:6]}`" in told, act
    assert tree(batch.folder) == before and os.listdir(other) == []
    assert run(monkeypatch, f"status {batch.name}") == 1
    assert same in capsys.readouterr().err
    for words in LOOKS:
        run(monkeypatch, words)
        assert capsys.readouterr().err.count(said) == 1, words
    # A name, or the folder that has it: nothing is to be said.
    run(monkeypatch, f"status {batch.id[:6]}")
    monkeypatch.chdir(batch.folder.parents[1])
    run(monkeypatch, "status")
    assert said not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("resubmit failed", "osgbatch resubmit --failed"),
        ("tasks failed --json", "osgbatch tasks --failed --json"),
        ("report sizing", "osgbatch report --sizing"),
        ("status sizing", ""),
        ("status failed.x", ""),
    ],
)
def test_an_option_without_its_dashes_is_known(
    words: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, words) == 2
    told = capsys.readouterr().err
    assert f'there is no batch "{words.split()[1]}"' in told
    assert told.count("Did you mean") == told.count(f"Did you mean `{meant}`?") == bool(meant)


def test_what_cannot_be_looked_into_is_told_and_not_submitted_again(tmp_path: Path) -> None:
    def osgbatch(*words: str) -> subprocess.CompletedProcess[str]:
        whose = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]
        command = [*(whose if os.geteuid() == 0 else ()), sys.executable, "-m", "osgbatch", *words]
        env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)

    (tmp_path / "sweep.yaml").write_text("command: sleep 300\nsweep: {x: [1]}\n")
    submit = ("submit", "sweep.yaml", "--pool", "local", "--no-watch")
    assert osgbatch(*submit).returncode == 0
    batches = tmp_path / "batches"
    (made,) = batches.iterdir()
    try:
        for closed, mode in ((batches, 0o300), (made, 0)):
            closed.chmod(mode)
            for words in (submit, ("status",)):
                done = osgbatch(*words)
                assert done.returncode == 2 and "Permission denied" in done.stderr, (words, done)
                assert "`ls -ld`" in done.stderr or closed == made, (words, done)
            listed = osgbatch("ls")
            assert "Permission denied" in listed.stdout + listed.stderr, listed
            closed.chmod(0o755)
        assert [*batches.iterdir()] == [made]
    finally:
        batches.chmod(0o755)
        made.chmod(0o755)
        assert osgbatch("cancel", "--yes", str(made)).returncode == 0


def test_a_stream_that_is_closed_is_none_that_is_written_to(tmp_path: Path) -> None:
    whole = f"{sys.executable} -m osgbatch"
    script = (
        f"{whole} init hello <&- >&- && {whole} ls >&- 2>&- && {whole} --version >&- && {whole} "
    )
    done = subprocess.run(
        ["sh", "-c", f"{script} check hello/sweep.yaml <&- 2>&-"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "") and "ok, 3 tasks" in done.stdout


def test_a_folder_that_was_removed_is_told(tmp_path: Path) -> None:
    script = f"mkdir gone && cd gone && rmdir ../gone && {sys.executable} -m osgbatch status"
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and "the folder that you are in was removed" in done.stderr


def test_threads_of_py_rattler_do_not_keep_the_end_waiting(tmp_path: Path) -> None:
    """Nor meet an interpreter that ends below them; what was to be done at the end is done."""
    program = (
        "import atexit, sys, threading, time, types\n"
        "from osgbatch.__main__ import main\n"
        "sys.modules['rattler'] = types.ModuleType('rattler')\n"
        "threading.Thread(target=time.sleep, args=(3600,)).start()\n"
        "atexit.register(print, 'the last word')\n"
        "sys.argv = ['osgbatch', 'check', 'none.yaml']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "the last word\n")
    assert "none.yaml" in done.stderr

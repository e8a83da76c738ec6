"""What keeps a second `stage put` fast: what is noted, known at a glance, and not loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from osgbatch.staging import puts
from osgbatch.staging.hashes import Hashes


def test_what_was_put_is_added_and_the_last_time_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = puts.Puts(tmp_path)
    monkeypatch.setattr(puts.time, "time", lambda: 1000.0)
    noted.note(["osdf:///a", "osdf:///b", "osdf:///a"])
    with noted.path.open("ab") as stream:
        stream.write(b"1000 osdf:///cut")  # a full disk, and a kill -9
    monkeypatch.setattr(puts.time, "time", lambda: 2000.0)
    noted.note(["osdf:///b"])
    assert noted.path.read_text().splitlines().count("1000 osdf:///a") == 1
    times = noted.times()
    assert (times["osdf:///a"], times["osdf:///b"]) == (1000.0, 2000.0)


def test_a_long_list_is_cleared_once_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puts, "LARGE", 50)
    noted = puts.Puts(tmp_path)
    now = 1.8e9

    def put_at(moment: float, *urls: str) -> list[str]:
        monkeypatch.setattr(puts.time, "time", lambda: moment)
        os.utime(tmp_path / "puts.lock", (now, now)) if noted.path.exists() else None
        noted.note(urls)
        return noted.path.read_text().splitlines()

    put_at(now - puts.KEPT_S, "osdf:///old")
    assert len(put_at(now, *(f"osdf:///{n}" for n in range(9)))) == 10
    assert len(put_at(now + 60, "osdf:///0")) == 11
    lines = put_at(now + 90_000, "osdf:///0")
    assert lines == [
        f"{now + 90_000:.0f} osdf:///0",
        *(f"{now:.0f} osdf:///{n}" for n in range(1, 9)),
    ]


def test_a_tree_tells_which_of_its_files_are_programs(tmp_path: Path) -> None:
    for name, mode in (("data", 0o644), ("for_me", 0o700), ("program", 0o755)):
        (tmp_path / "tree").mkdir(exist_ok=True)
        (tmp_path / "tree" / name).touch()
        (tmp_path / "tree" / name).chmod(mode)
    with Hashes(tmp_path / "cache") as hashes:
        found = {one[0]: one[3] for one in hashes.of_tree(tmp_path / "tree", lambda _: None)}
    assert found == {"data": False, "for_me": True, "program": True}


def test_staging_loads_neither_the_planner_nor_the_packer_of_environments() -> None:
    program = (
        "import sys, osgbatch.submission.stashing, osgbatch.staging.folder; print(*sys.modules)"
    )
    words = [sys.executable, "-c", program]
    loaded = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    heavy = ("osgbatch.planning.plan", "osgbatch.packing.environment", "osgbatch.sweep.expand")
    assert not [name for name in loaded if name.startswith((*heavy, "boto", "jinja2", "rich"))]

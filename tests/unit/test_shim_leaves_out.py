"""The shim: what of a task's folder stays away, by `outputs: {exclude:, changed_only:}`."""

from __future__ import annotations

from typing import Any

import pytest
import shim_harness
from shim_harness import Slot, sh, tarball

slot = shim_harness.slot

WHATEVER = [{"pattern": "*", "optional": True}, {"pattern": ".[!.]*", "optional": True}]
GIVEN = {"job.py": "given", "util/a.py": "given", "util/b.py": "given", "odd 'name'\n": "given"}


def files(slot: Slot) -> list[dict[str, Any]]:
    """The user's files, as they travel."""
    return [{"kind": "files", **tarball(slot.scratch / "files-1.tar.gz", GIVEN)}]


def test_what_is_excluded_stays_away(slot: Slot) -> None:
    made = 'a.npy b.tmp .h.tmp keep/c.tmp keep/d scratch/a/e scratch/f "keep/g h.tmp"'
    make = f"""cd outputs; mkdir -p scratch/a keep; echo x | tee {made} >/dev/null
    ln -s a.npy l.tmp"""
    patterns = ["*.tmp", "outputs/scratch", "outputs/no[nt]e*"]
    done = slot.run({0: sh(make)}, exclude=patterns)
    assert done.code == 0, done.tasks
    assert done.names(0) == {"outputs/a.npy", "outputs/keep/d"}
    assert done.tasks[0]["outputs"] == "2"
    assert int(done.tasks[0]["disk_kb"]) >= 24  # also of what stays away


def test_a_required_output_that_is_excluded_is_missing(slot: Slot) -> None:
    wanted = [{"pattern": "outputs/a.tmp", "optional": False}]
    done = slot.run({0: sh("echo x >outputs/a.tmp")}, outputs=wanted, exclude=["*.tmp"])
    assert (done.tasks[0]["reason"], done.names(0)) == ("missing-output", set())


def test_an_input_is_never_removed_where_it_lies(slot: Slot) -> None:
    slot.file("data/a.tmp")
    slot.file("ref/b.tmp")
    done = slot.run(
        {
            0: sh("true", ["input", "data/a.tmp", "inputs/a.tmp"], ["input", "ref", "inputs/ref"]),
            1: sh("cat inputs/a.tmp inputs/ref/b.tmp >outputs/both",
                  ["input", "data/a.tmp", "inputs/a.tmp"], ["input", "ref", "inputs/ref"]),
        },
        exclude=["*.tmp", "inputs/ref/*"],
        changed_only=True,
        outputs=WHATEVER,
    )  # fmt: skip
    assert done.code == 0, done.tasks
    assert (slot.scratch / "data/a.tmp").exists() and (slot.scratch / "ref/b.tmp").exists()
    assert done.names(0) == set()
    assert (done.data(1) / "outputs/both").read_text() == "x\nx\n"


def test_only_what_the_command_made_or_changed_comes_home(slot: Slot) -> None:
    slot.file("data/in.npy", "input")
    made = "outputs/o deep/er/f .hidden util/new inputs/beside util/__pycache__/a.pyc"
    make = f"""echo more >>util/a.py; echo given >same; touch job.py
    mkdir -p util/__pycache__ deep/er empty
    echo x | tee {made} >/dev/null; ln -s o outputs/l"""
    done = slot.run(
        {0: sh(make, ["params", "{}"], ["input", "data/in.npy", "inputs/data/in.npy"])},
        payload=files(slot),
        changed_only=True,
        outputs=WHATEVER,
    )
    assert done.code == 0, done.tasks
    assert done.names(0) == {
        "util/a.py", "same", "outputs/o", "outputs/l", "deep/er/f", ".hidden", "util/new",
        "inputs/beside",
    }  # fmt: skip
    assert not (done.data(0) / "empty").exists()
    assert "detail" not in done.tasks[0] or not done.tasks[0]["detail"]


def test_what_a_failed_command_made_comes_home_too(slot: Slot) -> None:
    done = slot.run(
        {0: sh("echo x >made; exit 4")}, payload=files(slot), changed_only=True, outputs=WHATEVER
    )
    assert (done.code, done.names(0)) == (4, {"made"})


@pytest.mark.parametrize("code", [3, 0])
def test_a_retry_begins_with_all_files_again(slot: Slot, code: int) -> None:
    script = f"cat job.py util/b.py; echo x >made; [ $OSGBATCH_TASK -eq 9 ] || exit {code}"
    done = slot.run(
        {0: sh(script)},
        payload=files(slot),
        changed_only=True,
        exclude=["util"],
        outputs=WHATEVER,
        retry_times=1,
        retry_codes=[3],
    )
    assert done.text(0, "stderr") == ""
    assert done.names(0) == {"made"}

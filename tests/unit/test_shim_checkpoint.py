"""The shim: a program that saves its state goes on, in the same folder and in another."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import shim_harness
from shim_harness import Slot, sh, tarball

slot = shim_harness.slot

COUNT = """\
n=0; [ ! -e state/n ] || n=$(cat state/n)
echo "from $n"; cat inputs/a.txt params.json >>outputs/seen
mkdir -p state; touch "old$n" "odd '\\"*
$n"
n=$((n + 1)); echo "$n" >state/n
[ "$n" -ge 3 ] || exit 85
"""
KEEP = ["state", "odd*", "nothing-like-it"]


def task(script: str = COUNT) -> dict[int, list[bytes]]:
    return {7: sh(script, ["params", "{}"], ["input", "data/a.txt", "inputs/a.txt"])}


def bring(slot: Slot) -> dict[str, Any]:
    """What HTCondor brings with every job of these tests."""
    slot.file("data/a.txt", "a")
    files = tarball(slot.scratch / "files.tar.gz", {"code.sh": "x\n"})
    return {"payload": [{"kind": "files", **files}], "checkpoint": KEEP}


def move(slot: Slot) -> None:
    """The job goes on elsewhere: all that is left is what HTCondor has kept."""
    kept = (slot.scratch / "osgbatch-checkpoint.tar.gz").read_bytes()
    shutil.rmtree(slot.scratch)
    slot.scratch.mkdir()
    slot.file("osgbatch-checkpoint.tar.gz", kept)


def test_it_goes_on_in_the_same_folder_and_unpacks_nothing_again(slot: Slot) -> None:
    options = bring(slot)
    assert slot.run(task(), **options).code == 85
    (slot.scratch / "files.tar.gz").unlink()
    assert slot.run(task(), **options).code == 85
    done = slot.run(task(), **options)
    record = done.tasks[7]
    assert (done.code, record["reason"], record["checkpoints"]) == (0, "ok", "2")
    assert done.text(7, "stdout") == "from 0\nfrom 1\nfrom 2\n"
    assert (done.data(7) / "outputs/seen").read_text() == "a{}\n" * 3
    assert float(record["end"]) - float(record["start"]) >= 0


def test_moved_it_goes_on_with_what_was_saved_and_nothing_else(slot: Slot) -> None:
    options = bring(slot)
    assert slot.run(task(), **options).code == 85
    for _ in range(2):
        move(slot)
        done = slot.run(task("ls >outputs/ls\n" + COUNT), **bring(slot))
    assert (done.code, done.tasks[7]["checkpoints"]) == (0, "2")
    assert done.text(7, "stdout") == "from 0\nfrom 1\nfrom 2\n"
    assert (done.data(7) / "outputs/seen").read_text() == "a{}\n"
    there = (done.data(7) / "outputs/ls").read_text()
    assert "state\n" in there and "odd '" in there and "code.sh\n" in there and "old" not in there


def test_stopped_every_so_often_it_has_all_its_time_together(slot: Slot) -> None:
    options = {"checkpoint": ["n"], "checkpoint_every": 1, "time_limit": 2}
    script = "trap 'echo saved >>n; exit 0' TERM; while :; do sleep 0.05; done"
    assert slot.run(task_of(script), **options).code == 85
    done = slot.run(task_of(script), **options)
    assert (done.code, done.tasks[7]["reason"]) == (111, "time")
    assert "limit of 2 s" in done.tasks[7]["detail"]


def task_of(script: str) -> dict[int, list[bytes]]:
    return {7: sh(script)}


def test_without_progress_it_fails_instead_of_going_on_for_ever(slot: Slot) -> None:
    done = slot.run(task_of("exit 85"), checkpoint=["n"])
    assert done.code == 110 and done.tasks[7]["reason"] == "missing-output"
    assert "no file matches checkpoint" in done.tasks[7]["detail"]
    shutil.rmtree(slot.scratch)
    slot.scratch.mkdir()
    script = "[ -e n ] || echo 1 >n; exit 85"
    assert slot.run(task_of(script), checkpoint=["n"]).code == 85
    os.utime(slot.scratch / "tasks/7/n", (0, 0))
    done = slot.run(task_of(script), checkpoint=["n"])
    assert done.code == 110 and "nothing since it was started" in done.tasks[7]["detail"]


def test_85_is_a_code_like_any_other_without_checkpoint(slot: Slot) -> None:
    done = slot.run(task_of("exit 85"))
    assert (done.code, done.tasks[7]["reason"]) == (85, "exit")


def test_a_damaged_checkpoint_is_no_start_from_the_beginning(slot: Slot) -> None:
    Path(slot.scratch / "osgbatch-checkpoint.tar.gz").write_bytes(b"x")
    done = slot.run(task_of("echo 1 >n"), checkpoint=["n"])
    assert done.code == 104 and done.tasks[7]["reason"] == "infrastructure"

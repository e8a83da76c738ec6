"""The shim: no input of a stash or a listing is computed on unless it is what it should be."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import shim_harness
from shim_harness import Outcome, Slot, sh, tarball

slot = shim_harness.slot

RIGHT = b"what was staged\n" * 1000
SHA256 = hashlib.sha256(RIGHT).hexdigest()
MD5 = hashlib.md5(RIGHT).hexdigest()
OBJECT = ["object", f"{SHA256}.npy", "inputs/a b.npy"]
SIZED = ["fetched", "a.npy", "inputs/a b.npy", str(len(RIGHT))]
SUMMED = [*SIZED, MD5]
FLIPPED = b"W" + RIGHT[1:]
CUT = RIGHT[:-1]


def arrives(slot: Slot, line: list[str], content: bytes) -> Path:
    """A transfer has brought this."""
    return slot.file(line[1], content)


def used(slot: Slot, *lines: list[str], command: str = "cat inputs/* >/dev/null") -> Outcome:
    """A job of one task whose command leaves a trace, outside of what the shim may tidy away."""
    return slot.run({0: sh(f"echo x >>../../ran; {command}", *lines)})


def ran(slot: Slot) -> int:
    """How many commands were started."""
    return len(p.read_bytes()) // 2 if (p := slot.scratch / "ran").exists() else 0


def without(slot: Slot, *tools: str) -> None:
    """An execution point that has everything but these."""
    if slot.shell != "busybox":
        for program in os.listdir("/usr/bin"):
            if program not in ("sh", *tools):
                slot.bin.joinpath(program).symlink_to(f"/usr/bin/{program}")
    else:
        for tool in tools:
            slot.bin.joinpath(tool).unlink(missing_ok=True)
    slot.path = str(slot.bin)


def refused(slot: Slot, done: Outcome, detail: str, runs: int = 0) -> None:
    """The job ended with 114 and said why, and no more commands had run than these."""
    assert (done.code, ran(slot)) == (114, runs), done.tasks
    last = done.tasks[max(done.tasks)]
    assert (last["state"], last["reason"], last["exit_code"]) == ("failed", "infrastructure", "114")
    assert last["detail"] == detail
    assert done.job["reason"] == "infrastructure" and detail in done.job["detail"]


# ---- what arrives wrong -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "how"),
    [
        (OBJECT, "sha256 1, md5 0, size 0, not 0"),
        (SUMMED, "sha256 0, md5 1, size 0, not 0"),
        (SIZED, "sha256 0, md5 0, size 1, not 0"),
        (SIZED[:3], "sha256 0, md5 0, size 0, not 1"),
    ],
)
def test_what_is_right_is_used_and_the_record_says_how_it_was_verified(
    slot: Slot, line: list[str], how: str
) -> None:
    arrives(slot, line, RIGHT)
    done = used(slot, line, command='cp "inputs/a b.npy" outputs/')
    assert (done.code, done.stderr, ran(slot)) == (0, "", 1), done.tasks
    assert (done.data(0) / "outputs/a b.npy").read_bytes() == RIGHT
    assert done.tasks[0]["inputs_verified"] == how


@pytest.mark.parametrize("content", [FLIPPED, CUT, b""])
def test_an_object_that_is_not_what_was_staged_is_114(slot: Slot, content: bytes) -> None:
    arrives(slot, OBJECT, content)
    refused(slot, used(slot, OBJECT), "the input inputs/a b.npy is not what was staged")


@pytest.mark.parametrize("line", [SIZED, SUMMED], ids=["size", "md5"])
@pytest.mark.parametrize("content", [CUT, RIGHT + b"\n"])
def test_a_listed_file_of_another_size_is_114(slot: Slot, line: list[str], content: bytes) -> None:
    arrives(slot, line, content)
    detail = f"the input inputs/a b.npy has {len(content)} bytes, not {len(RIGHT)}"
    refused(slot, used(slot, line), detail)


def test_a_listed_file_of_another_content_is_114(slot: Slot) -> None:
    arrives(slot, SUMMED, FLIPPED)
    refused(slot, used(slot, SUMMED), "the input inputs/a b.npy arrived damaged")


def test_without_md5sum_the_size_is_what_is_known(slot: Slot) -> None:
    without(slot, "md5sum")
    arrives(slot, SUMMED, CUT)
    detail = f"the input inputs/a b.npy has {len(CUT)} bytes, not {len(RIGHT)}"
    refused(slot, used(slot, SUMMED), detail)
    arrives(slot, SUMMED, RIGHT)
    done = used(slot, SUMMED)
    assert (done.code, ran(slot)) == (0, 1)
    assert done.tasks[0]["inputs_verified"] == "sha256 0, md5 0, size 1, not 0"


def test_without_any_sha256_program_nothing_is_computed(slot: Slot) -> None:
    without(slot, "sha256sum", "shasum", "openssl")
    arrives(slot, OBJECT, RIGHT)
    done = used(slot, OBJECT)
    assert (done.code, ran(slot)) == (106, 0)
    assert done.job["detail"] == "missing here: sha256sum"


@pytest.mark.parametrize("content", [RIGHT, FLIPPED, CUT])
def test_another_sha256_program_verifies_as_well(slot: Slot, content: bytes) -> None:
    without(slot, "sha256sum", "shasum", "openssl")
    real = slot.root / "sha256sum"
    real.symlink_to("/usr/bin/sha256sum")
    slot.bin.joinpath("shasum").write_text(f'#!/bin/sh\nshift 2\nexec "{real}" "$@"\n')
    slot.bin.joinpath("shasum").chmod(0o755)
    arrives(slot, OBJECT, content)
    done = used(slot, OBJECT)
    if content == RIGHT:
        assert (done.code, ran(slot)) == (0, 1)
    else:
        refused(slot, done, "the input inputs/a b.npy is not what was staged")


def test_a_sha256_program_that_fails_verifies_nothing(slot: Slot) -> None:
    without(slot, "sha256sum")
    slot.bin.joinpath("sha256sum").write_text("#!/bin/sh\nexit 1\n")
    slot.bin.joinpath("sha256sum").chmod(0o755)
    arrives(slot, OBJECT, RIGHT)
    refused(slot, used(slot, OBJECT), "the input inputs/a b.npy is not what was staged")


def test_one_wrong_input_among_right_ones_is_enough(slot: Slot) -> None:
    arrives(slot, OBJECT, RIGHT)
    cut = ["fetched", "b.npy", "inputs/b.npy", "9"]
    arrives(slot, cut, b"12345678")
    refused(slot, used(slot, OBJECT, cut), "the input inputs/b.npy has 8 bytes, not 9")


def test_what_did_not_arrive_is_107(slot: Slot) -> None:
    for line in (OBJECT, SUMMED):
        done = used(slot, line)
        assert (done.code, ran(slot)) == (107, 0)
        assert "did not arrive" in done.tasks[0]["detail"]


# ---- one object, several uses -------------------------------------------------------------------


@pytest.mark.parametrize("first", ["file", "program"])
def test_a_program_is_one_also_when_the_same_bytes_are_a_plain_file(slot: Slot, first: str) -> None:
    script = b"#!/bin/sh\necho started >outputs/x\n"
    name = f"{hashlib.sha256(script).hexdigest()}.sh"
    slot.file(name, script).chmod(0o644)
    lines = [["object", name, "inputs/plain.sh"], ["object", name, "inputs/prog.sh", "program"]]
    done = used(slot, *(lines if first == "file" else lines[::-1]), command="exec ./inputs/prog.sh")
    assert (done.code, ran(slot)) == (0, 1), done.tasks
    assert done.names(0) == {"outputs/x"}
    assert done.tasks[0]["inputs_verified"] == "sha256 2, md5 0, size 0, not 0"


# ---- a task that changes an input ---------------------------------------------------------------

CHANGED = ": an earlier task or try has changed it"


@pytest.mark.parametrize(
    ("line", "edit", "detail"),
    [
        (OBJECT, "echo more >>F", "is not what was staged"),
        (OBJECT, "echo other >F", "is not what was staged"),
        (SUMMED, "echo more >>F", f"has {len(RIGHT) + 5} bytes, not {len(RIGHT)}"),
        (SUMMED, "tr a-z A-Z <F >G; cat G >F", "arrived damaged"),
        (SIZED, "tr a-z A-Z <F >G; cat G >F", "is not what arrived"),
    ],
)
def test_no_later_task_computes_on_what_an_earlier_one_has_changed(
    slot: Slot, line: list[str], edit: str, detail: str
) -> None:
    arrives(slot, line, RIGHT)
    edit = edit.replace("F", '"inputs/a b.npy"')
    tasks = {0: sh(f"echo x >>../../ran; {edit}", line), 1: sh("echo x >>../../ran", line)}
    done = slot.run(tasks)
    assert done.tasks[0]["state"] == "succeeded"
    refused(slot, done, f"the input inputs/a b.npy {detail}{CHANGED}", runs=1)


def test_nor_does_a_second_try(slot: Slot) -> None:
    arrives(slot, OBJECT, RIGHT)
    script = 'echo x >>../../ran; echo half >"inputs/a b.npy"; exit 3'
    done = slot.run({0: sh(script, OBJECT)}, retry_times=2, retry_codes=[3])
    assert (done.code, ran(slot)) == (114, 1)
    assert done.tasks[0]["detail"].startswith(
        f"the input inputs/a b.npy is not what was staged{CHANGED}"
    )


@pytest.mark.parametrize("line", [OBJECT, SUMMED], ids=["object", "md5"])
def test_what_was_only_touched_is_used(slot: Slot, line: list[str]) -> None:
    arrives(slot, line, RIGHT)
    script = 'echo x >>../../ran; cat "inputs/a b.npy" >outputs/x; touch "inputs/a b.npy"'
    done = slot.run({index: sh(script, line) for index in range(3)})
    assert (done.code, ran(slot)) == (0, 3), done.tasks
    assert all((done.data(i) / "outputs/x").read_bytes() == RIGHT for i in range(3))


def test_an_object_is_read_once_for_all_tasks(slot: Slot) -> None:
    real = "/usr/bin/sha256sum"
    slot.bin.joinpath("sha256sum").unlink(missing_ok=True)
    slot.bin.joinpath("sha256sum").write_text(
        f'#!/bin/sh\n[ $# -gt 0 ] || echo read >>"{slot.root}/reads"\nexec {real} "$@"\n'
    )
    slot.bin.joinpath("sha256sum").chmod(0o755)
    arrives(slot, OBJECT, RIGHT)
    done = slot.run({index: sh("cat inputs/* >/dev/null", OBJECT) for index in range(4)})
    assert done.code == 0
    assert (slot.root / "reads").read_text() == "read\n"


FILES = {"content/a": "a", "content/deep/b": "b", "content/deep/c": "c"}
SEEN = 'cd inputs/ref; for f in $(find . -type f | LC_ALL=C sort); do echo "$f"; cat "$f"; done'


@pytest.mark.parametrize(
    "edit",
    [
        "printf A >inputs/ref/a",
        "rm inputs/ref/deep/c",
        "echo n >inputs/ref/deep/new",
        "mv inputs/ref/deep inputs/ref/d",
        "chmod 500 inputs/ref/deep; : >inputs/ref/a",
    ],
)
def test_every_task_sees_a_folder_as_it_was_staged(slot: Slot, edit: str) -> None:
    made = tarball(slot.scratch / "x", FILES)
    name = f"{made['sha256']}.tar.gz"
    (slot.scratch / "x").rename(slot.scratch / name)
    line = ["object", name, "inputs/ref", "folder"]
    tasks = {index: sh(f"({SEEN}) >outputs/seen; {edit}", line) for index in range(3)}
    done = slot.run(tasks)
    assert done.code == 0 and done.stderr == "", done.tasks
    for index in range(3):
        assert done.text(index, "data/outputs/seen") == "./a\na./deep/b\nb./deep/c\nc"
        assert done.tasks[index]["inputs_verified"] == "sha256 1, md5 0, size 0, not 0"


def test_a_changed_folder_that_cannot_be_removed_is_not_used(slot: Slot) -> None:
    """As on NFS, where an open file stays; or while something still writes there."""
    made = tarball(slot.scratch / "x", FILES)
    name = f"{made['sha256']}.tar.gz"
    (slot.scratch / "x").rename(slot.scratch / name)
    slot.bin.joinpath("rm").unlink(missing_ok=True)
    slot.bin.joinpath("rm").write_text(
        '#!/bin/sh\ncase $* in *.folder*) exit 1 ;; esac\nexec /bin/rm "$@"\n'
    )
    slot.bin.joinpath("rm").chmod(0o755)
    line = ["object", name, "inputs/ref", "folder"]
    script = f"({SEEN}) >outputs/seen; printf A >inputs/ref/a"
    done = slot.run({index: sh(script, line) for index in range(3)})
    assert done.code == 0, done.tasks
    for index in range(3):
        assert done.text(index, "data/outputs/seen") == "./a\na./deep/b\nb./deep/c\nc"


def test_a_folder_that_nobody_changes_is_unpacked_once(slot: Slot) -> None:
    made = tarball(slot.scratch / "x", FILES)
    name = f"{made['sha256']}.tar.gz"
    (slot.scratch / "x").rename(slot.scratch / name)
    line = ["object", name, "inputs/ref", "folder"]
    script = "ls -di inputs/ref/. | sed 's/ .*//' >outputs/inode"
    done = slot.run({index: sh(script, line) for index in range(3)})
    assert done.code == 0, done.tasks
    assert len({done.text(index, "data/outputs/inode") for index in range(3)}) == 1

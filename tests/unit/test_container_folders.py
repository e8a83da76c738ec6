"""In a container a task's outputs/ and /outputs are one true folder, task after task."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import shim_harness
from shim_harness import ODD_NAME, Outcome, Slot, encode, quote, read_record, render, sh

slot = shim_harness.slot


def rooted(image: Path) -> Callable[[str], str]:
    """Puts the folders of the container elsewhere than at the root of this machine."""

    def edit(shim: str) -> str:
        assert shim.count("\nIMAGE_ROOT=''") == 1
        return shim.replace("\nIMAGE_ROOT=''", "\nIMAGE_ROOT=" + quote(str(image)).decode())

    return edit


@pytest.fixture
def mounted(slot: Slot) -> Iterator[Path]:
    """An image whose /outputs is a folder of the scratch folder, as with mount_under_scratch.

    A link to an open file stands for the mount: both lead to the folder, whatever its name becomes.
    """
    folder = slot.scratch / "scratch/outputs"
    folder.mkdir(parents=True)
    image = slot.root / "image"
    image.mkdir()
    held = os.open(folder, os.O_RDONLY)
    (image / "outputs").symlink_to(f"/proc/{os.getpid()}/fd/{held}")
    yield image
    os.close(held)


@pytest.fixture
def apart(slot: Slot) -> Path:
    """An image whose /outputs is not in the scratch folder."""
    (slot.root / "image/outputs").mkdir(parents=True)
    return slot.root / "image"


def run(slot: Slot, image: Path, *scripts: str) -> Outcome:
    """Runs one task with each script, in which $O is /outputs."""
    slot.environ["O"] = f"{image}/outputs"
    rows = {index: sh(script) for index, script in enumerate(scripts)}
    return slot.run(rows, in_container=True, edit=rooted(image))


def test_outputs_is_a_true_folder_and_the_same_as_at_the_root(slot: Slot, mounted: Path) -> None:
    done = run(
        slot,
        mounted,
        '[ ! -L outputs ] && echo a >"$O/a" && [ -s outputs/a ] && echo b >outputs/b'
        ' && [ -s "$O/b" ] && printf "#!/bin/sh\\necho c >c\\n" >x && chmod +x x'
        " && cd outputs && ../x && mv a d && mv d ../d && mv ../d a",
        'ls -A outputs "$O"/; echo 2 >"$O/2"',
    )
    assert done.code == 0, done.tasks
    assert done.names(0) == {"outputs/a", "outputs/b", "outputs/c"}
    assert done.names(1) == {"outputs/2"}
    assert not {"a", "b", "c"} & set(done.text(1, "stdout").split()), "what task 0 left"


def test_outputs_of_a_task_that_failed_come_home_and_not_with_the_next(
    slot: Slot, mounted: Path
) -> None:
    done = run(slot, mounted, 'echo 1 >"$O/1"; chmod 500 outputs; exit 3', 'echo 2 >"$O/2"')
    assert [done.tasks[n]["exit_code"] for n in (0, 1)] == ["3", "0"]
    assert (done.names(0), done.names(1)) == ({"outputs/1"}, {"outputs/2"})


def test_a_task_may_make_its_outputs_folder_anew(slot: Slot, mounted: Path) -> None:
    done = run(slot, mounted, "rm -r outputs && mkdir outputs && echo 1 >outputs/1")
    assert (done.code, done.names(0)) == (0, {"outputs/1"})


def test_a_later_task_that_misses_the_folder_at_the_root_is_told_why(
    slot: Slot, mounted: Path
) -> None:
    done = run(
        slot,
        mounted,
        "rm -r outputs && mkdir outputs && echo 1 >outputs/1",
        "echo 2 >outputs/2",
        'echo 3 >outputs/3; echo 3 >"$O/x"',
    )
    assert [done.tasks[n]["state"] for n in range(3)] == ["succeeded", "succeeded", "failed"]
    assert [done.names(n) for n in range(3)] == [{f"outputs/{n}"} for n in (1, 2, 3)]
    assert done.tasks[1]["detail"] == ""
    assert done.tasks[2]["detail"].startswith("/outputs is gone: a task of this job has removed")


def test_a_folder_that_the_scratch_folder_does_not_hold_is_linked(slot: Slot, apart: Path) -> None:
    done = run(
        slot,
        apart,
        'echo 1 >"$O/1"; cat outputs/1; mkdir outputs/d; echo 2 >outputs/d/2',
        'ls -A "$O"/; rm outputs; mkdir outputs; echo 3 >"$O/3"; echo 4 >outputs/4',
    )
    assert done.code == 0, done.tasks
    assert (done.text(0, "stdout"), done.text(1, "stdout")) == ("1\n", "")
    assert (done.names(0), done.names(1)) == (
        {"outputs/1", "outputs/d/2"},
        {"outputs/3", "outputs/4"},
    )


FULL = """\
mount -t tmpfs -o size=2m full "$_CONDOR_SCRATCH_DIR" || exit 99
"$@"
code=$?
cp "$_CONDOR_SCRATCH_DIR/osgbatch-out.tar.gz" "$KEEP"
exit "$code"
"""


def test_outputs_that_a_full_disk_does_not_take_are_told(tmp_path: Path) -> None:
    spaces = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*spaces, "true"], check=False).returncode:
        pytest.skip("no user name spaces")
    scratch, image, shim = tmp_path / ODD_NAME, tmp_path / "image", tmp_path / "shim.sh"
    scratch.mkdir()
    (image / "outputs").mkdir(parents=True)
    shim.write_text(rooted(image)(render(in_container=True, disk_needed_kb=1)))
    task = encode({0: sh(f"head -c 4000000 /dev/zero >{image}/outputs/large")})
    done = subprocess.run(
        [*spaces, "sh", "-c", FULL, "sh", "sh", shim, "12", "3", "0", task],
        env={"PATH": os.environ["PATH"], "_CONDOR_SCRATCH_DIR": str(scratch), "KEEP": "out.tar.gz"},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 108, done.stderr
    assert f"what is in {image}/outputs cannot be moved" in done.stderr
    subprocess.run(["tar", "-xzf", "out.tar.gz"], cwd=tmp_path, check=True)
    status = read_record(tmp_path / "tasks/0/status")
    assert (status["state"], status["exit_code"]) == ("failed", "108")

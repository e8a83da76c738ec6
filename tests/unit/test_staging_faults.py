"""A folder stash at fault, as a user meets it: killed at many points, a full disk, two at once."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_disk import on_small_disk

from osgbatch.errors import StagingError
from osgbatch.staging.folder import FolderStore
from osgbatch.staging.listing import compiled
from osgbatch.staging.objects import checksum_of

ROOT = Path(__file__).parents[2]


def sweep(folder: Path, files: int, size: int) -> Path:
    """A folder with a spec, its stash, and a tree to be staged."""
    (folder / "stash").mkdir()
    (folder / "tree/deep").mkdir(parents=True)
    numbers = random.Random(files)
    for index in range(files):
        (folder / "tree/deep" / f"{index}.dat").write_bytes(numbers.randbytes(size + index))
    spec = folder / "sweep.yaml"
    spec.write_text("command: 'true'\nstash: {folder: stash, url: 'osdf:///x'}\n")
    return spec


def put(spec: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "osgbatch", "stage", "put", "--tree", "--spec", spec, "tree"]
    variables = {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(spec.parent / "cache")}
    return subprocess.Popen(
        words,
        cwd=spec.parent,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def objects(stash: Path) -> dict[str, bytes]:
    """What has a final name; all of it must be what its name says."""
    found = {p.name: p.read_bytes() for p in stash.rglob("*.dat") if not p.name.startswith(".")}
    for name, content in found.items():
        assert name == f"{hashlib.sha256(content).hexdigest()}.dat"
        assert checksum_of(f"{name[:2]}/{name}")
    return found


def whole(folder: Path) -> None:
    """All of the tree is there, and nothing that an interruption left."""
    found = objects(folder / "stash")
    assert sorted(found.values()) == sorted(p.read_bytes() for p in folder.rglob("tree/deep/*"))
    assert not list((folder / "stash").rglob(".part-*"))


def test_a_tree_that_is_killed_again_and_again_arrives_whole(tmp_path: Path) -> None:
    spec = sweep(tmp_path, 600, 50_000)
    seen = []
    for above in range(8):
        with put(spec) as process:
            # Killed once there is more than at the last time, or a little later.
            for _ in range(400):
                now = len(list((tmp_path / "stash").rglob("*.dat")))
                if now > (seen[-1] if seen else 0) or process.poll() is not None:
                    break
                time.sleep(0.005)
            time.sleep(0.003 * above)
            process.send_signal(signal.SIGKILL)
        seen.append(len(objects(tmp_path / "stash")))
    assert seen[0] < 600, "no kill came in time"
    with put(spec) as process:
        _, said = process.communicate()
    assert process.returncode == 0, said
    whole(tmp_path)


def test_two_at_once_bring_a_tree_once(tmp_path: Path) -> None:
    spec = sweep(tmp_path, 300, 20_000)
    both = [put(spec) for _ in range(3)]
    for process in both:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    whole(tmp_path)


@pytest.mark.parametrize("kilobytes", [2_000, 3_100])
def test_a_full_disk_is_told_and_the_same_command_goes_on(tmp_path: Path, kilobytes: int) -> None:
    """Room for all by what the disk says at first, and not when it is used by others, too."""
    sweep(tmp_path, 60, 50_000)
    script = """
        cd "$disk/.."
        sed -i "s|folder: stash|folder: $disk|" sweep.yaml
        export XDG_CACHE_HOME="$PWD/cache"
        osgbatch stage put --tree --spec sweep.yaml tree >urls 2>errors; echo "first $?"
        cat errors >&2
        find "$disk" -name '[0-9a-f]*.dat' -exec sha256sum {} + >sums
        make_room
        osgbatch stage put --tree --spec sweep.yaml tree >urls 2>errors; echo "second $?"
        cp -r "$disk/osgbatch" after
    """
    done = on_small_disk(tmp_path / "disk", kilobytes, script)
    assert done.stdout == "first 4\nsecond 0\n", done.stderr
    assert "room" in done.stderr
    assert "Traceback" not in done.stderr
    for line in (tmp_path / "sums").read_text().splitlines():
        assert Path(line[66:]).stem == line[:64]
    assert len(objects(tmp_path / "after")) == 60
    assert not list((tmp_path / "after").rglob(".part-*"))


def test_what_a_submission_trusts_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "stash").mkdir()
    store = FolderStore(tmp_path / "stash", "osdf:///x")
    first = store.hold()
    with store.hold(), pytest.raises(StagingError, match="using the stash just now"):
        store.hold(alone=True)
    first.close()
    with store.hold(alone=True):
        pass
    assert list(store.listing()) == []


@pytest.mark.parametrize(
    ("pattern", "key", "fits"),
    [
        ("a?b", "a/b", False), ("a?b", "axb", True), ("a[!x]b", "a/b", False),
        ("a[!x]b", "ayb", True), ("p/**", "p/q/r.txt", True), ("p/**", "p/", False),
        ("a.b*", "axbc", False), ("[ab]*/x", "bcd/x", True), ("a[", "a[", True),
    ],
)  # fmt: skip
def test_nothing_but_two_stars_matches_a_slash(pattern: str, key: str, fits: bool) -> None:
    assert bool(compiled(pattern).fullmatch(key)) == fits

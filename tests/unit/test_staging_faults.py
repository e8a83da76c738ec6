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
from test_staging import Steps, an_object, bring

from osgbatch.errors import StagingError
from osgbatch.staging import part
from osgbatch.staging.folder import FolderStore
from osgbatch.staging.listing import compiled
from osgbatch.staging.objects import checksum_of
from osgbatch.staging.part import hash_of
from osgbatch.submission.stashing import verify

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
    """All of the tree is there, and of an interruption nothing that takes room."""
    found = objects(folder / "stash")
    assert sorted(found.values()) == sorted(p.read_bytes() for p in folder.rglob("tree/deep/*"))
    for left in (folder / "stash").rglob(".part-*"):
        # Killed between the two steps that give an object its name: then it has both.
        assert left.samefile(left.with_name(left.name.removeprefix(".part-")))
    FolderStore(folder / "stash", "osdf:///x").tidy(-1)
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


def test_killed_at_any_step_nothing_is_false_and_the_same_command_goes_on(tmp_path: Path) -> None:
    sweep(tmp_path, 6, 70_000)
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("killed_put.py"), tmp_path, "14"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps, *kills = done.stdout.splitlines()
    assert int(steps) > 40 and len(kills) == 14
    assert kills[0].endswith(" 0") and int(kills[-1].split()[1]) >= 5, "the kills are not spread"


def test_two_at_once_bring_a_tree_once(tmp_path: Path) -> None:
    spec = sweep(tmp_path, 300, 20_000)
    both = [put(spec) for _ in range(3)]
    for process in both:
        _, said = process.communicate(timeout=180)
        assert process.returncode == 0, said
    whole(tmp_path)


def test_a_full_disk_is_told_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """Full at five points: what is there room for by what the disk says is too much by the end.

    On the disk a file of some bytes takes 4 KB, so that all 60 KB do not fit into 200 KB.
    """
    sweep(tmp_path, 400, 1)
    script = """
        cd "$disk/.."
        sed -i "s|folder: stash|folder: $disk|" sweep.yaml
        export XDG_CACHE_HOME="$PWD/cache"
        try() {
            osgbatch stage put --tree --spec sweep.yaml tree >urls 2>errors
            echo "$? $(find "$disk" -name '[0-9a-f]*.dat' | wc -l)"
            cat errors >&2
            find "$disk" -name '[0-9a-f]*.dat' -exec sha256sum {} + >>sums
        }
        mount -o remount,nr_inodes=90 none "$disk" && try
        mount -o remount,nr_inodes=10000 none "$disk"
        for kilobytes in 400 900 1250 1500; do
            mount -o remount,size=${kilobytes}k none "$disk" && try
        done
        make_room && try
        cp -r "$disk/osgbatch" after
    """
    done = on_small_disk(tmp_path / "disk", 200, script)
    *full, last = done.stdout.splitlines()
    assert last == "0 400", done.stderr
    assert len(full) == 5 and all(line.startswith("4 ") for line in full), done.stdout
    assert len({line.split()[1] for line in full}) > 1, done.stdout
    assert done.stderr.count("there is no room left in the stash") == 5, done.stderr
    assert "Traceback" not in done.stderr
    for line in (tmp_path / "sums").read_text().splitlines():
        assert Path(line[66:]).stem == line[:64]
    assert len(objects(tmp_path / "after")) == 400
    assert not list((tmp_path / "after").rglob(".part-*"))


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(tmp_path: Path) -> None:
    sweep(tmp_path, 60, 50_000)
    script = """
        cd "$disk/.."
        sed -i "s|folder: stash|folder: $disk|" sweep.yaml
        export XDG_CACHE_HOME="$PWD/cache"
        osgbatch stage put --tree --spec sweep.yaml tree; echo "code $?"
        find "$disk" -type f ! -name .lock
    """
    done = on_small_disk(tmp_path / "disk", 2_000, script)
    assert done.stdout == "code 4\n", done.stderr
    assert "leaves room for" in done.stderr


# ---- damage -------------------------------------------------------------------------------------

CONTENT = random.Random(5).randbytes(100_000)
PLACES = (0, 1, 4095, 4096, 50_000, 99_999)


def flipped(place: int) -> bytes:
    """The content with one bit of the byte at a place changed."""
    return CONTENT[:place] + bytes([CONTENT[place] ^ 1]) + CONTENT[place + 1 :]


def two_staged(folder: Path) -> tuple[FolderStore, list[Path], Path]:
    """A stash with two objects, their files, and where the first of them is."""
    (folder / "stash").mkdir()
    files = [folder / "a.npy", folder / "b.npy"]
    files[0].write_bytes(CONTENT)
    files[1].write_bytes(b"another")
    store = FolderStore(folder / "stash", "osdf:///x")
    bring(files, store, folder / "cache")
    return store, files, folder / "stash/osgbatch" / an_object(files[0]).name


def test_an_object_with_a_flipped_byte_is_found_wherever_it_is(tmp_path: Path) -> None:
    store, files, final = two_staged(tmp_path)
    for place in PLACES:
        final.write_bytes(flipped(place))
        with pytest.raises(StagingError, match="damaged") as raised:
            bring(files, store, tmp_path / "cache", verify=True)
        assert raised.value.where == store.object_url(an_object(files[0]).name)
        assert [one.kept.size for one in verify(store, Steps()) if one.what] == [len(CONTENT)]
        assert final.read_bytes() == flipped(place)  # never written over
    final.unlink()
    assert bring(files, store, tmp_path / "cache", verify=True) == [1, len(CONTENT), 2]
    assert not [one for one in verify(store, Steps()) if one.what]


def test_a_truncated_object_is_an_error_at_once(tmp_path: Path) -> None:
    store, files, final = two_staged(tmp_path)
    for length in PLACES:
        final.write_bytes(CONTENT[:length])
        with pytest.raises(StagingError, match="damaged"):
            bring(files, store, tmp_path / "cache")
        with pytest.raises(StagingError, match="damaged"):
            store.put(files[0], an_object(files[0]), lambda _: None)
        assert final.read_bytes() == CONTENT[:length]
        assert not list(store.folder.rglob(".part-*"))
    final.unlink()
    assert bring(files, store, tmp_path / "cache", verify=True) == [1, len(CONTENT), 2]


@pytest.mark.parametrize("place", PLACES)
def test_what_was_left_half_done_and_is_damaged_is_made_anew(tmp_path: Path, place: int) -> None:
    store, files, final = two_staged(tmp_path)
    part = final.with_name(f".part-{final.name}")
    left = [flipped(place), flipped(place)[: place + 1], CONTENT[:place], CONTENT + CONTENT[:place]]
    for content in left:
        final.unlink()
        part.write_bytes(content)
        assert bring(files, store, tmp_path / "cache") == [1, len(CONTENT), 2]
        assert final.read_bytes() == CONTENT and not part.exists()


def test_a_damaged_copy_is_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once to find that it is, and once when it is made anew."""
    store, files, final = two_staged(tmp_path)
    final.unlink()
    final.with_name(f".part-{final.name}").write_bytes(flipped(7))
    reads: list[int] = []

    def counted(descriptor: int) -> str:
        reads.append(descriptor)
        return hash_of(descriptor)

    monkeypatch.setattr(part, "hash_of", counted)
    assert store.put(files[0], an_object(files[0]), lambda _: None)
    assert len(reads) == 2


def test_a_disk_that_gives_back_something_else_publishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, files, final = two_staged(tmp_path)
    final.unlink()
    real = os.copy_file_range

    def faulty(source: int, target: int, *about: int) -> int:
        count = real(source, target, *about)
        os.pwrite(target, b"?", 77)
        return count

    monkeypatch.setattr(os, "copy_file_range", faulty)
    with pytest.raises(StagingError, match="reads back as something else"):
        store.put(files[0], an_object(files[0]), lambda _: None)
    assert not final.exists() and not list(store.folder.rglob(".part-*"))


def test_a_file_that_cannot_be_read_is_not_blamed_on_the_stash(tmp_path: Path) -> None:
    store, files, final = two_staged(tmp_path)
    wanted = an_object(files[0])
    final.unlink()
    half = final.with_name(f".part-{final.name}")
    half.write_bytes(CONTENT[:500])
    files[0].unlink()
    with pytest.raises(StagingError, match="cannot be read: No such file") as raised:
        store.put(files[0], wanted, lambda _: None)
    assert raised.value.where == str(files[0])
    assert half.read_bytes() == CONTENT[:500]  # to be gone on with


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

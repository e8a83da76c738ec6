"""A stash that is a folder: objects by content, whole or not at all, brought once."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from osgbatch.errors import StagingError
from osgbatch.spec_model import Stash
from osgbatch.staging.folder import FolderStore
from osgbatch.staging.hashes import Hashes
from osgbatch.staging.objects import Object, checksum_of, suffix_of
from osgbatch.staging.stage import Wanted, hash_files, stage
from osgbatch.staging.store import folder_here, open_store

ROOT = Path(__file__).parents[2]


class Steps:
    """Remembers what a progress is told."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.now = ""

    def start(self, what: str, total: int) -> None:
        self.now = what
        self.done.setdefault(what, 0)

    def advance(self, count: int) -> None:
        self.done[self.now] += count

    def end(self) -> None:
        self.now = ""


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    (tmp_path / "stash").mkdir()
    return FolderStore(tmp_path / "stash", "osdf:///ospool/ap40/data/alice/")


def an_object(path: Path) -> Object:
    """What a file is in a stash."""
    content = path.read_bytes()
    return Object(hashlib.sha256(content).hexdigest(), len(content), suffix_of(path.name))


def old(path: Path) -> Path:
    """A file that was last changed some time ago, so that its hash is worth remembering."""
    os.utime(path, (time.time() - 100, time.time() - 100))
    return path


def tree_of(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def bring(paths: list[Path], store: FolderStore, cache: Path, verify: bool = False) -> list[int]:
    """Stage files; what was told before they were brought."""
    told: list[int] = []
    wanted = [Wanted(path, path.stat().st_size) for path in paths]
    with Hashes(cache) as hashes:
        objects = hash_files(wanted, hashes, Steps())
    stage(paths, objects, store, lambda *n: told.extend(n), Steps(), verify=verify)
    return told


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.npy", ".npy"), ("a.tar.gz", ".tar.gz"), ("a.b.c", ".c"), ("model", ""), (".hidden", ""),
        ("odd name,1.h5", ".h5"), ("a.with-dash", ""), ("a.$x", ""), ("a.", ""), ("ü.sif", ".sif"),
    ],
)  # fmt: skip
def test_an_object_keeps_the_suffix_of_its_file(name: str, suffix: str) -> None:
    assert suffix_of(name) == suffix


def test_only_our_own_names_are_objects() -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    assert checksum_of(f"{digest[:2]}/{digest}.tar.gz") == digest
    for other in (digest, f"00/{digest}", f"{digest[:2]}/{digest}.a.b.c", f"{digest[:2]}/.part-x"):
        assert checksum_of(other) == ""


# --- putting ----------------------------------------------------------------------------------


def test_a_file_becomes_an_object_that_anyone_can_read(store: FolderStore, tmp_path: Path) -> None:
    path = tmp_path / "secret umask.npy"
    path.write_bytes(b"content")
    before = os.umask(0o077)
    try:
        assert bring([path], store, tmp_path / "cache") == [1, 7, 1]
    finally:
        os.umask(before)
    one = an_object(path)
    final = store.folder / "osgbatch" / one.name
    assert final.read_bytes() == b"content"
    assert stat.S_IMODE(final.stat().st_mode) == 0o644
    assert stat.S_IMODE(final.parent.stat().st_mode) == 0o755
    assert stat.S_IMODE(final.parent.parent.stat().st_mode) == 0o755
    assert store.object_url(one.name) == f"osdf:///ospool/ap40/data/alice/osgbatch/{one.name}"
    assert list(tree_of(store.folder)) == [f"osgbatch/{one.name}"]


def test_what_is_there_is_not_touched(store: FolderStore, tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "copy of a", tmp_path / "b"]
    for path, content in zip(paths, (b"a", b"a", b"bb"), strict=True):
        path.write_bytes(content)
    assert bring(paths, store, tmp_path / "cache") == [2, 3, 2]
    before = {p: p.stat() for p in store.folder.rglob("*")}
    assert bring(paths, store, tmp_path / "cache") == [0, 0, 2]
    after = {p: p.stat() for p in store.folder.rglob("*")}
    assert {p: (s.st_ctime_ns, s.st_ino) for p, s in before.items()} == {
        p: (s.st_ctime_ns, s.st_ino) for p, s in after.items()
    }


def test_a_file_that_changes_while_it_is_staged_is_refused(
    store: FolderStore, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    wanted = an_object(path)
    for content in (b"two", b"longer", b""):
        path.write_bytes(content)
        with pytest.raises(StagingError, match="changes while it is being staged"):
            store.put(path, wanted, lambda _: None)
    assert tree_of(store.folder) == {}


@pytest.mark.parametrize("rest", [b"", b"con", b"XXX", b"content", b"contentXX"])
def test_what_a_cut_short_copy_left_is_gone_on_with_or_mended(
    store: FolderStore, tmp_path: Path, rest: bytes
) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"content")
    one = an_object(path)
    final = store.folder / "osgbatch" / one.name
    final.parent.mkdir(parents=True)
    (final.parent / f".part-{one.sha256}.npy").write_bytes(rest)
    assert store.put(path, one, lambda _: None)
    assert tree_of(store.folder) == {f"osgbatch/{one.name}": b"content"}


@pytest.mark.parametrize("damage", [b"conten", b"content+"])
def test_an_object_of_another_size_is_an_error_and_stays(
    store: FolderStore, tmp_path: Path, damage: bytes
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    bring([path], store, tmp_path / "cache")
    final = store.folder / "osgbatch" / an_object(path).name
    final.write_bytes(damage)
    with pytest.raises(StagingError, match="damaged"):
        bring([path], store, tmp_path / "cache")
    assert final.read_bytes() == damage


def test_verify_reads_what_is_there(store: FolderStore, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    bring([path], store, tmp_path / "cache")
    final = store.folder / "osgbatch" / an_object(path).name
    final.write_bytes(b"cOntent")
    assert bring([path], store, tmp_path / "cache")[0] == 0  # trusted
    with pytest.raises(StagingError, match="damaged"):
        bring([path], store, tmp_path / "cache", verify=True)


PUT = """\
import sys, pathlib
from osgbatch.staging.folder import FolderStore
from osgbatch.staging.objects import Object
sha, size = sys.argv[3], int(sys.argv[4])
store = FolderStore(pathlib.Path(sys.argv[2]), "osdf:///x")
print("ready", flush=True)
store.put(pathlib.Path(sys.argv[1]), Object(sha, size, ".bin"), lambda _: None)
"""


def test_killed_at_any_point_nothing_false_has_a_final_name(
    store: FolderStore, tmp_path: Path
) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(random.Random(1).randbytes(24_000_000))
    one = an_object(path)
    final = store.folder / "osgbatch" / one.name
    words = [sys.executable, "-c", PUT, path, store.folder, one.sha256, str(one.size)]
    cut = 0
    for wait in (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08):
        with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT) as process:
            assert process.stdout and process.stdout.readline()
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
        if final.exists():
            assert final.read_bytes() == path.read_bytes()
            final.unlink()
        else:
            cut += 1
    assert cut, "no kill came in time"
    assert store.put(path, one, lambda _: None)
    assert tree_of(store.folder) == {f"osgbatch/{one.name}": path.read_bytes()}


def test_two_at_once_bring_a_file_once(store: FolderStore, tmp_path: Path) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(random.Random(2).randbytes(8_000_000))
    one = an_object(path)
    words = [sys.executable, "-c", PUT, path, store.folder, one.sha256, str(one.size)]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT) for _ in range(3)]
    for process in both:
        process.communicate(timeout=180)
    assert [process.returncode for process in both] == [0, 0, 0]
    assert tree_of(store.folder) == {f"osgbatch/{one.name}": path.read_bytes()}


def test_leftovers_are_tidied_when_they_are_old(store: FolderStore, tmp_path: Path) -> None:
    above = store.folder / "osgbatch" / "ab"
    above.mkdir(parents=True)
    (above / ".part-ab").write_bytes(b"half")
    assert store.tidy(3600) == 0
    assert store.tidy(-1) == 1
    assert tree_of(store.folder) == {}


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StagingError, match="does not exist") as raised:
        open_store(Stash("folder", "osdf:///x", str(tmp_path / "none")))
    assert "stash:" in raised.value.fix


def test_the_folder_of_a_pool_is_found_by_its_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "alice")
    (tmp_path / "ap40/data/alice").mkdir(parents=True)
    pattern = str(tmp_path / "*/data/$USER")
    found = folder_here(pattern)
    assert found == tmp_path / "ap40/data/alice"
    store = open_store(Stash("folder", "osdf://{folder}", str(found)))
    assert store.url == f"osdf://{tmp_path}/ap40/data/alice"
    monkeypatch.setenv("USER", "bob")
    assert folder_here(pattern) is None


# --- hashing --------------------------------------------------------------------------------------


def hashed(root: Path, cache: Path) -> tuple[int, list[tuple[str, str, int, bool]]]:
    """Bytes that were read, and what was found."""
    with Hashes(cache) as hashes:
        found = list(hashes.of_tree(root, lambda _: None))
        return hashes.read_bytes, found


def test_what_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    (root / "sub dir").mkdir(parents=True)
    for name in ("a", "sub dir/b\nb", "sub dir/ü"):
        old(root / name) if (root / name).write_bytes(name.encode()) else None
    time.sleep(2.1)  # ctime cannot be set back
    read, first = hashed(root, tmp_path / "cache")
    assert read == 1 + 11 + 10
    assert [below for below, *_ in first] == ["a", "sub dir/b\nb", "sub dir/ü"]
    assert hashed(root, tmp_path / "cache") == (0, first)
    # An edit of the same size that puts the old times back is seen by its ctime.
    before = (root / "a").stat()
    (root / "a").write_bytes(b"A")
    os.utime(root / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    read, second = hashed(root, tmp_path / "cache")
    assert read == 1
    assert second[0][1] == hashlib.sha256(b"A").hexdigest()


def test_a_damaged_or_impossible_cache_costs_only_time(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "a").write_bytes(b"a")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "hashes.sqlite").write_bytes(b"no database" * 100)
    assert hashed(root, cache)[1][0][1] == hashlib.sha256(b"a").hexdigest()
    (tmp_path / "file").write_bytes(b"")
    assert hashed(root, tmp_path / "file")[1][0][1] == hashlib.sha256(b"a").hexdigest()


def test_what_cannot_be_staged_is_named(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    os.mkfifo(root / "pipe")
    with pytest.raises(StagingError, match="neither a file nor a folder") as raised:
        hashed(root, tmp_path / "cache")
    assert raised.value.where.endswith("tree/pipe")

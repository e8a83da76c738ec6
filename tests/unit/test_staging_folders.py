"""A folder that is staged: what is seen of its changes, what of it is kept, what belongs to it."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from osgbatch.errors import PackingError, StagingError
from osgbatch.packing import folders
from osgbatch.packing.archive import Archive, Member
from osgbatch.packing.environment.cleaning import clean, kept_things
from osgbatch.packing.folders import drop_archive, folder_archive, is_known
from osgbatch.plan_model import Placed
from osgbatch.staging import hashes
from osgbatch.staging.folder import FolderStore
from osgbatch.staging.hashes import Hashes
from osgbatch.staging.stage import hash_files
from osgbatch.submission.staged import Silent, bring, files_of
from osgbatch.submission.steps import render_sweep

DAY = 86_400


@pytest.fixture(autouse=True)
def _old_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What tests write is noted at once, and the user's own cache is left alone."""
    monkeypatch.setattr(folders, "YOUNG_NS", -1)
    monkeypatch.setattr(hashes, "_YOUNG_NS", -1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def edit(path: Path, text: str) -> None:
    """Another content of the same size under the same mtime, as some editors and tools leave it."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def lab(tmp_path: Path) -> Path:
    """A folder `data` whose files lie elsewhere: a linked folder, and a link to a link."""
    for name in ("raw", "more", "other"):
        (tmp_path / "big" / name / "sub").mkdir(parents=True)
        (tmp_path / "big" / name / "sub/x.txt").write_text("1")
    (tmp_path / "big/link").symlink_to("more")
    (tmp_path / "data/own").mkdir(parents=True)
    (tmp_path / "data/own/a").write_text("a")
    (tmp_path / "data/own/b").symlink_to("a")
    (tmp_path / "data/inside").symlink_to("own")
    (tmp_path / "data/raw").symlink_to(tmp_path / "big/raw")
    (tmp_path / "data/more").symlink_to(tmp_path / "big/link")
    return tmp_path / "data"


# --- what changes a folder ------------------------------------------------------------------------


def test_what_lies_behind_links_is_a_part_of_the_folder(tmp_path: Path) -> None:
    data, cache = lab(tmp_path), tmp_path / "c"
    seen = [folder_archive(data, cache).sha256]
    assert is_known(data, cache)

    def is_new() -> bool:
        seen.append(folder_archive(data, cache).sha256)
        assert folder_archive(data, cache).sha256 == seen[-1]
        return seen[-1] not in seen[:-1]

    edit(tmp_path / "big/raw/sub/x.txt", "2")
    assert not is_known(data, cache)
    assert is_new()
    edit(tmp_path / "big/more/sub/x.txt", "3")  # behind a link to a link
    assert is_new()
    (tmp_path / "big/raw/sub/new").touch()
    assert is_new()
    (data / "raw").unlink()
    (data / "raw").symlink_to(tmp_path / "big/other")
    assert is_new()
    (tmp_path / "big/link").unlink()
    (tmp_path / "big/link").symlink_to("other")
    edit(tmp_path / "big/other/sub/x.txt", "9")
    assert is_new()
    (data / "own/b").unlink()
    (data / "own/b").symlink_to("../own/a")  # the same file: as it is packed it is the same link
    assert not is_new()
    (data / "own/empty").mkdir()
    assert is_new()
    (data / "own/a").chmod(0o755)
    assert is_new()


def test_jobs_get_what_a_linked_folder_holds_now(tmp_path: Path) -> None:
    data = lab(tmp_path)
    (tmp_path / "stash").mkdir()
    (data.parent / "sweep.yaml").write_text(
        "command: cat inputs/data/raw/sub/x.txt\ninputs: {path: data, shared: true}\n"
        "stash: {folder: stash, url: 'file:///x'}\nprofile: ospool\n"
    )

    def staged() -> bytes:
        batch = render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)
        name = (batch.folder / "objects.txt").read_text().splitlines()[1]
        with tarfile.open(tmp_path / "stash/osgbatch" / name) as archive:
            member = archive.extractfile("content/raw/sub/x.txt")
            assert member is not None
            return member.read()

    assert staged() == b"1"
    edit(tmp_path / "big/raw/sub/x.txt", "2")
    assert staged() == b"2"
    assert list((tmp_path / "xdg/osgbatch/folders").glob("*.tar.gz")) == []  # staged, so removed


def test_a_folder_that_changes_while_it_is_packed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, cache = lab(tmp_path), tmp_path / "c"

    changes: list[Callable[[], None]] = [
        lambda: edit(data / "own/a", "b"),
        lambda: (data / "own/later").touch(),
        lambda: (data / "own/later").unlink(),
        lambda: (data / "raw/sub/x.txt").unlink(),
    ]

    def meanwhile(members: Iterable[Member], folder: Path, kind: str) -> Archive:
        made = write(members, folder, kind)
        if changes:
            changes.pop(0)()
        return made

    write = folders.write_archive
    monkeypatch.setattr(folders, "write_archive", meanwhile)
    while changes:
        with pytest.raises(PackingError, match="changes while it is packed") as raised:
            folder_archive(data, cache)
        assert raised.value.where == str(data)
        assert list((cache / "folders").iterdir()) == []
    assert folder_archive(data, cache).path.exists()


def test_a_folder_that_was_written_just_now_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system with coarse times an edit right after would not be seen."""
    data, cache = lab(tmp_path), tmp_path / "c"
    monkeypatch.setattr(folders, "YOUNG_NS", 2_000_000_000)
    for path in data.rglob("*"):
        os.utime(path, (1, 1))  # not so ctime
    folder_archive(data, cache)
    assert not is_known(data, cache)


# --- between hashing and uploading ----------------------------------------------------------------


def test_a_folder_that_changes_before_it_is_uploaded_is_the_one_to_blame(tmp_path: Path) -> None:
    data = lab(tmp_path)
    (tmp_path / "stash").mkdir()
    store = FolderStore(tmp_path / "stash", "osdf:///x")
    placed = [Placed(data, 0, "", False)]

    def put(change: bool = False) -> int:
        with Hashes(tmp_path / "xdg/osgbatch") as known:
            files = files_of(placed, known, Silent())
            objects = hash_files(files.wanted, known, Silent())
        if change:
            edit(data / "own/a", "z")
        return bring(files, objects, store, lambda text: None, Silent()).moved

    assert (put(), put()) == (1, 0)
    (there,) = (path for path in (tmp_path / "stash").rglob("*.tar.gz"))
    there.unlink()
    with pytest.raises(PackingError, match="changes while it is packed and staged") as raised:
        put(change=True)
    assert raised.value.where == str(data)
    assert list((tmp_path / "stash").rglob("*.tar.gz")) == []
    assert list((tmp_path / "xdg").rglob("*.tar.gz")) == []
    assert put() == 1


def test_two_folders_of_one_content_leave_nothing(tmp_path: Path) -> None:
    placed = []
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("same")
        placed.append(Placed(tmp_path / name, 0, "", False))
    (tmp_path / "stash").mkdir()
    with Hashes(tmp_path / "xdg/osgbatch") as known:
        files = files_of(placed, known, Silent())
        objects = hash_files(files.wanted, known, Silent())
    assert len(list((tmp_path / "xdg").rglob("*.tar.gz"))) == 1
    store = FolderStore(tmp_path / "stash", "osdf:///x")
    assert bring(files, objects, store, lambda text: None, Silent()).moved == 1
    assert list((tmp_path / "xdg").rglob("*.tar.gz")) == []


# --- what is kept -----------------------------------------------------------------------------


def aged(path: Path, seconds: float) -> Path:
    """A file that was made some time ago."""
    path.touch()
    os.utime(path, (time.time() - seconds, time.time() - seconds))
    return path


def test_one_note_and_one_archive_are_kept_of_a_folder(tmp_path: Path) -> None:
    data, home = lab(tmp_path), tmp_path / "c/folders"
    home.mkdir(parents=True)
    left = aged(home / f".folder-{'a' * 16}.part", 2 * DAY)
    busy = aged(home / f".folder-{'b' * 16}.part", 60)
    forgotten = aged(home / f"folder-{'c' * 16}.tar.gz", 2 * DAY)
    for text in "123":  # none is staged: there was no room, say
        edit(data / "own/a", text)
        last = folder_archive(data, tmp_path / "c")
        assert last.held is not None
        last.held.release()
    assert {path.suffix for path in home.iterdir()} == {".json", ".gz", ".part"}
    assert len(list(home.iterdir())) == 3
    assert busy.exists() and not left.exists() and not forgotten.exists()
    before = last.path.stat()
    assert folder_archive(data, tmp_path / "c").path.stat() == before  # for the next time


def test_what_is_kept_of_folders_is_listed_and_cleaned(tmp_path: Path) -> None:
    data, cache = lab(tmp_path), tmp_path / "c"
    archive = folder_archive(data, cache)
    home = cache / "folders"
    mine = home / "mine.txt"
    mine.touch()
    (one,) = (thing for thing in kept_things(cache) if thing.name == "folders")
    assert one.kind == "folders" and one.size > archive.size
    assert time.time() - one.used < 60
    old = aged(home / f"{'0' * 32}.json", 40 * DAY)
    left = aged(home / f".folder-{'a' * 16}.part", 2 * DAY)
    done = clean(cache, 30 * DAY)
    assert {kept.path for kept in done.removed} == {old, left}
    done = clean(cache, 0, everything=True)
    assert [kept.path for kept in done.busy] == [archive.path]  # it is being staged
    assert archive.path.exists()
    drop_archive(archive)
    assert clean(cache, 0, everything=True).busy == []
    assert list(home.iterdir()) == [mine]
    mine.unlink()
    clean(cache, 0, everything=True)
    assert not home.exists()


def test_what_is_staged_by_two_is_removed_by_the_last(tmp_path: Path) -> None:
    data = lab(tmp_path)
    first, second = (folder_archive(data, tmp_path / "c") for _ in range(2))
    drop_archive(first)
    assert second.path.exists()
    drop_archive(second)
    assert not second.path.exists()


# --- each file by itself --------------------------------------------------------------------------


def of_tree(root: Path, cache: Path) -> dict[str, str]:
    """SHA-256 of each file of a folder that is staged as a tree."""
    with Hashes(cache) as known:
        return {found[0]: found[1] for found in known.of_tree(root, lambda count: None)}


def test_as_a_tree_and_as_an_archive_the_same_files_belong_to_a_folder(tmp_path: Path) -> None:
    data = lab(tmp_path)
    archive = folder_archive(data, tmp_path / "c")
    with tarfile.open(archive.path) as packed:
        packed.extractall(tmp_path / "u")
    top = tmp_path / "u/content"
    unpacked = {
        os.path.relpath(Path(folder, name), top): hashlib.sha256(
            Path(folder, name).read_bytes()
        ).hexdigest()
        for folder, _, names in os.walk(top, followlinks=True)
        for name in names
    }
    assert "raw/sub/x.txt" in unpacked and "inside/b" in unpacked
    assert of_tree(data, tmp_path / "c") == unpacked
    edit(tmp_path / "big/raw/sub/x.txt", "2")
    assert of_tree(data, tmp_path / "c")["raw/sub/x.txt"] == hashlib.sha256(b"2").hexdigest()


@pytest.mark.parametrize("target", [".", "..", "../data/own", "gone"])
def test_a_link_that_cannot_be_followed_is_named(tmp_path: Path, target: str) -> None:
    data = lab(tmp_path)
    (data / "own/back").symlink_to(f"../{target}" if target != "." else ".")
    if target == "gone":
        match = "No such file"
    else:
        match = "back to a folder that it lies in"
    with pytest.raises(StagingError, match=match) as raised:
        of_tree(data, tmp_path / "c")
    assert raised.value.where.startswith(str(data)) and "/back" in raised.value.where


# --- the hash cache -------------------------------------------------------------------------------


def test_a_hash_cache_that_is_busy_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "_BUSY_S", 0.1)
    data, cache = lab(tmp_path), tmp_path / "c"
    first = of_tree(data, cache)
    path = cache / "hashes.sqlite"
    before = path.stat().st_ino
    other = sqlite3.connect(path)
    try:
        other.execute("BEGIN EXCLUSIVE")
        start = time.monotonic()
        with Hashes(cache) as known:
            files = [data / "own/a", data / "own/b"]
            assert len(list(known.of_files(files, lambda count: None))) == 2
        assert of_tree(data, cache) == first
        assert time.monotonic() - start < 5  # not waited for at each file
        other.rollback()
    finally:
        other.close()
    assert path.stat().st_ino == before
    with Hashes(cache) as known:
        list(known.of_tree(data, lambda count: None))
        assert known.read_bytes == 0


def test_what_is_asked_for_is_remembered_and_the_rest_is_forgotten(tmp_path: Path) -> None:
    data, cache = lab(tmp_path), tmp_path / "c"
    of_tree(data, cache)
    (tmp_path / "big/more/sub/x.txt").unlink()
    now = int(time.time())
    with sqlite3.connect(cache / "hashes.sqlite") as database:
        database.execute("UPDATE files SET seen = ?", (now - 179 * DAY,))
        database.execute("PRAGMA user_version = 1")  # long since anything was forgotten
    with Hashes(cache) as known:
        list(known.of_files([data / "own/a"], lambda count: None))
        list(known.of_tree(data / "raw", lambda count: None))
        assert known.read_bytes == 0
    seen = dict(rows(cache))
    assert seen[os.fsencode(data / "own/a")] >= now
    assert seen[os.fsencode(data / "raw/sub/x.txt")] >= now
    assert seen[os.fsencode(data / "own/b")] == now - 179 * DAY
    with sqlite3.connect(cache / "hashes.sqlite") as database:
        database.execute("UPDATE files SET seen = ? WHERE seen < ?", (now - 181 * DAY, now))
        database.execute("UPDATE files SET seen = ? WHERE seen >= ?", (now - 8 * DAY, now))
    of_tree(data / "raw", cache)  # looked for lately: nothing is forgotten
    assert os.fsencode(data / "own/b") in dict(rows(cache))
    with sqlite3.connect(cache / "hashes.sqlite") as database:
        database.execute("UPDATE files SET seen = ? WHERE seen >= ?", (now - 8 * DAY, now))
        database.execute("PRAGMA user_version = 1")
    of_tree(data / "raw", cache)
    assert sorted(dict(rows(cache))) == [
        os.fsencode(data / name) for name in ("own/a", "raw/sub/x.txt")
    ]


def rows(cache: Path) -> list[tuple[bytes, int]]:
    """Path and when it was last asked for, of each row of the hash cache."""
    with sqlite3.connect(cache / "hashes.sqlite") as database:
        return list(database.execute("SELECT path, seen FROM files"))

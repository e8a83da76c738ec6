"""A folder stash that several use: modes that all can read, locks, and where there are none."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_staging import an_object, bring
from test_staging_faults import CONTENT, ROOT, two_staged

from osgbatch.errors import StagingError
from osgbatch.staging import folder as folder_module
from osgbatch.staging import part
from osgbatch.staging.folder import FolderStore
from osgbatch.staging.hold import Hold


@pytest.mark.parametrize("closed", ["osgbatch", "osgbatch/AA"])
def test_a_folder_that_a_kill_left_closed_is_opened(tmp_path: Path, closed: str) -> None:
    store, files, final = two_staged(tmp_path)
    folder = tmp_path / "stash" / closed.replace("AA", final.parent.name)
    final.unlink()
    folder.chmod(0o700)
    bring(files, FolderStore(store.folder, store.url), tmp_path / "cache")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_closed_folder_of_another_user_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, files, final = two_staged(tmp_path)
    final.unlink()
    final.parent.chmod(0o700)

    def refused(*about: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refused)
    with pytest.raises(StagingError, match="cannot be read by everybody") as raised:
        bring(files, FolderStore(store.folder, store.url), tmp_path / "cache")
    assert raised.value.where == str(final.parent)
    assert not final.exists()


def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that knows no flock."""

    def refused(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)


def test_without_locks_two_at_once_bring_a_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks(monkeypatch)
    store, files, final = two_staged(tmp_path)
    final.unlink()
    words = [sys.executable, "-c", WITHOUT_LOCKS, files[0], store.folder]
    real = part.flush

    def flush(parts: list[part.Part]) -> None:
        # Between this one's writing and its publishing another stops half way, and one does all.
        assert subprocess.run([*words, "half"], cwd=ROOT, check=False).returncode == 9
        assert not final.exists()
        subprocess.run([*words, "whole"], cwd=ROOT, check=True)
        real(parts)

    monkeypatch.setattr(folder_module, "flush", flush)
    store.put(files[0], an_object(files[0]), lambda _: None)
    assert final.read_bytes() == CONTENT
    assert final.stat().st_nlink == 1
    assert not list(store.folder.rglob(".part-*"))


WITHOUT_LOCKS = """\
import fcntl, os, pathlib, sys
sys.path.insert(0, "tests/unit")
from osgbatch.staging import folder
from test_staging import an_object
def refused(*about):
    raise OSError(37, "No locks available")
fcntl.flock = refused
source = pathlib.Path(sys.argv[1])
if sys.argv[3] == "half":
    folder.flush = lambda parts: os._exit(9)
store = folder.FolderStore(pathlib.Path(sys.argv[2]), "osdf:///x")
store.put(source, an_object(source), lambda _: None)
"""


def test_without_locks_what_a_dead_process_left_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks(monkeypatch)
    store, files, final = two_staged(tmp_path)
    final.unlink()
    dead = subprocess.Popen(["true"])
    dead.wait()
    start = f".part-{final.name}-{socket.gethostname()}-"
    final.with_name(f"{start}{dead.pid}").write_bytes(CONTENT[:60_000])
    alive = final.with_name(f"{start}{os.getppid()}")
    alive.write_bytes(b"being written")
    assert store.begun([an_object(files[0])]) == 60_000 + len(b"being written")
    told: list[int] = []
    assert store.put(files[0], an_object(files[0]), told.append)
    assert told[0] == 60_000 and sum(told) == len(CONTENT)
    assert final.read_bytes() == CONTENT
    assert [one.name for one in store.folder.rglob(".part-*")] == [alive.name]
    assert store.tidy(3600) == 0
    assert store.tidy(-1) == 1


def test_what_is_tidied_is_locked_until_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opens it meanwhile must not get its lock and write what is removed the next moment."""
    store, _, final = two_staged(tmp_path)
    left = final.with_name(f".part-{final.name}")
    left.write_bytes(b"half")
    real = os.unlink
    locked = []

    def unlink(path: str) -> None:
        with open(path) as stream, pytest.raises(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locked.append(path)
        real(path)

    monkeypatch.setattr(os, "unlink", unlink)
    assert store.tidy(-1) == 1
    assert locked == [str(left)]


def test_what_is_begun_while_leftovers_are_tidied_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the opening of a leftover and its lock another finishes it, and one begins anew."""
    store, _, final = two_staged(tmp_path)
    left = final.with_name(f".part-{final.name}")
    left.write_bytes(b"half")
    real = fcntl.flock

    def flock(descriptor: int, kind: int) -> None:
        left.unlink()
        left.write_bytes(b"new")
        real(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert store.tidy(-1) == 0
    assert left.read_bytes() == b"new"


def test_what_another_is_writing_is_not_tidied(tmp_path: Path) -> None:
    store, _, final = two_staged(tmp_path)
    left = final.with_name(f".part-{final.name}")
    with left.open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert store.tidy(-1) == 0
    assert left.exists()


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


@pytest.fixture
def no_endless_wait() -> Iterator[None]:
    """A lock that nobody would ever let go ends the test."""

    def over(*about: object) -> None:
        raise TimeoutError("it waits, and did not say so")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("no_endless_wait")
def test_who_waits_for_the_stash_is_told_why(tmp_path: Path) -> None:
    (tmp_path / "stash").mkdir()
    store = FolderStore(tmp_path / "stash", "osdf:///x")
    gc = store.hold(alone=True)
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        gc.close()

    store.tell = tell
    store.hold().close()
    assert len(told) == 1 and "waiting for the stash" in told[0]
    store.hold().close()
    assert len(told) == 1


@pytest.mark.usefixtures("no_endless_wait")
def test_who_waits_for_another_upload_is_told_once(tmp_path: Path) -> None:
    store, files, final = two_staged(tmp_path)
    paths = [final, store.folder / "osgbatch" / an_object(files[1]).name]
    others = []
    for path in paths:
        path.unlink()
        stream = path.with_name(f".part-{path.name}").open("wb")
        fcntl.flock(stream, fcntl.LOCK_EX)
        others.append(stream)
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        for stream in others:
            stream.close()

    store.tell = tell
    assert bring(files, store, tmp_path / "cache")[0] == 2
    assert len(told) == 1 and "waiting for another osgbatch" in told[0]


def test_without_locks_objects_are_brought_and_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks(monkeypatch)
    store, _, final = two_staged(tmp_path)
    with store.hold():
        pass
    with pytest.raises(StagingError, match="cannot be locked") as raised:
        store.hold(alone=True)
    assert raised.value.where == str(tmp_path / "stash/osgbatch/.lock")
    monkeypatch.undo()
    (tmp_path / "file").write_bytes(b"")
    Hold(tmp_path / "file/lock", alone=False).close()
    with pytest.raises(StagingError, match="cannot be locked"):
        Hold(tmp_path / "file/lock", alone=True)
    assert final.exists()

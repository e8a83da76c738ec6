"""A stash behind the `pelican` command: a stand-in for it, over HTTP to a real XRootD origin."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from osgbatch.errors import StagingError
from osgbatch.spec_model import Stash
from osgbatch.staging import pelican_client
from osgbatch.staging.objects import Object, suffix_of
from osgbatch.staging.stage import stage
from osgbatch.staging.store import Store, open_store
from osgbatch.submission.staged import Silent
from osgbatch.submission.stashing import verify

STAND_IN = Path(__file__).with_name("pelican_stand_in.py")


@pytest.fixture
def store(stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A stash of the kind pelican, at a place of its own below the origin's."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "pelican"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=":")
    monkeypatch.setenv("STAND_IN_ORIGIN", stash.about["origin"]["url"])
    monkeypatch.setenv("STAND_IN_LOG", str(tmp_path / "calls"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE", "TOKEN", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    return open_store(Stash("pelican", f"{stash.osdf_url}/pelican-{tmp_path.name}/"))


def files(folder: Path, count: int) -> tuple[list[Path], list[Object]]:
    """Files, and the objects that they are."""
    paths, objects = [], []
    for n in range(count):
        path = folder / f"{n}.dat"
        path.write_text(f"{folder} {n}")
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        paths.append(path)
        objects.append(Object(digest, len(content), suffix_of(path.name)))
    return paths, objects


def bring(paths: list[Path], objects: list[Object], store: Store) -> tuple[int, int]:
    done = stage(paths, objects, store, lambda *_: None, Silent())
    return done.moved, done.there


def calls(folder: Path, verb: str) -> int:
    return (folder / "calls").read_text().count(f"object {verb} ")


def test_files_are_brought_once_and_read_back(store: Store, stash, tmp_path: Path) -> None:
    paths, objects = files(tmp_path, 3)
    assert bring(paths, objects, store) == (3, 0)
    for path, one in zip(paths, objects, strict=True):
        below = store.object_url(one.name).removeprefix("osdf://")
        assert Path(f"{stash.about['origin']['folder']}{below}").read_bytes() == path.read_bytes()
    assert bring(paths, objects, store) == (0, 3)
    assert calls(tmp_path, "put") == 3
    kept = {one.name: one for one in store.listing()}
    assert {name: one.size for name, one in kept.items()} == {o.name: o.size for o in objects}
    assert all(abs(one.changed - time.time()) < 600 for one in kept.values())
    assert not [one for one in verify(store, Silent()) if one.what]
    store.remove(objects[0].name)
    assert set(store.sizes(one.name for one in objects)) == {o.name for o in objects[1:]}


def test_a_flipped_byte_is_found(store: Store, stash, tmp_path: Path) -> None:
    paths, objects = files(tmp_path, 1)
    bring(paths, objects, store)
    below = store.object_url(objects[0].name).removeprefix("osdf://")
    there = Path(f"{stash.about['origin']['folder']}{below}")
    there.write_bytes(there.read_bytes()[:-1] + b"!")
    assert [one.what for one in verify(store, Silent())] != [""]


def test_an_upload_that_is_cut_off_is_not_used(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, objects = files(tmp_path, 1)
    monkeypatch.setenv("STAND_IN_CUT", "5")
    with pytest.raises(StagingError, match="it has 5 bytes and should have"):
        bring(paths, objects, store)
    monkeypatch.delenv("STAND_IN_CUT")
    assert bring(paths, objects, store) == (1, 0)  # the part was removed


def test_a_part_of_an_object_is_refused(store: Store, tmp_path: Path) -> None:
    paths, objects = files(tmp_path, 1)
    other = tmp_path / "part"
    other.write_bytes(paths[0].read_bytes()[:4])
    put = ["pelican", "object", "put", str(other), store.object_url(objects[0].name)]
    subprocess.run(put, check=True)
    with pytest.raises(StagingError, match="damaged: it has 4 bytes"):
        bring(paths, objects, store)


def test_another_who_was_faster_is_no_fault(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, objects = files(tmp_path, 1)
    bring(paths, objects, store)
    answers: list[int | None] = [None, objects[0].size]  # it comes between the question and the put
    monkeypatch.setattr(store, "_size", lambda name: answers.pop(0))
    assert store.put(paths[0], objects[0], lambda _: None) is False
    assert calls(tmp_path, "put") == 2 and not answers


def test_a_file_that_changes_is_not_brought(store: Store, tmp_path: Path) -> None:
    paths, objects = files(tmp_path, 1)
    paths[0].write_bytes(b"x" * objects[0].size)
    with pytest.raises(StagingError, match="the file changes"):
        bring(paths, objects, store)
    assert calls(tmp_path, "put") == 0


def test_what_may_go_well_later_is_tried_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pelican_client, "WAITS_S", (0.01, 0.01))
    monkeypatch.setenv("STAND_IN_ORIGIN", "http://127.0.0.1:9")  # nothing listens there
    paths, objects = files(tmp_path, 1)
    with pytest.raises(StagingError, match="`pelican object stat` failed: ERROR Failure") as caught:
        bring(paths, objects, store)
    assert calls(tmp_path, "stat") == 3 and caught.value.where == store.object_url(objects[0].name)


def test_an_expired_token_ends_it_before_anything_is_brought(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", "e30.eyJleHAiOiAxMDAwfQ.sig")  # {"exp": 1000}
    with pytest.raises(StagingError, match="expired at 1970"):
        bring(*files(tmp_path, 1), store)
    assert calls(tmp_path, "put") == 0


def test_without_the_command_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StagingError, match="needs the `pelican` command"):
        open_store(Stash("pelican", "osdf:///ns/folder"))


@contextmanager
def stalled(
    store: Store, paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """`osgbatch stage put` whose uploads have sent 5 bytes each, and go no further.

    Gives the process and the numbers of its commands, which end with this.
    """
    spec, marks = folder / "sweep.yaml", folder / "stalled"
    spec.write_text(f"command: 'true'\nstash: {{pelican: '{store.url}'}}\n")
    marks.mkdir()
    monkeypatch.setenv("STAND_IN_CUT", "5")
    monkeypatch.setenv("STAND_IN_STALL", str(marks))
    words = [
        sys.executable,
        "-m",
        "osgbatch",
        "stage",
        "put",
        "--spec",
        str(spec),
        *map(str, paths),
    ]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    monkeypatch.delenv("STAND_IN_CUT")
    monkeypatch.delenv("STAND_IN_STALL")
    commands: list[int] = []
    try:
        until = time.monotonic() + 30
        while len(commands) < len(paths) and time.monotonic() < until and process.poll() is None:
            commands = [int(mark.name) for mark in marks.iterdir()]
            time.sleep(0.05)
        assert len(commands) == len(paths)
        yield process, commands
    finally:
        process.kill()
        process.wait()
        for command in commands:
            with suppress(ProcessLookupError):
                os.kill(command, signal.SIGKILL)


def test_ctrl_c_ends_the_uploads_that_run(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, objects = files(tmp_path, 2)
    with stalled(store, paths, tmp_path, monkeypatch) as (process, commands):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130  # a stalled upload goes on for 40 s
        assert not any(Path(f"/proc/{command}").exists() for command in commands)
    assert bring(paths, objects, store) == (2, 0)  # what was half there is brought anew
    assert not [one for one in verify(store, Silent()) if one.what]


def test_what_a_killed_osgbatch_has_left_is_brought_anew(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, objects = files(tmp_path, 1)
    with stalled(store, paths, tmp_path, monkeypatch) as (process, _):
        process.kill()
        process.wait()
        (note,) = tmp_path.glob("cache/osgbatch/stashes/*.uploads/*")
        with note.open("rb") as stream, pytest.raises(BlockingIOError):
            # Its command lives on and may still write, so that nobody else brings the object.
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert {one.size for one in store.listing()} == {5}
    assert bring(paths, objects, store) == (1, 0)
    assert store.checksum(objects[0].name, lambda _: None) == objects[0].sha256
    assert not note.exists() and bring(paths, objects, store) == (0, 1)


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        (
            "ERROR Failure getting osdf:///a/b: server returned 404 Not Found: the object does not",
            1,
        ),
        ("ERROR[2026-01-14T10:00:00Z] Failure getting osdf:///a: PROPFIND /a: 404", 1),
        ("ERROR 404: There are currently no origins hosting the object: available Ads is 0", 1),
        ("ERROR Failure: dial tcp: lookup osg-htc.org: no such host", 0),
        ("ERROR Failure getting osdf:///a/404/b: server returned 403 Forbidden", 0),
        ("ERROR Failure: failed to get token: credential file not found", 0),
        ("ERROR Failure: failed to get metadata of https://osg-htc.org: status 404", 0),
        ("ERROR Failure: https://osg-htc.org/.well-known/pelican-configuration: 404", 0),
        ("ERROR Failure: dial tcp 10.0.0.1:404: connect: connection refused", 0),
    ],
)
def test_only_what_is_not_there_is_missing(said: str, missing: int) -> None:
    assert pelican_client.is_missing(said) == bool(missing)


def test_a_federation_that_cannot_be_asked_is_no_empty_stash(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, objects = files(tmp_path, 1)
    with pytest.raises(StagingError, match="the stash is not there"):
        list(verify(store, Silent()))
    monkeypatch.setenv("STAND_IN_SAYS", "ERROR Failure: dial tcp: lookup osg-htc.org: no such host")
    for ask in (
        lambda: list(verify(store, Silent())),
        lambda: store.sizes([objects[0].name]),
        lambda: store.remove(objects[0].name),
    ):
        with pytest.raises(StagingError, match="no such host"):
            ask()

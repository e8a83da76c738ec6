"""A stash behind the `pelican` command: a stand-in for it, over HTTP to a real XRootD origin."""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

import pytest

from osgbatch.errors import StagingError
from osgbatch.model import Stash
from osgbatch.staged import Silent
from osgbatch.staging import pelican
from osgbatch.staging.objects import Object, suffix_of
from osgbatch.staging.stage import stage
from osgbatch.staging.store import Store, open_store
from osgbatch.stashing import verify

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
    with pytest.raises(StagingError, match="5 bytes and not"):
        bring(paths, objects, store)
    monkeypatch.delenv("STAND_IN_CUT")
    assert bring(paths, objects, store) == (1, 0)  # the part was removed


def test_a_part_of_an_object_is_refused(store: Store, tmp_path: Path) -> None:
    paths, objects = files(tmp_path, 1)
    other = tmp_path / "part"
    other.write_bytes(paths[0].read_bytes()[:4])
    pelican.subprocess.run(
        [*store._client, "put", str(other), store.object_url(objects[0].name)],  # type: ignore[attr-defined]
        check=True,
    )
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
    monkeypatch.setattr(pelican, "WAITS_S", (0.01, 0.01))
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

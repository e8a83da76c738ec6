"""Large files in a bucket of a real S3 server: parts are gone on with, and looked at.

Ceph 20.2.4 on SQLite, which these tests have, shows the last part in the place of each: what it
puts together is right only when all parts are alike.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import stashes
from s3_place import MB, content, files_in, nothing, place_of, settled, use_keys, use_small_parts
from s3_place import written as all_written

from osgbatch.errors import StagingError
from osgbatch.spec_model import Stash
from osgbatch.staging import s3, s3_parts
from osgbatch.staging.objects import Object

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def settings(stash: stashes.Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of the server, and parts of 5 MB."""
    use_keys(stash, tmp_path, monkeypatch)
    use_small_parts(monkeypatch)


@pytest.fixture
def place(stash: stashes.Stash, tmp_path: Path) -> Stash:
    """A prefix of the test's own in the bucket."""
    return place_of(stash, tmp_path)


def alike(count: int, seed: int = 1) -> bytes:
    """The content of a file of so many like parts."""
    return count * random.Random(seed).randbytes(5 * MB)


def unlike() -> bytes:
    """The content of a file that the server puts together wrongly, of more than one part."""
    return random.Random(3).randbytes(11 * MB)


def parts(stash: stashes.Stash, place: Stash) -> list[int]:
    """The numbers of the parts that arrived, by the server's log."""
    settled(stash, lambda: len(all_written(stash, place)))
    found = [text.partition("partNumber=")[2] for text in all_written(stash, place)]
    return sorted(int(text.partition("&")[0]) for text in found if text)


def notes(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache").rglob("*.upload"))


PUT = """\
import sys, pathlib
from osgbatch.spec_model import Stash
from osgbatch.staging import s3, s3_parts
from osgbatch.staging.objects import Object
s3.WHOLE = s3_parts.PART = 5 * 1024**2
store = s3.S3Store(Stash("s3", sys.argv[2], endpoint=sys.argv[3]))
def advance(count):
    print(count, flush=True)
    sys.stdin.read(1)
store.put(pathlib.Path(sys.argv[1]), Object(sys.argv[4], int(sys.argv[5]), ".bin"), advance)
"""


def killed(path: Path, one: Object, place: Stash, count: int) -> None:
    """Bring a file in another process, which is killed when it has brought so many parts of it."""
    words = [sys.executable, "-c", PUT, path, place.url, place.endpoint, one.sha256, str(one.size)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        for number in range(1, count + 1):
            assert process.stdout.readline()
            if number < count:  # it waits for a word after each part, so that it has no more
                process.stdin.write(b".")
                process.stdin.flush()
        process.kill()


def test_killed_between_parts_it_goes_on_where_it_was(
    stash: stashes.Stash, place: Stash, tmp_path: Path
) -> None:
    (path,), (one,) = files_in(tmp_path, alike(4))
    for count in (1, 3):  # the second goes on with what the first brought
        killed(path, one, place, count)
        assert s3.S3Store(place).sizes([one.name]) == {}
        assert parts(stash, place) == list(range(1, count + 1))
    moved: list[int] = []
    store = s3.S3Store(place)
    assert store.put(path, one, moved.append)
    assert parts(stash, place) == [1, 2, 3, 4]
    assert sum(moved) == one.size
    assert content(stash, place, one) == path.read_bytes()
    assert store.sizes([one.name]) == {one.name: one.size}
    assert not store.put(path, one, nothing)
    assert notes(tmp_path) == []


def test_an_upload_without_a_note_is_found_in_the_listing(
    stash: stashes.Stash, place: Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has the upload, but its listing is always empty: this one is put in its place."""
    (path,), (one,) = files_in(tmp_path, alike(3))
    killed(path, one, place, 1)
    (note,) = notes(tmp_path)
    store = s3.S3Store(place)
    here = {"Key": store.key(one.name), "UploadId": note.read_text().strip()}
    other = {"Key": f"{store.key(one.name)}.other", "UploadId": "other"}
    note.unlink()
    pages = store.pages

    def listed(what: str, where: str, **arguments: object) -> Iterator[object]:
        if what != "list_multipart_uploads":
            return pages(what, where, **arguments)
        return iter([{}, {"Uploads": [other]}, {"Uploads": [here]}])

    monkeypatch.setattr(store, "pages", listed)
    assert store.put(path, one, nothing)
    assert parts(stash, place) == [1, 2, 3]


def test_an_object_that_the_server_puts_together_wrongly_is_removed(
    place: Stash, tmp_path: Path
) -> None:
    (path,), (one,) = files_in(tmp_path, unlike())
    store = s3.S3Store(place)
    with pytest.raises(StagingError, match="another content"):
        store.put(path, one, nothing)
    assert list(store.listing()) == []
    assert notes(tmp_path) == []


def test_an_upload_whose_look_was_cut_short_is_looked_at_before_it_is_trusted(
    place: Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        """The process ends here."""

    def cut(self: s3_parts.InParts) -> None:
        raise KilledError

    paths, objects = files_in(tmp_path, alike(2), unlike())
    store = s3.S3Store(place)
    with monkeypatch.context() as patch:
        patch.setattr(s3_parts.InParts, "look", cut)
        for path, one in zip(paths, objects, strict=True):
            with pytest.raises(KilledError):
                store.put(path, one, nothing)
    right, wrong = objects
    assert {kept.name for kept in store.listing()} == {right.name, wrong.name}
    assert store.sizes([right.name, wrong.name]) == {}
    assert not store.put(paths[0], right, nothing)
    with pytest.raises(StagingError, match="another content"):
        store.put(paths[1], wrong, nothing)
    assert store.sizes([right.name, wrong.name]) == {right.name: right.size}


def test_a_right_object_stays_when_its_source_changes_afterwards(
    stash: stashes.Stash, place: Stash, tmp_path: Path
) -> None:
    data = alike(2)
    (path,), (one,) = files_in(tmp_path, data)
    told: list[int] = []

    def save_at_the_end(count: int) -> None:
        told.append(count)
        if sum(told) == one.size:
            with path.open("r+b") as stream:
                stream.write(b"changed")

    store = s3.S3Store(place)
    assert store.put(path, one, save_at_the_end)
    assert content(stash, place, one) == data


def test_an_object_that_another_has_completed_is_looked_at_and_stays(
    stash: stashes.Stash, place: Stash, tmp_path: Path
) -> None:
    data = alike(2)
    (path, copy), (one, _) = files_in(tmp_path, data, data)
    brought: list[bool] = []

    def meanwhile(count: int) -> None:
        if not brought:
            brought.append(s3.S3Store(place).put(copy, one, nothing))
            with path.open("r+b") as stream:
                stream.seek(6 * MB)
                stream.write(b"changed")

    store = s3.S3Store(place)
    with pytest.raises(StagingError, match="changes while it is being staged"):
        store.put(path, one, meanwhile)
    assert brought == [True]
    assert content(stash, place, one) == data


def test_who_may_not_list_uploads_can_bring_large_files(place: Stash, tmp_path: Path) -> None:
    store = s3.S3Store(replace(place, url="s3://no-lister"))
    store.client.create_bucket(Bucket="no-lister")
    statement = {
        "Effect": "Deny",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:ListBucketMultipartUploads"],
        "Resource": ["arn:aws:s3:::no-lister"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    store.client.put_bucket_policy(Bucket="no-lister", Policy=policy)
    with pytest.raises(StagingError, match="AccessDenied"):
        next(store.pages("list_multipart_uploads", "", Prefix=""))
    (path,), (one,) = files_in(tmp_path, alike(2))
    assert store.put(path, one, nothing)
    assert store.checksum(one.name, nothing) == one.sha256

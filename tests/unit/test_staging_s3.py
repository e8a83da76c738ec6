"""A stash in a bucket of a real S3 server: brought once, gone on with, and clear when it cannot."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import started
import stashes
from botocore.httpsession import DEFAULT_CA_BUNDLE
from s3_place import (
    MB,
    content,
    files_in,
    nothing,
    place_of,
    prefix,
    settled,
    use_keys,
    use_small_parts,
    written,
)

from osgbatch.errors import StagingError
from osgbatch.spec_model import Stash
from osgbatch.staging import s3, s3_asking
from osgbatch.staging.stage import stage

ROOT = Path(__file__).parents[2]


class Silent:
    """A progress that nobody looks at."""

    def start(self, what: str, total: int) -> None: ...

    def advance(self, count: int) -> None: ...

    def end(self) -> None: ...


@pytest.fixture(autouse=True)
def keys(stash: stashes.Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What AWS's own tools would be told of the server."""
    use_keys(stash, tmp_path, monkeypatch)


@pytest.fixture
def place(stash: stashes.Stash, tmp_path: Path) -> Stash:
    """A prefix of the test's own in the bucket."""
    return place_of(stash, tmp_path)


def test_what_is_there_is_not_brought_again(
    stash: stashes.Stash, place: Stash, tmp_path: Path
) -> None:
    paths, objects = files_in(tmp_path, b"one", b"two", b"one", b"")
    told: list[tuple[int, ...]] = []
    for _ in range(2):
        stage(paths, objects, s3.S3Store(place), lambda *n: told.append(n), Silent())
    assert told == [(3, 6, 3), (0, 0, 3)]
    assert settled(stash, lambda: len(written(stash, place))) == 3
    assert content(stash, place, objects[1]) == b"two"
    store = s3.S3Store(place)
    assert {kept.name: kept.size for kept in store.listing()} == {o.name: o.size for o in objects}
    assert store.checksum(objects[0].name, nothing) == objects[0].sha256
    assert store.checksum(objects[3].name, nothing) == objects[3].sha256
    store.remove(objects[0].name)
    assert set(store.sizes([o.name for o in objects])) == {objects[1].name, objects[3].name}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of some MB come in parts."""
    use_small_parts(monkeypatch)


def test_a_file_that_changes_leaves_nothing(
    stash: stashes.Stash, place: Stash, tmp_path: Path, small_parts: None
) -> None:
    (path, small), (one, little) = files_in(tmp_path, bytes(6 * MB), b"small")
    path.write_bytes(bytes(6 * MB - 1) + b"x")
    small.write_bytes(b"other")
    store = s3.S3Store(place)
    for source, wanted in ((path, one), (small, little)):
        with pytest.raises(StagingError, match="changes while it is being staged"):
            store.put(source, wanted, nothing)
    assert list(store.listing()) == []
    assert store.tidy(-1) == 0


def test_a_server_that_is_gone_for_a_while_is_waited_for(
    place: Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_parts: None
) -> None:
    data = 4 * random.Random(2).randbytes(5 * MB)  # of like parts: see test_staging_s3_parts
    (path,), (one,) = files_in(tmp_path, data)
    with stashes.running() as own:  # in a short path: those of Unix sockets are limited
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", own.about["s3"]["credentials_file"])
        monkeypatch.setenv("AWS_CA_BUNDLE", own.about["s3"]["ca_file"])
        store = s3.S3Store(replace(place, endpoint=own.about["s3"]["endpoint"]))
        first, goes_on = threading.Event(), threading.Event()
        moved: list[int] = []

        def advance(count: int) -> None:
            moved.append(count)
            first.set()
            goes_on.wait(60)

        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(store.put, path, one, advance)
            assert first.wait(60)
            own.stop("s3", kill=True)
            goes_on.set()
            time.sleep(10)
            own.start("s3")  # here: it ends with the thread that started it
            assert done.result(60)
        assert sum(moved) == one.size
        assert store.sizes([one.name]) == {one.name: one.size}
        assert store.checksum(one.name, nothing) == one.sha256


# --- what cannot be ---------------------------------------------------------------------------


def put(place: Stash, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """`osgbatch stage put` of a small file, as a user types it."""
    spec = folder / "sweep.yaml"
    named = f", key_folder: {place.key_folder}" if place.key_folder else ""
    spec.write_text(
        f"command: 'true'\nstash: {{s3: '{place.url}', endpoint: '{place.endpoint}'{named}}}\n"
    )
    (folder / "a.txt").write_text(f"of {folder}\n")
    own = {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": f"{folder}/c", **variables}
    words = ("stage", "put", "--spec", spec, "a.txt")
    return started.osgbatch(words, folder, {**os.environ, **own}, 120)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One clear error, exit code 4, no URL."""
    assert done.returncode == 4, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_keys_of_a_folder_are_used_when_nobody_else_can_read_them(
    stash: stashes.Stash, place: Stash, tmp_path: Path
) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    found = stash.keys()
    none = {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    here = replace(place, key_folder=str(folder))
    refused(put(here, tmp_path, **none), "the key cannot be read", "access_key")
    for name, text in (("access_key", found.access), ("secret_key", found.secret)):
        (folder / name).write_text(f"{text}\n")
        (folder / name).chmod(0o600)
    done = put(here, tmp_path, **none)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"s3://{stash.about['s3']['host']}/{stashes.BUCKET}/")
    assert found.secret not in done.stderr
    (folder / "secret_key").chmod(0o640)
    refused(put(here, tmp_path, **none), "others can read this key", "chmod 600")


def test_what_is_wrong_with_keys_bucket_and_server_is_told(
    stash: stashes.Stash, place: Stash, tmp_path: Path
) -> None:
    refused(
        put(place, tmp_path, AWS_SHARED_CREDENTIALS_FILE="/dev/null"), "there are no keys for S3"
    )
    wrong = {"AWS_ACCESS_KEY_ID": stash.keys().access, "AWS_SECRET_ACCESS_KEY": "notthekey"}
    done = put(place, tmp_path, **wrong)
    refused(done, "refuses", "keys are not those of this server")
    assert "notthekey" not in done.stderr
    unknown = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "notthekey"}
    refused(put(place, tmp_path, **unknown), "keys are not those of this server")
    bucket = replace(place, url="s3://no-such-bucket/x")
    refused(put(bucket, tmp_path), "NoSuchBucket", "Make the bucket")
    for bundle in ("/etc/passwd", "/no/such/ca.pem"):
        refused(put(place, tmp_path, AWS_CA_BUNDLE=bundle), f"the file {bundle} of AWS_CA_BUNDLE")
    other = put(place, tmp_path, AWS_CA_BUNDLE=DEFAULT_CA_BUNDLE)
    refused(other, "not trusted", "Let AWS_CA_BUNDLE name a file", "does not have it")
    stash.make_user("other-user")
    other = str(stash.folder / "keys/other-user.ini")
    refused(put(place, tmp_path, AWS_SHARED_CREDENTIALS_FILE=other), "refuses")


def test_a_server_that_never_answers_is_not_waited_for_long(
    place: Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_asking, "FIRST_PATIENCE_S", 1.0)
    (path,), (one,) = files_in(tmp_path, b"one")
    store = s3.S3Store(replace(place, endpoint="https://127.0.0.1:1"))
    began = time.monotonic()
    with pytest.raises(StagingError, match="cannot be asked"):
        store.put(path, one, nothing)
    assert time.monotonic() - began < 10


def test_an_object_that_was_cut_short_is_an_error_and_stays(
    stash: stashes.Stash, place: Stash, tmp_path: Path
) -> None:
    paths, objects = files_in(tmp_path, b"content")
    path = f"/{stashes.BUCKET}/{prefix(place)}/osgbatch/{objects[0].name}"
    assert stash.client().request("PUT", path, b"conten").status == 200
    with pytest.raises(StagingError, match="damaged"):
        stage(paths, objects, s3.S3Store(place), lambda *n: None, Silent())
    with pytest.raises(StagingError, match="has 6 bytes and should have 7"):
        s3.S3Store(place).put(paths[0], objects[0], nothing)
    assert content(stash, place, objects[0]) == b"conten"

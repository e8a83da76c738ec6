"""A stash in a bucket of a real S3 server: brought once, gone on with, and clear when it cannot."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import stashes

from osgbatch.errors import StagingError
from osgbatch.model import Stash
from osgbatch.staging import s3, s3_parts
from osgbatch.staging.objects import Object
from osgbatch.staging.stage import stage

ROOT = Path(__file__).parents[2]
MB = 1024**2


class Silent:
    """A progress that nobody looks at."""

    def start(self, what: str, total: int) -> None: ...

    def advance(self, count: int) -> None: ...

    def end(self) -> None: ...


def nothing(count: int) -> None:
    """An advance that nobody looks at."""


@pytest.fixture(autouse=True)
def keys(stash: stashes.Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What AWS's own tools would be told of the server."""
    about = stash.about["s3"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", about["credentials_file"])
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CA_BUNDLE", about["ca_file"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def place(stash: stashes.Stash, tmp_path: Path) -> Stash:
    """A prefix of the test's own in the bucket."""
    digest = hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]
    return Stash("s3", f"s3://{stashes.BUCKET}/{digest}", endpoint=stash.about["s3"]["endpoint"])


def prefix(place: Stash) -> str:
    return place.url.rpartition("/")[2]


def files_in(folder: Path, *contents: bytes) -> tuple[list[Path], list[Object]]:
    """Files with these contents, and the objects that they would be."""
    paths = [folder / f"{index}.bin" for index in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    found = [Object(hashlib.sha256(c).hexdigest(), len(c), ".bin") for c in contents]
    return paths, found


def written(stash: stashes.Stash, place: Stash) -> list[str]:
    """What was brought below a prefix, by the server's own log: keys, a part with its number."""
    requests = [r for r in stash.requests("s3") if f"/{prefix(place)}/" in r.path]
    return [f"{r.path} {r.query}" for r in requests if r.method == "PUT" and r.status == 200]


def content(stash: stashes.Stash, place: Stash, one: Object) -> bytes:
    """What the server sends for an object."""
    path = f"/{stashes.BUCKET}/{prefix(place)}/osgbatch/{one.name}"
    answer = stash.client().request("GET", path)
    assert answer.status == 200, answer
    return bytes(answer.body)


def settled(stash: stashes.Stash, look: Callable[[], int]) -> int:
    """A count of a log that is written after the answer: once it stays."""
    last = -1
    while (now := look()) != last:
        last = now
        time.sleep(0.3)
    return now


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
    """Files of some MB come in parts. The server puts these together wrongly, which is looked at
    by a test of its own, and left alone by the others."""
    monkeypatch.setattr(s3, "WHOLE", 5 * MB)
    monkeypatch.setattr(s3_parts, "PART", 5 * MB)
    monkeypatch.setattr(s3_parts.InParts, "_look_at_parts", lambda *_: None)


def test_an_object_that_the_server_puts_together_wrongly_is_removed(
    place: Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ceph 20.2.4 on SQLite does so with every upload in parts."""
    monkeypatch.setattr(s3, "WHOLE", 5 * MB)
    monkeypatch.setattr(s3_parts, "PART", 5 * MB)
    (path,), (one,) = files_in(tmp_path, random.Random(3).randbytes(11 * MB))
    store = s3.S3Store(place)
    with pytest.raises(StagingError, match="another content"):
        store.put(path, one, nothing)
    assert list(store.listing()) == []


def test_a_file_that_changes_leaves_nothing(
    stash: stashes.Stash, place: Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_parts, "PART", 5 * MB)
    monkeypatch.setattr(s3, "WHOLE", 5 * MB)
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
    (path,), (one,) = files_in(tmp_path, random.Random(2).randbytes(17 * MB))
    with stashes.running(tmp_path / "own") as own:
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


# --- what cannot be ---------------------------------------------------------------------------


def put(place: Stash, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """`osgbatch stage put` of a small file, as a user types it."""
    spec = folder / "sweep.yaml"
    named = f", key_folder: {place.key_folder}" if place.key_folder else ""
    spec.write_text(
        f"command: 'true'\nstash: {{s3: '{place.url}', endpoint: '{place.endpoint}'{named}}}\n"
    )
    (folder / "a.txt").write_text(f"of {folder}\n")
    return subprocess.run(
        [sys.executable, "-m", "osgbatch", "stage", "put", "--spec", spec, "a.txt"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": f"{folder}/c", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


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
    refused(put(place, tmp_path, AWS_CA_BUNDLE="/etc/passwd"), "CA")
    stash.make_user("other-user")
    other = str(stash.folder / "keys/other-user.ini")
    refused(put(place, tmp_path, AWS_SHARED_CREDENTIALS_FILE=other), "refuses")


def test_a_server_that_never_answers_is_not_waited_for_long(
    place: Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "FIRST_PATIENCE_S", 1.0)
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
    with pytest.raises(StagingError, match="with 6 bytes and not 7"):
        s3.S3Store(place).put(paths[0], objects[0], nothing)
    assert content(stash, place, objects[0]) == b"conten"

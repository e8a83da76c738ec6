"""A prefix of a test's own in the bucket of the real S3 server, and what the server says of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import aptget
import pytest
import stashes

from osgbatch.spec_model import Stash
from osgbatch.staging import s3, s3_parts
from osgbatch.staging.objects import Object

MB = 1024**2


def nothing(count: int) -> None:
    """An advance that nobody looks at."""


def use_keys(stash: stashes.Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What AWS's own tools would be told of the server."""
    about = stash.about["s3"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", about["credentials_file"])
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CA_BUNDLE", about["ca_file"])
    # Else the servers' programs would be fetched anew for each test that makes a user or a server.
    monkeypatch.setenv(aptget.ENV_CACHE, str(aptget.cache_folder()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def place_of(stash: stashes.Stash, tmp_path: Path) -> Stash:
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


def use_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of some MB come in parts."""
    monkeypatch.setattr(s3, "WHOLE", 5 * MB)
    monkeypatch.setattr(s3_parts, "PART", 5 * MB)

"""Listings of a stash's folder and of a bucket: what a pattern finds there, and what not."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest
import stashes

from osgbatch.errors import SpecErrors, StagingError
from osgbatch.spec_model import Stash
from osgbatch.staging.folder import FolderStore
from osgbatch.staging.listing import compiled, list_urls
from osgbatch.staging.objects import Object
from osgbatch.staging.store import expanded_url, open_store, stash_url
from osgbatch.submission.planned import plan_sweep

URL = "osdf:///ns/data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "stash").mkdir()
    return tmp_path / "stash"


def listed(folder: Path, pattern: str, url: str = URL) -> list[str]:
    """What a pattern finds in a stash's folder, without what stands before it."""
    start = "file://" if pattern.startswith("/") else f"{url}/"
    found = list_urls(start + pattern, Stash("folder", url, str(folder)))
    return sorted(one.url.removeprefix(start) for one in found)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_names_that_are_not_utf_8_are_quoted_as_they_are(folder: Path) -> None:
    touch(folder, os.fsdecode(b"a\xff.npy"), "\u00fc b.npy")
    assert listed(folder, "*.npy") == ["%C3%BC%20b.npy", "a%FF.npy"]


def test_what_vanishes_or_leads_nowhere_is_not_listed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(folder, "a.npy", "gone.npy")
    (folder / "link.npy").symlink_to("nowhere")
    (folder / "folder.npy").mkdir()
    real = os.stat

    def stat(path: object, **options: bool) -> os.stat_result:
        if str(path).endswith("gone.npy"):
            raise FileNotFoundError(2, "No such file or directory", path)
        return real(path, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(os, "stat", stat)
    assert listed(folder, "*.npy") == ["a.npy"]


def test_what_is_staged_does_not_change_what_a_pattern_finds(folder: Path) -> None:
    touch(folder, "a.jpg", "x/b.jpg", "x/osgbatch/mine.jpg")
    store = FolderStore(folder, URL)
    one = Object(hashlib.sha256(b"x").hexdigest(), 1, ".jpg")
    assert store.put(folder / "a.jpg", one, lambda count: None)
    own = f"osgbatch/{one.name}"
    assert listed(folder, "**/*.jpg") == ["a.jpg", "x/b.jpg", "x/osgbatch/mine.jpg"]
    assert listed(folder, f"{folder}/**/*.jpg")[0] == f"{folder}/a.jpg"
    assert len(listed(folder, f"{folder}/**/*.jpg")) == 3
    assert listed(folder.parent, "**/*.jpg") == [  # a stash above this one
        "stash/a.jpg", "stash/x/b.jpg", "stash/x/osgbatch/mine.jpg"
    ]  # fmt: skip
    assert listed(folder, "osgbatch/**") == [own]


def test_hidden_files_are_found_by_a_dot_alone(folder: Path) -> None:
    touch(folder, "a.jpg", ".b.jpg", ".d/c.jpg", "e/.part-1.jpg", "e/f.jpg")
    assert listed(folder, "**/*.jpg") == ["a.jpg", "e/f.jpg"]
    assert listed(folder, "**") == ["a.jpg", "e/f.jpg"]
    assert listed(folder, "*/?.jpg") == ["e/f.jpg"]
    assert listed(folder, ".*") == [".b.jpg"]
    assert listed(folder, "**/.*.jpg") == [".b.jpg", "e/.part-1.jpg"]
    assert listed(folder, ".d/*") == [".d/c.jpg"]
    assert listed(folder, "a.jpg") == ["a.jpg"]
    assert not compiled("[!x]a").fullmatch(".a")


def test_only_folders_with_a_possible_match_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(
        folder, "top.npy", "a1/x/1.npy", "a2/y/2.npy", "b/x/3.npy", "a1/x/deep/4.npy", "osgbatch/0"
    )
    read: list[str] = []
    real = os.scandir

    def scandir(path: str) -> object:
        read.append(os.path.relpath(path, folder))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for pattern, found, folders in (
        ("*.npy", ["top.npy"], ["."]),
        ("a*/x/*.npy", ["a1/x/1.npy"], [".", "a1", "a1/x", "a2"]),
        ("a1/**/*.npy", ["a1/x/1.npy", "a1/x/deep/4.npy"], ["a1", "a1/x", "a1/x/deep"]),
        ("top.npy", ["top.npy"], ["."]),
        ("**/0", [], [".", "a1", "a1/x", "a1/x/deep", "a2", "a2/y", "b", "b/x"]),
    ):
        read.clear()
        assert listed(folder, pattern) == found
        assert sorted(read) == folders, pattern


def test_a_folder_that_cannot_be_listed_is_named(folder: Path) -> None:
    with pytest.raises(StagingError, match="cannot be listed") as raised:
        listed(folder, "none/*.npy")
    assert raised.value.where == f"{folder}/none/"


def test_a_pattern_with_a_key_is_refused_and_not_repeated() -> None:
    for pattern in ("s3://AKIA:SECRET@bucket/*.npy", "s3://SECRET@bucket/*.npy"):
        with pytest.raises(StagingError, match="looks like a key") as raised:
            list_urls(pattern, Stash())
        assert "SECRET" not in str(raised.value)


# --- URLs with variables --------------------------------------------------------------------------


def test_what_is_put_into_a_url_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "al ice")
    folder = tmp_path / "my, stash%41"
    folder.mkdir()
    stash = Stash("folder", "file://{folder}", str(folder))
    quoted = f"file://{tmp_path}/my%2C%20stash%2541"
    assert stash_url(stash) == open_store(stash).url == quoted
    assert expanded_url("osdf:///ospool/$USER/${USER}") == "osdf:///ospool/al%20ice/al%20ice"
    assert expanded_url("file://{folder}", "/a/$USER") == "file:///a/%24USER"
    with pytest.raises(StagingError, match="cannot hold ' '"):
        expanded_url("s3://bucket/$USER")
    with pytest.raises(StagingError, match="TMPDIR"):
        expanded_url("osdf:///$TMPDIR")
    touch(folder, "a.npy")
    assert listed(folder, "*.npy", quoted) == ["a.npy"]


# --- buckets --------------------------------------------------------------------------------------


@pytest.fixture
def place(stash: stashes.Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stash:
    """A prefix of the test's own in the bucket."""
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", stash.about["s3"]["credentials_file"])
    monkeypatch.setenv("AWS_CA_BUNDLE", stash.about["s3"]["ca_file"])
    digest = hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]
    return Stash("s3", f"s3://{stashes.BUCKET}/{digest}", endpoint=stash.about["s3"]["endpoint"])


def test_a_bucket_is_listed_as_a_folder_is(stash: stashes.Stash, place: Stash) -> None:
    above = place.url.removeprefix("s3:/")
    digest = hashlib.sha256(b"x").hexdigest()
    for key in ("a.jpg", "ab.jpg", ".h.jpg", "x/b.jpg", "x/c d?.jpg",
                f"osgbatch/{digest[:2]}/{digest}.jpg"):  # fmt: skip
        assert stash.client().request("PUT", f"{above}/{key}", b"x").status == 200

    def found(pattern: str) -> list[str]:
        start = f"{stash.bucket_url}/{place.url.rpartition('/')[2]}/"
        listing = list_urls(f"{place.url}/{pattern}", place)
        assert all(one.md5 == hashlib.md5(b"x").hexdigest() for one in listing)
        return sorted(one.url.removeprefix(start) for one in listing)

    assert found("**/*.jpg") == ["a.jpg", "ab.jpg", "x/b.jpg", "x/c d?.jpg"]
    assert found("a*.jpg") == ["a.jpg", "ab.jpg"]
    assert found("a.jpg") == ["a.jpg"]
    assert found("*/b.jpg") == ["x/b.jpg"]
    assert found(".*") == [".h.jpg"]
    found("*.jpg")
    own = place.url.rpartition("/")[2]
    assert stash.wait(  # what lies deeper is not asked for
        lambda: any("delimiter=" in r.query and own in r.query for r in stash.requests("s3"))
    )


def test_the_tag_of_an_encrypted_object_is_no_checksum(stash: stashes.Stash, place: Stash) -> None:
    key = bytes(range(32))
    secret = {
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
        "x-amz-server-side-encryption-customer-key": base64.b64encode(key).decode(),
        "x-amz-server-side-encryption-customer-key-md5": base64.b64encode(
            hashlib.md5(key).digest()
        ).decode(),
    }
    path = f"{place.url.removeprefix('s3:/')}/a.npy"
    assert stash.client().request("PUT", path, b"x", headers=secret).status == 200
    (one,) = list_urls(f"{place.url}/*.npy", place)
    assert (one.size, one.md5) == (1, "")


def test_a_blank_in_a_key_is_not_told_to_be_quoted(
    stash: stashes.Stash, place: Stash, tmp_path: Path
) -> None:
    for key in ("c d.jpg", "e?f.jpg"):
        url = f"{place.url.removeprefix('s3:/')}/{key}"
        assert stash.client().request("PUT", url, b"x").status == 200
    spec = tmp_path / "sweep.yaml"
    spec.write_text(
        f"command: echo {{f}}\nstash: {{s3: {place.url}, endpoint: {place.endpoint}}}\n"
        f"sweep: {{f: {{files: '{place.url}/*.jpg'}}}}\n"
    )
    with pytest.raises(SpecErrors) as raised:
        plan_sweep(spec)
    said = str(raised.value)
    assert "holds ' '" in said
    assert "holds '?'" in said
    assert "another name" in said
    assert "%20" not in said

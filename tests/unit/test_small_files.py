"""returned/small.py: the fast way gives what the careful one gives, and leaves the rest to it."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import pytest
from returned_archives import Member, archive, member

from osgbatch.returned import small
from osgbatch.returned.small import small_files

NAME = "outputs/value"


def task(index: int, content: bytes) -> list[Member]:
    digest = hashlib.sha256(content).hexdigest()
    return [
        member(f"tasks/{index}/status", b"state=succeeded\n"),
        member(f"tasks/{index}/sha256", f"{digest}  {NAME}\n".encode()),
        member(f"tasks/{index}/data/{NAME}", content),
        member(f"tasks/{index}/data/outputs/other", b"x" * 3000),
    ]


def odd(kind: bytes, name: str = "tasks/1/data/outputs/link") -> Member:
    info, content = member(name)
    info.type, info.linkname = kind, "value"
    return info, content


def test_it_finds_what_is_asked_for(tmp_path: Path) -> None:
    folder, _ = member("tasks/1/data/outputs")
    folder.type = tarfile.DIRTYPE
    members = [
        member("job", b"a=b\n"),
        (folder, b""),
        *task(1, b"one"),
        *task(2, b""),
        *task(30, b"3"),
    ]
    path = archive(tmp_path / "a.tar.gz", *members)
    assert small_files(path, [1, 2], [NAME]) == {1: {NAME: b"one"}, 2: {NAME: b""}}
    assert small_files(path, [7], [NAME]) == {7: {}}


@pytest.mark.parametrize(
    "members",
    [
        [*task(1, b"one"), odd(tarfile.SYMTYPE)],
        [*task(1, b"one"), odd(tarfile.LNKTYPE)],
        [*task(1, b"one"), odd(tarfile.CHRTYPE)],
        [*task(1, b"one"), member(f"tasks/1/data/{'n' * 120}", b"long")],
        [*task(1, b"one"), member(f"tasks/1/data/{NAME}", b"again")],
        task(1, b"one")[::2],
        [],
    ],
    ids=["link", "hard link", "device", "long name", "twice", "no checksums", "empty"],
)
def test_whatever_is_not_plain_is_left_to_the_careful_way(
    tmp_path: Path, members: list[Member]
) -> None:
    path = archive(tmp_path / "a.tar.gz", *members)
    assert not (small_files(path, [1], [NAME]) or {}).get(1)


def test_damaged_and_large_archives_are_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "a.tar.gz", *task(1, b"one"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert small_files(path, [1], [NAME]) is None
    path.write_bytes(whole)
    assert small_files(path, [1], [NAME])
    monkeypatch.setattr(small, "LARGEST", 1000)
    assert small_files(path, [1], [NAME]) is None
    assert small_files(tmp_path / "none", [1], [NAME]) is None

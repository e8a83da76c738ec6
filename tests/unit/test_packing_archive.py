"""Archives: same content, same bytes; nothing half-written; every error names the file."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import socket
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osgbatch.errors import PackingError
from osgbatch.packing import archive as archive_module
from osgbatch.packing.archive import Archive, Member, arrange, printable, write_archive
from osgbatch.packing.tree import tree_members

names = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=40
).filter(lambda name: name not in (".", ".."))
trees = st.dictionaries(
    st.lists(names, min_size=1, max_size=3).map("/".join), st.binary(max_size=2000), max_size=8
)


def pack_tree(root: Path, out: Path) -> Archive:
    return write_archive(tree_members(root, "top", lambda name, folder: False), out, "test")


def write_tree(root: Path, files: dict[str, bytes]) -> None:
    root.mkdir(parents=True)
    for name, data in files.items():
        path = root / name
        if any(other.startswith(f"{name}/") for other in files):
            path.mkdir(parents=True, exist_ok=True)  # cannot be a file as well
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


@pytest.mark.parametrize("name", ["a", "n" * 99, "n" * 100, "n" * 101, "é" * 50, "a/\udcff/b"])
@pytest.mark.parametrize("link", [None, "to", "t" * 100, "t" * 101])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE])
def test_headers_are_those_of_tarfile(name: str, link: str | None, kind: bytes) -> None:
    for size in (0, 1234, 8**11 - 1, 8**11):
        info = tarfile.TarInfo(name)
        info.type, info.size, info.mode, info.mtime = kind, size, 0o755, archive_module.MTIME
        info.linkname = link or ""
        expected = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        assert archive_module._header(Member(name, link=link), kind, size, 0o755) == expected


def test_parts_of_one_file_are_members(tmp_path: Path) -> None:
    (tmp_path / "every").write_bytes(b"onethree")
    members = [
        Member("b", tmp_path / "every", executable=False, part=(3, 5)),
        Member("a", tmp_path / "every", executable=True, part=(0, 3)),
    ]
    packed = write_archive(members, tmp_path / "out", "test")
    with tarfile.open(packed.path) as tar:
        seen = {one.name: (tar.extractfile(one).read(), one.mode) for one in tar.getmembers()}
    assert seen == {"a": (b"one", 0o755), "b": (b"three", 0o644)}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(files=trees)
def test_packing_a_tree_twice_from_two_paths_gives_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("twice")
    write_tree(folder / "one", files)
    write_tree(folder / "elsewhere/with a blank", dict(reversed(files.items())))
    first = pack_tree(folder / "one", folder / "a")
    second = pack_tree(folder / "elsewhere/with a blank", folder / "b")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.path.name == second.path.name == f"test-{first.sha256[:16]}.tar.gz"
    assert hashlib.sha256(first.path.read_bytes()).hexdigest() == first.sha256
    assert first.path.stat().st_size == first.size


def test_umask_time_zone_and_file_times_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path / "one", {"a": b"1", "b/c": b"2"})
    first = pack_tree(tmp_path / "one", tmp_path / "out1")
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    before = os.umask(0o077)
    try:
        write_tree(tmp_path / "two", {"b/c": b"2", "a": b"1"})
        os.utime(tmp_path / "two/a", (1, 1))
        second = pack_tree(tmp_path / "two", tmp_path / "out2")
    finally:
        os.umask(before)
        monkeypatch.undo()
        time.tzset()
    assert first.sha256 == second.sha256
    assert second.path.stat().st_mode & 0o777 == 0o644


def test_members_belong_to_nobody_and_keep_only_the_exec_bit(tmp_path: Path) -> None:
    write_tree(tmp_path / "t", {"run.sh": b"#!/bin/sh\n", "data": b"x", "deep/er": b""})
    (tmp_path / "t/run.sh").chmod(0o700)
    (tmp_path / "t/data").chmod(0o600)
    (tmp_path / "t/link").symlink_to("data")
    (tmp_path / "t/empty").mkdir(mode=0o700)
    made = pack_tree(tmp_path / "t", tmp_path / "out")
    with tarfile.open(made.path) as tar:
        found = {m.name: m for m in tar}
    assert list(found) == sorted(found)
    assert {m.name: m.mode for m in found.values() if not m.issym()} == {
        "top": 0o755,
        "top/run.sh": 0o755,
        "top/data": 0o644,
        "top/deep": 0o755,
        "top/deep/er": 0o644,
        "top/empty": 0o755,
    }
    assert found["top/link"].linkname == "data"
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in found.values()} == {
        (0, 0, "", "", archive_module.MTIME)
    }
    assert made.members == len(found) == 7
    assert made.path.read_bytes()[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"


def test_odd_names_survive_gnu_tar(tmp_path: Path) -> None:
    odd = [b"caf\xe9 no utf-8", "naïve ☃".encode(), b"new\nline", b"-rf", b"x" * 200, b"'\"\\$"]
    source = tmp_path / "t"
    source.mkdir()
    for name in odd:
        (source / os.fsdecode(name)).write_bytes(name)
        folder = source / "d" / os.fsdecode(name) / ("y" * 120)
        folder.mkdir(parents=True)
        (folder / "leaf").write_bytes(name)
    made = pack_tree(source, tmp_path / "out")
    (tmp_path / "u").mkdir()
    subprocess.run(["tar", "-xzf", made.path, "-C", tmp_path / "u"], check=True)
    back = {m.name: m for m in tree_members(tmp_path / "u/top", "top", lambda n, f: False)}
    there = {m.name: m for m in tree_members(source, "top", lambda n, f: False)}
    assert back.keys() == there.keys()
    for name, member in there.items():
        if member.source is not None:
            twin = back[name].source
            assert twin is not None and twin.read_bytes() == member.source.read_bytes()


def test_busybox_unpacks_what_was_packed(tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no busybox here")
    write_tree(tmp_path / "t", {"x" * 150 + "/" + "y" * 150: b"long", "ä": b"a"})
    made = pack_tree(tmp_path / "t", tmp_path / "out")
    (tmp_path / "u").mkdir()
    command = [busybox, "tar", "-xzf", str(made.path), "-C", str(tmp_path / "u")]
    subprocess.run(command, check=True)
    assert (tmp_path / "u/top" / ("x" * 150) / ("y" * 150)).read_bytes() == b"long"


def test_without_isal_the_content_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path / "t", {"a": b"1" * 5000, "b": os.urandom(5000)})
    first = pack_tree(tmp_path / "t", tmp_path / "out")
    monkeypatch.setattr(archive_module, "_isal", None)
    second = pack_tree(tmp_path / "t", tmp_path / "out")
    content = [gzip.decompress(made.path.read_bytes()) for made in (first, second)]
    assert content[0] == content[1]
    assert len(content[0]) % archive_module.RECORD == 0


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_what_is_no_file_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    (tmp_path / "t").mkdir()
    path = tmp_path / "t/odd-one"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(PackingError, match="odd-one"):
        pack_tree(tmp_path / "t", tmp_path / "out")
    with pytest.raises(PackingError, match="odd-one"):
        write_archive([Member("x", source=path)], tmp_path / "out", "test")
    assert not list((tmp_path / "out").iterdir())


def test_a_file_that_changes_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").write_bytes(b"x" * 100)
    real = archive_module._read

    def growing(file: object, size: int, source: Path) -> bytes:
        with source.open("ab") as more:
            more.write(b"more")
        return real(file, size, source)  # type: ignore[arg-type]

    monkeypatch.setattr(archive_module, "_read", growing)
    with pytest.raises(PackingError, match="changed while") as caught:
        write_archive([Member("log", source=tmp_path / "log")], tmp_path / "out", "test")
    assert str(tmp_path / "log") in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left"), PackingError)],
)
def test_a_pack_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException, expected: type
) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)

    def fail(self: object, multiple: int) -> None:
        raise raised

    monkeypatch.setattr(archive_module._Compressor, "pad", fail)
    with pytest.raises(expected):
        write_archive([Member("a", source=tmp_path / "a")], tmp_path / "out", "test")
    assert not list((tmp_path / "out").iterdir())


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackingError, match=r"gone\.txt"):
        write_archive([Member("a", source=tmp_path / "gone.txt")], tmp_path / "out", "test")


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "", "."])
def test_a_member_cannot_leave_the_archive(name: str) -> None:
    with pytest.raises(PackingError):
        arrange([Member(name, data=b"")])


def test_two_members_for_one_place_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(PackingError, match="two things"):
        arrange([Member("a", source=tmp_path / "1"), Member("./a", source=tmp_path / "2")])
    with pytest.raises(PackingError, match="file and a folder"):
        arrange([Member("a", source=tmp_path / "1"), Member("a/b", data=b"")])
    assert len(arrange([Member("a"), Member("a"), Member("a/b", data=b"")])) == 2


def test_names_in_messages_have_no_control_characters() -> None:
    assert printable(os.fsdecode(b"a\nb\x1b[31m\xff ok")) == "a\\nb\\x1b[31m\\xff ok"

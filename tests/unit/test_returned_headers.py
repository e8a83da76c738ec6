"""Headers of returned archives are read as tarfile reads them, plain ones faster."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from osgbatch.returned import stream
from osgbatch.returned.stream import open_archive

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
TYPES = [bytes([kind]) for kind in b"\x0001234567DKLSVgxX"]


def read(kind: type[tarfile.TarInfo], header: bytes) -> object:
    """All that is used of a header, or how it is refused."""
    try:
        one = kind.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        return type(error), str(error)
    return one.name, one.mode, one.size, one.mtime, one.type, one.linkname, one.chksum


def header(name: str, size: int, mode: int, kind: bytes, how: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.type, info.mtime = size, mode, kind, 1_795_000_000
    info.linkname = "to" if kind in b"12" else ""
    if size >= 8**11:
        how = tarfile.GNU_FORMAT  # the only one that has a place for it
    return info.tobuf(how, "utf-8", "surrogateescape")[-512:]


@settings(max_examples=150, deadline=None)
@given(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.integers(0, 2**40),
    st.integers(0, 0o7777),
    st.sampled_from(TYPES),
    st.sampled_from(FORMATS),
    st.dictionaries(st.integers(0, 511), st.integers(0, 255), max_size=3),
    st.booleans(),
)
@example("tasks/1/status", 300, 0o644, b"0", tarfile.GNU_FORMAT, {345: 65}, True)
@example("tasks/1/status", 300, 0o644, b"0", tarfile.GNU_FORMAT, {157: 65}, True)
@example("tasks/1/status", 300, 0o644, b"0", tarfile.GNU_FORMAT, {200: 200}, True)
@example("tasks/1/data/", 0, 0o755, b"5", tarfile.GNU_FORMAT, {}, False)
def test_any_header_is_what_tarfile_says(
    name: str, size: int, mode: int, kind: bytes, how: int, changed: dict[int, int], right: bool
) -> None:
    made = bytearray(header(name, size, mode, kind, how))
    for place, byte in changed.items():
        made[place] = byte
    if right:  # the checksum of what it is now, so that more than that is looked at
        made[148:156] = b" " * 8
        made[148:156] = b"%06o\0 " % sum(made)
    assert read(stream._Member, bytes(made)) == read(tarfile.TarInfo, bytes(made))
    for end in (0, 100, 511):
        cut = bytes(made[:end])
        assert read(stream._Member, cut) == read(tarfile.TarInfo, cut)


def test_what_tar_writes_is_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tasks" / "1").mkdir(parents=True)
    (tmp_path / "tasks" / "1" / "status").write_text("index=1\n")
    subprocess.run(["tar", "-czf", "a.tar.gz", "tasks"], cwd=tmp_path, check=True)
    monkeypatch.setattr(tarfile, "calc_chksums", lambda buf: pytest.fail("it is read slowly"))
    with open_archive(tmp_path / "a.tar.gz") as tar:
        found = [(member.name, member.size, member.isdir()) for member in tar]
    assert found == [("tasks", 0, True), ("tasks/1", 0, True), ("tasks/1/status", 8, False)]


def test_a_small_file_that_is_cut_is_told() -> None:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        member = tarfile.TarInfo("tasks/1/status")
        member.size = 600
        tar.addfile(member, io.BytesIO(b"x" * 600))
    with tarfile.open(fileobj=io.BytesIO(whole.getvalue()[:1000]), mode="r|") as tar:
        member = tar.next()
        assert member is not None
        with pytest.raises(tarfile.ReadError, match="unexpected end"):
            list(stream.blocks(tar, member))

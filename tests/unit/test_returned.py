"""A returned archive is believed in nothing: whose it is, what came with it, how large it is."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from osgbatch.errors import ResultError
from osgbatch.returned import (
    Expected,
    Returned,
    copy_member,
    open_archive,
    parse_record,
    read_records,
)
from osgbatch.returned.content import MAX_RECORD
from osgbatch.returned.paths import matches, resolve
from osgbatch.returned.records import number, parse_checksums

JOB = b"shim=1\nbatch=b\nround=1\ncluster=7\nproc=0\n"
DATA = b"the result"
SUM = hashlib.sha256(DATA).hexdigest()
STATUS = b"index=0\nstate=succeeded\nexit_code=0\noutputs=1\n"
GOOD = {
    "job": JOB,
    "tasks/0/status": STATUS,
    "tasks/0/stdout": b"",
    "tasks/0/sha256": f"{SUM}  outputs/a\n".encode(),
    "tasks/0/data/outputs/a": DATA,
}
Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, to: str = "") -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), to
    return info, content


def archive(folder: Path, members: dict[str, bytes], *more: Member) -> Path:
    path = folder / "7_0_0.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as tar:
        for info, content in [*(member(n, c) for n, c in members.items()), *more]:
            tar.addfile(info, io.BytesIO(content))
    return path


def read(path: Path, *required: str, tasks: Sequence[int] = (0,)) -> Returned:
    return read_records(path, Expected("b", 1, 7, 0, tasks, lambda _: required))


def test_a_whole_archive_has_no_problems(tmp_path: Path) -> None:
    returned = read(archive(tmp_path, GOOD), "outputs/a")
    assert returned.problems == {}
    assert returned.tasks == {0: parse_record(STATUS.decode())}
    assert returned.job["batch"] == "b"


def test_records_are_read_with_their_escapes(tmp_path: Path) -> None:
    status = b"index=3\nstate=started\ndetail=a\\nb\\\\n=c\n"
    returned = read(archive(tmp_path, {"job": JOB, "tasks/3/status": status}), tasks=[3])
    assert returned.tasks == {3: {"index": "3", "state": "started", "detail": "a\nb\\n=c"}}
    assert returned.problems == {}
    assert parse_record("x") == {}


def test_escaped_names_of_checksums_are_undone() -> None:
    text = f"\\{SUM}  a\\nb\\\\c\\r\n{SUM} *plain\\n\n".encode()
    assert parse_checksums(text) == {"a\nb\\c\r": SUM, "plain\\n": SUM}


# --- whose it is ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"batch=b", b"batch=c", "another batch"),
        (b"round=1", b"round=2", "another job: round '2', not 1"),
        (b"cluster=7", b"cluster=8", "another job"),
        (b"proc=0", b"proc=1", "another job"),
        (b"proc=0\n", b"", "another job"),
    ],
)
def test_an_archive_of_another_job_is_refused(
    tmp_path: Path, old: bytes, new: bytes, said: str
) -> None:
    with pytest.raises(ResultError, match=said):
        read(archive(tmp_path, {**GOOD, "job": JOB.replace(old, new)}))


def test_tasks_of_other_jobs_are_passed_over(tmp_path: Path) -> None:
    stranger = {n.replace("/0/", "/5/"): c for n, c in GOOD.items() if n != "job"}
    returned = read(archive(tmp_path, {**GOOD, **stranger, "tasks/6/sha256": b"x" * 999999}))
    assert set(returned.tasks) == {0}
    assert returned.problems == {}


# --- what came with it ----------------------------------------------------------------------------

NO_LIST = {n: c for n, c in GOOD.items() if n != "tasks/0/sha256"}
NO_DATA = {n: c for n, c in GOOD.items() if "data" not in n}
PROBLEMS = {
    "another task's record": ({**GOOD, "tasks/0/status": STATUS.replace(b"=0", b"=1", 1)}, "'1'"),
    "damaged": ({**GOOD, "tasks/0/data/outputs/a": b"x"}, "checksum differs"),
    "no list": (NO_LIST, "no checksums"),
    "not listed": ({**GOOD, "tasks/0/sha256": b""}, "has no checksum"),
    "lost": ({**NO_DATA, "tasks/0/status": b"index=0\nstate=failed\n"}, "did not come back"),
    "count": ({**GOOD, "tasks/0/status": STATUS.replace(b"puts=1", b"puts=2")}, "record says 2"),
    "no data": ({**NO_DATA, "tasks/0/sha256": b""}, "record says 1"),
    "long record": ({**GOOD, "tasks/0/status": STATUS + b"x" * MAX_RECORD}, "no record"),
    "own name": ({**GOOD, "tasks/0/data/status.json": b""}, "osgbatch needs"),
}


@pytest.mark.parametrize(("members", "said"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_what_is_not_accepted_of_a_task_is_told(
    tmp_path: Path, members: dict[str, bytes], said: str
) -> None:
    assert said in read(archive(tmp_path, members)).problems[0]


MORE = {
    "file twice": (member("./tasks/0/data/outputs/a", DATA), "there twice"),
    "record twice": (member("tasks/0/status", STATUS), "its status is there twice"),
    "list twice": (member("tasks/0/sha256", b""), "its sha256 is there twice"),
    "link out": (member("tasks/0/data/l", kind=tarfile.SYMTYPE, to="../x"), "link out"),
    "link to the root": (member("tasks/0/data/l", kind=tarfile.SYMTYPE, to="/x"), "link out"),
    "below a file": (member("tasks/0/data/outputs/a/b", DATA), "below what is no folder"),
    "above a file": (member("tasks/0/data/outputs", DATA), "there twice"),
    "special": (member("tasks/0/data/p", kind=tarfile.FIFOTYPE), "special file"),
}


@pytest.mark.parametrize(("more", "said"), MORE.values(), ids=MORE.keys())
def test_a_member_too_many_is_told(tmp_path: Path, more: Member, said: str) -> None:
    returned = read(archive(tmp_path, GOOD, more))
    assert said in returned.problems[0]
    assert returned.tasks[0]["state"] == "succeeded"


def test_a_record_that_is_no_file_is_told(tmp_path: Path) -> None:
    members = {n: c for n, c in GOOD.items() if n != "tasks/0/status"}
    link = member("tasks/0/status", kind=tarfile.SYMTYPE, to="/etc/passwd")
    assert "no record" in read(archive(tmp_path, members, link)).problems[0]


@pytest.mark.parametrize(
    "job",
    [member("job", kind=tarfile.SYMTYPE, to="x"), member("job", JOB + b"x" * MAX_RECORD)],
    ids=["link", "long"],
)
def test_a_record_of_a_job_that_is_none_is_refused(tmp_path: Path, job: Member) -> None:
    with pytest.raises(ResultError, match="no record"):
        read(archive(tmp_path, {}, job))


def test_a_job_has_one_record(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="two records"):
        read(archive(tmp_path, GOOD, member("job", JOB)))


def test_an_archive_without_a_job_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no record of its job"):
        read(archive(tmp_path, {"tasks/0/status": STATUS}))


# --- required outputs -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "name", "matched"),
    [
        ("outputs/a", "outputs/a", True),
        ("./outputs/", "outputs/a/b", True),
        ("outputs", "outputs2/a", False),
        ("outputs/*.npy", "outputs/a.npy", True),
        ("outputs/*.npy", "outputs/b/a.npy", False),
        ("*/*.npy", "outputs/a.npy", True),
        ("*", "a/b", True),
        ("*", ".a", False),
        ("*/.a", "x/.a", True),
        ("?a", ".a", False),
        ("[[]*", "[x", True),
        ("a[*]", "a*", True),
        ("a[*]", "ab", False),
        (r"a\*", "a*", True),
        (r"a\*", "ab", False),
        ("a[1].txt", "a1.txt", True),
        ("a[1].txt", "a[1].txt", True),
        ("[!a]", "b", True),
        ("[^a]", "a", False),
        ("[[:digit:]].npy", "3.npy", True),
        ("A", "a", False),
        ("??", "é", True),
        ("a/b", "a", False),
    ],
)
def test_patterns_are_globs_part_by_part(pattern: str, name: str, matched: bool) -> None:
    assert matches(pattern, name) is matched


@pytest.mark.parametrize(
    ("required", "whole"), [("outputs/a", True), ("outputs/*.npy", False), ("other", False)]
)
def test_a_success_without_its_required_output_is_none(
    tmp_path: Path, required: str, whole: bool
) -> None:
    problems = read(archive(tmp_path, GOOD), "outputs", required).problems
    assert problems == {} if whole else required in problems[0]


def test_a_failure_need_not_have_brought_anything(tmp_path: Path) -> None:
    status = b"index=0\nstate=failed\nexit_code=3\n"
    path = archive(tmp_path, {"job": JOB, "tasks/0/status": status, "tasks/0/sha256": b""})
    assert read(path, "outputs/a").problems == {}


@pytest.mark.parametrize(
    ("to", "whole"), [("a", True), ("../outputs", True), ("gone", False), ("latest", False)]
)
def test_a_link_to_a_file_is_an_output(tmp_path: Path, to: str, whole: bool) -> None:
    link = member("tasks/0/data/outputs/latest", kind=tarfile.SYMTYPE, to=to)
    assert (read(archive(tmp_path, GOOD, link), "outputs/latest").problems == {}) is whole


def test_a_folder_with_nothing_in_it_is_no_output(tmp_path: Path) -> None:
    folder = member("tasks/0/data/empty", kind=tarfile.DIRTYPE)
    assert "empty" in read(archive(tmp_path, GOOD, folder), "empty").problems[0]


@pytest.mark.parametrize(
    ("start", "to", "end"),
    [
        ("a", "b", "a/b"),
        ("a", "../b/./c", "b/c"),
        ("a", "..", ""),
        ("", "..", None),
        ("", "/a", None),
        ("", "up/../x", None),  # up is the folder itself
        ("", "deep/../../..", None),
        ("", "loop", None),
        ("", "chain/x", "a/b/x"),
    ],
)
def test_links_are_followed_by_name(start: str, to: str, end: str | None) -> None:
    links = {"up": "a/..", "deep": "a/b", "loop": "loop", "chain": "deep"}
    found = resolve(start.split("/") if start else [], to, links)
    assert (None if found is None else "/".join(found)) == end


# --- whole ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 9, 40, 100, 200])
def test_an_archive_that_did_not_arrive_whole_is_refused(tmp_path: Path, cut: int) -> None:
    path = archive(tmp_path, {"job": JOB * 50, "tasks/0/data/x": bytes(range(256)) * 99})
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ResultError, match="damaged"):
        read(path)


@pytest.mark.parametrize("behind", [0, 3_000_000])
@pytest.mark.parametrize("where", [-8, -1])
def test_the_checksum_of_the_stream_is_looked_at(tmp_path: Path, where: int, behind: int) -> None:
    path = archive(tmp_path, GOOD)
    content = bytearray(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(behind)))
    path.write_bytes(content)
    assert read(path).problems == {}
    content[where] ^= 1
    path.write_bytes(content)
    with pytest.raises(ResultError, match="damaged"):
        read(path)
    with pytest.raises(ResultError, match="damaged"):
        copy_member(path, "tasks/0/stdout", io.BytesIO())


@pytest.mark.parametrize("content", [b"", b"not gzip at all", b"\x1f\x8b" + b"\0" * 50])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(content)
    with pytest.raises(ResultError):
        read(path)


# --- how large it is ------------------------------------------------------------------------------


def header(kind: bytes, size: int, name: str = "x") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def raw(folder: Path, *blocks: bytes) -> Path:
    path = folder / "7_0_0.tar.gz"
    end = b"\0" * 1024
    whole = gzip.decompress(archive(folder, GOOD).read_bytes()).removesuffix(b"\0" * 10240)
    path.write_bytes(gzip.compress(b"".join(blocks) + whole + end, 1))
    return path


BOMBS = {
    "pax": [header(tarfile.XHDTYPE, 8 << 20), bytes(8 << 20)],
    "solaris": [header(tarfile.SOLARIS_XHDTYPE, 8 << 20), bytes(8 << 20)],
    "long name": [header(tarfile.GNUTYPE_LONGNAME, 8 << 20), b"n" * (8 << 20)],
    "long link": [header(tarfile.GNUTYPE_LONGLINK, 8 << 20), b"n" * (8 << 20)],
    "global": [header(tarfile.XGLTYPE, 512), b"9 a=bbbb\n".ljust(512, b"\0")],
    "nested pax": [header(tarfile.XHDTYPE, 512), b"9 a=bbbb\n".ljust(512, b"\0")] * 5000,
    "nested names": [header(tarfile.GNUTYPE_LONGNAME, 512), b"n" * 512] * 5000,
    "a chain": [header(tarfile.XHDTYPE, 512), b"9 a=bbbb\n".ljust(512, b"\0")] * 9,
    "negative": [header(tarfile.REGTYPE, -1024)],
    "pax negative": [header(tarfile.XHDTYPE, 512), b"14 size=-1024\n".ljust(512, b"\0")],
    "pax no number": [
        header(tarfile.XHDTYPE, 512),
        b"27 GNU.sparse.realsize=xx\n".ljust(512, b"\0"),
    ],
}


@pytest.mark.parametrize("blocks", BOMBS.values(), ids=BOMBS.keys())
def test_headers_that_no_shim_writes_are_refused(tmp_path: Path, blocks: list[bytes]) -> None:
    with pytest.raises(ResultError, match="damaged"):
        read(raw(tmp_path, *blocks))


def test_an_extended_header_of_negative_size_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="extended headers"):
        read(raw(tmp_path, header(tarfile.XHDTYPE, -512)))


SPARSE = {
    "gnu": [header(tarfile.GNUTYPE_SPARSE, 0)],
    "0.0": [header(tarfile.XHDTYPE, 512), b"21 GNU.sparse.size=9\n".ljust(512, b"\0")],
    "0.1": [header(tarfile.XHDTYPE, 512), b"22 GNU.sparse.map=0,0\n".ljust(512, b"\0")],
    "1.0": [
        header(tarfile.XHDTYPE, 512),
        b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n".ljust(512, b"\0"),
        header(tarfile.REGTYPE, 512),
        b"1\n0\n0\n".ljust(512, b"\0"),
    ],
}


@pytest.mark.parametrize("blocks", SPARSE.values(), ids=SPARSE.keys())
def test_a_file_that_is_larger_than_its_data_is_refused(
    tmp_path: Path, blocks: list[bytes]
) -> None:
    with pytest.raises(ResultError, match="a sparse member"):
        read(raw(tmp_path, *blocks))


def test_members_that_were_read_are_not_kept(tmp_path: Path) -> None:
    with open_archive(archive(tmp_path, GOOD)) as tar:
        assert [len(tar.members) for _ in tar] == [0] * len(GOOD)  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_every_tar_of_an_execution_point_is_read(tmp_path: Path, form: int) -> None:
    path = tmp_path / "7_0_0.tar.gz"
    long = "outputs/" + "d" * 90 + "/" + "é" * (40 if form == tarfile.USTAR_FORMAT else 100)
    members = {
        **GOOD,
        "tasks/0/sha256": f"{SUM}  {long}\n".encode(),
        f"tasks/0/data/{long}": DATA,
    }
    del members["tasks/0/data/outputs/a"]
    with tarfile.open(path, "w:gz", format=form) as tar:
        for name, content in members.items():
            tar.addfile(member(name, content)[0], io.BytesIO(content))
    assert read(path, "outputs/d*/*").problems == {}


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path, GOOD)
    monkeypatch.setattr("osgbatch.returned.stream.MAX_MEMBERS", len(GOOD))
    assert read(path).problems == {}
    monkeypatch.setattr("osgbatch.returned.stream.MAX_MEMBERS", len(GOOD) - 1)
    with pytest.raises(ResultError, match="more members"):
        read(path)


def test_too_many_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osgbatch.returned.content.MAX_NAMES", 200)
    assert "more names" in read(archive(tmp_path, GOOD)).problems[0]


@pytest.mark.parametrize(
    "error", [RecursionError(), MemoryError(), OverflowError(), struct.error()]
)
def test_whatever_reading_runs_into_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_: object) -> None:
        raise error

    path = archive(tmp_path, GOOD)
    monkeypatch.setattr(tarfile.TarFile, "next", fail)
    with pytest.raises(ResultError, match=f"damaged: {type(error).__name__}"):
        read(path)


def test_a_member_is_copied_without_holding_it(tmp_path: Path) -> None:
    size = 400 << 20
    path = tmp_path / "7_0_0.tar.gz"
    with gzip.open(path, "wb", 1) as out:
        out.write(header(tarfile.REGTYPE, size, "tasks/0/stdout"))
        for _ in range(size >> 20):
            out.write(bytes(1 << 20))
        out.write(bytes(1024))
    code = f"""
import resource, pathlib
from osgbatch.returned import copy_member
resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))
with open("/dev/null", "wb") as out:
    print(copy_member(pathlib.Path({str(path)!r}), "tasks/0/stdout", out))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == size


def test_a_member_is_copied_by_its_name(tmp_path: Path) -> None:
    path = archive(tmp_path, GOOD)
    out = io.BytesIO()
    assert copy_member(path, "tasks/0/data/outputs/a", out) == len(DATA)
    assert out.getvalue() == DATA
    assert copy_member(path, "tasks/0/stderr", out) == 0


@pytest.mark.parametrize("text", ["inf", "nan", "-inf", "1e308", "1_0", "-1", "", "x"])
def test_what_no_time_and_no_size_can_be_is_no_number(text: str) -> None:
    """An execution point may write anything, and everybody computes with it."""
    assert number({"start": text}, "start") is None
    assert number({"start": "1795297817.43"}, "start") == 1795297817.43

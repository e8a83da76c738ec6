"""What an execution point may send: refused with its reason, or harmless; the others are collected.

All of it goes the whole way, from the returned archive to `results/`, in a batch of two jobs, of
which the second is as it should be. Nothing but results/ may be touched.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator

import pytest
from returned_archives import job_record, task_record, two_jobs

from osgbatch.batches.folder import Batch
from osgbatch.results.taking import Taker

GOOD = b"the result\n"
SUM = hashlib.sha256(GOOD).hexdigest()
SPEC = """\
command: "true"
sweep: {x: [a, b]}
outputs: [{path: outputs/a, to: "by-name/{x}"}]
resources: {disk: 1 MB}
"""
Member = tuple[tarfile.TarInfo, bytes]


def member(
    name: str,
    content: bytes = b"",
    kind: bytes = tarfile.REGTYPE,
    to: str = "",
    pax: dict[str, str] | None = None,
) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), to
    info.pax_headers = pax or {}
    return info, content


def data(
    name: str, kind: bytes = tarfile.REGTYPE, to: str = "", pax: dict[str, str] | None = None
) -> Member:
    """A file with the good content below the task's folder, or a link or device there."""
    content = GOOD if kind == tarfile.REGTYPE else b""
    return member(f"tasks/0/data/{name}", content, kind, to, pax)


def link(name: str, to: str) -> Member:
    return data(name, tarfile.SYMTYPE, to)


def hard(name: str, to: str) -> Member:
    return data(name, tarfile.LNKTYPE, to)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """A batch of two jobs that HTCondor has run, as its log tells."""
    folder = tmp_path_factory.mktemp("hostile") / "sweep"
    folder.mkdir()
    (folder / "sweep.yaml").write_text(SPEC)
    made = two_jobs(folder / "sweep.yaml")
    (folder.parent / "victim").write_text("the user's")
    return made


@pytest.fixture(autouse=True)
def fresh(batch: Batch) -> Iterator[None]:
    """Nothing has come back, and nothing outside results/ is touched."""
    for name in ("results", "rounds/001/returned"):
        shutil.rmtree(batch.folder / name, ignore_errors=True)
    (batch.folder / "state.db").unlink(missing_ok=True)
    before = outside(batch)
    yield
    assert outside(batch) == before


def outside(batch: Batch) -> dict[str, str]:
    """What lies around results/, and its content."""
    top = batch.folder.parents[2]
    own = [batch.folder / name for name in ("results", "state.db", "lock", "rounds/001/returned")]
    found = {}
    for path in top.rglob("*"):
        if not any(path == one or one in path.parents for one in own):
            found[str(path)] = path.read_text("latin-1") if path.is_file() else ""
    return found


def tar_of(members: list[Member], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=form, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def bring(batch: Batch, proc: int, raw: bytes) -> None:
    folder = batch.folder / "rounds/001/returned/0"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"7_{proc}_0.tar.gz").write_bytes(raw)


def whole(batch: Batch, more: list[Member], sums: str | None = None) -> list[Member]:
    """An archive of task 0 with its good output and more, each file of it in the list of sums."""
    made = [info for info, _ in more if "data/" in info.name and (info.isreg() or info.islnk())]
    files = [info.name.split("data/", 1)[1] for info in made]
    names = ["outputs/a", *dict.fromkeys(name for name in files if name != "outputs/a")]
    listed = "".join(f"{SUM}  {name}\n" for name in names) if sums is None else sums
    return [
        member("job", job_record(batch, 0)),
        member("tasks/0/stdout", b"hello"),
        data("outputs/a"),
        *more,
        member("tasks/0/sha256", listed.encode("utf-8", "surrogateescape")),
        member("tasks/0/status", task_record(0, outputs=len(names))),
    ]


def collect(batch: Batch, raw: bytes) -> tuple[str, str]:
    """State and detail of task 0; task 1 is collected whatever that is."""
    bring(batch, 0, raw)
    good = [
        member("job", job_record(batch, 1)),
        member("tasks/1/data/outputs/a", GOOD),
        member("tasks/1/sha256", f"{SUM}  outputs/a\n".encode()),
        member("tasks/1/status", task_record(1)),
    ]
    bring(batch, 1, gzip.compress(tar_of(good), 1))
    now, _ = Taker(batch, lambda text: None).take()
    first, second = now.states
    results = batch.folder / "results"
    assert second.state == "succeeded"
    assert (results / "1/outputs/a").read_bytes() == GOOD
    assert (results / "by-name/b").samefile(results / "1/outputs/a")
    there = {path.name for path in results.iterdir()}
    if first.state == "succeeded":
        assert there == {"0", "1", "by-name", "results.csv"}
    else:
        assert there == {"1", "by-name", "results.csv"}
        assert [path.name for path in (results / "by-name").iterdir()] == ["b"]
        assert now.exit_code == 1
    return first.state, first.detail


MEMBERS: dict[str, tuple[list[Member], str]] = {
    "traversal": ([data("../../../victim")], "would leave its folder"),
    "traversal inside": ([data("outputs/../../../x")], "would leave its folder"),
    "traversal at the end": ([data("outputs/..")], "would leave its folder"),
    "absolute": ([data("/etc/cron.d/x")], "would leave its folder"),
    "dot": ([data("outputs/./b")], "would leave its folder"),
    "link to the root": ([link("outputs/l", "/etc/passwd")], "link out of the results"),
    "link up": ([link("outputs/l", "../../../victim")], "link out of the results"),
    "link and file below": ([link("out", "../.."), data("out/x")], "below what is no folder"),
    "link then file": ([link("outputs/b", "a"), data("outputs/b")], "is there twice"),
    "links in a ring": ([link("l", "m"), link("m", "l")], "link out of the results"),
    "links together": (
        [link("p/q/r/up", "../../.."), link("l", "p/q/r/up/../../../victim")],
        "link out of the results",
    ),
    "hard link out": ([hard("outputs/l", "/etc/passwd")], "link out of the results"),
    "hard link up": ([hard("outputs/l", "tasks/0/data/../../../victim")], "link out"),
    "hard link to another task": ([hard("outputs/l", "tasks/1/data/outputs/a")], "link out"),
    "hard link to what comes later": ([hard("outputs/l", "tasks/0/data/outputs/z")], "link out"),
    "block device": ([data("outputs/d", tarfile.BLKTYPE)], "special file"),
    "character device": ([data("outputs/d", tarfile.CHRTYPE)], "special file"),
    "fifo": ([data("outputs/f", tarfile.FIFOTYPE)], "special file"),
    "twice": ([data("outputs/a")], "is there twice"),
    "twice by another spelling": ([member("./tasks/0/data/outputs/a", GOOD)], "is there twice"),
    "a file, then a folder": ([data("outputs/a/b")], "below what is no folder"),
    "a file, then a folder of its own": ([data("outputs/a", tarfile.DIRTYPE)], "is there twice"),
    "a folder, then a file": ([data("outputs", tarfile.REGTYPE)], "is there twice"),
    "our own name": ([data("status.json")], "osgbatch needs"),
    "our own name as a folder": ([data("stdout/x")], "osgbatch needs"),
    "a second record": ([member("tasks/0/stdout", b"x")], "its stdout is there twice"),
    "a name too long": ([data("n" * 256)], "too long or too deep"),
    "a path too deep": ([data("d/" * 120 + "f")], "too long or too deep"),
    "a path by pax": ([data("x", pax={"path": "tasks/0/data/../../../victim"})], "would leave"),
    "a link's end by pax": (
        [data("outputs/l", tarfile.SYMTYPE, "a", {"linkpath": "/etc/passwd"})],
        "link out of the results",
    ),
    "a size by pax": ([data("outputs/b", pax={"size": "-1024"})], "damaged"),
    "a small negative size by pax": ([data("outputs/b", pax={"size": "-511"})], "of -511 bytes"),
    "another size, as of a sparse one": (
        [data("outputs/b", pax={"GNU.sparse.realsize": "-99999999999"})],
        "sparse",
    ),
    "a great size by pax": (
        [data("outputs/b", pax={"size": "200000000000"})],
        "more than 10,842,275,840 bytes unpacked",
    ),
    "sparse by pax": ([data("outputs/b", pax={"GNU.sparse.size": "99999"})], "sparse"),
    "a task that was not in the job": (
        [member("tasks/1/data/outputs/a", b"false"), data("../1/outputs/a")],
        "would leave its folder",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MEMBERS)
def test_what_would_do_harm_is_refused_with_its_reason(batch: Batch, name: str) -> None:
    members, reason = MEMBERS[name]
    listed = None
    if name == "a task that was not in the job":
        listed = f"{SUM}  outputs/a\n"
    state, detail = collect(batch, gzip.compress(tar_of(whole(batch, members, listed)), 1))
    assert state == "unknown"
    assert reason in detail


SUMS = {
    "no list": (None, "no checksums"),
    "not listed": ("", "has no checksum"),
    "wrong": (f"{'0' * 64}  outputs/a\n", "its checksum differs"),
    "of a file that is not there": (f"{SUM}  outputs/a\n{SUM}  b\n", "did not come back"),
    "a line for a name with a line break": (f"{SUM}  outputs/a\n{SUM}  b\n", "no checksum"),
}


@pytest.mark.parametrize("name", SUMS)
def test_a_list_that_does_not_fit_is_refused(batch: Batch, name: str) -> None:
    sums, reason = SUMS[name]
    more = [data(f"x\n{SUM}  b")] if "line break" in name else []
    members = whole(batch, more, sums or "")
    if sums is None:
        members = [one for one in members if one[0].name != "tasks/0/sha256"]
    state, detail = collect(batch, gzip.compress(tar_of(members), 1))
    assert state == "unknown"
    assert reason in detail


def _header(kind: bytes, size: int, name: str = "tasks/0/data/outputs/z") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def _cut(raw: bytes) -> bytes:
    return gzip.compress(raw, 1)[:-9]


def _broken(raw: bytes) -> bytes:
    packed = bytearray(gzip.compress(raw, 1))
    packed[-6] ^= 1
    return bytes(packed)


RAW: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (_cut, "damaged"),
    "a wrong checksum of the stream": (_broken, "damaged"),
    "no gzip": (lambda raw: raw, "damaged"),
    "empty": (lambda raw: b"", "damaged"),
    "a bomb of one file": (
        lambda raw: gzip.compress(_header(tarfile.REGTYPE, 1 << 44) + bytes(1 << 20) + raw, 1),
        "a hundred times the disk that its job asked for",
    ),
    "a bomb of headers": (
        lambda raw: gzip.compress(_header(tarfile.XHDTYPE, 1 << 30) + bytes(1 << 20) + raw, 1),
        "extended headers",
    ),
    "a bomb of headers for headers": (
        lambda raw: gzip.compress(
            (_header(tarfile.GNUTYPE_LONGNAME, 512) + bytes(512)) * 1000 + raw, 1
        ),
        "extended headers",
    ),
    "a negative size, of base 256": (
        lambda raw: gzip.compress(_header(tarfile.REGTYPE, -1) + raw, 1), "a member of -1 bytes"
    ),
    "sparse, of GNU": (
        lambda raw: gzip.compress(_header(tarfile.GNUTYPE_SPARSE, 0) + raw, 1), "sparse"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RAW)
def test_an_archive_that_is_no_archive_is_refused(batch: Batch, name: str) -> None:
    made, reason = RAW[name]
    state, detail = collect(batch, made(tar_of(whole(batch, []))))
    assert state == "unknown"
    assert reason in detail


def test_a_bomb_of_many_files_is_refused(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osgbatch.returned.stream.MAX_MEMBERS", 50)
    many = [data(f"outputs/{i}") for i in range(60)]
    state, detail = collect(batch, gzip.compress(tar_of(whole(batch, many)), 1))
    assert state == "unknown"
    assert "more members" in detail


def test_zeros_beyond_what_the_job_could_hold_are_not_unpacked(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osgbatch.life.rounds.most_bytes", lambda kb: 4 << 20)
    zeros = member("tasks/0/data/outputs/zeros", bytes(5 << 20))
    raw = gzip.compress(tar_of(whole(batch, [zeros])), 9)
    assert len(raw) < 20_000
    state, detail = collect(batch, raw)
    assert state == "unknown"
    assert "more than 4,194,304 bytes" in detail


HARMLESS = {
    "a line break": "outputs/x\ny",
    "blanks": "outputs/ x ",
    "a dash": "-rf",
    "from right to left": "outputs/\u202egpj.exe",
    "composed": "outputs/\u00e9",
    "an overlong slash": os.fsdecode(b"outputs/..\xc0\xaf..\xc0\xafvictim"),
    "an overlong dot": os.fsdecode(b"\xc0\xae\xc0\xae"),
    "a backslash": "outputs\\..\\..\\x",
    "a full-width dot": "\uff0e\uff0e",
    "a hidden file": ".ssh/authorized_keys",
}


@pytest.mark.parametrize("name", HARMLESS.values(), ids=HARMLESS.keys())
def test_a_name_that_only_looks_bad_is_a_name(batch: Batch, name: str) -> None:
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
    mark = "\\" if escaped != name else ""
    sums = f"{SUM}  outputs/a\n{mark}{SUM}  {escaped}\n"
    state, detail = collect(batch, gzip.compress(tar_of(whole(batch, [data(name)], sums)), 1))
    assert (state, detail) == ("succeeded", "")
    assert (batch.folder / "results/0" / name).read_bytes() == GOOD


TWINS = {"case": ["outputs/B", "outputs/b"], "forms": ["outputs/\u00e9", "outputs/e\u0301"]}


@pytest.mark.parametrize("names", TWINS.values(), ids=TWINS.keys())
def test_names_that_are_one_on_some_file_systems_are_two_here(
    batch: Batch, names: list[str]
) -> None:
    twins = [data(name) for name in names]
    state, _ = collect(batch, gzip.compress(tar_of(whole(batch, twins)), 1))
    assert state == "succeeded"
    assert len(list((batch.folder / "results/0/outputs").iterdir())) == 3


@pytest.mark.parametrize("names", TWINS.values(), ids=TWINS.keys())
def test_names_that_are_one_here_are_refused(
    batch: Batch, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    really = os.open

    def folding(path: str | os.PathLike[str], *rest: int, **more: int) -> int:
        text = os.fspath(path).replace("e\u0301", "\u00e9").replace("outputs/B", "outputs/b")
        return really(text, *rest, **more)

    monkeypatch.setattr("osgbatch.collecting.unpack.os.open", folding)
    twins = [data(name) for name in names]
    state, detail = collect(batch, gzip.compress(tar_of(whole(batch, twins)), 1))
    assert state == "unknown"
    assert "File exists" in detail

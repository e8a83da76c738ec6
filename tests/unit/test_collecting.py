"""What came back is unpacked whole, verified, and never past its own folder."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from osgbatch.collecting.collect import collect
from osgbatch.collecting.unpack import unpack_tasks
from osgbatch.errors import ResultError
from osgbatch.model import TaskState


def unpack_task(path: Path, index: int, target: Path) -> None:
    """Unpack one task; what is refused is raised."""
    for problem in unpack_tasks(path, {index: target}, {}).values():
        raise ResultError(problem)


GOOD = b"the result"
SUM = hashlib.sha256(GOOD).hexdigest()


def member(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, to: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), to
    return info, content


def archive(folder: Path, *members: tuple[tarfile.TarInfo, bytes], sums: str | None = None) -> Path:
    path = folder / "7_0_0.tar.gz"
    text = f"{SUM}  outputs/a\n" if sums is None else sums
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as tar:
        job = member("job", b"batch=x\n")
        for info, content in [job, *members, member("tasks/0/sha256", text.encode())]:
            tar.addfile(info, io.BytesIO(content))
    return path


def test_a_result_is_unpacked_with_its_output(tmp_path: Path) -> None:
    path = archive(
        tmp_path,
        member("./tasks/0/data/outputs", kind=tarfile.DIRTYPE),
        member("./tasks/0/data/outputs/a", GOOD),
        member("tasks/0/stdout", b"hello"),
        member("tasks/0/data/outputs/latest", kind=tarfile.SYMTYPE, to="a"),
        member("tasks/1/data/outputs/b", b"another task's"),
    )
    unpack_task(path, 0, tmp_path / "r/0")
    assert (tmp_path / "r/0/outputs/a").read_bytes() == GOOD
    assert (tmp_path / "r/0/outputs/latest").read_bytes() == GOOD
    assert (tmp_path / "r/0/stdout").read_bytes() == b"hello"
    assert not (tmp_path / "r/0/outputs/b").exists()


def test_a_hard_link_among_the_outputs_is_kept(tmp_path: Path) -> None:
    path = archive(
        tmp_path,
        member("tasks/0/data/outputs/a", GOOD),
        member("tasks/0/data/outputs/b", kind=tarfile.LNKTYPE, to="tasks/0/data/outputs/a"),
        sums=f"{SUM}  outputs/a\n{SUM}  outputs/b\n",
    )
    unpack_task(path, 0, tmp_path / "r/0")
    assert (tmp_path / "r/0/outputs/b").read_bytes() == GOOD


OUTSIDE = [
    member("tasks/0/data/../../../evil", GOOD),
    member("tasks/0/data//etc/evil", GOOD),
    member("tasks/0/data/outputs/../../evil", GOOD),
    member("tasks/0/data/outputs/l", kind=tarfile.SYMTYPE, to="/etc/passwd"),
    member("tasks/0/data/outputs/l", kind=tarfile.SYMTYPE, to="../../x"),
    member("tasks/0/data/outputs/l", kind=tarfile.LNKTYPE, to="tasks/1/data/outputs/a"),
    member("tasks/0/data/outputs/l", kind=tarfile.LNKTYPE, to="/etc/passwd"),
    member("tasks/0/data/outputs/a", kind=tarfile.LNKTYPE, to="tasks/0/data/outputs/a"),
    member("tasks/0/data/outputs/p", kind=tarfile.FIFOTYPE),
    member("tasks/0/data/outputs/d", kind=tarfile.CHRTYPE),
    member("tasks/0/data/outputs/a", GOOD),
]


@pytest.mark.parametrize("evil", OUTSIDE, ids=lambda m: f"{m[0].name}-{m[0].type!r}")
def test_what_would_leave_the_folder_is_refused(
    tmp_path: Path, evil: tuple[tarfile.TarInfo, bytes]
) -> None:
    path = archive(tmp_path, member("tasks/0/data/outputs/a", GOOD), evil)
    with pytest.raises(ResultError):
        unpack_task(path, 0, tmp_path / "r/0")
    assert [p.name for p in tmp_path.iterdir()] in (["7_0_0.tar.gz", "r"], ["r", "7_0_0.tar.gz"])
    assert list((tmp_path / "r").iterdir()) == []


def test_a_file_under_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    path = archive(
        tmp_path,
        member("tasks/0/data/outputs", kind=tarfile.SYMTYPE, to="x"),
        member("tasks/0/data/outputs/a", GOOD),
    )
    with pytest.raises(ResultError):
        unpack_task(path, 0, tmp_path / "r/0")
    assert list((tmp_path / "r").iterdir()) == []


@pytest.mark.parametrize(
    "sums",
    [
        "",
        f"{SUM}  outputs/other\n",
        f"{'0' * 64}  outputs/a\n",
        f"{SUM}  outputs/a\n{SUM}  outputs/lost\n",
    ],
)
def test_a_wrong_checksum_is_refused(tmp_path: Path, sums: str) -> None:
    path = archive(tmp_path, member("tasks/0/data/outputs/a", GOOD), sums=sums)
    with pytest.raises(ResultError):
        unpack_task(path, 0, tmp_path / "r/0")


def test_a_damaged_success_is_not_shown_as_one(tmp_path: Path) -> None:
    path = archive(tmp_path, member("tasks/0/data/outputs/a", b"something else"))
    state = TaskState(0, "succeeded", archive=path, record={"state": "succeeded"})
    done = collect(tmp_path / "results", [state])
    assert [(s.state, s.reason) for s in done.states] == [("unknown", "damaged")]
    assert not (tmp_path / "results/0").exists()


def test_collecting_twice_unpacks_once(tmp_path: Path) -> None:
    path = archive(tmp_path, member("tasks/0/data/outputs/a", GOOD))
    state = TaskState(0, "succeeded", archive=path, record={"state": "succeeded"})
    assert collect(tmp_path / "results", [state]).unpacked == 1
    (tmp_path / "results/0/outputs/mine").write_text("the user's own")
    assert collect(tmp_path / "results", [state]).unpacked == 0
    assert (tmp_path / "results/0/outputs/mine").exists()
    assert json.loads((tmp_path / "results/0/status.json").read_text())["state"] == "succeeded"


def test_what_failed_lies_apart(tmp_path: Path) -> None:
    path = archive(tmp_path, member("tasks/0/data/outputs/a", GOOD))
    failed = TaskState(0, "failed", "exit", archive=path, record={"state": "failed"})
    waiting = TaskState(1, "waiting")
    collect(tmp_path / "results", [failed, waiting])
    assert [p.name for p in (tmp_path / "results").iterdir()] == ["failed"]
    again = TaskState(0, "succeeded", archive=path, record={"state": "succeeded"})
    collect(tmp_path / "results", [again])
    assert (tmp_path / "results/0/outputs/a").exists()
    assert not (tmp_path / "results/failed/0").exists()


def test_one_tasks_damage_does_not_touch_another(tmp_path: Path) -> None:
    path = archive(
        tmp_path,
        member("tasks/0/data/outputs/a", GOOD),
        member("tasks/1/data/outputs/a", b"damaged"),
        member("tasks/1/sha256", f"{SUM}  outputs/a\n".encode()),
    )
    states = [
        TaskState(i, "succeeded", archive=path, record={"state": "succeeded"}) for i in range(2)
    ]
    done = collect(tmp_path / "results", states)
    assert [s.state for s in done.states] == ["succeeded", "unknown"]
    assert done.unpacked == 1
    assert [p.name for p in (tmp_path / "results").iterdir()] == ["0"]


# --- links and names -----------------------------------------------------------------------------

DEEP = "/".join(f"p{i}" for i in range(14))


def test_two_links_together_cannot_leave_the_folder(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("the user's")
    up = "../" * 14
    path = archive(
        tmp_path,
        member(f"tasks/0/data/{DEEP}/r", kind=tarfile.SYMTYPE, to=up),
        member("tasks/0/data/l", kind=tarfile.SYMTYPE, to=f"{DEEP}/r/../../../victim"),
        sums="",
    )
    with pytest.raises(ResultError, match="link out of the results"):
        unpack_task(path, 0, tmp_path / "r/0")
    assert victim.read_text() == "the user's"


@pytest.mark.parametrize("name", ["status.json", "stdout", "stderr", "status.json/x"])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE])
def test_our_own_names_are_never_overwritten(tmp_path: Path, name: str, kind: bytes) -> None:
    (tmp_path / "victim").write_text("the user's")
    to = "outputs/../../../victim" if kind == tarfile.SYMTYPE else ""
    path = archive(tmp_path, member(f"tasks/0/data/{name}", kind=kind, to=to), sums="")
    state = TaskState(0, "succeeded", archive=path, record={"state": "succeeded"})
    done = collect(tmp_path / "results", [state])
    assert (done.states[0].state, done.states[0].reason) == ("unknown", "damaged")
    assert "osgbatch needs" in done.states[0].detail
    assert (tmp_path / "victim").read_text() == "the user's"


def test_links_are_looked_at_again_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = member("tasks/0/data/l", kind=tarfile.SYMTYPE, to="../../victim")
    path = archive(tmp_path, link, sums="")
    # as on a file system that takes other names for the same
    monkeypatch.setattr("osgbatch.returned.content.resolve", lambda *_: [])
    with pytest.raises(ResultError, match="link out of the results"):
        unpack_task(path, 0, tmp_path / "r/0")
    assert list((tmp_path / "r").iterdir()) == []


HOSTILE = {
    "long name": [member("tasks/0/data/" + "n" * 300, b"")],
    "deep": [member("tasks/0/data/" + "d/" * 3000 + "f", b"")],
    "deep folder": [member("tasks/0/data/" + "d/" * 900, kind=tarfile.DIRTYPE)],
    "file and folder": [member("tasks/0/data/a", GOOD), member("tasks/0/data/a/b", GOOD)],
    "folder and file": [member("tasks/0/data/a/b", GOOD), member("tasks/0/data/a", GOOD)],
    "long link": [member("tasks/0/data/l", kind=tarfile.SYMTYPE, to="x" * 5000)],
    "empty link": [member("tasks/0/data/l", kind=tarfile.SYMTYPE, to="")],
    "loop": [
        member("tasks/0/data/l", kind=tarfile.SYMTYPE, to="m/x"),
        member("tasks/0/data/m", kind=tarfile.SYMTYPE, to="l"),
    ],
    "twice": [member("tasks/0/data/a", GOOD), member("./tasks/0/data/a", GOOD)],
    "dot": [member("tasks/0/data/./a", GOOD)],
    "data is a link": [member("tasks/0/data", kind=tarfile.SYMTYPE, to="/tmp")],
    "stdout is a link": [member("tasks/0/stdout", kind=tarfile.SYMTYPE, to="/etc/passwd")],
    "too many outputs": [member("tasks/0/status", b"index=0\noutputs=3\n")],
}


@pytest.mark.parametrize("evil", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_task_stops_no_other(
    tmp_path: Path, evil: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    listed = "".join(
        f"{SUM}  {info.name.split('data/')[1]}\n"
        for info, _ in evil
        if info.isreg() and "data/" in info.name
    )
    bad = archive(tmp_path, *evil, sums=listed)
    good = (
        bad.rename(tmp_path / "bad.tar.gz"),
        archive(tmp_path, member("tasks/0/data/outputs/a", GOOD)),
    )
    states = [
        TaskState(0, "succeeded", archive=good[0], record={"state": "succeeded"}),
        TaskState(1, "waiting"),
    ]
    done = collect(tmp_path / "results", states)
    assert (done.states[0].state, done.states[0].reason) == ("unknown", "damaged")
    assert list((tmp_path / "results").iterdir()) == []
    states = [TaskState(0, "succeeded", archive=good[1], record={"state": "succeeded"})]
    assert collect(tmp_path / "results", states).unpacked == 1


def test_what_this_file_system_refuses_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path, member("tasks/0/data/outputs/a", GOOD))

    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("osgbatch.collecting.unpack._write", refuse)
    assert "Invalid argument" in unpack_tasks(path, {0: tmp_path / "r/0"}, {})[0]
    assert list((tmp_path / "r").iterdir()) == []


def test_an_archive_that_is_gone_is_a_refusal(tmp_path: Path) -> None:
    gone = TaskState(0, "succeeded", archive=tmp_path / "x.tar.gz", record={"state": "succeeded"})
    assert collect(tmp_path / "results", [gone]).states[0].state == "unknown"


# --- the disk ------------------------------------------------------------------------------------


def test_what_does_not_fit_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path, member("tasks/0/data/outputs/a", GOOD))
    state = TaskState(0, "succeeded", archive=path, record={"state": "succeeded"})
    usage = shutil.disk_usage(tmp_path)._replace(free=len(GOOD) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError) as caught:
        collect(tmp_path / "results", [state])
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value.filename).endswith("outputs/a")
    assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fails_is_told_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = archive(tmp_path, member("tasks/0/data/outputs/a", GOOD))
    state = TaskState(0, "succeeded", archive=path, record={"state": "succeeded"})

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("osgbatch.collecting.unpack._write", fail)
    with pytest.raises(OSError) as caught:
        collect(tmp_path / "results", [state])
    assert caught.value.errno == number
    assert str(caught.value.filename).endswith("outputs/a")
    assert list((tmp_path / "results").iterdir()) == []


def test_hard_links_become_copies_where_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", fail)
    test_a_hard_link_among_the_outputs_is_kept(tmp_path)


# --- collecting again ----------------------------------------------------------------------------


def success(path: Path, index: int = 0) -> TaskState:
    return TaskState(index, "succeeded", archive=path, record={"state": "succeeded"})


def test_a_result_that_was_deleted_is_restored(tmp_path: Path) -> None:
    path = archive(tmp_path, member("tasks/0/data/outputs/a", GOOD), member("tasks/0/stdout", b"x"))
    results = tmp_path / "results"
    collect(results, [success(path)])
    for name in ("outputs/a", "stdout"):
        (results / "0" / name).unlink()
        assert collect(results, [success(path)]).unpacked == 1
        assert (results / "0" / name).exists()
    assert sorted(p.name for p in results.iterdir()) == ["0"]


@pytest.mark.parametrize("touch", ["added", "changed", "link", "nothing", "folder"])
def test_the_users_files_outlive_another_archive(tmp_path: Path, touch: str) -> None:
    first = archive(
        tmp_path,
        member("tasks/0/data/outputs/a", GOOD),
        member("tasks/0/data/outputs/l", kind=tarfile.SYMTYPE, to="a"),
        member("tasks/0/stdout", b"hello"),
    )
    second = tmp_path / "7_0_1.tar.gz"
    shutil.copy(first, second)
    results = tmp_path / "results"
    collect(results, [success(first)])
    outputs = results / "0/outputs"
    if touch == "added":
        (outputs / "mine").write_text("x")
    elif touch == "changed":
        (outputs / "a").write_text("x")
    elif touch == "link":
        (outputs / "mine").symlink_to(tmp_path, target_is_directory=True)
    elif touch == "folder":
        (outputs / "empty").mkdir()
    done = collect(results, [success(second)])
    assert done.unpacked == 1
    assert (outputs / "a").read_bytes() == GOOD
    if touch in ("nothing", "folder"):
        assert done.notes == () and [p.name for p in results.iterdir()] == ["0"]
        return
    assert done.notes == ("results/0 held files of yours; kept as results/old/0.1",)
    kept = {"added": "mine", "changed": "a", "link": "mine"}[touch]
    assert os.path.lexists(results / "old/0.1/outputs" / kept)
    (outputs / "mine2").write_text("x")
    assert "old/0.2" in collect(results, [success(first)]).notes[0]


def test_a_folder_that_the_user_moved_elsewhere_stays_there(tmp_path: Path) -> None:
    first = archive(tmp_path, member("tasks/0/data/outputs/a", GOOD))
    second = Path(shutil.copy(first, tmp_path / "7_0_1.tar.gz"))
    results = tmp_path / "results"
    collect(results, [success(first)])
    (results / "0").rename(tmp_path / "elsewhere")
    (results / "0").symlink_to(tmp_path / "elsewhere")
    assert collect(results, [success(first)]).unpacked == 0
    assert len(collect(results, [success(second)]).notes) == 1
    assert (tmp_path / "elsewhere/outputs/a").read_bytes() == GOOD
    assert (results / "old/0.1").is_symlink()


def test_the_users_files_outlive_a_failure(tmp_path: Path) -> None:
    path = archive(tmp_path, member("tasks/0/data/outputs/a", GOOD))
    results = tmp_path / "results"
    collect(results, [TaskState(0, "failed", "exit", archive=path, record={"state": "failed"})])
    (results / "failed/0/notes.txt").write_text("why it failed")
    done = collect(results, [success(path)])
    assert "results/old/failed-0.1" in done.notes[0]
    assert (results / "old/failed-0.1/notes.txt").exists()


def test_a_task_without_a_record_gets_its_status_only(tmp_path: Path) -> None:
    path = archive(tmp_path, member("tasks/0/data/outputs/a", GOOD))
    state = TaskState(0, "unknown", "no-record", archive=path)
    assert collect(tmp_path / "results", [state]).unpacked == 1
    assert [p.name for p in (tmp_path / "results/failed/0").iterdir()] == ["status.json"]
    assert collect(tmp_path / "results", [state]).unpacked == 0


def test_damage_does_not_hide_why_a_task_failed(tmp_path: Path) -> None:
    path = archive(tmp_path, member("tasks/0/data/outputs/a", b"damaged"))
    state = TaskState(0, "failed", "exit", "code 3", archive=path, record={"state": "failed"})
    told = collect(tmp_path / "results", [state]).states[0]
    assert (told.state, told.reason) == ("failed", "exit")
    assert told.detail.startswith("code 3; what it returned is not accepted: 'outputs/a'")
    assert collect(tmp_path / "results", [told]).states[0].detail == told.detail

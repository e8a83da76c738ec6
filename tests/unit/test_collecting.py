"""What came back is unpacked whole, verified, and never past its own folder."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from osgbatch.collecting.collect import collect
from osgbatch.collecting.unpack import parse_checksums, unpack_tasks
from osgbatch.errors import ResultError
from osgbatch.model import TaskState


def unpack_task(path: Path, index: int, target: Path) -> None:
    """Unpack one task; what is refused is raised."""
    for error in unpack_tasks(path, {index: target}).values():
        raise error


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
        for info, content in [*members, member("tasks/0/sha256", text.encode())]:
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
    with pytest.raises((ResultError, FileExistsError)):
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


def test_escaped_names_of_checksums_are_undone() -> None:
    text = f"\\{SUM}  a\\nb\\\\c\\r\n{SUM} *plain\\n\n".encode()
    assert parse_checksums(text) == {"a\nb\\c\r": SUM, "plain\\n": SUM}


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

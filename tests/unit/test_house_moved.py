"""A batch folder that was moved while its jobs were queued."""

from __future__ import annotations

import json
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from test_finishing import batch, bring

from osgbatch.batches.folder import Batch, load
from osgbatch.batches.moved import as_moved, other_places, told
from osgbatch.cli.reports import next_steps
from osgbatch.cli.why_commands import why_text
from osgbatch.condor import Queue, QueuedJob
from osgbatch.life import releasing
from osgbatch.life.acting import Live
from osgbatch.life.following import Follower, status
from osgbatch.life.why import Why
from osgbatch.model import JobState, TaskState
from osgbatch.results.finishing import collect_batch

__all__ = ["batch"]


@pytest.fixture(autouse=True)
def _no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osgbatch.condor.configured", lambda: False)


def log_of(folder: Path) -> Path:
    return folder / "rounds/001/events.log"


@pytest.fixture
def moved(batch: Batch, tmp_path: Path) -> tuple[Batch, Path]:
    """The batch at its new place, with the first job's end in its log; and the old place.

    There HTCondor has made the folders anew: the rest of the events, and what came back.
    """
    old, new = batch.folder, tmp_path / "elsewhere" / "mine"
    for proc in range(2):
        bring(batch, proc)
    new.parent.mkdir()
    shutil.move(old, new)
    events = log_of(new).read_text().split("...\n")
    late = [event for event in events if event.startswith(("001 (007.001", "005 (007.001"))]
    log_of(new).write_text("...\n".join(event for event in events if event not in late))
    (old / "rounds/001").mkdir(parents=True)
    log_of(old).write_text("".join(f"{event}...\n" for event in late))
    shutil.move(new / "rounds/001/returned", old / "rounds/001/returned")
    return load(new), old


def test_what_is_delivered_to_the_old_place_counts(
    moved: tuple[Batch, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, old = moved
    rest = log_of(old).read_text()
    ends = rest.index("005 ")
    log_of(old).write_text(rest[: ends + 20])  # the last event is being written
    follower = Follower(batch)
    now = follower.status()
    assert now.counts == {"succeeded": 2}
    assert f"They deliver to {old}" in now.notes[0]
    commands = [
        f"mv -T {old} {old}.aside",
        f"mv -T {batch.folder} {old}",
        f"osgbatch release {old}",
    ]
    assert now.notes[0].split("\n")[1:] == [f"    {command}" for command in commands]
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        shown = why_text(Why(now, "b", (), notes=now.notes), width).splitlines()
        assert [line.strip() for line in shown[-3:]] == commands
    log_of(old).write_text(rest)
    now = follower.status()
    assert now.counts == {"succeeded": 2}
    (note,) = now.notes
    assert note.endswith(f"delivered to {old} is here now, and that folder can be removed")
    size = log_of(batch.folder).stat().st_size
    assert follower.status().counts == Follower(batch).status().counts == {"succeeded": 2}
    assert log_of(batch.folder).stat().st_size == size


def test_a_release_comes_after_the_folder_was_moved_back(moved: tuple[Batch, Path]) -> None:
    batch, _ = moved
    held = TaskState(0, "held", "x", job=JobState(0, "held", hold_code=13, hold_subcode=2))
    now = replace(status(batch, all_tasks=True).with_states([held]), backend="condor")
    assert not any(" release " in step for step in next_steps(now))


def test_a_local_runner_that_was_started_here_delivers_here(moved: tuple[Batch, Path]) -> None:
    batch, old = moved
    noted = {"backend": "local", "cluster": 7, "jobs": 2, "time": 1.0, "host": ""}
    (batch.folder / "rounds/001/submitted.json").write_text(json.dumps(noted))
    (place,) = other_places(batch)
    record = batch.folder / "rounds/001/local.json"
    for folder, says in ((old / "rounds/001", "moved while its jobs ran"), (record.parent, "")):
        record.write_text(json.dumps({"folder": str(folder)}))
        assert says in told(place, batch.folder, may_come=True)
        assert bool(told(place, batch.folder, may_come=True)) == bool(says)


def test_a_local_release_looks_for_inputs_where_the_batch_is_now(
    moved: tuple[Batch, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, old = moved
    missing = old / "rounds/001/shim.sh"
    assert (batch.folder / "rounds/001/shim.sh").exists()
    assert not missing.exists()
    reason = f"Transfer input files failure: reading from file {missing}: (errno 2) No such file"
    live = Live(
        batch.rounds()[0], True, Queue(7, {0: QueuedJob(0, "held", 13, 2, reason)}), ["0", "1"]
    )
    monkeypatch.setattr("osgbatch.local.requests_of", lambda *_: {0: 1})
    monkeypatch.setattr("osgbatch.local.release", lambda *_: None)
    assert not releasing._release_local(batch, live, [0], releasing.More()).warnings
    (batch.folder / "rounds/001/shim.sh").unlink()
    (warning,) = releasing._release_local(batch, live, [0], releasing.More()).warnings
    assert f"{batch.folder}/rounds/001/shim.sh" in warning


def test_collect_takes_the_results_and_the_old_place_can_go(moved: tuple[Batch, Path]) -> None:
    batch, old = moved
    _, collected, _ = collect_batch(batch, lambda text: None, gather=False)
    assert collected.unpacked == 2
    shutil.rmtree(old)
    (batch.folder / "state.db").unlink()
    now = status(batch)
    assert (now.counts, now.notes) == ({"succeeded": 2}, ())


def test_an_old_place_that_was_removed_and_begun_again_is_read_again(
    moved: tuple[Batch, Path],
) -> None:
    batch, old = moved
    text = log_of(old).read_text()
    log_of(old).write_text(text[: text.index("005 ")])
    status(batch)
    head = "(007.001.000) 2026-11-20 11:00:00"
    log_of(old).write_text(f"012 {head} Job was held.\n\twhy\n\tCode 1 Subcode 2\n...\n")
    status(batch)
    assert "Job was held" in log_of(batch.folder).read_text()


def test_an_archive_that_was_half_there_is_taken_again(
    moved: tuple[Batch, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*paths: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("osgbatch.batches.moved.os.link", refused)
    batch, old = moved
    archive = old / "rounds/001/returned/0/7_0_0.tar.gz"
    whole = archive.read_bytes()
    archive.write_bytes(whole[:50])
    assert status(batch).counts["succeeded"] == 1
    archive.write_bytes(whole)
    assert status(batch).counts == {"succeeded": 2}
    archive.write_bytes(whole[:50])  # what is here is whole, and stays
    assert status(batch).counts == {"succeeded": 2}
    assert (batch.folder / archive.relative_to(old)).read_bytes() == whole


def test_a_link_at_the_old_place_leads_here(moved: tuple[Batch, Path]) -> None:
    batch, old = moved
    status(batch)
    shutil.rmtree(old)
    old.symlink_to(batch.folder)
    assert status(batch).notes == ()


def test_a_copy_goes_on_with_its_original(batch: Batch, tmp_path: Path) -> None:
    text = log_of(batch.folder).read_text()
    events = text.split("...\n")
    log_of(batch.folder).write_text("...\n".join(events[:5]) + "...\n")
    copy = load(Path(shutil.copytree(batch.folder, tmp_path / "copy")))
    (note,) = status(copy).notes
    assert note == f"this is a copy of {batch.folder}, to which its jobs deliver"
    log_of(batch.folder).write_text(text)
    for proc in range(2):
        bring(batch, proc)
    now = status(copy)
    assert (now.counts, now.notes) == ({"succeeded": 2}, ())
    assert log_of(copy.folder).read_text() == text
    assert not (batch.folder / "rounds/001/moved.json").exists()


def test_a_batch_that_stands_still_is_left_alone(batch: Batch) -> None:
    assert status(batch).notes == ()
    assert not (batch.folder / "rounds/001/moved.json").exists()


def test_a_file_system_mounted_elsewhere_on_another_machine_is_not_moved(
    moved: tuple[Batch, Path],
) -> None:
    batch, old = moved
    shutil.rmtree(old)
    noted = batch.folder / "rounds/001/submitted.json"
    told = {"backend": "condor", "cluster": 7, "jobs": 2, "time": 1.0, "host": "ap40.example.edu"}
    for host, is_moved in (("ap40.example.edu", False), (socket.gethostname(), True), ("", True)):
        noted.write_text(json.dumps({**told, "host": host}))
        notes = " ".join(status(batch).notes)
        assert ("this folder was moved" in notes) is is_moved, host


def test_another_batch_at_the_old_place_is_none_of_ours(
    moved: tuple[Batch, Path], tmp_path: Path
) -> None:
    batch, old = moved
    (old / "resolved.json").write_text(json.dumps({"batch_id": "0" * 12}))
    before = log_of(batch.folder).read_text()
    assert status(batch).notes == ()
    assert log_of(batch.folder).read_text() == before


def test_a_project_that_was_moved_as_a_whole_is_gathered(batch: Batch, tmp_path: Path) -> None:
    for proc in range(2):
        bring(batch, proc)
    there = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    moved = load(there / batch.folder.relative_to(tmp_path))
    assert as_moved(moved, tmp_path / "sweep.yaml") == there / "sweep.yaml"
    assert as_moved(moved, tmp_path / "nothing") == tmp_path / "nothing"
    now, _, failure = collect_batch(moved, lambda text: None, quiet=True)
    assert (now.counts, now.notes, failure) == ({"succeeded": 2}, (), None)
    assert (moved.folder / "results/gathered").exists()

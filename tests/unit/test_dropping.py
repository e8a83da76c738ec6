"""`collect --drop-archives`: nothing is lost, and what the archives told is known all the same."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_finishing
from returned_archives import archive, member
from test_finishing import bring, states
from typer.testing import CliRunner

from osgbatch.batches.folder import Batch
from osgbatch.cli.app import command_line
from osgbatch.cli.reports import next_steps
from osgbatch.collecting.collect import Collected, note_losses
from osgbatch.collecting.comparing import compare
from osgbatch.errors import OsgbatchError, ResultError
from osgbatch.life.following import Follower, copy_log, status
from osgbatch.life.naming import in_commands
from osgbatch.results import finishing
from osgbatch.results.dropping import drop_archives
from osgbatch.results.finishing import collect_batch
from osgbatch.results.taking import WATCHING, Taker
from osgbatch.returned import kept
from osgbatch.returned.kept import Kept, read_kept
from osgbatch.submission.resubmitting import Wanted, chosen_tasks

batch = test_finishing.batch
RETURNED = "rounds/001/returned/0"


def returned(batch: Batch) -> list[str]:
    return sorted(p.name for p in (batch.folder / "rounds/001/returned/0").iterdir())


def dropped(batch: Batch) -> list[str]:
    """Collect and drop; what is said."""
    _, collected, _ = collect_batch(batch, lambda text: None, gather=False, drop=True)
    return [note for note in collected.notes if "archives" in note]


def test_what_was_dropped_is_known_without_a_state_db(batch: Batch) -> None:
    bring(batch, 0)
    bring(batch, 1, state="failed")
    before = [(s.state, s.reason, s.exit_code, s.record, s.job_record, s.archive)
              for s in status(batch, all_tasks=True).states]  # fmt: skip
    (said,) = dropped(batch)
    assert said.startswith("dropped 2 archives, ")
    assert returned(batch) == ["7_0_0.kept.json", "7_1_0.kept.json"]
    for _ in range(2):
        after = [(s.state, s.reason, s.exit_code, s.record, s.job_record, s.archive)
                 for s in status(batch, all_tasks=True).states]  # fmt: skip
        assert after == before
        again = collect_batch(batch, lambda text: None, gather=False)
        assert (again[1].unpacked, again[0].counts) == (0, {"succeeded": 1, "failed": 1})
        (batch.folder / "state.db").unlink()


def test_what_a_task_printed_is_then_read_from_the_results(batch: Batch) -> None:
    for proc in range(2):
        bring(batch, proc, state=("succeeded", "failed")[proc])
    collect_batch(batch, lambda text: None, gather=False)
    for folder in ("0", "failed/1"):
        assert (batch.folder / "results" / folder / "stdout").read_bytes() == b""
    dropped(batch)
    for state in status(batch, all_tasks=True).states:
        out = io.BytesIO()
        assert copy_log(state, "stdout", out) == 0
    shutil.rmtree(batch.folder / "results/failed")
    with pytest.raises(OsgbatchError, match="is not there any more"):
        copy_log(state, "stdout", io.BytesIO())


@pytest.mark.parametrize("change", ["changed", "gone", "link", "stream", "longer"])
def test_an_archive_stays_when_not_all_of_it_is_in_the_results(batch: Batch, change: str) -> None:
    bring(batch, 0)
    bring(batch, 1)
    now, _, _ = collect_batch(batch, lambda text: None, gather=False)
    path = batch.folder / "results/0/outputs/a.txt"
    if change == "changed":
        path.write_text("RESULT\n")
    elif change == "longer":
        path.write_text("result\nand more\n")
    elif change == "gone":
        path.unlink()
    elif change == "link":
        path.rename(path.with_name("b"))
        path.symlink_to("b")
    else:
        (batch.folder / "results/0/stdout").write_text("x")
    done = drop_archives(batch, now.states)
    assert done.archives == 1
    assert [note.partition(":")[0] for note in done.kept] == ["7_0_0.tar.gz"]
    assert returned(batch) == ["7_0_0.tar.gz", "7_1_0.kept.json"]


def test_an_archive_of_another_start_stays(batch: Batch) -> None:
    bring(batch, 0)
    bring(batch, 1)
    folder = batch.folder / "rounds/001/returned/0"
    shutil.copy(folder / "7_0_0.tar.gz", folder / "7_0_1.tar.gz")
    dropped(batch)
    assert returned(batch) == ["7_0_0.kept.json", "7_0_1.tar.gz", "7_1_0.kept.json"]
    (batch.folder / "state.db").unlink()
    assert states(batch) == ["succeeded", "succeeded"]


def test_a_damaged_archive_stays(batch: Batch) -> None:
    bring(batch, 0)
    bring(batch, 1)
    now, _, _ = collect_batch(batch, lambda text: None, gather=False)
    path = batch.folder / "rounds/001/returned/0/7_0_0.tar.gz"
    raw = bytearray(path.read_bytes())
    raw[-6] ^= 1
    path.write_bytes(raw)
    done = drop_archives(batch, now.states)
    assert "damaged" in done.kept[0]
    assert path.read_bytes() == raw


def test_what_was_collected_whole_outlives_its_archive(batch: Batch) -> None:
    for proc in range(2):
        bring(batch, proc)
    archives = [batch.folder / RETURNED / f"7_{proc}_0.tar.gz" for proc in range(2)]
    whole = archives[1].read_bytes()
    archives[1].write_bytes(whole[:-20])  # never whole, so that nothing of it is collected
    assert [s.state for s in Taker(batch, print).take()[0].states] == ["succeeded", "unknown"]
    archives[0].write_bytes(b"")
    for _ in range(2):
        (batch.folder / "state.db").unlink()
        now, collected = Taker(batch, print).take()
        assert [state.state for state in now.states] == ["succeeded", "unknown"]
        assert collected.unpacked == 0
        assert "damaged since it was collected: 7_0_0.tar.gz" in now.notes[-1]
    follower = Follower(batch)
    assert follower.status().counts == {"succeeded": 1, "unknown": 1}
    output = batch.folder / "results/0/outputs/a.txt"
    output.write_text("RESULT\n")  # also of the same size
    os.utime(batch.folder / "results", (1, 1))
    assert follower.status().counts == {"unknown": 2}
    output.write_text("result\n")
    os.utime(batch.folder / "results", (2, 2))
    assert follower.status().counts == {"succeeded": 1, "unknown": 1}
    told = batch.folder / "results/0/status.json"
    told.write_text(told.read_text().replace(batch.id, "0" * 12))  # of another batch
    os.utime(batch.folder / "results", (3, 3))
    assert follower.status().counts == {"unknown": 2}
    archives[1].write_bytes(whole)
    assert Taker(batch, print).take()[0].counts == {"unknown": 1, "succeeded": 1}


def test_results_that_are_deleted_after_dropping_can_be_computed_again(batch: Batch) -> None:
    bring(batch, 0)
    bring(batch, 1)
    dropped(batch)
    os.utime(batch.folder / "results", (1, 1))
    follower = Follower(batch)
    assert follower.status().counts == {"succeeded": 2}
    shutil.rmtree(batch.folder / "results/0")
    now = follower.status(all_tasks=True)
    assert now.counts == {"succeeded": 1, "unknown": 1}
    assert "its archive was dropped" in now.states[0].detail
    assert now.states[0].reason == "dropped"
    assert next_steps(now)[-1].endswith(" --missing")
    shutil.rmtree(batch.folder / "results")
    assert follower.status().counts == {"unknown": 2}


def test_an_archive_that_is_gone_was_not_dropped_and_nothing_is_unpacked(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(batch, 0)
    bring(batch, 1)
    assert Taker(batch, print).take()[0].counts == {"succeeded": 2}
    for path in (batch.folder / RETURNED).glob("*.tar.gz"):
        path.unlink()
    shutil.rmtree(batch.folder / "results/0")
    monkeypatch.setattr("osgbatch.collecting.collect.unpack_tasks", pytest.fail)
    first, second = Taker(batch, print).take()[1].states
    assert (first.state, first.reason, second.state) == ("unknown", "archive-gone", "succeeded")
    assert first.detail == kept.ARCHIVE_GONE


def test_one_lost_file_is_a_lost_result_for_all_who_look(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(batch, 0)
    bring(batch, 1)
    dropped(batch)
    results = batch.folder / "results"
    follower = Follower(batch)
    assert follower.status().counts == {"succeeded": 2}
    read: list[str] = []

    def counted(path: Path) -> Kept:
        read.append(path.name)
        return read_kept(path)

    (results / "0/outputs/a.txt").rename(batch.folder / "away")
    for _ in range(2):
        now, collected = Taker(batch, print).take()
        assert collected.states[0].state == "unknown"
        assert "its archive was dropped" in collected.states[0].detail
        assert collected.states[0].reason == now.states[0].reason == "dropped"
        assert "Errno" not in collected.states[0].detail
        assert [state.state for state in now.states] == states(batch) == ["unknown", "succeeded"]
    assert follower.status().counts == {"succeeded": 1, "unknown": 1}
    os.utime(batch.folder / "rounds/001/returned/0", (1, 1))
    follower.status()
    (batch.folder / "away").rename(results / "0/outputs/a.txt")
    monkeypatch.setattr("osgbatch.life.dropped.read_kept", counted)
    os.utime(results, (2, 2))
    assert follower.status().counts == {"succeeded": 2}
    assert read == ["7_0_0.kept.json"]  # and not that of the other
    assert Taker(batch, print).take()[1].unpacked == 0
    assert not (results / "0/status.lost.json").exists()
    (results / "0/outputs/a.txt").unlink()
    assert note_losses(results, status(batch, all_tasks=True).states)  # as resubmit does
    assert chosen_tasks(status(batch, all_tasks=True), Wanted(missing=True)).tasks == [0]


def test_it_may_be_killed_at_any_moment(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(batch, 0)
    bring(batch, 1)
    now, _, _ = collect_batch(batch, lambda text: None, gather=False)

    left = 0
    steps: list[str] = []

    def or_killed(what: str, real: Callable[..., object]) -> Callable[..., object]:
        def step(*given: Any) -> object:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            name = os.readlink(f"/proc/self/fd/{given[0]}") if what == "fsync" else str(given[0])
            steps.append(f"{what} {os.path.relpath(name, batch.folder)}")
            return real(*given)

        return step

    killed = 0
    while True:
        steps.clear()
        left = killed
        with monkeypatch.context() as patched:
            for what in ("fsync", "unlink", "rename"):
                patched.setattr(os, what, or_killed(what, getattr(os, what)))
            try:
                drop_archives(batch, now.states)
            except KeyboardInterrupt:
                killed += 1
            else:
                break
        if f"unlink {RETURNED}/7_0_0.tar.gz" in steps:  # all that must be on the disk by then
            done = steps[: steps.index(f"unlink {RETURNED}/7_0_0.tar.gz")]
            folders = ("results/0/outputs", "results/0", "results", RETURNED)
            files = ("results/0/outputs/a.txt", "results/0/stdout", "results/0/status.json")
            assert {f"fsync {name}" for name in (*folders, *files)} <= set(done)
            assert done[-1] == f"fsync {RETURNED}"
        (batch.folder / "state.db").unlink()
        assert states(batch) == ["succeeded", "succeeded"]
    assert killed > 8
    assert returned(batch) == ["7_0_0.kept.json", "7_1_0.kept.json"]


def test_an_archive_that_comes_again_is_the_one_that_counts(batch: Batch) -> None:
    bring(batch, 0)
    bring(batch, 1)
    dropped(batch)
    bring(batch, 0, lies={"cluster": "8"})
    (batch.folder / "state.db").unlink()
    assert states(batch) == ["unknown", "succeeded"]


def test_a_kept_record_that_is_damaged_is_told(batch: Batch) -> None:
    bring(batch, 0)
    bring(batch, 1)
    dropped(batch)
    (batch.folder / "rounds/001/returned/0/7_0_0.kept.json").write_text("{}")
    (batch.folder / "state.db").unlink()
    now = status(batch, all_tasks=True)
    assert [state.state for state in now.states] == ["unknown", "succeeded"]
    assert any("the record of a dropped archive is damaged" in note for note in now.notes)


def test_an_execution_point_cannot_bring_a_kept_record(batch: Batch) -> None:
    """HTCondor gives what a job brings its name; what is in an archive stays in its folder."""
    bring(batch, 1)
    folder = batch.folder / "rounds/001/returned/0"
    inside = b"{}"
    with tarfile.open(folder / "7_0_0.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("tasks/0/data/../../../7_0_0.kept.json")
        info.size = len(inside)
        tar.addfile(info, io.BytesIO(inside))
    dropped(batch)
    assert returned(batch) == ["7_0_0.tar.gz", "7_1_0.kept.json"]


# --- room, and two at once ------------------------------------------------------------------------


def test_what_does_not_fit_is_told_before_anything_is_unpacked(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(batch.folder.parents[1]))
    quota = batch.folder.parents[1] / "quota.sh"
    quota.write_text("#!/bin/sh\necho 19 KB\n")
    quota.chmod(0o755)
    home = Batch(batch.folder, {**batch.data, "home": ["", str(quota)]})
    bring(batch, 0)
    bring(batch, 1)
    with pytest.raises(OsgbatchError, match=r"takes up to 20 KB unpacked, and the quota") as no:
        Taker(home, lambda text: None).take()
    assert "Nothing was unpacked" in no.value.fix
    assert list((batch.folder / "results").iterdir()) == []
    quota.write_text("#!/bin/sh\necho 20 KB\n")
    assert Taker(home, lambda text: None).take()[1].unpacked == 2


def test_a_second_collection_waits_for_the_first(batch: Batch) -> None:
    bring(batch, 0)
    said: list[str] = []
    one = Taker(batch, said.append)
    told, taken = threading.Event(), threading.Event()

    def waits(text: str) -> None:
        said.append(text)
        told.set()

    def second() -> None:
        with Taker(batch, waits).alone():
            taken.set()

    thread = threading.Thread(target=second)
    with one.alone():
        thread.start()
        assert told.wait(20)
        assert not taken.is_set()
    thread.join(20)
    assert taken.is_set()
    assert "waiting until it is done" in said[0]


def test_the_exit_code_says_whether_all_is_there(batch: Batch, tmp_path: Path) -> None:
    bring(batch, 0)
    command = ["collect", str(batch.folder), "--no-gather"]
    done = CliRunner().invoke(command_line(), command, standalone_mode=False)
    assert done.return_value == 1
    assert "1 succeeded, 1 unknown" in done.output
    bring(batch, 1)
    done = CliRunner().invoke(command_line(), command, standalone_mode=False)
    assert (done.return_value, "1 newly unpacked" in done.output) == (0, True)


def hollow(batch: Batch, proc: int) -> None:
    """Deliver a success with an empty file."""
    bring(batch, proc)
    path = batch.folder / RETURNED / f"7_{proc}_0.tar.gz"
    name = f"outputs/{'ab'[proc]}.txt"
    told = [("job", b""), (f"tasks/{proc}/data/{name}", b"")]
    with tarfile.open(path) as tar:
        (job,) = (tar.extractfile(m) for m in tar if m.name == "job")
        assert job
        told[0] = ("job", job.read())
    digest = hashlib.sha256(b"").hexdigest()
    told += [(f"tasks/{proc}/sha256", f"{digest}  {name}\n".encode())]
    status = f"index={proc}\nstate=succeeded\nexit_code=0\noutputs=1\n"
    told += [(f"tasks/{proc}/status", status.encode())]
    archive(path, *(member(name, content) for name, content in told))


def notes(batch: Batch) -> list[str]:
    """Collect in a process of its own; the notes on results that may be none."""
    _, collected = Taker(batch, lambda text: None).take()
    return [note for note in collected.notes if "empty file" in note or "without any" in note]


def test_a_success_without_an_output_is_told_once_where_others_have_one(batch: Batch) -> None:
    hollow(batch, 0)
    assert notes(batch) == []  # of what all have in common nothing is odd
    hollow(batch, 1)
    assert notes(batch) == []
    shutil.rmtree(batch.folder / "results/1")
    bring(batch, 1)
    assert notes(batch) == ["1 task brought an empty file (0), such as outputs/a.txt"]
    assert notes(batch) == []
    shutil.rmtree(batch.folder / "results")
    bring(batch, 0)
    hollow(batch, 1)
    assert notes(batch) == ["1 task brought an empty file (1), such as outputs/b.txt"]
    done = CliRunner().invoke(command_line(), ["collect", str(batch.folder), "--watch"])
    assert "note: 1 task brought" not in done.output
    shutil.rmtree(batch.folder / "results")
    watching = Taker(batch, print, how=WATCHING)
    assert not watching.take()[1].notes
    assert list(watching.odd_ones()) == ["1 task brought an empty file (1), such as outputs/b.txt"]
    _, collected, _ = collect_batch(batch, print, gather=False, watched=True)
    assert list(collected.notes)[:1] == list(watching.odd_ones())


def test_what_a_failed_task_leaves_empty_is_its_own_affair(batch: Batch) -> None:
    bring(batch, 0)
    path = batch.folder / "rounds/001/returned/0/7_1_0.tar.gz"
    bring(batch, 1)
    with tarfile.open(path) as tar:
        (job,) = (tar.extractfile(m) for m in tar if m.name == "job")
        assert job
        record = job.read()
    digest = hashlib.sha256(b"").hexdigest()
    told = [("job", record), ("tasks/1/data/outputs/b.txt", b"")]
    told += [("tasks/1/sha256", f"{digest}  outputs/b.txt\n".encode())]
    told += [("tasks/1/status", b"index=1\nstate=failed\nreason=exit\nexit_code=1\noutputs=1\n")]
    archive(path, *(member(name, content) for name, content in told))
    _, collected = Taker(batch, lambda text: None).take()
    assert not any("empty" in note for note in collected.notes)
    assert (batch.folder / "results/results.csv").is_file()


def test_json_and_watching_do_not_go_together(batch: Batch) -> None:
    done = CliRunner().invoke(command_line(), ["collect", str(batch.folder), "--watch", "--json"])
    assert "do not go together" in str(done.exception)


def test_watching_collects_what_is_there_and_ends(batch: Batch) -> None:
    bring(batch, 0)
    bring(batch, 1)
    done = CliRunner().invoke(
        command_line(), ["collect", str(batch.folder), "--watch"], standalone_mode=False
    )
    assert done.return_value == 0, done.output
    assert "2 newly unpacked" in done.output
    assert (batch.folder / "results/gathered").exists()


def test_who_stops_watching_is_told_how_to_go_on(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(batch: Batch) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("osgbatch.life.watching.watch", stopped)
    words = ["collect", str(batch.folder), "--watch", "--partial", "--no-gather"]
    done = CliRunner().invoke(command_line(), words)
    assert done.exit_code == 130
    assert f"  osgbatch collect {in_commands(batch)} --watch --partial --no-gather\n" in done.output


def test_results_that_are_no_folder_are_told(batch: Batch) -> None:
    (batch.folder / "results").write_text("of the user")
    with pytest.raises(OsgbatchError, match="results is there, and is no folder"):
        Taker(batch, print).take()


# --- data that did not come home ------------------------------------------------------------------


def test_data_that_is_elsewhere_is_fetched_before_anything_is_dropped(batch: Batch) -> None:
    now = status(batch, all_tasks=True)
    collected = Collected(list(now.states), 0, elsewhere=2)
    with pytest.raises(OsgbatchError, match="the data of 2 tasks is not here"):
        finishing._without_archives(batch, now, collected)


@pytest.mark.parametrize("change", ["none", "changed", "gone", "stream"])
def test_fetched_data_is_compared_with_what_the_execution_point_listed(
    tmp_path: Path, change: str
) -> None:
    digest = hashlib.sha256(b"data").hexdigest()
    light = archive(
        tmp_path / "7_0_0.tar.gz",
        member("job", b"batch=x\n"),
        member("tasks/0/stdout", b"hello"),
        member("tasks/0/sha256", f"{digest}  outputs/a\n".encode()),
        member("tasks/0/status", b"index=0\nstate=succeeded\noutputs=1\n"),
    )
    folder = tmp_path / "0"
    (folder / "outputs").mkdir(parents=True)
    (folder / "outputs/a").write_text("data" if change != "changed" else "DATA")
    (folder / "stdout").write_text("hello" if change != "stream" else "hallo")
    if change == "gone":
        (folder / "outputs/a").unlink()
    if change == "none":
        job, tasks = compare(light, {0: folder}, light=True)
        assert (job, tasks[0]["state"]) == ({"batch": "x"}, "succeeded")
    else:
        with pytest.raises(ResultError, match=r"changed|not in results"):
            compare(light, {0: folder}, light=True)

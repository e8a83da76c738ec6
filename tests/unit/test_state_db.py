"""`state.db`: what is known of a batch, however it is treated."""

from __future__ import annotations

import os
import resource
import socket
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from osgbatch import names
from osgbatch.batches.folder import Batch
from osgbatch.batches.notes import write_submitted
from osgbatch.batches.settled import settled_counts
from osgbatch.batches.store import Store
from osgbatch.condor import Queued
from osgbatch.errors import CondorError
from osgbatch.life.acting import open_tasks
from osgbatch.life.following import Follower, Status, status
from osgbatch.life.rounds import RoundFollower
from osgbatch.model import JobState, Submitted
from osgbatch.submission import steps

SUBMIT = "000 (7.{p:03}.000) 2026-11-20 10:00:00 Job submitted from host: <1.2.3.4>\n...\n"
EXECUTE = "001 (7.{p:03}.000) 2026-11-20 10:00:01 Job executing on host: <1.2.3.4:9618?x>\n...\n"
HELD = "012 (7.{p:03}.000) 2026-11-20 10:00:02 Job was held.\n\tfor this\n\tCode 1 Subcode 0\n...\n"
ABORTED = "009 (7.{p:03}.000) 2026-11-20 10:00:03 Job was aborted.\n\tvia condor_rm\n...\n"


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Three jobs that are in a queue; there is no schedd that could be asked."""
    monkeypatch.delenv("CONDOR_CONFIG", raising=False)
    (tmp_path / "sweep.yaml").write_text("command: e\nsweep: {n: [1, 2, 3]}\n")
    made = steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)
    write_submitted(made.rounds()[0], Submitted("condor", 7, 3, 0.0, "elsewhere"))
    return made


@pytest.fixture
def happened(batch: Batch) -> Callable[..., None]:
    """Write events of procs 0, 1, 2 into the batch's log."""

    def write(*events: tuple[str, int]) -> None:
        with (batch.rounds()[0].folder / names.EVENTS).open("a") as log:
            log.write("".join(event.format(p=proc) for event, proc in events))

    return write


def database(batch: Batch) -> Path:
    return batch.folder / names.STATE


def of_file(batch: Batch) -> list[tuple[int, str]]:
    """What the file says, not what somebody has in memory."""
    with sqlite3.connect(database(batch)) as there:
        return list(there.execute("SELECT task, state FROM tasks ORDER BY task"))


def test_a_look_takes_only_what_is_new(batch: Batch, happened: Callable[..., None]) -> None:
    happened((SUBMIT, 0), (SUBMIT, 1), (EXECUTE, 0))
    assert status(batch).counts == {"running": 1, "waiting": 2}
    log = batch.rounds()[0].folder / names.EVENTS
    text = log.read_text()
    # What was read is not read again: it could say anything now.
    log.write_text(text[:100] + text[100:].replace("001 (7.000", "099 (7.000"))
    happened((HELD, 1))
    now = status(batch)
    assert now.counts == {"running": 1, "waiting": 1, "held": 1}
    assert [(s.index, s.state, s.reason, s.round) for s in now.wrong] == [
        (1, "held", "for this", 1)
    ]
    assert of_file(batch) == [(0, "running"), (1, "held")]


def test_a_full_disk_takes_no_state_away(batch: Batch, happened: Callable[..., None]) -> None:
    happened((SUBMIT, 0), (SUBMIT, 1), (EXECUTE, 0))
    status(batch)
    happened((HELD, 1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        now = status(batch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert now.counts == {"running": 1, "held": 1, "waiting": 1}
    assert of_file(batch) == [(0, "running"), (1, "waiting")]
    assert status(batch).counts == now.counts
    assert of_file(batch) == [(0, "running"), (1, "held")]


@pytest.mark.parametrize("damage", ["gone", "garbage", "cut", "empty", "of another version"])
def test_what_is_lost_is_made_anew(
    batch: Batch, happened: Callable[..., None], damage: str
) -> None:
    happened((SUBMIT, 0), (SUBMIT, 1), (EXECUTE, 0), (HELD, 1))
    before = status(batch).counts
    path = database(batch)
    if damage == "gone":
        path.unlink()
    elif damage == "garbage":
        path.write_bytes(os.urandom(8192))
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        with sqlite3.connect(path) as there:
            there.execute("PRAGMA user_version = 77")
    now = status(batch)
    assert now.counts == before == {"running": 1, "held": 1, "waiting": 1}
    assert of_file(batch) == [(0, "running"), (1, "held")]
    assert not now.notes


def test_where_it_cannot_be_written_the_states_are_told_all_the_same(
    batch: Batch, happened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    happened((SUBMIT, 0), (SUBMIT, 1), (EXECUTE, 0), (HELD, 1))
    database(batch).mkdir()  # also for root
    follower = Follower(batch)
    for _ in range(2):
        now = follower.status()
        assert now.counts == {"running": 1, "held": 1, "waiting": 1}
        assert "state.db cannot be written" in now.notes[-1]


def test_a_log_that_is_cut_or_deleted_takes_nothing_back(
    batch: Batch, happened: Callable[..., None]
) -> None:
    log = batch.rounds()[0].folder / names.EVENTS
    happened((SUBMIT, 0), (SUBMIT, 1), (SUBMIT, 2), (EXECUTE, 0), (ABORTED, 1), (HELD, 2))
    told = {"running": 1, "removed": 1, "held": 1}
    assert status(batch).counts == told
    for change in (log.unlink, lambda: log.write_text(""), lambda: happened((EXECUTE, 0))):
        change()
        assert status(batch).counts == told
    happened((ABORTED, 0))
    assert status(batch).counts == {"removed": 2, "held": 1}
    states = status(batch, all_tasks=True).states
    assert states[0].job is not None
    assert states[0].job.starts == 1  # the same start, told twice


def test_a_log_that_was_cut_and_has_grown_again_is_noticed(
    batch: Batch, happened: Callable[..., None]
) -> None:
    log = batch.rounds()[0].folder / names.EVENTS
    happened((SUBMIT, 0), (SUBMIT, 1), (EXECUTE, 0), (EXECUTE, 1))
    assert status(batch).counts == {"running": 2, "waiting": 1}
    log.write_text(log.read_text()[: -len(EXECUTE.format(p=1))])
    happened((ABORTED, 0), (ABORTED, 1), (HELD, 2))  # longer than before
    assert status(batch).counts == {"removed": 2, "held": 1}


def test_an_archive_that_grows_while_its_folder_stays_is_read_again(
    batch: Batch, happened: Callable[..., None]
) -> None:
    folder = batch.rounds()[0].folder / names.RETURNED / "0"
    folder.mkdir(parents=True)
    happened((SUBMIT, 0), (EXECUTE, 0))
    archive = folder / "7_0_0.tar.gz"
    archive.write_bytes(b"half")
    os.utime(folder, (1, 1))  # long ago
    notes = [status(batch).notes]
    archive.write_bytes(b"a little more")
    os.utime(folder, (1, 1))
    notes.append(status(batch).notes)
    with sqlite3.connect(database(batch)) as there:
        assert list(there.execute("SELECT size FROM archives")) == [(13,)]
    assert all("7_0_0.tar.gz" in told[0] for told in notes)


def told_by_the_schedd(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, answer: Queued | CondorError
) -> list[float]:
    """Let the schedd of this host answer so; gives when it was asked."""
    asked: list[float] = []

    def ask(self: RoundFollower) -> Queued:
        asked.append(time.time())
        if isinstance(answer, CondorError):
            raise answer
        return answer

    monkeypatch.setenv("CONDOR_CONFIG", "/nowhere")
    monkeypatch.setattr(RoundFollower, "ask", ask)
    write_submitted(batch.rounds()[0], Submitted("condor", 7, 3, 0.0, socket.gethostname()))
    return asked


def test_a_schedd_that_does_not_answer_is_not_asked_at_each_look(
    batch: Batch, happened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = told_by_the_schedd(batch, monkeypatch, CondorError("it is down"))
    happened((SUBMIT, 0), (SUBMIT, 1), (SUBMIT, 2), (EXECUTE, 0))
    status(batch)
    (batch.rounds()[0].folder / names.EVENTS).unlink()
    now = status(batch)
    assert now.counts == {"running": 1, "waiting": 2}
    assert "cannot be asked now" in now.notes[-1]
    for _ in range(3):
        assert status(batch).counts == {"running": 1, "waiting": 2}
    assert len(asked) == 1


def test_what_the_schedd_tells_counts_and_one_empty_answer_does_not(
    batch: Batch, happened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = replace(batch, data={**batch.data, "max_idle": 1})  # two jobs are not yet in the queue
    happened((SUBMIT, 0), (EXECUTE, 0))
    status(batch)
    text = (batch.rounds()[0].folder / names.EVENTS).read_text()
    (batch.rounds()[0].folder / names.EVENTS).unlink()
    monkeypatch.setattr("osgbatch.life.asking.ASK_AGAIN_S", 0)
    told_by_the_schedd(batch, monkeypatch, Queued({}, None, False))
    assert status(batch).counts == {"running": 1, "waiting": 2}
    assert status(batch).counts == {"unknown": 3}
    assert open_tasks(batch) == 3  # `osgbatch cancel` looks
    # Whatever was answered: what the log tells of a job counts.
    (batch.rounds()[0].folder / names.EVENTS).write_text(text)
    happened((EXECUTE, 0))
    now = status(batch, all_tasks=True)
    assert now.states[0].state == "running"
    assert now.states[0].job is not None
    assert now.states[0].job.starts == 1
    # That jobs never came into the queue only the log can say.
    happened(("036 (7.-01.000) 2026-11-20 10:00:09 Cluster removed\n...\n", 0))
    assert status(batch).counts == {"running": 1, "removed": 2}


def test_two_at_once_see_the_same(batch: Batch, happened: Callable[..., None]) -> None:
    one, other = Follower(batch), Follower(batch)
    seen: list[Status] = []
    for event, proc in ((SUBMIT, 0), (EXECUTE, 0), (SUBMIT, 1), (HELD, 0), (ABORTED, 1)):
        happened((event, proc))
        seen += [one.status(), other.status()]
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        assert first.counts == second.counts
    assert seen[-1].counts == {"held": 1, "removed": 1, "waiting": 1}


def test_a_job_of_which_htcondor_knows_nothing_is_not_asked_for_from_another_host(
    batch: Batch, happened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    happened((SUBMIT, 0), (EXECUTE, 0))
    status(batch)
    (batch.rounds()[0].folder / names.EVENTS).unlink()
    monkeypatch.setenv("CONDOR_CONFIG", "/nowhere")
    assert status(batch).counts == {"running": 1, "waiting": 2}
    assert not status(batch).notes


def test_events_out_of_turn_are_a_reason_to_ask(
    batch: Batch, happened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    happened((SUBMIT, 0), (SUBMIT, 1), (SUBMIT, 2), (HELD, 0))
    answer = Queued({0: JobState(0, "running"), 1: JobState(1), 2: JobState(2)}, None, True)
    asked = told_by_the_schedd(batch, monkeypatch, answer)
    monkeypatch.setattr("osgbatch.life.asking.SILENT_S", 1e12)
    assert status(batch).counts == {"held": 1, "waiting": 2}
    happened((SUBMIT, 0), (HELD, 0))  # told again: that is sure
    assert status(batch).counts == {"held": 1, "waiting": 2}
    assert not asked
    happened((EXECUTE, 0))  # was it set free, and a clock is wrong, or did this come late?
    assert status(batch).counts == {"running": 1, "waiting": 2}
    assert len(asked) == 1


def test_the_counts_are_those_of_the_tasks(batch: Batch, happened: Callable[..., None]) -> None:
    follower = Follower(batch)
    for events in ([(SUBMIT, 0), (SUBMIT, 1)], [(EXECUTE, 0), (HELD, 1)], [(ABORTED, 0)], []):
        happened(*events)
        now = follower.status(all_tasks=True)
        with sqlite3.connect(database(batch)) as there:
            kept = dict(there.execute("SELECT state, count FROM counts WHERE count"))
            counted = dict(there.execute("SELECT state, COUNT(*) FROM tasks GROUP BY state"))
        assert kept == counted
        states = [state.state for state in now.states]
        assert now.counts == {state: states.count(state) for state in states}


def returned(batch: Batch, procs: int = 3) -> None:
    """Archives of the first jobs, none of which is whole."""
    folder = batch.rounds()[0].folder / names.RETURNED / "0"
    folder.mkdir(parents=True)
    for proc in range(procs):
        (folder / f"7_{proc}_0.tar.gz").write_bytes(b"half")
    os.utime(folder, (1, 1))


def test_what_was_read_is_kept_when_a_long_first_look_is_killed(
    batch: Batch, happened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    happened((SUBMIT, 0), (SUBMIT, 1), (SUBMIT, 2), (EXECUTE, 0))
    returned(batch)
    read: list[str] = []
    real = RoundFollower._read

    def once(self: RoundFollower, store: Any, path: Path, *more: Any) -> bool:
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(path.name)
        return real(self, store, path, *more)

    monkeypatch.setattr("osgbatch.life.rounds.SAVE_S", -1.0)
    with monkeypatch.context() as killed:
        killed.setattr(RoundFollower, "_read", once)
        with pytest.raises(KeyboardInterrupt):
            status(batch)
    with sqlite3.connect(database(batch)) as there:
        assert list(there.execute("SELECT name FROM archives")) == [(name,) for name in read]
        assert ("running", 1) in there.execute("SELECT state, count FROM counts").fetchall()
    now = status(batch, all_tasks=True)
    assert now.counts == {"running": 1, "waiting": 2}
    assert now.states[0].job is not None
    assert now.states[0].job.starts == 1
    assert len(now.notes) == 3


def test_who_is_overtaken_while_saving_goes_on_from_there(
    batch: Batch, happened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    happened((SUBMIT, 0), (EXECUTE, 0))
    returned(batch)
    others: list[Status] = []

    def save(self: Store) -> None:
        self._db.execute("COMMIT")
        monkeypatch.undo()
        happened((HELD, 0), (SUBMIT, 1), (ABORTED, 1))
        others.append(status(batch))
        self._db.execute("BEGIN IMMEDIATE")

    monkeypatch.setattr("osgbatch.life.rounds.SAVE_S", -1.0)
    monkeypatch.setattr(Store, "save", save)
    others.append(Follower(batch).status())
    assert len(others) == 2
    assert others[-1].counts == status(batch).counts == {"held": 1, "removed": 1, "waiting": 1}
    assert of_file(batch)[:2] == [(0, "held"), (1, "removed")]


def test_a_file_that_was_locked_for_long_is_used_again(
    batch: Batch, happened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    happened((SUBMIT, 0), (SUBMIT, 1))
    follower = Follower(batch)
    follower.status()
    monkeypatch.setattr("osgbatch.batches.store._WAIT_S", 0.01)
    monkeypatch.setattr("osgbatch.batches.store._SHORT_WAIT_S", 0.01)
    monkeypatch.setattr("osgbatch.batches.store.RETRY_S", 0.0)
    locked = sqlite3.connect(database(batch), isolation_level=None)
    locked.execute("BEGIN EXCLUSIVE")
    happened((EXECUTE, 0))
    for _ in range(2):
        now = follower.status()
        assert now.counts == {"running": 1, "waiting": 2}
        assert "locked" in now.notes[-1]
    locked.execute("ROLLBACK")
    locked.close()
    happened((HELD, 1))
    now = follower.status()
    assert now.counts == {"running": 1, "held": 1, "waiting": 1}
    assert not now.notes
    assert of_file(batch)[:2] == [(0, "running"), (1, "held")]


def test_an_answer_does_not_undo_what_another_has_read_meanwhile(
    batch: Batch, happened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    happened((SUBMIT, 0), (SUBMIT, 1), (SUBMIT, 2), (EXECUTE, 0))
    status(batch)
    told_by_the_schedd(batch, monkeypatch, CondorError("not yet"))
    others: list[Status] = []

    def ask(self: RoundFollower) -> Queued:
        happened((HELD, 0))
        others.append(status(batch))
        return Queued({p: JobState(p, "waiting" if p else "running") for p in range(3)}, None, True)

    monkeypatch.setattr(RoundFollower, "ask", ask)
    monkeypatch.setattr("osgbatch.life.asking.SILENT_S", -1)
    assert status(batch).counts == {"held": 1, "waiting": 2}
    assert status(batch).counts == others[0].counts == {"held": 1, "waiting": 2}
    assert len(others) == 1


def test_an_answer_takes_nothing_back_that_only_the_log_tells(
    batch: Batch, happened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    evicted = "004 (7.{p:03}.000) 2026-11-20 10:00:02 Job was evicted.\n...\n"
    again = "001 (7.{p:03}.000) 2026-11-20 10:00:04 Job executing on host: <1.2.3.4:9618?x>\n...\n"
    inputs = "040 (7.{p:03}.000) 2026-11-20 10:00:03 Started transferring input files\n...\n"
    happened((SUBMIT, 0), (EXECUTE, 0), (evicted, 0), (inputs, 0), (again, 0))
    before = status(batch, all_tasks=True).states[0].job
    fact = JobState(0, "held", reason="why", hold_code=1, starts=2, submitted=5.0, host="other")
    told_by_the_schedd(batch, monkeypatch, Queued({0: fact}, 1, True))
    monkeypatch.setattr("osgbatch.life.asking.SILENT_S", -1)
    after = status(batch, all_tasks=True).states[0].job
    assert before and before.evictions == 1 and before.input_began and before.starts == 2
    assert after == replace(before, state="held", reason="why", hold_code=1)


def test_a_job_that_is_leaving_is_asked_for_until_its_end_is_known(
    batch: Batch, happened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    happened((SUBMIT, 0), (ABORTED, 1), (ABORTED, 2))
    status(batch)
    (batch.rounds()[0].folder / names.EVENTS).unlink()
    told_by_the_schedd(batch, monkeypatch, CondorError("not yet"))
    monkeypatch.setattr("osgbatch.life.asking.ASK_AGAIN_S", 0)
    ended: list[set[int]] = []
    answers = [
        Queued({0: JobState(0, "removed", ended=1.0)}, None, True, frozenset([0])),
        Queued({}, None, True),  # between the queue and the history
        Queued({0: JobState(0, "removed", reason="because", ended=9.0)}, None, False),
    ]

    def ask(self: RoundFollower) -> Queued:
        ended.append(self._ended)
        return answers[len(ended) - 1]

    monkeypatch.setattr(RoundFollower, "ask", ask)
    for _ in range(5):
        now = status(batch)
        assert now.counts == {"removed": 3}
    assert ended == [{1, 2}] * 3
    assert now.wrong[0].reason == "because"
    assert now.wrong[0].job and now.wrong[0].job.ended == 9.0


@pytest.mark.parametrize("backend", ["condor", "local"])
def test_of_jobs_that_have_ended_nothing_is_missed(
    batch: Batch, happened: Callable[..., None], backend: str
) -> None:
    write_submitted(batch.rounds()[0], Submitted(backend, 7, 3, 0.0, "elsewhere"))
    happened((SUBMIT, 0), (SUBMIT, 1), (SUBMIT, 2), ("garbage\n...\n", 0))
    status(batch)
    happened((ABORTED, 0), (ABORTED, 1), (ABORTED, 2))
    assert status(batch).counts == settled_counts(batch) == {"removed": 3}


def test_who_is_overtaken_each_time_leaves_the_rest_to_the_next_look(
    batch: Batch, happened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    happened((SUBMIT, 0), (EXECUTE, 0))
    returned(batch)
    saved: list[int] = []
    real = Store.save

    def save(self: Store) -> None:
        real(self)
        saved.append(1)
        row = self.round(1)
        row.asked -= 1
        self.put_round(row)

    monkeypatch.setattr("osgbatch.life.rounds.SAVE_S", -1.0)
    with monkeypatch.context() as busy:
        busy.setattr(Store, "save", save)
        assert status(batch).counts == {"running": 1, "waiting": 2}
    assert len(saved) == 2
    assert len(status(batch).notes) == 3

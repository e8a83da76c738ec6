"""When the schedd is asked: rarely, whatever the clock does, and when events may be lost."""

from __future__ import annotations

import itertools
import json
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osgbatch import names
from osgbatch.batches import lost_events
from osgbatch.batches.eventlog import LogReader
from osgbatch.batches.folder import Batch
from osgbatch.batches.folder import load as load_batch
from osgbatch.batches.notes import write_submitted
from osgbatch.condor import Queued
from osgbatch.errors import CondorError
from osgbatch.life import watching
from osgbatch.life.following import Follower, status
from osgbatch.life.rounds import RoundFollower
from osgbatch.model import JobState, Submitted
from osgbatch.submission import steps

HOUR = 3600.0
SUBMIT = "000 (7.{p:03}.000) 2026-11-20 10:00:00 Job submitted from host: <1.2.3.4>\n...\n"
EXECUTE = "001 (7.{p:03}.000) 2026-11-20 10:00:01 Job executing on host: <1.2.3.4:9618?x>\n...\n"
TERMINATED = "005 (7.000.000) 2026-11-20 10:00:09 Job terminated."


@dataclass
class Clock:
    """steady: what nobody sets, s; ahead: how far the time of day is ahead of it."""

    steady: float = 0.0
    ahead: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.steady += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time passes only where osgbatch sleeps."""
    made, began = Clock(), time.time()
    monkeypatch.setattr(time, "time", lambda: began + made.steady + made.ahead)
    monkeypatch.setattr(time, "time_ns", lambda: int((began + made.steady + made.ahead) * 1e9))
    monkeypatch.setattr(time, "monotonic", lambda: made.steady)
    monkeypatch.setattr(time, "sleep", made.sleep)
    return made


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Three jobs in a queue, one of which runs."""
    (tmp_path / "sweep.yaml").write_text("command: e\nsweep: {n: [1, 2, 3]}\n")
    made = steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)
    round_ = made.rounds()[0]
    write_submitted(round_, Submitted("condor", 7, 3, 0.0, socket.gethostname()))
    text = SUBMIT.format(p=0) + SUBMIT.format(p=1) + EXECUTE.format(p=0) + SUBMIT.format(p=2)
    (round_.folder / names.EVENTS).write_text(text)
    monkeypatch.setenv("CONDOR_CONFIG", "/nowhere")
    return made


@pytest.fixture
def asked(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the schedd was asked. It says that nothing has changed, or, now and then, nothing."""
    when: list[float] = []
    running = Queued({p: JobState(p, "waiting" if p else "running") for p in range(3)}, None, True)

    def ask(self: RoundFollower) -> Queued:
        when.append(clock.steady)
        if len(when) % 5 == 0:
            raise CondorError("it is down")
        return running

    monkeypatch.setattr(RoundFollower, "ask", ask)
    return when


def watch(batch: Batch, clock: Clock, seconds: float, at: Callable[[], None]) -> None:
    """Watch so long; at: called after each look."""
    for seen in watching.watch(batch, longest_s=20):
        assert seen.status.counts == {"running": 1, "waiting": 2}
        at()
        if clock.steady > seconds:
            return


def log(batch: Batch) -> Path:
    return batch.rounds()[0].folder / names.EVENTS


def test_a_watch_of_an_hour_asks_at_most_sixty_times_though_the_log_is_gone(
    batch: Batch, clock: Clock, asked: list[float]
) -> None:
    status(batch)
    log(batch).unlink()
    watch(batch, clock, HOUR, lambda: None)
    assert 30 <= sum(when < HOUR for when in asked) <= 60
    assert min(b - a for a, b in itertools.pairwise(asked)) >= 60


def test_a_log_that_is_silent_is_no_reason_to_ask_often(
    batch: Batch, clock: Clock, asked: list[float]
) -> None:
    watch(batch, clock, HOUR, lambda: None)
    assert 3 <= len(asked) <= 6


@pytest.mark.parametrize("gone", [False, True], ids=["silent", "gone"])
@pytest.mark.parametrize("ahead", [-HOUR, 90.0, 24 * HOUR])
def test_a_clock_that_is_set_costs_one_question_at_most(
    batch: Batch, clock: Clock, asked: list[float], ahead: float, gone: bool
) -> None:
    status(batch)
    if gone:
        log(batch).unlink()
    jumps = [ahead, 0.0, -ahead]

    def set_it() -> None:
        if jumps and clock.steady > (4 - len(jumps)) * 100:
            clock.ahead = jumps.pop(0)

    watch(batch, clock, 600, set_it)
    assert not jumps
    assert len(asked) <= (600 / 60 if gone else 600 / 600) + 3


@pytest.mark.parametrize("fresh", [False, True], ids=["one process", "a process for each look"])
def test_rounds_share_what_may_be_asked(
    batch: Batch, clock: Clock, monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    asked: list[tuple[float, int]] = []

    def ask(self: RoundFollower) -> Queued:
        asked.append((clock.steady, self.round.number))
        raise CondorError("it is down")

    monkeypatch.setattr(RoundFollower, "ask", ask)
    first = batch.rounds()[0].folder
    for number in (2, 3, 4):
        folder = first.parent / f"{number:03}"
        shutil.copytree(first, folder)
        of_it = log(batch).read_text().replace("(7.", f"({number + 6}.")
        (folder / names.EVENTS).write_text(of_it)
        told = Submitted("condor", number + 6, 3, 0.0, socket.gethostname())
        write_submitted(batch.rounds()[number - 1], told)
    follower = Follower(batch)
    follower.status()
    for round_ in batch.rounds():
        (round_.folder / names.EVENTS).unlink()
    for second in range(600):
        if second % 10 == 0:
            (Follower(batch) if fresh else follower).status()
        clock.sleep(1)
    assert len(asked) == 10
    assert min(b - a for (a, _), (b, _) in itertools.pairwise(asked)) >= 60
    assert [number for _, number in asked] == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]


@pytest.mark.parametrize("how", ["at its end", "in the middle", "on a line", "no room"])
def test_where_an_event_did_not_fit_on_the_disk_the_schedd_is_asked(
    batch: Batch, clock: Clock, asked: list[float], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    follower = Follower(batch)
    follower.status()
    assert not asked
    if how == "no room":
        monkeypatch.setattr(lost_events, "FULL_BYTES", 1 << 62)
    else:
        text = "012 (7.000.000) 2026-" if how != "on a line" else f"{TERMINATED}\n"
        with log(batch).open("a") as stream:
            stream.write(text + EXECUTE.format(p=1) * (how != "at its end"))
    follower.status()
    if how == "at its end":  # it may still be written
        assert not asked
        clock.sleep(11)
        follower.status()
    assert len(asked) == 1
    for _ in range(6):
        clock.sleep(9)
        follower.status()
    assert len(asked) == 1
    clock.sleep(10)
    follower.status()
    # Of what is lost while there is no room, or while it was asked, nothing else would tell.
    assert len(asked) == (1 if how in ("in the middle", "on a line") else 2)


S, E = SUBMIT.format, EXECUTE.format


@pytest.mark.parametrize(
    ("text", "returned"),
    [
        pytest.param(E(p=1), "", id="run, not submitted"),
        pytest.param(S(p=0) + S(p=2), "", id="one between"),
        pytest.param(S(p=0) + S(p=1) + E(p=0), "", id="the last one"),
        pytest.param(S(p=0) + S(p=1) + S(p=2), "7_1_0.tar.gz", id="returned, not started"),
        pytest.param("", "7_1_0.tar.gz", id="returned, nothing told"),
    ],
)
def test_of_a_log_that_was_cut_before_anybody_read_it_the_schedd_is_asked(
    batch: Batch, clock: Clock, asked: list[float], text: str, returned: str
) -> None:
    log(batch).write_text(text)
    if returned:
        folder = log(batch).parent / names.RETURNED / "0"
        folder.mkdir(parents=True)
        (folder / returned).write_bytes(b"it came back")
    Follower(batch).status()
    assert len(asked) == 1


def test_of_a_log_that_stays_empty_the_schedd_is_asked(
    batch: Batch, clock: Clock, asked: list[float]
) -> None:
    log(batch).write_text("")
    Follower(batch).status()
    assert not asked
    clock.sleep(11)
    Follower(batch).status()
    assert len(asked) == 1


def test_jobs_that_a_factory_has_still_to_bring_are_no_reason_to_ask(
    batch: Batch, clock: Clock, asked: list[float]
) -> None:
    path = batch.folder / names.RESOLVED
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"max_idle": 1}))
    log(batch).write_text(S(p=0) + E(p=0))
    Follower(load_batch(batch.folder)).status()
    assert not asked


LIFE = (
    (0, "000", "Job submitted from host: <1.2.3.4>"),
    (1, "000", "Job submitted from host: <1.2.3.4>"),
    (0, "001", "Job executing on host: <1.2.3.4:9618?x>"),
    (1, "001", "Job executing on host: <1.2.3.4:9618?x>"),
    (0, "004", "Job was evicted."),
    (1, "012", "Job was held.\n\tno more\n\tCode 1 Subcode 0"),
    (0, "001", "Job executing on host: <1.2.3.5:9618?x>"),
    (1, "013", "Job was released."),
    (0, "005", "Job terminated.\n\t(1) Normal termination (return value 3)"),
    (1, "009", "Job was aborted.\n\tvia condor_rm"),
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(-500, 500), min_size=len(LIFE), max_size=len(LIFE)))
def test_the_order_of_a_log_counts_and_not_that_of_its_times(hours: list[int]) -> None:
    """Each event is written by a clock that was set since the last one."""
    begun = datetime(2026, 6, 1, 12)

    def told(clocks: list[int]) -> list[tuple[object, ...]]:
        reader = LogReader(Path("events.log"), 7)
        for number, ((proc, kind, text), ahead) in enumerate(zip(LIFE, clocks, strict=True)):
            when = f"{begun + timedelta(seconds=number + ahead):%Y-%m-%d %H:%M:%S}"
            reader.take(f"{kind} (7.{proc:03}.000) {when} {text}\n...\n".encode())
        jobs = [reader.jobs[proc] for proc in (0, 1)]
        return [
            (j.state, j.exit_code, j.reason, j.starts, j.evictions, j.host, bool(j.ended))
            for j in jobs
        ]

    assert told([hour * 3600 for hour in hours]) == told([0] * len(LIFE))

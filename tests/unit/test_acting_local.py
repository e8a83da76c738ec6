"""The local runner: chosen jobs are ended, held ones run again, and the others stay as they are."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from test_local_harness import (
    last,
    make_round,
    no_runner_left,
    numbers,
    read_events,
    record_of,
    returned,
    wait_for_end,
    wait_until,
)

from osgbatch.errors import OsgbatchError
from osgbatch.local import act, backend, processes, requests
from osgbatch.model import Round

SLEEPS = "sleep 600 & wait"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OSGBATCH_LOCAL_GRACE", "0.2")
    monkeypatch.setenv("OSGBATCH_LOCAL_SLOTS", "2")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("OSGBATCH_LOCAL_DIR", str(tmp_path / "scratch"))


def held_unless(path: Path) -> str:
    """A job that is held as long as a file is not there: it brings nothing home."""
    return f'[ -e "{path}" ] || rm osgbatch-out.tar.gz'


def states(round_: Round) -> list[str]:
    return act.job_states(round_, 1)


def test_chosen_jobs_end_and_the_others_run_on(tmp_path: Path) -> None:
    go, held = tmp_path / "go", held_unless(tmp_path / "never")
    waits = f'until [ -e "{go}" ]; do sleep 0.05; done'
    round_ = make_round(tmp_path, [held, held, SLEEPS, waits, "exit 3", SLEEPS])
    backend.submit(round_)
    with no_runner_left(round_):
        wait_until(lambda: states(round_)[:4] == ["held", "held", "running", "running"], "start")
        act.remove(round_, 1, [0, 2, 5])
        assert states(round_)[:3] == ["ended", "held", "ended"]
        assert states(round_)[3] == "running"
        go.touch()
        wait_for_end(round_)
        found = read_events(round_)
        assert numbers(found, 0) == [0, 1, 12, 9]
        assert numbers(found, 1) == [0, 1, 12]
        assert numbers(found, 2) == [0, 1, 9]
        assert (last(found, 3)["ReturnValue"], last(found, 4)["ReturnValue"]) == (0, 3)
        assert numbers(found, 5) == [0, 9]
        assert "via osgbatch cancel (by user " in last(found, 2)["Reason"]
        # nobody runs the round any more
        act.remove(round_, 1, [1])
        assert numbers(read_events(round_), 1) == [0, 1, 12, 9]


def test_held_jobs_run_again_with_more_memory(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    mine = "grep -h RequestMemory .job.ad >> osgbatch-out.tar.gz"
    jobs = [f"{mine}; {held_unless(first)}", f"{mine}; {held_unless(second)}", SLEEPS]
    round_ = make_round(tmp_path, jobs, memory_mb=64)
    backend.submit(round_)
    with no_runner_left(round_):
        wait_until(lambda: states(round_) == ["held", "held", "running"], "holds")
        first.touch()
        act.release(round_, 1, [0], memory_mb=100)
        wait_until(lambda: states(round_)[0] == "ended", "the end of job 0")
        assert states(round_) == ["ended", "held", "running"]
        assert act.requests_of(round_, [0, 1], "memory_mb") == {0: 100, 1: 64}
        act.remove(round_, 1, [2])
        wait_for_end(round_)
        # the runner has ended; it is started again
        second.touch()
        act.release(round_, 1, [1], memory_mb=200)
        wait_for_end(round_)
    found = read_events(round_)
    assert numbers(found, 0) == [0, 1, 12, 13, 1, 5]
    assert numbers(found, 1) == [0, 1, 12, 13, 1, 5]
    assert numbers(found, 2) == [0, 1, 9]
    # each start has its own archive, named by its number
    came = returned(round_)
    assert sorted(came) == ["0/1_0_1.tar.gz", "0/1_1_1.tar.gz"]
    assert "RequestMemory = 100" in came["0/1_0_1.tar.gz"]
    assert "RequestMemory = 200" in came["0/1_1_1.tar.gz"]
    assert not (round_.folder / requests.REQUEST).exists()


def test_what_a_dead_runner_left_is_not_released(tmp_path: Path) -> None:
    round_ = make_round(tmp_path, [held_unless(tmp_path / "never"), SLEEPS])
    backend.submit(round_)
    with no_runner_left(round_):
        wait_until(lambda: states(round_) == ["held", "running"], "start")
        os.kill(record_of(round_).pid, signal.SIGKILL)
        wait_for_end(round_)
        before = read_events(round_)
        for call in (act.release, act.remove):
            with pytest.raises(OsgbatchError, match="the local runner has died"):
                call(round_, 1, [0] if call is act.release else [1])
        with pytest.raises(OsgbatchError, match="the local runner has died"):
            act.release(round_, 1, [0], memory_mb=500)
        assert act.requests_of(round_, [0], "memory_mb")[0] != 500
        assert read_events(round_) == before
        assert not processes.is_locked(round_.folder / "local.lock")
        backend.cancel(round_, 1, held=[])
        assert states(round_) == ["held", "ended"]
        act.remove(round_, 1, [0])
        backend.cancel(round_, 1)
        assert states(round_) == ["ended", "ended"]

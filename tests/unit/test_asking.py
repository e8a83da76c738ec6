"""What is asked of the queue and the history, and what of an answer counts."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from osgbatch.batches.store import RoundRow, Store
from osgbatch.condor import jobs, queue
from osgbatch.condor.jobs import Queued
from osgbatch.life.asking import take_answer
from osgbatch.model import JobState, Round

ROUND = Round(Path("/b/rounds/001"), "0123456789ab", "b", 1, 6, Path("/b"))


# --- a look at the queue: what must not be queued a second time ---------------------------------


def looked(monkeypatch: pytest.MonkeyPatch, factory: list[Any], ads: list[Any]) -> queue.Queue:
    def run(command: list[str], **more: object) -> tuple[str, str]:
        return json.dumps(factory if "-factory" in command else ads), ""

    monkeypatch.setattr(queue, "run", run)
    return queue.look(ROUND, 1)


def test_what_is_being_removed_may_still_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ads = [{"ProcId": proc, "JobStatus": status} for proc, status in enumerate((2, 3, 4, 5))]
    found = looked(monkeypatch, [], ads)
    assert sorted(found.jobs) == [0, 3]
    assert found.leaving == [1]
    assert found.live == [0, 1, 3]


def test_what_was_cancelled_before_it_was_queued_does_not_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factory = {"JobMaterializeNextProcId": 2, queue.CANCELLED_PROCS: "3+5"}
    found = looked(monkeypatch, [factory], [{"ProcId": 1, "JobStatus": 1}])
    assert list(found.unqueued) == [2, 4]
    assert found.live == [1, 2, 4]


# --- the history ---------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True])
def test_a_job_that_lies_behind_older_ones_is_found_all_the_same(
    monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """One that stayed in the queue after its end comes into the history late, looking old."""
    asked: list[str] = []

    def history(since: str | None = None, **more: object) -> list[dict[str, int]]:
        asked.append(since or "")
        return [] if late and len(asked) == 1 else [{"ProcId": 0, "JobStatus": 4, "ExitCode": 0}]

    schedd = SimpleNamespace(query=lambda **more: [], history=history)
    monkeypatch.setattr(jobs, "call_schedd", lambda call: call(SimpleNamespace(QueryOpt=QUERY)))
    monkeypatch.setattr(jobs, "schedd_of", lambda *given: schedd)
    found = jobs.ask_jobs(ROUND, 1, 10_000.0, range(1, 6))
    assert found.jobs[0].state == "completed"
    ends = [6400, 6400 - 10 * 86400] if late else [6400]  # the second time by ten days earlier
    assert asked == [f"EnteredCurrentStatus < {end}" for end in ends]


QUERY = SimpleNamespace(IncludeClusterAd=0)


# --- what of an answer counts --------------------------------------------------------------------


def test_what_the_log_has_told_since_it_was_asked_wins(tmp_path: Path) -> None:
    told = Queued({0: JobState(0, "running"), 1: JobState(1, "running")}, None, queued=True)
    with Store(tmp_path / "state.db").look() as store:
        store.put_jobs(1, [JobState(0, "held"), JobState(1, "waiting")])
        changed, _ = take_answer(store, RoundRow(1), 2, told, {0})
    assert {proc: job.state for proc, job in changed.items()} == {1: "running"}

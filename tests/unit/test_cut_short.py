"""A later round whose submission was cut short: what waits for it waits for somebody to act."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from returned_archives import CLUSTER, returned, two_jobs

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.notes import RoundNote
from osgbatch.cli.reports import next_steps, status_text
from osgbatch.condor import Queue, QueuedJob
from osgbatch.life.acting import cancel_batch
from osgbatch.life.following import status
from osgbatch.life.rounds import LATER_CUT_SHORT
from osgbatch.life.watching import watch
from osgbatch.life.why import explain
from osgbatch.submission import canary, steps

SPEC = "command: echo {x}\nsweep: {x: [0, 1, 2, 3]}\n"


def submitted(round_: Path, cluster: int) -> None:
    said = {"backend": "condor", "cluster": cluster, "jobs": 1, "time": 1.0}
    (round_ / names.SUBMITTED).write_text(json.dumps(said))


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Its canary, task 0, was removed; the submission of the rest was cut short."""
    (tmp_path / "sweep.yaml").write_text(SPEC)
    made = steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)
    first, rest = made.folder / "rounds/001", made.folder / "rounds/002"
    note = folders.read_note(first)
    assert note
    folders.write_note(first, replace(note, why="canary", tasks="0", jobs=1))
    (first / names.ITEMS).write_text("0 .\n")
    submitted(first, 1)
    head = "(001.000.000) 2026-11-20 10:00:00"
    (first / names.EVENTS).write_text(
        f"000 {head} Job submitted from host: <x>\n...\n009 {head} Job was aborted.\n\tx\n...\n"
    )
    rest.mkdir()
    folders.write_note(rest, RoundNote("rest", "1-3", 3))
    (rest / names.ITEMS).write_text("1 .\n2 .\n3 .\n")
    submitted(rest, 0)
    monkeypatch.setattr("osgbatch.condor.configured", lambda: True)
    monkeypatch.setattr("osgbatch.condor.find_cluster", lambda round_: 0)
    monkeypatch.setattr("osgbatch.condor.cancel", lambda round_, cluster: None)
    return folders.load(made.folder)


def test_nothing_goes_on_by_itself_and_watch_ends(batch: Batch) -> None:
    now = status(batch, all_tasks=True)
    assert now.counts == {"removed": 1, "waiting": 3}
    assert (now.ended, now.stalled) == (True, LATER_CUT_SHORT)
    assert [seen.status.ended for seen in watch(batch)] == [True]
    assert LATER_CUT_SHORT in " ".join(status_text(now).split())
    assert next_steps(now)[0].startswith("osgbatch watch ")


def test_why_says_that_it_was_cut_short(batch: Batch) -> None:
    assert "cut short" in explain(batch, 1).causes[0].cause


def test_other_rounds_that_run_go_on(batch: Batch) -> None:
    log = batch.folder / "rounds/001" / names.EVENTS
    log.write_text(log.read_text().partition("009 ")[0])
    now = status(batch)
    assert (now.counts, now.ended, now.stalled) == ({"waiting": 4}, False, "")
    assert "not submitted" in explain(batch, 1).causes[0].cause


def test_what_the_first_rounds_factory_has_still_to_bring_goes_on(batch: Batch) -> None:
    """All tasks are the first round's; the newest round was to run one of them again."""
    folders.write_note(batch.folder / "rounds/001", RoundNote("first", "0-3", 4))
    (batch.folder / "rounds/001" / names.ITEMS).write_text("0 .\n1 .\n2 .\n3 .\n")
    folders.write_note(batch.folder / "rounds/002", RoundNote("resubmit", "0", 1))
    (batch.folder / "rounds/002" / names.ITEMS).write_text("0 .\n")
    now = status(batch)
    assert (now.counts, now.ended) == ({"removed": 1, "waiting": 3}, False)


def test_a_cancelled_rest_is_not_submitted_by_the_next_watch(batch: Batch) -> None:
    assert cancel_batch(batch).tasks == 3
    assert status(batch).counts == {"removed": 4}
    said: list[str] = []
    assert canary.go_on(batch, said.append) is None
    assert [round_.number for round_ in batch.rounds()] == [1]
    assert status(batch).counts == {"removed": 4}


# --- jobs that are held when all their tasks have ended ------------------------------------------


def test_held_jobs_are_cancelled_though_all_their_tasks_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sweep.yaml").write_text("command: echo {x}\nsweep: {x: [0, 1]}\n")
    made = two_jobs(tmp_path / "sweep.yaml")
    log = made.rounds()[0].folder / names.EVENTS
    text = log.read_text()
    cut = text.rindex("005 (")  # the second job did not terminate
    head = "012 (007.001.000) 2026-11-20 10:00:09"
    held = f"{head} Job was held.\n\tby hand\n\tCode 1 Subcode 0\n...\n"
    log.write_text(text[:cut] + held)
    for proc in range(2):
        returned(made, proc, "outputs/x")
    removed: list[int] = []
    queue = Queue(CLUSTER, {1: QueuedJob(1, "held")})
    monkeypatch.setattr("osgbatch.condor.configured", lambda: True)
    monkeypatch.setattr("osgbatch.condor.look", lambda round_, cluster: queue)
    monkeypatch.setattr("osgbatch.condor.cancel", lambda round_, cluster: removed.append(cluster))
    now = status(made)
    assert now.counts == {"succeeded": 2}
    assert any("held in the queue still" in note for note in now.notes)
    assert cancel_batch(made).tasks == 1
    assert removed == [CLUSTER]
    queue = Queue(CLUSTER, {})
    assert cancel_batch(made).tasks == 0

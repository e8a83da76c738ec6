"""`--stop-after`: when the rest is held, what is held of it, and when nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from osgbatch.batches import folder as folders
from osgbatch.condor import Queue, QueuedJob
from osgbatch.errors import BusyError, CondorError
from osgbatch.life import stopping
from osgbatch.life.stopping import Stopper
from osgbatch.model import TaskState


def now_with(
    failed: list[int | None],
    *,
    waiting: int = 5,
    ended: bool = False,
    before: Sequence[TaskState] = (),
    removed: int = 0,
) -> Any:
    """A status: tasks with these exit codes failed, those with none succeeded, others wait.

    All of round 2; before: those of which an earlier round tells.
    """
    states = [
        TaskState(n, "failed", "exit", exit_code=code, round=2)
        for n, code in enumerate(failed)
        if code is not None
    ]
    newest = {"failed": len(states), "succeeded": len(failed) - len(states), "waiting": waiting,
              "removed": removed}  # fmt: skip
    counts = newest.copy()
    for state in before:
        counts[state.state] += 1
    wrong = [*(state for state in before if state.state == "failed"), *states]
    return SimpleNamespace(counts=counts, wrong=wrong, ended=ended, newest=newest, newest_number=2)


OLD = [TaskState(n, "failed", "exit", exit_code=4, round=1) for n in range(10, 14)]
CANARY = [TaskState(n, "succeeded", "ok", round=1) for n in range(10, 14)]
REUSED = [TaskState(n, "succeeded", "ok", round=0) for n in range(10, 14)]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """For what a batch was held."""
    reasons: list[str] = []

    def hold(batch: object, why: str) -> bool:
        reasons.append(why)
        return False

    monkeypatch.setattr(stopping, "hold_rest", hold)
    monkeypatch.setattr(stopping, "in_commands", lambda batch: "b")
    monkeypatch.setattr(stopping, "_settled", lambda batch: "what is left")
    return reasons


@pytest.mark.parametrize(
    ("looks", "holds"),
    [
        ([now_with([3]), now_with([3, 3]), now_with([3, 3, 3])], 1),
        ([now_with([3, 3, 3, 3])], 1),  # more of them at one look
        ([now_with([3, 3, 4])], 0),
        ([now_with([3, 3]), now_with([3, 3, None]), now_with([3, 3, None, 3, 3])], 0),
        ([now_with([3, 4]), now_with([3, 3, 3])], 0),  # it went another way once
        ([now_with([3, 3, 3], ended=True)], 0),  # as where what is left waits for a canary
        ([now_with([3, 3, 3]), now_with([3, 3, 3])], 1),
        ([now_with([], before=OLD), now_with([3, 3], before=OLD)], 0),  # its task was mended
        ([now_with([3, 3, 3], before=OLD)], 1),
        ([now_with([], before=CANARY), now_with([3, 3, 3], before=CANARY)], 1),
        ([now_with([], before=REUSED), now_with([3, 3, 3], before=REUSED)], 1),
        ([now_with([], removed=2), now_with([3, 3, 3], removed=2)], 1),
        ([], 0),
    ],
)
def test_the_rest_is_held_once_when_the_first_tasks_all_fail_alike(
    held: list[str], looks: list[Any], holds: int
) -> None:
    said: list[str] = []
    stopper = Stopper(SimpleNamespace(), 3, said.append)  # type: ignore[arg-type]
    results = [stopper.look(now) for now in looks]
    assert len(held) == len(said) == holds
    assert results.count("what is left") == holds  # type: ignore[arg-type]
    for text in said:
        assert "tasks all failed alike, so the rest is held.\n" in text
        assert "osgbatch release b\n" in text
        assert text.endswith("osgbatch cancel b")


def test_without_a_number_nothing_is_held(held: list[str]) -> None:
    stopper = Stopper(SimpleNamespace(), 0, print)  # type: ignore[arg-type]
    assert stopper.look(now_with([3] * 9)) is None
    assert held == []


def test_all_that_is_left_is_held_under_the_lock_and_nothing_on_another_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    batch: Any = SimpleNamespace(folder=tmp_path)
    live = [SimpleNamespace(local=False, round=n, cluster=n + 10) for n in (1, 2)]
    done: list[object] = []

    def hold(round_: int, cluster: int, why: str) -> None:
        with pytest.raises(BusyError), folders.locked(tmp_path):
            raise AssertionError
        done.append((round_, cluster, why))

    monkeypatch.setattr(stopping, "live_rounds", lambda batch: iter(live))
    monkeypatch.setattr("osgbatch.condor.hold", hold)
    monkeypatch.setattr("osgbatch.local.cancel", lambda *_, why: done.append(why))
    assert stopping.hold_rest(batch, "x") is False
    assert done == [(1, 11, "osgbatch --stop-after: x"), (2, 12, "osgbatch --stop-after: x")]
    live[0].local = True
    assert stopping.hold_rest(batch, "x") is True
    assert done[2] == "osgbatch --stop-after: x"

    def elsewhere(batch: object) -> Any:
        raise CondorError("submitted on ap.example.edu")

    monkeypatch.setattr(stopping, "live_rounds", elsewhere)
    with pytest.raises(CondorError):
        stopping.hold_rest(batch, "x")
    assert len(done) == 4


@pytest.mark.parametrize(
    ("queue", "is_held"),
    [
        (Queue(7, {0: QueuedJob(0, "held")}), True),
        (Queue(7, {0: QueuedJob(0, "running")}), False),
        (Queue(7, {}, unqueued=[1]), False),  # its factory goes on
        (Queue(7, {0: QueuedJob(0, "held")}, unqueued=[1], paused=True), True),
    ],
)
def test_a_round_is_held_when_its_factory_is_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, queue: Queue, is_held: bool
) -> None:
    from osgbatch.condor import act
    from osgbatch.model import Round

    monkeypatch.setattr(act, "run", lambda *_, **__: ("", ""))
    monkeypatch.setattr(act, "look", lambda *_: queue)
    monkeypatch.setattr(act, "SETTLE_LIMIT_S", 0)
    round_ = Round(tmp_path, "4a80deadbeef", "test", 1, 2, tmp_path)
    if is_held:
        act.hold(round_, 7, "why")
    else:
        with pytest.raises(CondorError, match="have not been held"):
            act.hold(round_, 7, "why")

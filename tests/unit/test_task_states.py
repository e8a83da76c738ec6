"""The states of many tasks, kept small: they come out as they went in."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from osgbatch.model import JobState, TaskState
from osgbatch.task_states import CHUNK, Record, TaskStates, with_others


def many(count: int) -> Iterator[TaskState]:
    """Of all kinds, two to a job."""
    job, told = JobState(0), {"": ""}
    for i in range(count):
        if i % 2 == 0:
            job = JobState(i // 2, "completed", 0, host=f"ep{i}", ended=i / 3, reason="a\nb")
            told = {"host": f"ep{i}", "site": "\udcff"}
        if i % 5 == 4:
            yield TaskState(i, "waiting", round=1)
        elif i % 5 == 3:
            yield TaskState(i, "failed", "job", job=job, record=told, job_record=told, round=1)
        else:
            archive = Path(f"/b/rounds/001/returned/000/7_{i // 2}_0.tar.gz")
            record = {"index": str(i), "detail": "\x00" * (i % 3)}
            yield TaskState(
                i, "succeeded", exit_code=0, attempts=1, job=job, round=1, archive=archive,
                attempt=0, record=record, job_record=told,
            )  # fmt: skip


def test_states_come_out_as_they_went_in() -> None:
    count = 2 * CHUNK + 7
    plain = list(many(count))
    kept = TaskStates(plain)
    assert len(kept) == count and list(kept) == plain
    assert [kept[0], kept[-1], kept[CHUNK]] == [plain[0], plain[-1], plain[CHUNK]]
    assert kept[CHUNK - 2 : CHUNK + 2] == plain[CHUNK - 2 : CHUNK + 2]
    assert kept[3].record is kept[3].job_record and isinstance(kept[3].record, Record)
    assert kept[1].job is kept[0].job  # of one job, as before
    for wrong in (count, -count - 1):
        with pytest.raises(IndexError):
            kept[wrong]
    assert not TaskStates(()) and list(TaskStates(())) == []


def test_many_states_take_little_room() -> None:
    tracemalloc.start()
    try:
        kept = TaskStates(many(4000))
        assert tracemalloc.get_traced_memory()[0] < 4000 * 300 and len(kept) == 4000
    finally:
        tracemalloc.stop()


def test_tasks_of_which_nothing_is_known_stand_between_the_others() -> None:
    known = [TaskState(1, "failed"), TaskState(4, "succeeded")]
    found = list(with_others(known, 7, {5: ("removed", "by hand", 2)}, ("waiting", "", 1)))
    assert [(s.index, s.state, s.round) for s in found] == [
        (0, "waiting", 1), (1, "failed", 0), (2, "waiting", 1), (3, "waiting", 1),
        (4, "succeeded", 0), (5, "removed", 2), (6, "waiting", 1),
    ]  # fmt: skip
    for wrong in ([4, 1], [1, 1], [7], [-1]):
        with pytest.raises(ValueError, match="there is no task"):
            list(with_others([TaskState(i, "failed") for i in wrong], 7, {}, ("waiting", "", 1)))

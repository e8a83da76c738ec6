"""Events that are told twice, late, or after the clock was set back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_following import ABORTED, EVICTED, EXECUTE, EXITED, HELD, RELEASED, SUBMIT

from osgbatch.batches.disorder import joined
from osgbatch.batches.eventlog import LogReader
from osgbatch.model import JobState

SUSPENDED = "010 (7.{p}.000) 2026-11-20 10:00:0{t} Job was suspended.\n...\n"
RESUMED = "011 (7.{p}.000) 2026-11-20 10:00:0{t} Job was unsuspended.\n...\n"
TO = "040 (7.{p}.000) 2026-11-20 10:00:0{t} Started transferring input files\n...\n"
FROM = "040 (7.{p}.000) 2026-11-20 10:00:0{t} Started transferring output files\n...\n"
STORIES = (
    [SUBMIT, EXECUTE, HELD, RELEASED],
    [SUBMIT, EXECUTE, EVICTED, EXECUTE],
    [SUBMIT, TO, EXECUTE, SUSPENDED, RESUMED, FROM],
    [SUBMIT, EXECUTE, SUSPENDED, EVICTED, EXECUTE],
    [SUBMIT, TO, EXECUTE, EVICTED, HELD, RELEASED],
    [SUBMIT, EXECUTE, HELD, EVICTED],
    [SUBMIT, EXECUTE, EVICTED, HELD],
    [SUBMIT, EXECUTE, HELD, RELEASED, EXECUTE, HELD],
    [SUBMIT, EXECUTE, HELD, RELEASED, HELD, RELEASED, EXECUTE, FROM],
    [SUBMIT, EXECUTE, HELD, RELEASED, EXECUTE, EXITED],
    [SUBMIT, EXECUTE, HELD, ABORTED],
)


def read(texts: Sequence[str], *, late_s: float = 60.0) -> tuple[JobState, set[int]]:
    reader = LogReader(Path("no-such-log"), 7, late_s=late_s)
    reader.take("".join(texts).encode())
    return reader.jobs[0], reader.doubtful


def essence(job: JobState) -> tuple[object, ...]:
    held = (job.hold_code, job.hold_subcode, job.reason) if job.state == "held" else ()
    return job.state, held, 0 if job.ended else job.starts


def at(clock: str, event: str) -> str:
    return event.format(p=0, t=0).replace("10:00:00", clock)


@given(st.sampled_from(STORIES), st.data())
@settings(max_examples=150)
def test_events_in_any_order_lead_to_one_state(story: list[str], data: st.DataObject) -> None:
    texts = [event.format(p=0, t=t) for t, event in enumerate(story)]
    shuffled = data.draw(st.permutations(texts))
    assert essence(read(shuffled)[0]) == essence(read(texts)[0])


@given(st.sampled_from(STORIES), st.data())
@settings(max_examples=150)
def test_what_is_told_again_later_changes_nothing(story: list[str], data: st.DataObject) -> None:
    texts = [event.format(p=0, t=t) for t, event in enumerate(story)]
    told = list(texts)
    for number in data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=4)):
        after = told.index(texts[number]) + 1
        told.insert(data.draw(st.integers(after, len(told))), texts[number])
    job, doubtful = read(told)
    assert essence(job) == essence(read(texts)[0])
    assert not doubtful


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [
        ([SUBMIT, EXECUTE], HELD, "held"),
        ([SUBMIT, EXECUTE, HELD], RELEASED, "waiting"),
        ([SUBMIT, EXECUTE, EVICTED], EXECUTE, "running"),
    ],
)
def test_a_clock_that_was_set_back_freezes_no_job(
    first: list[str], second: str, state: str
) -> None:
    before = [event.format(p=0, t=t) for t, event in enumerate(first)]
    job, doubtful = read([*before, at("09:00:00", second)])
    assert (job.state, doubtful) == (state, {0})  # HTCondor is asked whether that is right
    # what was told before is still known as told, and later events count as usual
    again = [*before, at("09:00:00", second), before[1], at("09:00:30", EVICTED)]
    assert read(again)[0].state == ("held" if state == "held" else "waiting")


def test_where_one_process_writes_the_log_a_small_step_of_the_clock_is_seen_too() -> None:
    story = [at("10:00:00", SUBMIT), at("10:00:09", EXECUTE), at("10:00:07", HELD)]
    assert read(story)[0].state == "running"
    assert read(story, late_s=0.0)[0].state == "held"


def test_a_job_of_many_holds_is_remembered_in_a_bounded_text() -> None:
    story = [SUBMIT.format(p=0, t=0)]
    for number in range(900):
        clock = f"1{number // 360}:{number // 6 % 60:02}:{number % 6}"
        story += [at(f"{clock}1", EXECUTE), at(f"{clock}2", HELD), at(f"{clock}3", RELEASED)]
    job, doubtful = read(story)
    assert (job.state, job.starts, doubtful) == ("waiting", 900, set())
    assert len(job.told) < 2000
    assert read([*story, story[-2]])[0].state == "waiting"


def test_a_release_in_a_fresh_log_counts() -> None:
    before = read([event.format(p=0, t=t) for t, event in enumerate([SUBMIT, EXECUTE, HELD])])[0]
    later = read([at("10:00:09", RELEASED)])[0]
    assert (joined(replace(before), later).state, before.state) == ("waiting", "held")
    assert joined(replace(before), read([at("10:00:01", RELEASED)])[0]).state == "held"
    assert joined(replace(before), read([SUBMIT.format(p=0, t=0)])[0]).state == "held"


@pytest.mark.parametrize("event", [EXITED, HELD, EXECUTE])
def test_an_event_that_was_cut_anywhere_hides_none_that_follows(event: str) -> None:
    torn, whole = event.format(p=0, t=3), EXITED.format(p=1, t=5)
    begin = "".join(text.format(p=p, t=p) for text in (SUBMIT, EXECUTE) for p in (0, 1))
    for cut in range(1, len(torn) - 4):
        reader = LogReader(Path("no-such-log"), 7)
        reader.take((begin + torn[:cut] + whole).encode())
        assert (reader.jobs[1].state, reader.torn) == ("completed", True), torn[:cut]

"""Held jobs that HTCondor will release by itself: we say what the submit file says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from test_state_db import ABORTED, SUBMIT, batch, happened, told_by_the_schedd
from test_submit_file import SPEC, render
from test_submit_file_again import DOUBLE, parts, value, with_ladders

from osgbatch import condor, names
from osgbatch.batches.folder import Batch
from osgbatch.condor import Queued
from osgbatch.life import released_later, watching
from osgbatch.life.following import Follower, status
from osgbatch.life.released_later import SLACK_S, Rule, rules_of
from osgbatch.model import JobState

__all__ = ["batch", "happened"]

NOW = 1_000_000.0


def held(code: int, subcode: int, holds: int = 1, others: Sequence[int] = ()) -> JobState:
    """A job that was held so often for this, now the last time, and before for other reasons."""
    codes = [*others, *[code] * holds]
    times = [NOW - 1000.0 * number for number in reversed(range(len(codes)))]
    told = "".join(f" 012.{one}@{time!r}" for one, time in zip(codes, times, strict=True))
    return JobState(0, "held", hold_code=code, hold_subcode=subcode, changed=NOW - 1e6, told=told)


def test_a_hold_that_the_submit_file_releases_is_waited_for_and_no_other() -> None:
    text = render()
    (rule,) = rules_of(text)
    labels = {12: "TransferOutputError", 13: "TransferInputError"}
    for code in (1, 12, 13, 21, 34):
        for subcode in (0, 2, 13, 28, 256, 1000):
            for holds in (1, 3, 4):
                expression = parts(text, old=False)["periodic_release"]
                counts = {labels[code]: holds} if code in labels else {}
                told = value(
                    expression.replace("time()", str(int(NOW))),
                    HoldReasonCode=code,
                    HoldReasonSubCode=subcode,
                    NumHoldsByReason=counts,
                    EnteredCurrentStatus=0,
                )
                job = held(code, subcode, holds)
                assert rule.releases(job, NOW) is (told is True), (code, subcode, holds)
    wait = rule.after_s * 2
    assert rule.releases(held(13, 256, 2), NOW + wait + SLACK_S - 1)
    assert not rule.releases(held(13, 256, 2), NOW + wait + SLACK_S)  # it was not released
    assert not rule.releases(held(13, 256, 2), NOW - wait - SLACK_S)  # a clock was set back


@pytest.mark.parametrize(("code", "subcode", "most"), [(13, 256, 3), (34, 102, 2)])
def test_only_the_holds_count_that_the_submit_file_counts(
    code: int, subcode: int, most: int
) -> None:
    (rule,) = [r for r in rules_of(with_ladders(DOUBLE, DOUBLE)) if held_by(r, code, subcode)]
    assert rule.most == most
    assert rule.releases(held(code, subcode, most, others=[1, 3, 1, 26]), NOW)
    assert not rule.releases(held(code, subcode, most + 1), NOW)
    # What the log and the schedd tell of one hold, a second apart, is one.
    job = held(code, subcode, most)
    job.told += f" 012.{code}@{NOW + 1!r}"
    assert rule.releases(job, NOW)


def held_by(rule: Rule, code: int, subcode: int) -> bool:
    return rule.releases(held(code, subcode), NOW)


def test_a_hold_that_only_the_schedd_tells_of_began_when_it_says(
    batch: Batch, happened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    happened((SUBMIT, 0), (ABORTED, 1), (ABORTED, 2))
    status(batch)
    (batch.rounds()[0].folder / names.EVENTS).unlink()
    now = time.time()
    fact = JobState(0, "held", hold_code=13, hold_subcode=256, changed=now - 30)
    told_by_the_schedd(batch, monkeypatch, Queued({0: fact}, None, True))
    for _ in range(2):
        seen = status(batch)
        assert (seen.counts, seen.to_release) == ({"held": 1, "removed": 2}, 1)


def test_the_version_is_asked_once_however_many_jobs_are_held(
    batch: Batch, happened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def version() -> tuple[int, ...]:
        asked.append(1)
        return 23, 9, 6

    released_later._version.cache_clear()
    monkeypatch.setattr(condor, "version", version)
    path = batch.rounds()[0].folder / names.SUBMIT_FILE
    path.write_text(with_ladders(DOUBLE, DOUBLE))
    happened(*[(SUBMIT, n) for n in range(3)])
    happened(*[(hold(batch, 60.0, "Code 34 Subcode 102"), n) for n in range(3)])
    try:
        for _ in range(2):
            assert status(batch).to_release == 3
        assert len(asked) == 1
    finally:
        released_later._version.cache_clear()


def test_the_memory_ladder_of_older_versions_releases_jobs_and_newer_ones_do_not() -> None:
    rules = [rule for rule in rules_of(with_ladders(DOUBLE, DOUBLE)) if rule.below]
    assert [(rule.below, set(rule.subcodes)) for rule in rules] == [
        ((25, 2, 1), {102}),
        ((25, 10, 1), {104}),
    ]
    memory = rules[0]
    assert memory.releases(held(34, 102), NOW) and memory.releases(held(21, 102), NOW)
    assert not memory.releases(held(34, 102, memory.most + 1), NOW)
    assert not memory.releases(held(34, 104), NOW)
    own = replace(SPEC, submit=(("periodic_release", "false"),))
    assert rules_of(render(own)) == []


def hold(batch: Batch, seconds_ago: float, code: str) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - seconds_ago))
    event = f"012 (7.{{p:03}}.000) {when} Job was held.\n\twhy\n\t{code}\n...\n"
    assert (batch.rounds()[0].folder / names.SUBMIT_FILE).exists()
    return event


@pytest.mark.parametrize(
    ("ago", "code", "goes_on"),
    [
        (60.0, "Code 13 Subcode 256", True),
        (60.0, "Code 13 Subcode 2", False),
        (7200.0, "Code 13 Subcode 256", False),
        (60.0, "Code 1 Subcode 0", False),
    ],
)
def test_watching_goes_on_while_a_held_job_will_be_released(
    batch: Batch, happened: Callable[..., None], ago: float, code: str, goes_on: bool
) -> None:
    aborted = "009 (7.{p:03}.000) 2026-11-20 10:00:03 Job was aborted.\n\tvia condor_rm\n...\n"
    happened((SUBMIT, 0), (SUBMIT, 1), (SUBMIT, 2), (aborted, 0))
    assert status(batch).to_release == 0  # others wait: they are watched for anyway
    happened((aborted, 1), (hold(batch, ago, code), 2))
    now = Follower(batch).status()
    assert (now.to_release, now.ended) == (1 if goes_on else 0, not goes_on)
    assert any("will release 1 held task by itself" in note for note in now.notes) is goes_on
    seen = next(watching.watch(batch))
    assert seen.status.ended is not goes_on

"""Held jobs that HTCondor will release by itself: we say what the submit file says."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from test_state_db import SUBMIT, batch, happened
from test_submit_file import SPEC, render
from test_submit_file_again import DOUBLE, parts, value, with_ladders

from osgbatch import names
from osgbatch.batches.folder import Batch
from osgbatch.life import watching
from osgbatch.life.following import Follower, status
from osgbatch.life.released_later import SLACK_S, rules_of
from osgbatch.model import JobState

__all__ = ["batch", "happened"]

NOW = 1_000_000.0


def held(code: int, subcode: int, holds: int = 1, since: float = NOW) -> JobState:
    told = "".join(f" 012@{n}.0" for n in range(holds))
    return JobState(0, "held", hold_code=code, hold_subcode=subcode, changed=since, told=told)


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

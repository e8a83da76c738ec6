"""Which held jobs HTCondor will release by itself: as their submit file says it, bounded in time.

The submit file is our own (rendering/again.py writes it, and a test compares the two). What the
user has put there instead is not looked at: then nothing is known to be released.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from osgbatch import names
from osgbatch.batches.disorder import holds_of
from osgbatch.batches.store import Store
from osgbatch.errors import CondorError
from osgbatch.model import JobState, Round

SLACK_S = 300.0
"""HTCondor looks once a minute (PERIODIC_EXPR_INTERVAL) at what is to be released."""

_TRANSFER = re.compile(
    r"\((?:member\(HoldReasonCode, \{([0-9, ]+)\}\)|HoldReasonCode == (\d+)) && "
    r"!member\(HoldReasonSubCode, \{([0-9, ]+)\}\) && \$\(transfer_holds\) <= (\d+) && "
    r"time\(\) - EnteredCurrentStatus >= (\d+) \* \$\(transfer_holds\)\)"
)
_LADDER = re.compile(
    r"^if version >= ([\d.]+)\n(?:(?!^if |^endif).*\n)*?^else\n(?:(?!^if |^endif).*\n)*?"
    r"^release_\w+ = \(member\(HoldReasonCode, \{([0-9, ]+)\}\) && HoldReasonSubCode == (\d+) && "
    r"\$\(resource_holds\) <= (\d+)\)",
    re.M,
)


_TRANSFERS, _RESOURCES = frozenset([12, 13]), frozenset([21, 34])
"""The codes of the holds that $(transfer_holds) and $(resource_holds) count."""


@dataclass(frozen=True)
class Rule:
    """Holds of these codes are released, when the subcode is right, until there were `most`.

    subcodes: the right ones, or, with `but`, the wrong ones. after_s: seconds on hold before it,
    times the number of holds. counted: the codes of the holds that count. below: only of an
    HTCondor older than this; empty for any.
    """

    codes: frozenset[int]
    subcodes: frozenset[int]
    but: bool
    most: int
    after_s: int
    counted: frozenset[int]
    below: tuple[int, ...] = ()

    def releases(self, job: JobState, now: float) -> bool:
        """Whether a held job will be released by this rule, or was to be just now."""
        if job.hold_code not in self.codes or (job.hold_subcode in self.subcodes) is self.but:
            return False
        told = holds_of(job)  # one without a code is of an older state.db
        holds = max(1, sum(code in self.counted or not code for _, code in told))
        if holds > self.most:
            return False
        since = told[-1][0] if told else job.changed
        # abs: of a hold that lies in the future, by a clock that was set back, nothing is known.
        return abs(now - since) < self.after_s * holds + SLACK_S


def rules_of(submit_file: str) -> list[Rule]:
    """What a submit file says of releases."""
    given = re.findall(r"^periodic_release = (.*)$", submit_file, re.M)
    if not given:
        return []
    active, found = given[-1], []
    if match := _TRANSFER.search(active):
        codes, code, subcodes, most, after = match.groups()
        found.append(
            Rule(
                _numbers(codes or code), _numbers(subcodes), True, int(most), int(after), _TRANSFERS
            )
        )
    if "$(release_" in active:
        for version, codes, subcode, most in _LADDER.findall(submit_file):
            below = tuple(map(int, version.split(".")))
            rule = Rule(_numbers(codes), _numbers(subcode), False, int(most), 0, _RESOURCES, below)
            found.append(rule)
    return found


def _numbers(text: str) -> frozenset[int]:
    return frozenset(map(int, text.split(",")))


def released_later(store: Store, rounds: list[Round]) -> int:
    """How many of the tasks that are held will go on by themselves. rounds: those in HTCondor."""
    by_number = {round_.number: round_ for round_ in rounds}
    held = Counter((row[7], row[8]) for row in store.tasks(["held"]) if row[7] in by_number)
    rules: dict[int, list[Rule]] = {}
    count, now = 0, time.time()
    for (number, proc), tasks in held.items():
        if number not in rules:
            rules[number] = _rules(by_number[number].folder)
        job = store.job(number, proc or 0) if rules[number] else None
        if job and job.state == "held" and any(r.releases(job, now) for r in rules[number]):
            count += tasks
    return count


def _rules(folder: Path) -> list[Rule]:
    """The rules of a round that hold with the HTCondor that is here."""
    try:
        found = rules_of((folder / names.SUBMIT_FILE).read_text(errors="replace"))
    except OSError:
        return []
    older = any(rule.below for rule in found) and _version()
    return [rule for rule in found if not rule.below or (older and older < rule.below)]


@cache
def _version() -> tuple[int, ...]:
    """The version of HTCondor here; empty when it does not say. It is asked once."""
    from osgbatch import condor

    try:
        return condor.version()
    except CondorError:
        return ()

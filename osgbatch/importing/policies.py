"""What a submit file does when a job has ended (on_exit_hold, on_exit_remove) to `retries:`.

Such lines are the way of older tutorials to try failed jobs again: a job that fails is held, and
`periodic_release` lets it go some time later, a few times; or it stays in the queue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from osgbatch.expressions import ExpressionError, parse_expression
from osgbatch.importing.macros import NotImported
from osgbatch.importing.made import Setting
from osgbatch.importing.values import Values

ENDLESS = 10
"""Retries in place of those that have no end."""
_MOST = 60
_CODES = 20
"""Exit codes that are named one by one, at most."""
_MEMBER = re.compile(r"member\s*\(\s*ExitCode\s*,\s*\{([\d\s,]+)\}\s*\)", re.IGNORECASE)
_TOKEN = re.compile(
    r"\s*(&&|\|\||=\?=|=!=|==|!=|<=|>=|[<>!()]|\d+|[A-Za-z_][\w.]*)", re.ASCII
)  # fmt: skip
_WORDS = {
    "&&": "and", "||": "or", "=?=": "==", "=!=": "!=", "!": "not", "true": "1", "false": "0",
    "exitbysignal": "signal", "exitcode": "code", "numjobstarts": "starts", "jobruncount": "starts",
}  # fmt: skip
_PLAIN = frozenset(["==", "!=", "<=", ">=", "<", ">", "(", ")"])
_COMPARES = _PLAIN - {"(", ")"}
_SIGNAL = None
"""In place of the exit code of a job that a signal has killed: it has none."""
_FAILURES = (*range(1, 256), _SIGNAL)

Outcome = Callable[[int | None, int], bool | None]
"""Whether an expression is true of a job that has ended with a code, or by a signal, at one of its
starts; None where it is undefined."""


@dataclass(frozen=True)
class Policy:
    """retries: of the sweep, empty for osgbatch's own; key: of the line that says so; first:
    whether any job that fails is held, so that no other policy is asked."""

    key: str
    retries: dict[str, object] = field(default_factory=dict)
    first: bool = False


def policy_of(values: Values) -> Policy | None:
    """What on_exit_hold and on_exit_remove ask for; None for what HTCondor does without them."""
    hold, remove = values.take("onexithold"), values.take("onexitremove")
    for name in ("onexitholdreason", "onexitholdsubcode"):
        values.take(name)
    holds = outcome_of(values.value(hold)) if hold else _never
    removes = outcome_of(values.value(remove)) if remove else _always
    for setting, found in ((hold, holds), (remove, removes)):
        if setting and found is None:
            values.lose(setting, f"when a job is to be tried again is told by {_RETRIES}")
    if holds is None or removes is None:
        return None
    fates = _Fates(holds, removes, lambda start: False)
    starts = range(1, _CODES)
    for setting, wanted in ((hold, "held"), (remove, "again")):
        if setting and any(fates.of(0, start) == wanted for start in starts):
            values.lose(setting, "a job that has succeeded would not leave the queue")
            return None
    held = [code for code in _FAILURES if fates.of(code, 1) == "held"]
    setting = hold if hold and held else remove or hold
    if setting is None:
        return None
    key = setting.key
    if held:
        released = _released(values)
        if released is not None:
            fates = _Fates(holds, removes, released)
            key += ", periodic_release"
    times = {code: fates.times(code) for code in _FAILURES}
    tried = [code for code in _FAILURES if times[code]]
    failed = [code for code in held if code not in tried]
    if not held and not tried:
        return None
    if failed:
        values.differ(f"{setting.key}: a task that {_ended(failed)} is told of as failed, and not "
                      "held; `osgbatch resubmit` runs it again")  # fmt: skip
    first = len(held) == len(_FAILURES)
    if not tried:
        return Policy(key, first=first)
    most = {times[code] for code in tried}
    if len(most) > 1:
        values.lose(setting, f"some failures are tried again more often than others: say it by "
                    f"{_RETRIES}")  # fmt: skip
        return Policy(key, first=first)
    return Policy(key, _again(values, setting, key, tried, most.pop(), bool(held)), first)


_RETRIES = "`retries:`, as in `{times: 5, on: any}`, or `{on: [3, 75]}` for some exit codes"


def _again(
    values: Values, setting: Setting, key: str, tried: Collection[int | None], most: int,
    held: bool,
) -> dict[str, object]:  # fmt: skip
    """`retries:` for the failures that are tried again; held: whether they were held before."""
    codes = [code for code in tried if code is not None]
    others = [code for code in range(1, 256) if code not in codes]
    times, end = (most, "") if most < _MOST else (ENDLESS, "; there without end")
    how = "again at once" if held else "again"
    if not codes:
        values.differ(f"{key}: a task that is killed by a signal is told of as failed, and not "
                      "tried again; `retries: {on: any}` does so with all failures")  # fmt: skip
        return {}
    if min(len(codes), len(others)) > _CODES:
        values.lose(setting, f"it tries many exit codes again, and not many others: say it by "
                    f"{_RETRIES}")  # fmt: skip
        return {}
    every = len(codes) > _CODES
    who = "has failed" if every else _ended(codes)
    values.differ(
        f"{key}: a task that {who} is tried {how}, {times} times at most, and then told of as "
        f"failed{end}" + ("; there it was held for a while before each new start" if held else "")
    )
    if every:
        wrong: list[int | None] = [*others, *([] if _SIGNAL in tried else [_SIGNAL])]
        if wrong:
            values.differ(f"{key}: a task that {_ended(wrong)} is tried again, too, and has failed")
        return {"times": times, "on": "any"}
    if _SIGNAL in tried:
        values.differ(f"{key}: a task that is killed by a signal is not tried again")
    return {"times": times, "on": codes}


def _ended(found: Collection[int | None]) -> str:
    """How a job has ended: `ends with 3, 75 or is killed by a signal`."""
    codes = [code for code in found if code is not None]
    if len(codes) == 255:
        return "has failed" if _SIGNAL in found else "ends with any code but 0"
    some = ", ".join(map(str, codes[:5])) + ", …" * (len(codes) > 5)
    told = [f"ends with {some}"] if codes else []
    return " or ".join([*told, *(["is killed by a signal"] if _SIGNAL in found else [])])


class _Fates:
    """What becomes of a job that has ended. released: whether one that is held is let go."""

    def __init__(self, holds: Outcome, removes: Outcome, released: Callable[[int], bool]) -> None:
        self.holds, self.removes, self.released = holds, removes, released

    def of(self, code: int | None, start: int) -> str:
        """`held`, `left` (the queue) or `again`. HTCondor holds where a policy is undefined.

        Source: UserPolicy::AnalyzePolicy of HTCondor, which asks on_exit_hold first.
        """
        held = self.holds(code, start)
        if held or held is None:
            return "held"
        gone = self.removes(code, start)
        return "held" if gone is None else "left" if gone else "again"

    def times(self, code: int | None) -> int:
        """How often it is tried again; `_MOST` - 1 and more is without end."""
        for start in range(1, _MOST):
            fate = self.of(code, start)
            if fate == "left" or (fate == "held" and not self.released(start)):
                return start - 1
        return _MOST


def until_of(values: Values, most: int) -> tuple[int, object] | None:
    """How often, of `most`, and after which ends of a job it is tried again until retry_until is
    true; None where that is not set, or cannot be said."""
    setting = values.take("retryuntil")
    if setting is None:
        return None
    until = outcome_of(values.value(setting))
    fates = _Fates(_never, until or _always, lambda start: False)
    times = {code: fates.times(code) for code in _FAILURES}
    codes = [code for code in range(1, 256) if times[code]]
    often = {min(times[code], most) for code in codes}
    if until is None or len(often) > 1 or (len(codes) > _CODES and len(codes) < 255) or not codes:
        values.lose(setting, "write `retries: {on: [3, 75]}`, with the codes to try again")
        return None
    if len(codes) < 255:
        values.differ(f"{setting.key}: a task that is killed by a signal is not tried again")
        return often.pop(), codes
    if not times[_SIGNAL]:
        values.differ(f"{setting.key}: a task that is killed by a signal is tried again, too")
    return often.pop(), "any"


def _released(values: Values) -> Callable[[int], bool] | None:
    """After which of its starts `periodic_release` lets a job go that was held when it ended; None
    where it never does."""
    setting = values.values.get("periodicrelease")
    if setting is None:
        return None
    try:
        text = values.macros.constant(setting.value.strip())
    except NotImported:
        return None  # it is told of where it is handed on
    code = re.search(r"HoldReasonCode\s*=[=?]=?\s*(\d+)", text, re.IGNORECASE)
    if text.lower() in ("", "false", "0") or (code and code[1] != "3"):  # 3: by a policy of the job
        return None
    most = re.search(r"(?:NumJobStarts|JobRunCount)\s*(<=?)\s*(\d+)", text, re.IGNORECASE)
    if most is None:
        if re.search("NumJobStarts|JobRunCount|NumHolds", text, re.IGNORECASE):
            values.lose(setting, f"how often a job is tried again is told by {_RETRIES}")
        return lambda start: True
    last = int(most[2]) - (most[1] == "<")
    return lambda start: start <= last


def _never(code: int | None, start: int) -> bool | None:
    return False


def _always(code: int | None, start: int) -> bool | None:
    return True


def outcome_of(text: str) -> Outcome | None:
    """An expression over ExitCode, ExitBySignal and NumJobStarts; None for any other."""
    text = _MEMBER.sub(
        lambda found: "(" + " || ".join(f"ExitCode == {n}" for n in found[1].split(",")) + ")", text
    )
    words, at = [], 0
    while at < len(text.rstrip()):
        token = _TOKEN.match(text, at)
        if not token:
            return None
        one = re.sub(r"^(my|target)\.", "", token[1].lower())
        if one not in _WORDS and one not in _PLAIN and not one.isdigit():
            return None
        words.append(one)
        at = token.end()
    try:
        parsed, killed = (
            parse_expression(" ".join(_WORDS.get(one, one) for one in found))
            for found in (words, _without_code(words))
        )
        parsed.evaluate({"signal": 0, "code": 1, "starts": 1})
        killed.evaluate({"signal": 1, "code": -1, "starts": 1, "unknown": 0})
    except ExpressionError:
        return None

    def outcome(code: int | None, start: int) -> bool | None:
        if code is not None:
            return bool(parsed.evaluate({"signal": 0, "code": code, "starts": start}))
        row = {"signal": 1, "code": -1, "starts": start}
        both = {bool(killed.evaluate({**row, "unknown": value})) for value in (0, 1)}
        return both.pop() if len(both) == 1 else None

    return outcome


def _without_code(words: list[str]) -> list[str]:
    """The words of an expression as they are for a job that has no exit code: what is compared
    with it is undefined, but for =?= and =!=, which differ from all numbers."""
    found: list[str] = []
    at = 0
    while at < len(words):
        three = words[at : at + 3]
        if len(three) == 3 and three[1] in _COMPARES and "exitcode" in three:
            found.append("unknown")
            at += 3
        else:
            found.append(words[at])
            at += 1
    return found

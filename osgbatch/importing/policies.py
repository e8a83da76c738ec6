"""What a submit file does when a job has ended (on_exit_hold, on_exit_remove) to `retries:`.

Such lines are the way of older tutorials to try failed jobs again: a job that fails is held, and
`periodic_release` lets it go some time later, a few times; or it stays in the queue.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from osgbatch.importing.ended import UNDEFINED, UNKNOWN, Condition, Unread, Value, condition
from osgbatch.importing.macros import NotImported
from osgbatch.importing.made import Setting
from osgbatch.importing.values import Values

ENDLESS = 10
"""Retries in place of those that have no end."""
_MOST = 60
_CODES = 20
"""Exit codes that are named one by one, at most."""
_KNOWN = frozenset(["exitcode", "exitbysignal", "numjobstarts", "jobruncount"])
_SIGNAL = None
"""In place of the exit code of a job that a signal has killed: it has none."""
_FAILURES = (*range(1, 256), _SIGNAL)
_BY_POLICY = 3
"""HoldReasonCode of a job that on_exit_hold holds. Source: the table of hold codes in HTCondor's
manual; seen on 25.14.1."""
_LATE = 10**9
"""Seconds that a job has been held, long after all that a policy waits for."""

Outcome = Callable[[int | None, int], bool | None]
"""Whether an expression is true of a job that has ended with a code, or by a signal, at one of its
starts; None where it is undefined."""
Released = Callable[[int | None, int], bool]
"""Whether a job is let go that was held when it ended so at one of its starts."""


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
    fates = _Fates(holds, removes)
    starts = range(1, _CODES)
    for setting, wanted in ((hold, "held"), (remove, "again")):
        if setting and any(fates.of(0, start) == wanted for start in starts):
            values.lose(setting, "a job that has succeeded would not leave the queue")
            return None
    lives = {code: fates.life(code) for code in _FAILURES}
    held = [code for code in _FAILURES if "held" in lives[code]]
    setting = hold if hold and held else remove or hold
    if setting is None:
        return None
    key = setting.key
    if hold and remove and held and any("again" in life for life in lives.values()):
        key = f"{hold.key}, {remove.key}"
    if held:
        released = _released(values)
        if released is not None:
            try:
                with_release = _Fates(holds, removes, released)
                lives = {code: with_release.life(code) for code in _FAILURES}
            except _CannotTell:
                values.lose(values.values["periodicrelease"], _NOT_TOLD)
            else:
                key += ", periodic_release"
    tried = [code for code in _FAILURES if len(lives[code]) > 1]
    if not held and not tried:
        return None
    most = {len(lives[code]) - 1 for code in tried}
    retries: dict[str, object] = {}
    if len(most) > 1:
        values.lose(setting, f"some failures are tried again more often than others: say it by "
                    f"{_RETRIES}")  # fmt: skip
    elif tried:
        retries = _again(values, setting, key, tried, most.pop(), lives)
    codes = retries.get("on", [])
    there = _FAILURES if codes == "any" else codes if isinstance(codes, list) else ()
    failed = [code for code in held if code not in there and lives[code][-1] == "held"]
    if failed and len(most) < 2:
        values.differ(f"{setting.key}: a task that {_ended(failed)} is told of as failed, and not "
                      "held; `osgbatch resubmit` runs it again")  # fmt: skip
    first = all(fates.held_at_once(code, len(lives[code])) for code in _FAILURES)
    return Policy(key, retries, first)


_RETRIES = "`retries:`, as in `{times: 5, on: any}`, or `{on: [3, 75]}` for some exit codes"


def _again(
    values: Values, setting: Setting, key: str, tried: Collection[int | None], most: int,
    lives: Mapping[int | None, Sequence[str]],
) -> dict[str, object]:  # fmt: skip
    """`retries:` for the failures that are tried again; lives: what becomes of each at its ends."""
    codes = [code for code in tried if code is not None]
    others = [code for code in range(1, 256) if code not in codes]
    times, end = (most, "") if most < _MOST else (ENDLESS, "; there without end")
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
    waits, how = _waits(tried if every else codes, lives)
    values.differ(
        f"{key}: a task that {who} is tried {how}, {times} times at most, and then told of as "
        f"failed{end}{waits}"
    )
    if every:
        wrong: list[int | None] = [*others, *([] if _SIGNAL in tried else [_SIGNAL])]
        if wrong:
            values.differ(f"{key}: a task that {_ended(wrong)} is tried again, too, and has failed")
        return {"times": times, "on": "any"}
    if _SIGNAL in tried:
        values.differ(f"{key}: a task that is killed by a signal is not tried again")
    return {"times": times, "on": codes}


def _waits(
    tried: Collection[int | None], lives: Mapping[int | None, Sequence[str]]
) -> tuple[str, str]:
    """Where jobs were held, for the end of a line, and how their tasks are tried again."""
    each = [code for code in tried if set(lives[code][:-1]) == {"held"}]
    some = [code for code in tried if "held" in lives[code][:-1] and code not in each]
    if len(each) == len(tried):
        return "; there it was held for a while before each new start", "again at once"
    if each or some:
        which = "" if len(some) == len(tried) else f" when it {_ended([*each, *some])}"
        return f"; there it was held for a while before some new starts{which}", "again"
    kept = [code for code in tried if lives[code][-1] == "held"]
    if not kept:
        return "", "again"
    when = "at last" if len(kept) == len(tried) else f"at last when it {_ended(kept)}"
    return f", and not held, as it was there {when}", "again"


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

    def __init__(
        self, holds: Outcome, removes: Outcome, released: Released = lambda code, start: False
    ) -> None:
        self.holds, self.removes, self.released = holds, removes, released

    def of(self, code: int | None, start: int) -> str:
        """`held`, `left` (the queue) or `again`. HTCondor asks on_exit_hold first; where a policy
        is undefined, the job is not held, and leaves the queue. Seen on 23.9.6 and 25.14.1."""
        if self.holds(code, start):
            return "held"
        return "again" if self.removes(code, start) is False else "left"

    def held_at_once(self, code: int | None, ends: int) -> bool:
        """Whether each of so many ends leads to a hold before on_exit_remove is asked."""
        return all(bool(self.holds(code, start)) for start in range(1, ends + 1))

    def life(self, code: int | None) -> list[str]:
        """What becomes of a job at its ends, one by one: it is tried again after all but the last.
        `_MOST` of them, and one, are without end."""
        found: list[str] = []
        for start in range(1, _MOST + 1):
            fate = self.of(code, start)
            found.append(fate)
            if fate == "left" or (fate == "held" and not self.released(code, start)):
                return found
        return [*found, found[-1]]

    def times(self, code: int | None) -> int:
        """How often it is tried again; `_MOST` is without end."""
        return len(self.life(code)) - 1


def until_of(values: Values, most: int) -> tuple[int, object] | None:
    """How often, of `most`, and after which ends of a job it is tried again until retry_until is
    true; None where that is not set, or cannot be said."""
    setting = values.take("retryuntil")
    if setting is None:
        return None
    until = outcome_of(values.value(setting))
    fates = _Fates(_never, until or _always)
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


class _CannotTell(Exception):
    """Whether a job is released is not known before it runs."""


_NOT_TOLD = (
    "it cannot be told here when it lets a job go that has failed and is held (it is read over "
    f"HoldReasonCode, ExitCode, NumJobStarts and how long the job is held): say it by {_RETRIES}"
)


def _released(values: Values) -> Released | None:
    """Whether `periodic_release` lets a job go that was held when it ended; None where it is not
    set, or lost. What it gives raises _CannotTell."""
    setting = values.values.get("periodicrelease")
    if setting is None or not setting.value.strip():
        return None
    try:
        release = condition(values.macros.constant(setting.value.strip()))
    except NotImported:
        return None  # it is told of where it is handed on
    except Unread:
        values.lose(setting, _NOT_TOLD)
        return None
    return lambda code, start: _is_let_go(release, _ended_ad(code, start))


def _is_let_go(release: Condition, ended: Mapping[str, Value]) -> bool:
    """Whether a held job is released at some time. It stays where that is undefined.

    Raises _CannotTell where that needs more than is known of it: a policy that is true for a while
    only may be asked too late.
    """
    held: dict[str, Value] = {**ended, "holdreasoncode": _BY_POLICY, "jobstatus": 5}
    late = release.value({**held, "enteredcurrentstatus": 0, "time()": _LATE, "currenttime": _LATE})
    if late is True:
        return True
    if late is UNKNOWN or release.value(held) is UNKNOWN:
        raise _CannotTell
    return False


def _never(code: int | None, start: int) -> bool | None:
    return False


def _always(code: int | None, start: int) -> bool | None:
    return True


def _ended_ad(code: int | None, start: int) -> dict[str, Value]:
    """What the ad of a job says that has ended so, at one of its starts."""
    return {
        "exitcode": UNDEFINED if code is _SIGNAL else code, "exitbysignal": code is _SIGNAL,
        "numjobstarts": start, "jobruncount": start,
    }  # fmt: skip


def outcome_of(text: str) -> Outcome | None:
    """An expression over ExitCode, ExitBySignal and NumJobStarts; None for any other."""
    try:
        found = condition(text)
    except Unread:
        return None
    if not found.names <= _KNOWN or '"' in text:
        return None

    def outcome(code: int | None, start: int) -> bool | None:
        said = found.value(_ended_ad(code, start))
        return said if isinstance(said, bool) else None

    return outcome

"""Events of a job that are told twice, late, or after the clock was set back.

Several processes write one log, each tells the time at which it made an event, and nothing keeps
them from writing one twice. What is older by its own time than what is known of its job is
* the same event again, if it is among those remembered: it changes nothing;
* told late, if it is older by no more than LATE_S: the times tell the order;
* else written after the clock was set back: the order of the log tells.
The last two are guesses, so that HTCondor is asked. (Of one second the order of the log counts.)
"""

from __future__ import annotations

from collections.abc import Callable

from osgbatch.model import JobState

LATE_S = 60.0
"""Seconds by which an event may be late; a clock is rarely set back by less."""
EXECUTING, HELD, TRANSFER = b"001", b"012", b"040"
_EVICTIONS = (b"004", b"007", b"024")
MOVES = frozenset([EXECUTING, *_EVICTIONS, b"010", b"011", HELD, b"013", TRANSFER])
"""The kinds of events that move a job's state, as long as it has not ended."""
_TO = {b"001": "running", b"010": "suspended", b"011": "running", b"012": "held", b"013": "waiting"}
SAME_S = 5.0
"""A job is not held again as soon as that."""
_LONGEST = 1500
"""Characters of a job's memory: some sixty events, of a job that has had many."""
OVER = ("completed", "removed")
"""States of a job that has ended."""
_SET_BACK = "|"
"""In a job's memory: the times before it are of another clock than those after it."""


def remember(job: JobState, kind: bytes, time: float, code: int = 0) -> None:
    """Keep in mind that a job was told of an event. (Not of its last start: `started` tells.)

    code: that of a hold.
    """
    entry = f" {kind.decode()}{f'.{code}' * bool(code)}@{time!r}"
    if not job.told.endswith(entry):
        job.told = f"{job.told}{entry}"
        if len(job.told) > _LONGEST:
            job.told = job.told[job.told.index(" ", len(job.told) - _LONGEST) :]


def holds_of(job: JobState) -> list[tuple[float, int]]:
    """When a job was put on hold, as far as it is remembered, in the order told; and the code.

    One that was told by the log and by the schedd, a second apart, is one.
    """
    found: list[tuple[float, int]] = []
    for entry in job.told.split():
        kind, _, when = entry.partition("@")
        kind, _, code = kind.partition(".")
        if kind == HELD.decode():
            one = float(when), int(code or 0)
            if not any(abs(one[0] - time) <= SAME_S and one[1] == other for time, other in found):
                found.append(one)
    return found


def remember_hold(job: JobState, time: float, code: int) -> None:
    """Keep in mind a hold that the schedd tells of, unless the log has told of it."""
    if not any(abs(time - known) <= SAME_S for known, _ in holds_of(job)):
        remember(job, HELD, time, code)


def _is_told(entries: list[str], kind: bytes, time: float) -> bool:
    begin, end = kind.decode(), f"@{time!r}"
    return any(entry.startswith(begin) and entry.endswith(end) for entry in entries)


def out_of_turn(
    job: JobState, kind: bytes, time: float, apply: Callable[[], None], late_s: float = LATE_S
) -> bool:
    """Take in an event that moves a job's state and is older than the last that did.

    apply: takes it as if it came in its turn; late_s: 0 where one process writes the whole log, in
    which nothing comes late. Says whether the state is doubtful, so that HTCondor should be asked.
    """
    entries = job.told.split()
    if _is_told(entries, kind, time) or (kind == EXECUTING and time == job.started):
        return False
    if kind == TRANSFER:  # it is not remembered, and tells little
        return False
    if job.changed - time > late_s:
        job.told += f" {_SET_BACK}"
        apply()
        return True
    known = _known(job, entries)
    state, latest = "waiting", 0.0
    for when, other in sorted([*known, (time, kind)], key=lambda one: one[0]):
        state, latest = _after(state, other), when
    if job.changed > latest and job.state.startswith("transferring"):
        state = job.state
    doubtful = state != _after(job.state, kind)
    _take_late(job, kind, time, state, apply, [when for when, other in known if other == HELD])
    return doubtful


def _known(job: JobState, entries: list[str]) -> list[tuple[float, bytes]]:
    """When what happened to a job, by one clock."""
    found = [(job.started, EXECUTING)] if 0 < job.started <= job.changed else []
    for entry in reversed(entries):
        if entry == _SET_BACK:
            break
        kind, _, when = entry.partition("@")
        found.append((float(when), kind[:3].encode()))
    return found


def _take_late(
    job: JobState,
    kind: bytes,
    time: float,
    state: str,
    apply: Callable[[], None],
    holds: list[float],
) -> None:
    """Count an event that is told late; state: what it leads to, together with all that is known.

    What it says of a start or a hold counts where none later is known. holds: when there were any.
    """
    told = job.reason, job.hold_code, job.hold_subcode
    changed, was = job.changed, job.state
    if (kind == EXECUTING and time > job.started) or kind == HELD:
        apply()
    else:
        remember(job, kind, time)
        job.starts += kind == EXECUTING
        job.evictions += kind in _EVICTIONS and job.starts > job.evictions
    if state != "held":
        told = "" if was == "held" else told[0], 0, 0
    if not (kind == HELD and state == "held" and time >= max(holds, default=0.0)):
        job.reason, job.hold_code, job.hold_subcode = told
    job.state, job.changed = state, changed


def _after(state: str, kind: bytes) -> str:
    """The state of a job after an event."""
    if kind in _EVICTIONS:
        return state if state == "held" else "waiting"
    return _TO.get(kind, state)


def joined(earlier: JobState, read: JobState) -> JobState:
    """What is known of a job of which events may be lost. read: what is told of it now.

    What was read from the job's first event on has counted its starts anew. What is older than what
    was known, as of a log that was cut, takes nothing back.
    """
    silent = read.state == "waiting" and not read.starts and not read.evictions
    silent = silent and read.changed <= earlier.changed
    if (earlier.state in OVER and read.state not in OVER) or (silent and earlier.starts):
        return earlier
    is_newer = earlier.changed <= read.changed or read.state in OVER
    kept, other = (read, earlier) if is_newer else (earlier, read)
    if not (is_newer and read.submitted):
        kept.starts = max(read.starts, earlier.starts)
        kept.evictions = max(read.evictions, earlier.evictions)
    known = kept.told.split()
    kept.told = "".join(f" {one}" for one in other.told.split() if one not in known) + kept.told
    kept.memory_mb = max(read.memory_mb, earlier.memory_mb)
    kept.submitted = read.submitted or earlier.submitted
    return kept

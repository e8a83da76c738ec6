"""When the schedd is asked about a round, and what its answer counts for.

The event log tells more and costs nobody anything, so the schedd is asked where events may be lost,
or where there were none for long, and once a minute about a whole batch at most.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from osgbatch import names
from osgbatch.batches.disorder import OVER, remember_hold
from osgbatch.batches.lost_events import ends_torn
from osgbatch.batches.notes import other_host
from osgbatch.batches.store import RoundRow, Store
from osgbatch.model import JobState, Round

if TYPE_CHECKING:
    from osgbatch.condor import Queued

ASK_AGAIN_S = 60
"""Seconds between two questions to the schedd about a batch, at least."""
SILENT_S = 600
"""Seconds without an event after which the schedd is asked whether that is right."""


def is_over(store: Store, row: RoundRow, round_: Round) -> bool:
    """Whether it is known of all jobs of a round how they ended.

    A cluster that has left the queue does not say so: of some jobs all events may be lost.
    """
    if row.leaving or store.has_open_jobs(round_.number):  # quickly found
        return False
    return len(store.ended_jobs(round_.number)) >= round_.jobs


def asking_helps(store: Store, row: RoundRow, round_: Round, *, fault: bool) -> bool:
    """Whether a round's schedd may know more than its log, and can be asked from this machine.

    fault: events cannot be read, or cannot be delivered.
    """
    silent = time.time() - row.asked
    if 0 <= silent < ASK_AGAIN_S or other_host(round_):
        return False
    log = round_.folder / names.EVENTS
    fault = fault or row.lost or ends_torn(log, row.offset)
    if not fault:
        with suppress(OSError):
            silent = min(abs(silent), abs(time.time() - log.stat().st_mtime))
        if silent < SILENT_S:
            return False
        if (row.removed or row.vanished) and not store.has_open_jobs(round_.number):
            return False
    return not is_over(store, row, round_)


def next_asked(rows: Collection[RoundRow], wanting: Iterable[int]) -> int | None:
    """Which round the schedd is to be asked about now: of those that want it (by number) the one
    that has waited longest; None while the last question about any round is too new.

    A question that lies in the future was asked by a clock that has been set back: it is none.
    """
    now = time.time()
    asked = {row.number: row.asked if row.asked <= now else 0.0 for row in rows}
    if any(now - when < ASK_AGAIN_S for when in asked.values()):
        return None
    return min(wanting, key=lambda number: (asked[number], number), default=None)


def take_answer(
    store: Store, row: RoundRow, jobs: int, told: Queued, news: Collection[int]
) -> tuple[dict[int, JobState], set[int]]:
    """Take an answer into the row of a round; gives the jobs it changes, and whose tasks may be so.

    jobs: how many the round has; news: the procs of which its log has told since it was asked.
    """
    nothing = told.next_proc is None and not told.queued
    # One answer may be another schedd's, or come before the history: two in a row count.
    vanished = nothing and row.absent
    affected = set(range(jobs)) if vanished != row.vanished else set()
    row.vanished, row.absent = vanished, nothing
    changed: dict[int, JobState] = {}
    missing: list[int] = []
    for proc in range(jobs if told.next_proc is None else told.next_proc):
        known = store.job(row.number, proc)
        if proc in news or (known and known.ended and proc not in row.leaving):
            continue  # the log knows it better by now
        fact = told.jobs.get(proc)
        if fact is not None:
            changed[proc] = answered(known, fact)
            continue
        missing.append(proc)
        # One that leaves the queue may not be in the history yet: asked twice.
        if known and not known.ended and proc in row.missing:
            known.state, known.reason = "gone", ""
            changed[proc] = known
    # Of those that are leaving, or have left without a trace yet, it will know more.
    on_their_way = {proc for proc in row.leaving if proc in missing and proc not in row.missing}
    row.leaving = sorted(on_their_way | told.leaving)
    row.lost = not set(missing) <= set(row.missing) or bool(row.leaving)
    row.missing = missing
    return changed, affected | {*changed, *missing}


def answered(known: JobState | None, fact: JobState) -> JobState:
    """A job of which the schedd tells a fact: what only the log tells of it stays.

    The log will tell of the start of one that runs, and counts it then.
    """
    since, fact.changed = fact.changed, 0.0
    if known is None:
        if not fact.ended:
            fact.starts, fact.started = 0, 0.0
        known = fact
    elif known.state in OVER and fact.state not in OVER:
        return known
    else:
        known.state, known.reason = fact.state, fact.reason
        known.hold_code, known.hold_subcode = fact.hold_code, fact.hold_subcode
        known.exit_code, known.signal, known.ended = fact.exit_code, fact.signal, fact.ended
        known.submitted = known.submitted or fact.submitted
        if fact.ended and fact.starts > known.starts:
            known.starts, known.started = fact.starts, fact.started or known.started
            known.host = fact.host
        known.host = known.host or fact.host
    if known.state == "held" and since:
        remember_hold(known, since, known.hold_code)
    return known

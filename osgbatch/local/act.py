"""Acts on chosen jobs of a round: ends them, or lets held ones run again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path

from osgbatch import names
from osgbatch.errors import BusyError, OsgbatchError
from osgbatch.local import events, processes, record, requests
from osgbatch.local.backend import (
    CANCEL_LIMIT_S,
    START_LIMIT_S,
    is_here,
    run_again,
    signal_loop,
    user,
)
from osgbatch.model import Round

LISTEN_LIMIT_S = 20.0
"""How long a runner may take to do what it is asked, the jobs' grace time left out."""
_OPEN = ("waiting", "running")


def job_states(round_: Round, cluster: int) -> list[str]:
    """The state of each proc, as the log tells it: waiting, running, held or ended."""
    return events.job_states(round_.folder / names.EVENTS, cluster, round_.jobs)


def requests_of(round_: Round, procs: Collection[int], field: str) -> dict[int, int]:
    """What jobs ask for, by proc. field: memory_mb (MiB) or disk_kb (KiB)."""
    more = requests.asked_for(round_.folder)
    work = record.read_work(record.resolved_path(round_.folder))
    with closing(record.Items(round_.folder / names.ITEMS, work)) as items:
        found = {proc: requests.with_amounts(items[proc], more.get(proc)) for proc in procs}
    return {proc: int(getattr(item.need.request, field)) for proc, item in found.items()}


def remove(round_: Round, cluster: int, procs: Sequence[int]) -> None:
    """End these jobs, and no others; returns when they have ended.

    Raises OsgbatchError when the runner has died, BusyError when it is on another machine or does
    not listen.
    """
    folder = round_.folder.resolve()
    wanted = requests.Request(f"via osgbatch cancel (by user {user()})", end=procs)
    lock = _ask(round_, cluster, wanted)
    if lock is None:
        return
    try:  # nobody runs the round: its jobs have ended, or are held
        states = job_states(round_, cluster)
        if any(states[proc] in _OPEN for proc in procs):
            raise _died(round_)
        log = events.EventLog(folder / names.EVENTS)
        held = [proc for proc in procs if states[proc] == "held"]
        log.write(b"".join(events.aborted_event(cluster, proc, wanted.why) for proc in held))
        log.close()
    finally:
        requests.done(folder)
        os.close(lock)


def release(
    round_: Round, cluster: int, procs: Sequence[int], memory_mb: int = 0, disk_kb: int = 0
) -> None:
    """Let these held jobs run again; the round's runner is started again if it has ended.

    memory_mb (MiB), disk_kb (KiB): what they ask for from now on, 0 for what they do. Raises
    OsgbatchError when the runner has died, BusyError when it is on another machine or does not
    listen.
    """
    folder = round_.folder.resolve()
    wanted = requests.Request(f"via osgbatch release (by user {user()})", release=procs)
    amounts = (memory_mb, disk_kb)
    lock = _ask(round_, cluster, wanted, amounts)
    if lock is None:
        return
    os.close(lock)
    if any(state in _OPEN for state in job_states(round_, cluster)):
        requests.done(folder)
        raise _died(round_)
    _write(folder, wanted, amounts)
    run_again(round_, START_LIMIT_S)


def _write(folder: Path, wanted: requests.Request, amounts: tuple[int, int]) -> None:
    """Ask it, and before that write down what released jobs ask for from now on, if it changes."""
    if any(amounts):
        requests.ask_for(folder, wanted.release, *amounts)
    requests.write_request(folder, wanted)


def _ask(
    round_: Round, cluster: int, wanted: requests.Request, amounts: tuple[int, int] = (0, 0)
) -> int | None:
    """Ask the runner, and wait until it is done; the round's lock when there is no runner."""
    folder = round_.folder.resolve()
    asked: record.Record | None = None
    limit = time.monotonic() + LISTEN_LIMIT_S
    while True:
        lock = processes.take_lock(folder / record.LOCK, 0.1)
        if lock is not None:
            return None if asked and _is_done(round_, cluster, wanted, lock) else lock
        if asked is None:
            asked = record.read_record(folder / record.RECORD)
            if asked is not None:
                if not is_here(asked):
                    raise BusyError(
                        f"the local runner of this round is on {asked.host}",
                        where=str(folder),
                        fix="Run the same command there.",
                    )
                _write(folder, wanted, amounts)
                signal_loop(asked, signal.SIGUSR1)
                limit += asked.grace_s + (CANCEL_LIMIT_S if wanted.end else 0)
        elif _is_done(round_, cluster, wanted):
            return None
        if time.monotonic() > limit:
            requests.done(folder)
            raise BusyError(
                "the local runner does not listen",
                where=str(folder),
                fix=f"Its log is {record.LOG} in this folder.",
            )


def _is_done(
    round_: Round, cluster: int, wanted: requests.Request, lock: int | None = None
) -> bool:
    """Whether the runner has done it; its lock, when it has ended meanwhile, is then given back."""
    if requests.read_request(round_.folder) is not None:
        return False
    states = job_states(round_, cluster)
    if any(states[proc] != "ended" for proc in wanted.end):
        return False
    if lock is not None:
        os.close(lock)
    return True


def _died(round_: Round) -> OsgbatchError:
    return OsgbatchError(
        "the local runner has died, and its jobs with it",
        where=str(round_.folder),
        fix="`osgbatch cancel` ends the batch, then `osgbatch resubmit --missing`.",
    )

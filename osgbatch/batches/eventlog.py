"""Reads HTCondor's text event log: bytes to events, then events to the states of jobs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from osgbatch.model import JobState

SUBMIT, EXECUTE, EVICTED, TERMINATED, IMAGE_SIZE, SHADOW_EXCEPTION = 0, 1, 4, 5, 6, 7
ABORTED, SUSPENDED, UNSUSPENDED, HELD, RELEASED = 9, 10, 11, 12, 13
RECONNECT_FAILED = 24
CLUSTER_SUBMIT, CLUSTER_REMOVE = 35, 36


class Event(NamedTuple):
    """One event: its number, job, time (seconds since 1970), first line and further lines."""

    kind: int
    cluster: int
    proc: int
    time: float
    text: str
    body: str


# MM/DD HH:MM:SS, or an ISO date with optional fraction and Z: DEFAULT_USERLOG_FORMAT_OPTIONS.
_HEADER = re.compile(
    r"(\d{3}) \((\d+)\.(-?\d+)\.\d+\) (\d\d/\d\d|\d{4}-\d\d-\d\d)[ T]"
    r"(\d\d:\d\d:\d\d)(\.\d+)?(Z?) ?([^\n]*)\n?"
)


def read_events(path: Path, year: int | None = None) -> Iterator[Event]:
    """The complete events of a log; a last event that is still being written is left out.

    A log that does not exist yet has no events. Raises OSError when it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
    except FileNotFoundError:
        return
    yield from parse_events(text, year or datetime.now().year)


def parse_events(text: str, year: int) -> Iterator[Event]:
    """The complete events in a text; year: of dates that are written without one."""
    blocks = text.split("\n...\n")
    blocks.pop()  # what follows the last "..." is empty, or not complete
    for block in blocks:
        match = _HEADER.match(block.lstrip("\n"))
        if match is None:
            continue
        kind, cluster, proc, date, clock, fraction, zulu, first = match.groups()
        if "/" in date:
            date = f"{year}-{date.replace('/', '-')}"
        moment = datetime.fromisoformat(f"{date}T{clock}")
        if zulu:
            moment = moment.replace(tzinfo=timezone.utc)
        seconds = moment.timestamp() + float(fraction or 0)
        body = block.lstrip("\n")[match.end() :]
        yield Event(int(kind), int(cluster), int(proc), seconds, first, body)


_EXIT = re.compile(r"\(1\) Normal termination \(return value (-?\d+)\)")
_SIGNAL = re.compile(r"\(0\) Abnormal termination \(signal (\d+)\)")
_HOLD_CODE = re.compile(r"Code (\d+) Subcode (-?\d+)")
_MEMORY = re.compile(r"(\d+)\s+-\s+MemoryUsage of job")
_MEMORY_ROW = re.compile(r"Memory \(MB\)\s*:\s*(\d+)\s")
_SLOT = re.compile(r"^\s*SlotName: (\S+)", re.M)
_HOST = re.compile(r"Job executing on host: <?([^>?\s]+)")


def fold(events: Iterable[Event], cluster: int) -> dict[int, JobState]:
    """The state of every job of a cluster that the events speak of, by proc.

    An event that is there twice changes nothing.
    """
    jobs: dict[int, JobState] = {}
    seen: set[Event] = set()
    for event in events:
        if event.cluster != cluster or event.proc < 0 or event in seen:
            continue
        seen.add(event)
        job = jobs.get(event.proc) or JobState(event.proc)
        jobs[event.proc] = _apply(job, event)
    return jobs


_OVER = ("completed", "removed")


def _apply(job: JobState, event: Event) -> JobState:
    kind = event.kind
    if kind == SUBMIT:
        return replace(job, submitted=event.time)
    if kind == IMAGE_SIZE:
        found = _MEMORY.search(event.body)
        return replace(job, memory_mb=max(job.memory_mb, int(found[1]))) if found else job
    if job.state in _OVER and kind not in (TERMINATED, ABORTED):
        return job
    if kind == EXECUTE:
        host = _SLOT.search(event.body) or _HOST.search(event.text)
        return replace(
            job,
            state="running",
            starts=job.starts + 1,
            started=event.time,
            host=host[1] if host else "",
            reason="",
        )
    if kind in (EVICTED, SHADOW_EXCEPTION, RECONNECT_FAILED):
        return replace(job, state="waiting", reason=_first_line(event))
    if kind == HELD:
        codes = _HOLD_CODE.search(event.body)
        return replace(
            job,
            state="held",
            reason=_hold_reason(event.body),
            hold_code=int(codes[1]) if codes else 0,
            hold_subcode=int(codes[2]) if codes else 0,
        )
    if kind == RELEASED:
        return replace(job, state="waiting", reason="", hold_code=0, hold_subcode=0)
    if kind == TERMINATED:
        exited, signalled = _EXIT.search(event.body), _SIGNAL.search(event.body)
        memory = _MEMORY_ROW.search(event.body)
        return replace(
            job,
            state="completed",
            exit_code=int(exited[1]) if exited else None,
            signal=int(signalled[1]) if signalled else None,
            ended=event.time,
            memory_mb=max(job.memory_mb, int(memory[1])) if memory else job.memory_mb,
            reason="",
        )
    if kind == ABORTED:
        return replace(job, state="removed", reason=_first_line(event), ended=event.time)
    return job


def _first_line(event: Event) -> str:
    line = event.body.strip().split("\n")[0].strip()
    return line or event.text.strip()


def _hold_reason(body: str) -> str:
    lines = [line.strip() for line in body.split("\n")]
    return " ".join(line for line in lines if line and not _HOLD_CODE.match(line))


@dataclass(frozen=True)
class LogSummary:
    """What a round's log tells: its cluster (0: not yet there) and its jobs by proc.

    removed: the whole cluster has left the queue, so procs without an event will never come.
    """

    cluster: int
    jobs: dict[int, JobState]
    removed: bool = False


def summarize(path: Path, cluster: int = 0) -> LogSummary:
    """Read a round's log. cluster: which one, when known; else the first that was submitted."""
    events = list(read_events(path))
    if not cluster:
        submitted = (e.cluster for e in events if e.kind in (SUBMIT, CLUSTER_SUBMIT))
        cluster = next(submitted, 0)
    removed = any(e.kind == CLUSTER_REMOVE and e.cluster == cluster for e in events)
    return LogSummary(cluster, fold(events, cluster), removed)

"""Reads HTCondor's text event log: bytes to events, then events to the states of jobs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO, NamedTuple

from osgbatch.model import JobState

SUBMIT, EXECUTE, EVICTED, TERMINATED, IMAGE_SIZE, SHADOW_EXCEPTION = 0, 1, 4, 5, 6, 7
ABORTED, HELD, RELEASED = 9, 12, 13
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


def parse_events(text: str, year: int) -> Iterator[Event]:
    """The complete events in a text; year: of dates that are written without one."""
    blocks = text.split("\n...\n")
    blocks.pop()  # what follows the last "..." is empty, or not complete
    for block in blocks:
        block = block.lstrip("\n")
        match = _HEADER.match(block)
        if match is None:
            continue
        kind, cluster, proc, date, clock, fraction, zulu, first = match.groups()
        seconds = _time(date, clock, fraction, zulu, year)
        if seconds is not None:
            body = block[match.end() :]
            yield Event(int(kind), int(cluster), int(proc), seconds, first, body)


def _time(date: str, clock: str, fraction: str | None, zulu: str, year: int) -> float | None:
    """Seconds since 1970; None for a date that there is not.

    29 February without a year is of the last leap year, also when the log is read later.
    """
    years = [year] if "-" in date else range(year, year - 8, -1)
    for candidate in years:
        day = date if "-" in date else f"{candidate}-{date.replace('/', '-')}"
        try:
            moment = datetime.fromisoformat(f"{day}T{clock}")
        except ValueError:
            continue
        if zulu:
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.timestamp() + float(fraction or 0)
    return None


_EXIT = re.compile(r"\(1\) Normal termination \(return value (-?\d+)\)")
_SIGNAL = re.compile(r"\(0\) Abnormal termination \(signal (\d+)\)")
_HOLD_CODE = re.compile(r"Code (\d+) Subcode (-?\d+)")
_MEMORY = re.compile(r"(\d+)\s+-\s+MemoryUsage of job")
_MEMORY_ROW = re.compile(r"Memory \(MB\)\s*:\s*(\d+)\s")
_SLOT = re.compile(r"^\s*SlotName: (\S+)", re.M)
_HOST = re.compile(r"Job executing on host: <?([^>?\s]+)")


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
        if exited is None and signalled is None:
            return job  # torn: what follows is another event's
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


class LogReader:
    """Reads a round's log and keeps what it tells; a later `read` reads only what is new.

    cluster: which one, 0 until it is known; jobs: the states of its jobs by proc; removed: the
    whole cluster has left the queue, so procs without an event will never come.
    """

    def __init__(self, path: Path, cluster: int = 0) -> None:
        self.path = path
        self.given = cluster
        self._forget()

    def _forget(self) -> None:
        self.cluster = self.given
        self.jobs: dict[int, JobState] = {}
        self.removed = False
        self._identity: tuple[int, int] | None = None
        self._offset = 0
        self._last: dict[int, Event] = {}

    def read(self) -> bool:
        """Read on; says whether there was anything new. A log that is not there has no events.

        A log that was replaced or cut short is read from its start. Raises OSError when it cannot
        be read.
        """
        try:
            stream = self.path.open("rb")
        except FileNotFoundError:
            return False
        with stream:
            status = os.fstat(stream.fileno())
            identity = (status.st_dev, status.st_ino)
            if identity != self._identity or status.st_size < self._offset:
                self._forget()
                self._identity = identity
            news = False
            while self._read_block(stream):
                news = True
        return news

    def _read_block(self, stream: BinaryIO) -> bool:
        """Take the complete events of the next megabytes, so that memory stays flat."""
        stream.seek(self._offset)
        block = stream.read(_BLOCK)
        size = _BLOCK
        while (end := block.rfind(b"\n...")) < 0 or not (end := _line_end(block, end)):
            more = stream.read(size)
            if not more:
                return False
            block += more
        self._offset += end
        text = block[:end].decode("utf-8", "replace").replace("\r\n", "\n")
        self.take(parse_events(text, datetime.now().year))
        return True

    def take(self, events: Iterable[Event]) -> None:
        """Fold events into the jobs' states. An event that is there twice in a row counts once."""
        for event in events:
            if not self.cluster and event.kind in (SUBMIT, CLUSTER_SUBMIT):
                self.cluster = event.cluster
            if event.cluster != self.cluster:
                continue
            if event.proc < 0:
                self.removed = self.removed or event.kind == CLUSTER_REMOVE
            elif self._last.get(event.proc) != event:
                self._last[event.proc] = event
                job = self.jobs.get(event.proc) or JobState(event.proc)
                self.jobs[event.proc] = _apply(job, event)


_BLOCK = 8 * 1024 * 1024


def _line_end(block: bytes, dots: int) -> int:
    """Where the line of an event's end (`...`) at `dots` ends; 0 when it is not complete."""
    for ending in (b"\n...\n", b"\n...\r\n"):
        if block.startswith(ending, dots):
            return dots + len(ending)
    before = block.rfind(b"\n...", 0, dots)
    return _line_end(block, before) if before >= 0 else 0


def log_cluster(path: Path) -> int:
    """The cluster that a round's log speaks of; 0 when there is none yet."""
    reader = LogReader(path)
    reader.read()
    return reader.cluster

"""Reads HTCondor's text event log: what is new in it, folded into the states of jobs.

Written for logs of millions of events: one pass over bytes, one match for each event, and nothing
kept but the state of each job. Formats: htcondor src/condor_utils/condor_event.cpp, as seen on
23.9.6 and 25.14.1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from osgbatch.batches.clock import Clock as Clock
from osgbatch.batches.disorder import EXECUTING, LATE_S, MOVES, joined, out_of_turn, remember
from osgbatch.model import JobState

# Dates MM/DD HH:MM:SS, or ISO with optional fraction and Z: DEFAULT_USERLOG_FORMAT_OPTIONS.
_HEADER = re.compile(
    rb"\s*(\d{3}) \((\d+)\.(-?\d+)\.\d+\) (\d[\d/-]*[ T]\d\d:\d\d):(\d\d)(\.\d+)?(Z?) ?"
)
_BLOCK = 4 * 1024 * 1024
_SECONDS = 10_000
"""So many seconds are known at a time by how they are written."""
_TAIL = 40
_HEAD = 80
"""Bytes by which a log is known again: its first event tells cluster and time. (Inodes are given
out again, and the device of a network file system changes when it is mounted anew.)"""
_END = b"\n...\n"

Fold = Callable[[JobState, float, bytes, int], None]
"""Takes into a job what an event tells: its time (s since 1970), its text, and where that begins
to speak."""


def _submitted(job: JobState, time: float, text: bytes, begin: int) -> None:
    job.submitted = time


_HOST = re.compile(rb"Job executing on host: <?([^>?\s]+)")


def _executing(job: JobState, time: float, text: bytes, begin: int) -> None:
    slot = text.find(b"\tSlotName: ")
    if slot >= 0:
        host = _line(text, slot + 11)
    else:
        found = _HOST.match(text, begin)
        host = found[1].decode("utf-8", "replace") if found else ""
    if job.started == time and job.host == host and job.starts and job.state != "gone":
        return  # told twice
    if job.started != time or job.host != host:
        if job.starts:
            remember(job, EXECUTING, job.started)
        job.starts += 1
        job.output_began = 0.0
        if job.input_began < job.started:  # of the start before
            job.input_began = 0.0
    job.state, job.started, job.host, job.reason = "running", time, host, ""
    job.changed = time


def _evicted(job: JobState, time: float, text: bytes, begin: int) -> None:
    if job.state not in ("waiting", "held"):
        job.evictions += 1
    if job.state != "held":
        job.state, job.reason = "waiting", _eviction_reason(text, begin)
    job.changed = time
    remember(job, text.lstrip()[:3], time)


def _image_size(job: JobState, time: float, text: bytes, begin: int) -> None:
    usage = text.find(b"MemoryUsage of job")
    words = text[text.rfind(b"\n", 0, usage) : usage].split() if usage >= 0 else ()
    if words and words[0].isdigit():
        job.memory_mb = max(job.memory_mb, int(words[0]))


def _transfer(job: JobState, time: float, text: bytes, begin: int) -> None:
    if text.startswith(b"Started transferring ", begin):
        is_input = text.startswith(b"i", begin + 21)
        if is_input:
            job.state, job.input_began = "transferring input", time
        else:
            job.state, job.output_began = "transferring output", time
        job.changed = time


def _suspended(job: JobState, time: float, text: bytes, begin: int) -> None:
    job.state, job.changed = "suspended", time
    remember(job, b"010", time)


def _resumed(job: JobState, time: float, text: bytes, begin: int) -> None:
    job.state, job.changed = "running", time
    remember(job, b"011", time)


_HOLD_CODE = re.compile(rb"Code (\d+) Subcode (-?\d+)")
_TIMES_ONLY = re.compile(rb"\s*\([01]\) (CPU times|Job was checkpointed)")
_REASON = re.compile(rb"^\s*Reason: ", re.M)


def _held(job: JobState, time: float, text: bytes, begin: int) -> None:
    codes = _HOLD_CODE.search(text)
    job.state, job.changed = "held", time
    job.reason = _hold_reason(text)
    job.hold_code = int(codes[1]) if codes else 0
    job.hold_subcode = int(codes[2]) if codes else 0
    remember(job, b"012", time, job.hold_code)


def _released(job: JobState, time: float, text: bytes, begin: int) -> None:
    job.state, job.reason, job.changed = "waiting", "", time
    job.hold_code = job.hold_subcode = 0
    remember(job, b"013", time)


_ENDED = re.compile(
    rb"\((?:1\) Normal termination \(return value|0\) Abnormal termination \(signal)"
    rb" (-?\d+)\)"
)
_MEMORY_ROW = re.compile(rb"Memory \(MB\)\s*:\s*(\d+)(?: +(\d+) +\d+)?\s")


def _terminated(job: JobState, time: float, text: bytes, begin: int) -> None:
    how = _ENDED.search(text)
    if how is None:
        return  # torn: what follows is another event's
    number, killed = int(how[1]), how[0].startswith(b"(0")
    job.exit_code, job.signal = (None, number) if killed else (number, None)
    memory = _MEMORY_ROW.match(text, max(0, text.rfind(b"Memory (MB)")))
    if memory:
        job.memory_mb = max(job.memory_mb, int(memory[1]))
        job.memory_requested_mb = int(memory[2] or 0)
    job.state, job.ended, job.reason = "completed", time, ""
    job.changed = time


def _aborted(job: JobState, time: float, text: bytes, begin: int) -> None:
    if job.state == "completed":
        return
    job.state, job.reason, job.ended = "removed", _first_line(text, begin), time
    job.changed = time


def _line(text: bytes, start: int) -> str:
    end = text.find(b"\n", start)
    return text[start : end if end >= 0 else len(text)].decode("utf-8", "replace").strip()


def _first_line(text: bytes, begin: int) -> str:
    """What an event says below its first line, else in it."""
    body = text.partition(b"\n")[2].strip()
    return _line(body, 0) if body else _line(text, begin)


def _eviction_reason(text: bytes, begin: int) -> str:
    """Event 004 mostly says how long it ran, and why in a line `Reason: ...`, if at all."""
    if not _TIMES_ONLY.match(text.partition(b"\n")[2]):
        return _first_line(text, begin)
    told = _REASON.search(text)
    return _line(text, told.end() if told else begin)


def _hold_reason(text: bytes) -> str:
    lines = [line.strip() for line in text.split(b"\n")[1:]]
    told = b" ".join(line for line in lines if line and not _HOLD_CODE.match(line))
    return told.decode("utf-8", "replace")


_FOLDS: dict[bytes, Fold] = {
    b"000": _submitted,
    b"001": _executing,
    b"004": _evicted,
    b"005": _terminated,
    b"006": _image_size,
    b"007": _evicted,  # shadow exception
    b"009": _aborted,
    b"010": _suspended,
    b"011": _resumed,
    b"012": _held,
    b"013": _released,
    b"024": _evicted,  # reconnect failed
    b"040": _transfer,
}
_FINAL = (_terminated, _aborted, _image_size, _submitted)
"""What may still be told of a job that is over."""
_NEXT = re.compile(rb"(?<!^)(?=\d{3} \(\d+\.-?\d+\.\d+\) (?:\d{4}-)?\d\d[-/]\d\d )")
"""Another event, also in the middle of a line: a full disk cuts anywhere."""
_CLUSTER_SUBMIT, _CLUSTER_REMOVE = b"035", b"036"


def _nothing(proc: int) -> JobState | None:
    return None


class LogReader:
    """Reads a round's log and keeps what it tells; a later `read` reads only what is new.

    cluster: which one, 0 until it is known; jobs: the states of its jobs by proc, those that were
    read; removed: the whole cluster has left the queue, so procs without an event will never come.
    offset: how far it was read, in bytes; head, tail: what the log began with then, and what stood
    before the offset: one that was cut, and has grown again, is another.
    known: what is known of a job from earlier looks, None for nothing; asked once for each.
    restarted: the log was replaced or cut short, so that events may have been lost. torn: so they
    may as something in it is no event, as a disk that was full for a while leaves it.
    late_s, doubtful: see out_of_turn; the procs whose states came out of the order of times.
    """

    folds: Mapping[bytes, Fold] = _FOLDS

    def __init__(
        self,
        path: Path,
        cluster: int = 0,
        *,
        known: Callable[[int], JobState | None] = _nothing,
        offset: int = 0,
        head: bytes = b"",
        tail: bytes = b"",
        late_s: float = LATE_S,
    ) -> None:
        self.path = path
        self.cluster = cluster
        self.jobs: dict[int, JobState] = {}
        self.removed = False
        self.doubtful: set[int] = set()
        self.late_s = late_s
        self.restarted = False
        self.torn = False
        self.offset = offset
        self.head = head
        self.tail = tail
        self._known = known
        self._clock = Clock(datetime.now().year)
        self._minutes: dict[bytes, float | None] = {}
        self._seconds: dict[bytes, float] = {}

    def read(self) -> bool:
        """Read on; says whether there was anything new. A log that is not there has no events.

        A log that was replaced or cut short is read from its start; what is known of its jobs
        stays, since its events may be lost. Raises OSError when it cannot be read.
        """
        try:
            stream = self.path.open("rb")
        except FileNotFoundError:
            self.restarted = self.restarted or self.offset > 0
            return False
        with stream:
            size = os.fstat(stream.fileno()).st_size
            if size >= self.offset and self._is_known(stream):
                return self._read_on(stream)
            self.restarted, self.offset, self.head, self.tail = True, 0, b"", b""
            before, known = self.jobs, self._known
            self.jobs, self._known = {}, _nothing
            try:
                news = self._read_on(stream)
            finally:
                self._known = known
            for proc, job in self.jobs.items():
                earlier = before.get(proc) or known(proc)
                if earlier:
                    self.jobs[proc] = joined(earlier, job)
            self.jobs = {**before, **self.jobs}
            return news

    def _is_known(self, stream: BinaryIO) -> bool:
        """Whether what was read still stands there."""
        if stream.read(len(self.head)) != self.head:
            return False
        stream.seek(self.offset - len(self.tail))
        return stream.read(len(self.tail)) == self.tail

    def _read_on(self, stream: BinaryIO) -> bool:
        news = False
        while self.read_block(stream):
            news = True
        return news

    def read_block(self, stream: BinaryIO) -> bool:
        """Take the complete events of the next megabytes, so that memory stays flat.

        Says whether there were any.
        """
        stream.seek(self.offset)
        block = stream.read(_BLOCK)
        while not (end := _last_end(block)):
            more = stream.read(_BLOCK)
            if not more:
                return False
            block += more
        if not self.offset:
            self.head = block[: min(end, _HEAD)]
        self.offset += end
        block = block[:end]
        self.tail = block[-_TAIL:]
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n")
        self.take(block)
        return True

    def take(self, block: bytes) -> None:
        """Fold events into the jobs' states. What follows the last `...` is no event."""
        events = block.split(_END)
        events.pop()
        jobs, seconds, folds = self.jobs, self._seconds, self.folds
        start, size = self._start()
        for text in events:
            # The usual header is cut at its places; a second that is known vouches for its form.
            dot = text.find(b".", size)
            time = seconds.get(text[dot + 6 : dot + 26])
            if time is None or not text.startswith(start, 3):
                found = self._header(text)
                if found is None:
                    if not _HEADER.match(text):
                        self._take_rest(text)
                    continue
                kind, proc, time, begin = found
                start, size = self._start()
            else:
                kind, begin = text[:3], dot + 26
                try:
                    proc = int(text[size:dot])
                except ValueError:  # a full disk, or zeros of a network file system
                    self._take_rest(text)
                    continue
            fold = folds.get(kind)
            if text.find(b".000) ", begin) >= 0 and _NEXT.search(text):
                self._take_rest(text)
                continue
            if fold is None:
                self.removed = self.removed or kind == _CLUSTER_REMOVE
                continue
            job = jobs.get(proc)
            if job is None:
                job = jobs[proc] = self._known(proc) or JobState(proc)
            if time < job.changed and kind in MOVES and not job.ended:
                take = partial(fold, job, time, text, begin)
                if out_of_turn(job, kind, time, take, self.late_s):
                    self.doubtful.add(proc)
            elif not job.ended or fold in _FINAL:
                fold(job, time, text, begin)

    def _take_rest(self, torn: bytes) -> None:
        """Take the event that follows a torn one without an end between, if one does."""
        self.torn = True
        if starts := [found.start() for found in _NEXT.finditer(torn)]:
            self.take(torn[starts[-1] :] + _END)

    def _start(self) -> tuple[bytes, int]:
        """What stands before a proc's number in the header of our cluster, and where that ends."""
        start = b" (%03d." % self.cluster if self.cluster else b"?"
        return start, 3 + len(start)

    def _header(self, text: bytes) -> tuple[bytes, int, float, int] | None:
        """Kind, proc, time and begin of the words of any event of a job of ours."""
        header = _HEADER.match(text)
        if header is None:
            return None
        kind, of, number, minute, second, fraction, zulu = header.groups()
        cluster, proc = int(of), int(number)
        if not self.cluster and kind in (b"000", _CLUSTER_SUBMIT):
            self.cluster = cluster
        if cluster != self.cluster:
            return None
        key = minute + zulu
        if key not in self._minutes:
            self._minutes[key] = self._clock(key)
        base = self._minutes[key]
        if base is None:
            return None
        if not zulu and not fraction and len(minute) == 16:
            if len(self._seconds) > _SECONDS:
                self._seconds.clear()
            self._seconds[b"%b:%b " % (minute, second)] = base + int(second)
        return kind, proc, base + int(second) + float(fraction or 0), header.end()


def _last_end(block: bytes) -> int:
    """Where the last complete event of a block ends; 0 when none is complete."""
    end = block.rfind(_END)
    other = block.rfind(b"\n...\r\n", end + 1)
    if other >= 0:
        return other + 6
    return end + 5 if end >= 0 else 0


def log_cluster(path: Path) -> int:
    """The cluster that a round's log speaks of; 0 when there is none yet.

    No more of a long log is read than that takes. Raises OSError when it cannot be read: then it
    is not known.
    """
    reader = LogReader(path)
    try:
        with path.open("rb") as stream:
            while not reader.cluster and reader.read_block(stream):
                pass
    except FileNotFoundError:
        return 0
    return reader.cluster

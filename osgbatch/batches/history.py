"""What became of each start of a round's jobs, and when: the event log read for the report.

JobState knows only how things are; core hours, waiting and transfers need how they came to be so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from osgbatch.batches.eventlog import Fold, LogReader
from osgbatch.model import JobState

COMPLETED, EVICTED, HELD, REMOVED, OPEN = "completed", "evicted", "held", "removed", "open"
"""How a start of a job ended. OPEN: it has not."""
_TOGETHER_S = 5.0
"""HTCondor 25.14 writes that a job was evicted, and at once that it is held."""


class Start(NamedTuple):
    """One start of a job; times in seconds since 1970, 0 where there was no such event.

    begin: when it took the slot (the transfer of its input began); run, output, end: when the
    program, and the transfer of its output, began, and when it ended. how: see above.
    cores: how many it kept busy on average, disk_kb: the scratch folder; -1 when not told.
    code: what the job returned, None where it did not.
    """

    begin: float
    run: float
    output: float
    end: float
    how: str
    slot: str
    cores: float = -1.0
    disk_kb: int = -1
    code: int | None = None


class Hold(NamedTuple):
    """When a job was on hold; end: 0 while it is."""

    begin: float
    end: float


@dataclass(slots=True)
class JobTold(JobState):
    """A job as its events are read: its starts so far, and the one that goes on."""

    past: list[Start] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    begin: float = 0.0
    run: float = 0.0
    output: float = 0.0

    def close(
        self,
        time: float,
        how: str,
        cores: float = -1.0,
        disk_kb: int = -1,
        code: int | None = None,
    ) -> None:
        """End the start that goes on, if one does."""
        begin = self.begin or self.run
        if begin:
            end = max(begin, time)  # a clock may have been set back
            one = Start(begin, self.run, self.output, end, how, self.host, cores, disk_kb, code)
            self.past.append(one)
        self.begin = self.run = self.output = 0.0
        self.host = ""

    def all_starts(self) -> list[Start]:
        """Those that ended, and the one that goes on."""
        begin = self.begin or self.run
        if not begin:
            return self.past
        return [*self.past, Start(begin, self.run, self.output, 0.0, OPEN, self.host)]


def _submitted(job: JobState, time: float, text: bytes, begin: int) -> None:
    job.submitted = time


def _transfer(job: JobState, time: float, text: bytes, begin: int) -> None:
    assert isinstance(job, JobTold)
    if not text.startswith(b"Started transferring ", begin):
        return
    if not text.startswith(b"i", begin + 21):
        job.output = job.output or time
    elif not job.begin:
        job.begin = time


def _executing(job: JobState, time: float, text: bytes, begin: int) -> None:
    assert isinstance(job, JobTold)
    if job.run == time:  # the same event again
        return
    if job.run:  # how it ended is lost
        job.close(time, EVICTED)
    slot = text.find(b"\tSlotName: ")
    name = text[slot + 11 :].partition(b"\n")[0] if slot >= 0 else b""
    job.host = name.decode("utf-8", "replace").strip()
    job.begin, job.run = job.begin or time, time


def _evicted(job: JobState, time: float, text: bytes, begin: int) -> None:
    assert isinstance(job, JobTold)
    job.close(time, EVICTED)


def _held(job: JobState, time: float, text: bytes, begin: int) -> None:
    assert isinstance(job, JobTold)
    job.close(time, HELD)
    last = job.past[-1] if job.past else None
    if last and last.how == EVICTED and abs(time - last.end) <= _TOGETHER_S:
        job.past[-1] = last._replace(how=HELD)
    if not job.holds or job.holds[-1].end:
        job.holds.append(Hold(time, 0.0))


def _released(job: JobState, time: float, text: bytes, begin: int) -> None:
    assert isinstance(job, JobTold)
    if job.holds and not job.holds[-1].end:
        job.holds[-1] = Hold(job.holds[-1].begin, time)


_USAGE = re.compile(rb"Cpus\s*:[ \t]+([\d.]+)[ \t]+[\d.]+[ \t]+[\d.]+")
_CODE = re.compile(rb"\(return value (-?\d{1,9})\)")
_DISK = re.compile(rb"Disk \(KB\)\s*:[ \t]+(\d+)[ \t]+\d+[ \t]+\d+")


def _terminated(job: JobState, time: float, text: bytes, begin: int) -> None:
    assert isinstance(job, JobTold)
    table = max(0, text.find(b"Partitionable Resources"))
    cores, disk = _USAGE.search(text, table), _DISK.search(text, table)
    try:
        busy = float(cores[1]) if cores else -1.0
    except ValueError:
        busy = -1.0
    code = _CODE.search(text, begin)
    told = int(code[1]) if code else None
    job.close(time, COMPLETED, busy, int(disk[1]) if disk else -1, told)
    job.ended = time


def _aborted(job: JobState, time: float, text: bytes, begin: int) -> None:
    assert isinstance(job, JobTold)
    job.close(time, REMOVED)
    _released(job, time, text, begin)
    job.ended = time


class _Reader(LogReader):
    folds: Mapping[bytes, Fold] = {
        b"000": _submitted,
        b"001": _executing,
        b"004": _evicted,
        b"005": _terminated,
        b"007": _evicted,
        b"009": _aborted,
        b"012": _held,
        b"013": _released,
        b"024": _evicted,
        b"040": _transfer,
    }


@dataclass(frozen=True)
class JobHistory:
    """What an event log tells of one job; submitted: seconds since 1970, 0 when not told."""

    submitted: float
    starts: tuple[Start, ...]
    holds: tuple[Hold, ...]


def read_history(log: Path, cluster: int) -> dict[int, JobHistory]:
    """The starts and holds of a cluster's jobs, by proc, as far as its log tells.

    A log that is not there tells nothing. Raises OSError when it cannot be read.
    """
    reader = _Reader(log, cluster, known=JobTold)
    reader.read()
    found = {}
    for proc, job in reader.jobs.items():
        assert isinstance(job, JobTold)
        found[proc] = JobHistory(job.submitted, tuple(job.all_starts()), tuple(job.holds))
    return found

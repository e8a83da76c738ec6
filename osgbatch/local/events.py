"""HTCondor's text event log: how each event is written, and which jobs have not ended.

The format is that of HTCondor 25.14 with ISO dates (`DEFAULT_USERLOG_FORMAT_OPTIONS = ISO_DATE`),
as its own reader, `htcondor2.JobEventLog`, takes it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

END = b"...\n"


@dataclass(frozen=True)
class Usage:
    """What one start of a job used. Times in seconds; memory of its largest process, in MiB."""

    user_s: float = 0.0
    system_s: float = 0.0
    wall_s: float = 0.0
    memory_mb: int = 0
    disk_kb: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0


@dataclass(frozen=True)
class Request:
    """What a job asks for, as the usage table shows it."""

    cpus: int
    memory_mb: int
    disk_kb: int


def one_line(text: str) -> str:
    """`text` without line breaks or characters that UTF-8 cannot hold: reasons are one line."""
    visible = text.encode("utf-8", "backslashreplace").decode()
    return visible.replace("\n", "\\n").replace("\r", "\\r")


def _event(number: int, cluster: int, proc: int, body: str, when: float | None = None) -> bytes:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
    return f"{number:03d} ({cluster:03d}.{proc:03d}.000) {stamp} {body}\n...\n".encode()


def submit_events(cluster: int, procs: Iterable[int], host: str) -> bytes:
    """Event 000 for each proc."""
    first, second = _event(0, cluster, 0, f"Job submitted from host: {_address(host)}").split(
        b".000.000)", 1
    )
    return b"".join(b"%s.%03d.000)%s" % (first, proc, second) for proc in procs)


def execute_event(
    cluster: int, proc: int, host: str, slot: str, scratch: str, req: Request
) -> bytes:
    """Event 001: the job was started in `slot`."""
    return _event(
        1,
        cluster,
        proc,
        f"Job executing on host: {_address(host)}\n"
        f"\tSlotName: {slot}@{host}\n"
        f"\tCondorScratchDir = {classad_string(scratch)}\n"
        f"\tCpus = {req.cpus}\n"
        f"\tDisk = {req.disk_kb}\n"
        f"\tMemory = {req.memory_mb}",
    )


def terminated_event(
    cluster: int, proc: int, code: int, total: Usage, run: Usage, req: Request
) -> bytes:
    """Event 005: the job has ended. code: exit code, or minus the signal that killed it."""
    return _event(
        5,
        cluster,
        proc,
        "Job terminated.\n"
        f"{_how(code)}"
        f"{_times(run, 'Run')}{_times(total, 'Total')}"
        f"{_bytes(run, 'Run')}{_bytes(total, 'Total')}{_table(run, req)}",
    )


def requeued_event(cluster: int, proc: int, code: int, run: Usage, req: Request, why: str) -> bytes:
    """Event 004: the job has ended and will be started again. code as in event 005."""
    return _event(
        4,
        cluster,
        proc,
        "Job was evicted.\n\t(0) Job terminated and was requeued\n"
        f"{_times(run, 'Run')}{_bytes(run, 'Run')}{_how(code)}"
        f"\t{one_line(why)}\n{_table(run, req)}",
    )


def evicted_event(cluster: int, proc: int, run: Usage, req: Request, why: str) -> bytes:
    """Event 004: the job was stopped, not ended; it waits again."""
    return _event(
        4,
        cluster,
        proc,
        "Job was evicted.\n\t(0) CPU times\n"
        f"{_times(run, 'Run')}{_bytes(run, 'Run')}\tReason: {one_line(why)}\n{_table(run, req)}",
    )


def aborted_event(cluster: int, proc: int, why: str) -> bytes:
    """Event 009: the job was removed."""
    return _event(9, cluster, proc, f"Job was aborted.\n\t{one_line(why)}")


def held_event(cluster: int, proc: int, code: int, subcode: int, why: str) -> bytes:
    """Event 012: the job is held (hold codes: reference 2.8)."""
    return _event(
        12, cluster, proc, f"Job was held.\n\t{one_line(why)}\n\tCode {code} Subcode {subcode}"
    )


def released_event(cluster: int, proc: int, why: str) -> bytes:
    """Event 013: the job was released, and waits again."""
    return _event(13, cluster, proc, f"Job was released.\n\t{one_line(why)}")


def classad_string(text: str) -> str:
    """`text` as a ClassAd's string literal, on one line."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return (
        '"'
        + quoted.replace("\n", "\\n")
        .replace("\r", "\\r")
        .encode("utf-8", "backslashreplace")
        .decode()
        + '"'
    )


def _address(host: str) -> str:
    """A sinful string with no port: nobody listens."""
    return f"<127.0.0.1:0?alias={host}&noUDP>"


def _how(code: int) -> str:
    if code >= 0:
        return f"\t(1) Normal termination (return value {code})\n"
    return f"\t(0) Abnormal termination (signal {-code})\n\t(0) No core file\n"


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days} {hour:02d}:{minute:02d}:{second:02d}"


def _times(usage: Usage, which: str) -> str:
    remote = f"Usr {_clock(usage.user_s)}, Sys {_clock(usage.system_s)}"
    return (
        f"\t\t{remote}  -  {which} Remote Usage\n"
        f"\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  {which} Local Usage\n"
    )


def _bytes(usage: Usage, which: str) -> str:
    return (
        f"\t{usage.sent_bytes}  -  {which} Bytes Sent By Job\n"
        f"\t{usage.received_bytes}  -  {which} Bytes Received By Job\n"
    )


def _table(usage: Usage, req: Request) -> str:
    """The usage table, without its last line break; columns widen with the data."""
    cpu_s = usage.user_s + usage.system_s
    cpus = f"{cpu_s / usage.wall_s:.2f}" if usage.wall_s > 0 and cpu_s >= 0.005 else "0"
    rows = [
        ("Cpus", cpus, req.cpus, req.cpus),
        ("Disk (KB)", usage.disk_kb, req.disk_kb, req.disk_kb),
        ("Memory (MB)", usage.memory_mb, req.memory_mb, req.memory_mb),
        ("TimeExecute (s)", int(usage.wall_s), "", ""),
    ]
    widths = [
        max(least, *(len(str(row[column])) for row in rows))
        for column, least in ((1, 8), (2, 8), (3, 9))
    ]

    def line(label: str, *cells: object) -> str:
        shown = " ".join(str(cell).rjust(width) for cell, width in zip(cells, widths, strict=True))
        return f"\t{label:<23} : {shown} "

    return "\n".join(
        [line("Partitionable Resources", "Usage", "Request", "Allocated")]
        + [line(f"   {label}", *cells) for label, *cells in rows]
    )


class EventLog:
    """The event log of a round, opened to append: one write per event."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(
            path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644
        )

    def write(self, events: bytes) -> None:
        """Append whole events. Raises OSError, the log being as it was, when they do not fit."""
        size = os.fstat(self._descriptor).st_size
        written = 0
        try:
            while written < len(events):
                written += os.write(self._descriptor, events[written:] if written else events)
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise

    def close(self) -> None:
        """Bring what was written to the disk, and close."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)


_HEADER = re.compile(rb"(?:\A|\n\.\.\.\n)(\d{3}) \((\d+)\.(\d+)\.\d+\) ")
_STATES = {
    0: "waiting",
    1: "running",
    4: "waiting",
    5: "ended",
    9: "ended",
    12: "held",
    13: "waiting",
}


def job_states(path: Path, cluster: int, jobs: int) -> list[str]:
    """The state of each proc: waiting, running, held or ended, as a log that we wrote tells it."""
    states = ["waiting"] * jobs
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return states
    whole = text.rfind(b"\n" + END)
    for match in _HEADER.finditer(text, 0, max(whole, 0)):
        proc, state = int(match[3]), _STATES.get(int(match[1]))
        if int(match[2]) == cluster and proc < jobs and state and states[proc] != "ended":
            states[proc] = state
    return states


def starts(path: Path, cluster: int) -> dict[int, int]:
    """How often each proc was started, as a log that we wrote tells it."""
    found: dict[int, int] = {}
    for match in _HEADER.finditer(path.read_bytes()):
        if int(match[1]) == 1 and int(match[2]) == cluster:
            found[int(match[3])] = found.get(int(match[3]), 0) + 1
    return found


def drop_partial_event(path: Path) -> None:
    """Cut off an event that a power failure left half written."""
    text = path.read_bytes()
    whole = text.rfind(b"\n" + END)
    if not text.endswith(b"\n" + END):
        os.truncate(path, whole + 1 + len(END) if whole >= 0 else 0)

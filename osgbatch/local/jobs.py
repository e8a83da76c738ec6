"""What the local runner's loop knows of its round and of its jobs."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from osgbatch.local.events import Usage
from osgbatch.local.record import Item, Work
from osgbatch.local.slots import Room

FIRST_ATTEMPT = 0
"""The number of a job's first start in the names of returned archives ($$([NumJobStarts]))."""
WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1)
BLOCKED = (*WATCHED, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGALRM)


@dataclass(frozen=True)
class Setting:
    """What the loop works with, all of a round. scratch: the folder of the scratch folders."""

    round_folder: Path
    work: Work
    cluster: int
    room: Room
    host: str
    scratch: Path
    grace_s: float


@dataclass
class Running:
    """A job that runs, or whose inputs are being fetched: then `answer` is what that process says.

    deadline: when something is due, in monotonic seconds; 0 for never.
    """

    proc: int
    item: Item
    attempt: int
    slot: int
    scratch: Path
    process: subprocess.Popen[bytes]
    received: int
    started: float
    group: Path | None = None
    answer: BinaryIO | None = None
    deadline: float = 0.0
    ending: str = ""
    why: str = ""


@dataclass
class History:
    """What the earlier starts of a job add up to. over_memory: how many asked for more after that.

    Those are no retries.
    """

    starts: int = 0
    total: Usage = field(default_factory=Usage)
    over_memory: int = 0

    def add(self, run: Usage) -> None:
        """Another start of the job has ended."""
        self.starts += 1
        one = self.total
        self.total = Usage(
            one.user_s + run.user_s,
            one.system_s + run.system_s,
            one.wall_s + run.wall_s,
            max(one.memory_mb, run.memory_mb),
            max(one.disk_kb, run.disk_kb),
            one.sent_bytes + run.sent_bytes,
            one.received_bytes + run.received_bytes,
        )


def duration(seconds: int) -> str:
    """Seconds as HTCondor prints an allowed duration: 20:00:00, 3+00:00:00."""
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}+{clock.rjust(8, '0')}" if days else clock

"""The dataclasses of what was submitted, and of what has become of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Round:
    """One submission inside a batch, as it stands on disk.

    folder: the round's folder; batch_id: 12 hex characters; submit_file, log: what the backend
    is given; jobs: how many procs it will have.
    """

    folder: Path
    batch_id: str
    batch_name: str
    number: int
    jobs: int
    initialdir: Path


@dataclass(frozen=True)
class Submitted:
    """What a backend said when it took a round.

    cluster: 0 when the round was about to be given to it, and its answer is not known. host: the
    access point whose queue has the jobs, schedd: the name of its schedd; empty when not known.
    """

    backend: str
    cluster: int
    jobs: int
    time: float
    host: str = ""
    schedd: str = ""


@dataclass(slots=True)
class JobState:
    """The state of one job, as its event log tells it.

    state: waiting, transferring input, running, suspended, transferring output, held, completed,
    removed, or gone (HTCondor does not know it any more); exit_code or signal when completed;
    starts: how often it was started; evictions: how often a start came to no end; times in seconds
    since 1970 (0: never). input_began, output_began: when its last start began to be brought its
    input, and its output to be brought back (0: not told). memory_requested_mb: what it asked for
    when it ended (0: not told). changed: the time of the event that moved it last; told: of which
    others it was told (batches/disorder.py).
    """

    proc: int
    state: str = "waiting"
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    hold_code: int = 0
    hold_subcode: int = 0
    starts: int = 0
    evictions: int = 0
    host: str = ""
    submitted: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    memory_mb: int = 0
    input_began: float = 0.0
    output_began: float = 0.0
    memory_requested_mb: int = 0
    changed: float = 0.0
    told: str = ""


ACTIVE = ("transferring input", "running", "suspended", "transferring output")
"""States of a job, and of its tasks, that is on an execution point."""
OPEN = ("waiting", *ACTIVE)
"""States that change by themselves."""


@dataclass(slots=True)
class TaskState:
    """The state of one task, from its job's events and its own record.

    state: one of OPEN, or held, succeeded, failed, removed or unknown.
    round: the number of the one that tells. archive: the returned archive that tells, when there is
    one, and the attempt that it is of.
    """

    index: int
    state: str
    reason: str = ""
    detail: str = ""
    exit_code: int | None = None
    signal: int | None = None
    attempts: int = 0
    job: JobState | None = None
    round: int = 0
    archive: Path | None = None
    attempt: int | None = None
    record: Mapping[str, str] = field(default_factory=dict)
    job_record: Mapping[str, str] = field(default_factory=dict)

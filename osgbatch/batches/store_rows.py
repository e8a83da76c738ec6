"""What the rows of `state.db` hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class RoundRow:
    """How far a round was read.

    cluster: 0 when not known; offset, head, tail: of its event log (LogReader); removed: the
    cluster has left the queue. folders: of returned archives, by name: time of change (ns) when
    they were last listed. lost: events may be missing, so that the schedd should be asked; asked:
    when it was last asked (s since 1970); missing: the procs that it did not know then; absent:
    that it knew nothing of the round at all; vanished: twice in a row; leaving: the procs that were
    over and not yet in its history. kept: archives of it were dropped, and results/ was as it was
    at this time (ns); 0: none were. damaged: archives that were damaged after they were collected;
    kept is not 0 then.
    """

    number: int
    cluster: int = 0
    offset: int = 0
    head: str = ""
    tail: str = ""
    removed: bool = False
    folders: dict[str, int] = field(default_factory=dict)
    lost: bool = False
    asked: float = 0.0
    missing: list[int] = field(default_factory=list)
    absent: bool = False
    kept: int = 0
    vanished: bool = False
    leaving: list[int] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ArchiveRow:
    """A returned archive that was read: its job's record, or why it is not accepted (error)."""

    proc: int
    attempt: int
    name: str
    size: int
    mtime_ns: int
    job: Mapping[str, str]
    error: str = ""


TaskRow = tuple[int, str, str, str, int | None, int | None, int, int, int | None, int | None, bool]
"""The columns of `tasks`: index, state, reason, detail, exit_code, signal, attempts, round, proc,
attempt (None when no archive tells), whether the job's record is meant and not the task's."""
ToldRow = tuple[TaskRow, str | None, str | None, str | None, tuple[Any, ...] | None]
"""A row of `tasks` with what tells of it: see Store.told_tasks."""

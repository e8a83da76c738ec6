"""How a batch is getting on: its rate, the time left, what tasks use, and where they run."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

WINDOW_S = 1800.0
"""The rate is that of the last half hour: pools grow and shrink."""
_FEW = 3
"""Endings from which a rate can be told."""


@dataclass(frozen=True)
class Measures:
    """Of a batch, as its jobs' events and its tasks' records tell.

    rate: tasks that succeeded per second, lately; left_s: seconds until all have ended, if that
    goes on; None when it cannot be told; at_least: tasks run that have taken longer than any that
    succeeded, so that it says too little. memory_mb, disk_mb, wall_s: the most that a task has used
    (MiB, MiB, s); None when no record tells. sites: how many tasks ended, and how many of them did
    not succeed, at each site (host, where no site is known), most first. running_jobs: the jobs of
    the tasks that count as running, all of which but one may wait for their turn. requested_mb: the
    amounts of memory that jobs which have ended asked for, MiB.
    """

    rate: float | None = None
    left_s: float | None = None
    memory_mb: float | None = None
    disk_mb: float | None = None
    wall_s: float | None = None
    sites: Sequence[tuple[str, int, int]] = ()
    running_jobs: int = 0
    requested_mb: Sequence[int] = ()
    at_least: bool = False


_ENDED = """
SELECT COUNT(*) FROM tasks JOIN jobs USING (round, proc)
WHERE jobs.ended > ? AND tasks.state = 'succeeded' AND jobs.round = (SELECT MAX(round) FROM jobs)
"""
_ANY_ENDED = "SELECT 1 FROM jobs WHERE ended > ? LIMIT 1"
_STARTED = """
SELECT MIN(started) FROM jobs WHERE started > 0 AND round = (SELECT MAX(round) FROM jobs)
"""
_USED = """
SELECT MAX(memory) FILTER (WHERE memory < 1e15) / 1024,
       MAX(disk) FILTER (WHERE disk < 1e15) / 1024,
       MAX(ended - began) FILTER (WHERE ended < 1e15 AND began >= 0)
FROM (SELECT CAST(json_extract(record, '$.memory_kb') AS REAL) AS memory,
             CAST(json_extract(record, '$.disk_kb') AS REAL) AS disk,
             CAST(json_extract(record, '$.start') AS REAL) AS began,
             CAST(json_extract(record, '$.end') AS REAL) AS ended
      FROM records WHERE record != '')
"""
_USED_BY_JOBS = """
SELECT MAX(jobs.memory_mb)
FROM tasks JOIN jobs USING (round, proc)
LEFT JOIN archives ON (archives.round, archives.proc, archives.attempt) =
                      (tasks.round, tasks.proc, tasks.attempt)
LEFT JOIN records ON (records.round, records.proc, records.attempt, records.task) =
                     (tasks.round, tasks.proc, tasks.attempt, tasks.task)
WHERE jobs.memory_mb > ?
  AND (json_extract(NULLIF(records.record, ''), '$.memory_kb') IS NULL
       OR json_extract(NULLIF(archives.job, ''), '$.tasks') NOT GLOB '*[^0-9]*')
"""
"""As the column memory_mb of results.csv has it: where no record tells, or of a task's own job."""
_SITES = """
SELECT COALESCE(NULLIF(json_extract(archives.job, '$.site'), ''),
                json_extract(archives.job, '$.host'), '?') AS place,
       COUNT(*), SUM(tasks.state != 'succeeded')
FROM tasks JOIN archives USING (round, proc, attempt)
GROUP BY place ORDER BY COUNT(*) DESC
"""


_REQUESTED = """
SELECT DISTINCT memory_requested_mb FROM jobs WHERE ended > 0 AND memory_requested_mb > 0 LIMIT 2
"""
_RUNNING = """
SELECT COUNT(*) FROM (SELECT DISTINCT round, proc FROM tasks WHERE state = 'running')
"""


def _rate(database: sqlite3.Connection, now: float) -> float | None:
    """Tasks that succeeded per second lately, in the newest round; None when it cannot be told.

    Those that fail often do so at once, and tell nothing of how long others take.
    """
    since = now - WINDOW_S
    if database.execute(_ANY_ENDED, (since,)).fetchone() is None:
        return None
    started: float | None = database.execute(_STARTED).fetchone()[0]
    count: int = database.execute(_ENDED, (since,)).fetchone()[0]
    if not started or count < _FEW:
        return None
    return count / max(1.0, min(WINDOW_S, now - started))


_RUN_FOR = """
SELECT MAX(? - jobs.started) FROM jobs
WHERE jobs.started > 0 AND NOT jobs.ended > 0 AND jobs.state = 'running'
"""
_TOOK = """
SELECT MAX(jobs.ended - jobs.started) FROM tasks JOIN jobs USING (round, proc)
WHERE tasks.state = 'succeeded' AND jobs.started > 0
"""


def _are_slower(database: sqlite3.Connection, now: float) -> bool:
    """Whether a job has run for longer by now than any in which tasks succeeded took."""
    run_for: float | None = database.execute(_RUN_FOR, (now,)).fetchone()[0]
    took: float | None = database.execute(_TOOK).fetchone()[0]
    return run_for is not None and run_for > (took or 0)


def measure(database: sqlite3.Connection, waiting: int, now: float) -> Measures:
    """All measures; those that an old SQLite cannot take (without JSON) are left out.

    waiting: tasks that have not ended; now: s since 1970.
    """
    rate = _rate(database, now)
    left = waiting / rate if rate else None
    memory = disk = wall = None
    sites: list[tuple[str, int, int]] = []
    with suppress(sqlite3.OperationalError):
        memory, disk, wall = database.execute(_USED).fetchone()
        by_jobs = database.execute(_USED_BY_JOBS, (memory or 0,)).fetchone()[0]
        memory = by_jobs or memory
        sites = [(str(place), count, bad) for place, count, bad in database.execute(_SITES)]
    running: int = database.execute(_RUNNING).fetchone()[0]
    requested = tuple(int(row[0]) for row in database.execute(_REQUESTED))
    slower = rate is not None and _are_slower(database, now)
    return Measures(rate, left, memory, disk, wall, sites, running, requested, slower)

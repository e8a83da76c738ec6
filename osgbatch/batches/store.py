"""`state.db`: what is known of a batch's jobs and tasks, so that a look reads only what is new.

It is only a cache of logs and returned archives, and may be deleted at any time. Each look is one
transaction, so that several osgbatch can follow one batch, and one that is killed leaves the state
of the look before. SQLite without WAL, which network file systems do not have.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from operator import attrgetter
from pathlib import Path

from osgbatch.batches.measures import Measures, measure
from osgbatch.batches.store_rows import ArchiveRow as ArchiveRow
from osgbatch.batches.store_rows import RoundRow as RoundRow
from osgbatch.batches.store_rows import TaskRow as TaskRow
from osgbatch.batches.store_rows import ToldRow as ToldRow
from osgbatch.model import JobState

VERSION = 5
_WAIT_S = 60.0
"""How long a look waits for that of another osgbatch."""
RETRY_S, _SHORT_WAIT_S = 60.0, 0.5
"""How often a file that could not be written is tried again, and how long that may take."""
_JOB = (
    "proc", "state", "exit_code", "signal", "reason", "hold_code", "hold_subcode", "starts",
    "evictions", "host", "submitted", "started", "ended", "memory_mb",
    "input_began", "output_began", "memory_requested_mb", "changed", "told",
)  # fmt: skip
_COLUMNS = ", ".join(_JOB)
_values = attrgetter(*_JOB)
_OF_JOBS = ", ".join(f"jobs.{name}" for name in _JOB)
_OF_TASK = 11
"""Columns of `tasks`."""
_SCHEMA = f"""
CREATE TABLE rounds (number INTEGER PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE jobs (round, {_COLUMNS}, PRIMARY KEY (round, proc)) WITHOUT ROWID;
CREATE TABLE archives (
    round, proc, attempt, name, size, mtime_ns, job, error, PRIMARY KEY (round, proc, attempt)
) WITHOUT ROWID;
CREATE TABLE records (
    round, proc, attempt, task, record, problem, PRIMARY KEY (round, proc, attempt, task)
) WITHOUT ROWID;
CREATE TABLE tasks (
    task INTEGER PRIMARY KEY, state, reason, detail, exit_code, signal, attempts,
    round, proc, attempt, from_job
);
CREATE TABLE counts (round, state, count, PRIMARY KEY (round, state)) WITHOUT ROWID;
CREATE INDEX refused ON archives (round, proc, attempt) WHERE error != '';
CREATE INDEX unended ON jobs (round) WHERE NOT ended > 0;
PRAGMA user_version = {VERSION};
"""
_TABLES = ("rounds", "jobs", "archives", "records", "tasks")


class Store:
    """The database of one batch; in memory where its folder cannot be written.

    problem: why it is in memory; empty when it is not.
    """

    _due = 0.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        self._memory: sqlite3.Connection | None = None
        self._open: sqlite3.Connection | None = None

    @contextmanager
    def look(self) -> Iterator[Store]:
        """One transaction: all that is written in it is kept, or nothing when it raises."""
        database = self._connect()
        self._open = database
        try:
            yield self
            database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise
        finally:
            self._open = None
            if database is not self._memory:
                database.close()

    def save(self) -> None:
        """Keep what was written in this look until now, and let others look in between."""
        self._db.execute("COMMIT")
        self._db.execute("BEGIN IMMEDIATE")

    def use_memory(self, problem: str, *, copy: bool) -> None:
        """Go on without the file; copy: with what it holds."""
        self.problem = problem
        self._due = time.monotonic() + RETRY_S
        self._memory = sqlite3.connect(":memory:", isolation_level=None)
        if copy:
            self._copy(self._memory)
        _prepare(self._memory)

    def try_file_again(self) -> None:
        """Now and then: leave the memory, when the file can be written by now."""
        if self._memory is None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + RETRY_S
        with suppress(sqlite3.Error):
            there = sqlite3.connect(self.path, timeout=_SHORT_WAIT_S, isolation_level=None)
            try:
                there.execute("BEGIN IMMEDIATE")
                there.execute("ROLLBACK")
            finally:
                there.close()
            self._memory.close()
            self._memory, self.problem = None, ""

    def _copy(self, memory: sqlite3.Connection) -> None:
        with suppress(sqlite3.Error):
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            there = sqlite3.connect(uri, timeout=_SHORT_WAIT_S, isolation_level=None, uri=True)
            try:
                there.execute("BEGIN")
                # Waits for a lock, which `backup` would do without end.
                there.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
                there.backup(memory)
            finally:
                there.close()

    def _connect(self) -> sqlite3.Connection:
        """A connection in a transaction. Raises sqlite3.Error when the file cannot be written."""
        if self._memory is not None:
            self._memory.execute("BEGIN")
            return self._memory
        database = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("BEGIN IMMEDIATE")
            if database.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                database.execute("ROLLBACK")
                _prepare(database)
                database.execute("BEGIN IMMEDIATE")
        except BaseException:
            database.close()
            raise
        return database

    def measures(self, waiting: int) -> Measures:
        """How the batch is getting on; waiting: tasks that have not ended."""
        return measure(self._db, waiting, time.time())

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._open is not None, "outside of a look"
        return self._open

    # -- rounds --------------------------------------------------------------------------------

    def round(self, number: int) -> RoundRow:
        """How far a round was read; a new one when it never was."""
        found = self._db.execute("SELECT data FROM rounds WHERE number = ?", (number,)).fetchone()
        if found is None:
            return RoundRow(number)
        return RoundRow(number, **json.loads(found[0]))

    def put_round(self, row: RoundRow) -> None:
        """Write it down, if it has changed: a look at which nothing is new writes nothing."""
        data = json.dumps({key: value for key, value in vars(row).items() if key != "number"})
        known = self._db.execute("SELECT data FROM rounds WHERE number = ?", (row.number,))
        if known.fetchone() != (data,):
            self._db.execute("REPLACE INTO rounds VALUES (?, ?)", (row.number, data))

    def forget_round(self, number: int) -> None:
        """A round that is another than it was: nothing that was known of it holds."""
        for table in _TABLES:
            column = "number" if table == "rounds" else "round"
            self._db.execute(f"DELETE FROM {table} WHERE {column} = ?", (number,))
        self._count()

    # -- jobs ----------------------------------------------------------------------------------

    def job(self, round_: int, proc: int) -> JobState | None:
        """What is known of a job."""
        found = self._db.execute(
            f"SELECT {_COLUMNS} FROM jobs WHERE round = ? AND proc = ?", (round_, proc)
        ).fetchone()
        return JobState(*found) if found else None

    def jobs(self, round_: int) -> dict[int, JobState]:
        """All jobs of a round of which anything is known."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM jobs WHERE round = ? ORDER BY proc", (round_,)
        )
        return {row[0]: JobState(*row) for row in rows}

    def has_jobs(self, round_: int) -> bool:
        """Whether anything is known of any job of a round."""
        found = self._db.execute("SELECT 1 FROM jobs WHERE round = ? LIMIT 1", (round_,))
        return found.fetchone() is not None

    def has_open_jobs(self, round_: int) -> bool:
        """Whether any job of a round is known that has not ended."""
        found = self._db.execute(
            "SELECT 1 FROM jobs INDEXED BY unended WHERE round = ? AND NOT ended > 0 LIMIT 1",
            (round_,),
        )
        return found.fetchone() is not None

    def has_held_jobs(self, round_: int) -> bool:
        """Whether any job of a round is held, also one whose tasks have all ended."""
        found = self._db.execute(
            "SELECT 1 FROM jobs INDEXED BY unended WHERE round = ? AND NOT ended > 0"
            " AND state = 'held' LIMIT 1",
            (round_,),
        )
        return found.fetchone() is not None

    def ended_jobs(self, round_: int) -> set[int]:
        """The jobs of a round of which it is known how they ended."""
        rows = self._db.execute("SELECT proc FROM jobs WHERE round = ? AND ended > 0", (round_,))
        return {proc for (proc,) in rows}

    def put_jobs(self, round_: int, jobs: Iterable[JobState]) -> None:
        """Write down what is known of jobs."""
        self._db.executemany(
            f"REPLACE INTO jobs VALUES (?{', ?' * len(_JOB)})",
            ((round_, *_values(job)) for job in jobs),
        )

    # -- archives ------------------------------------------------------------------------------

    def archives(self, round_: int, procs: range) -> dict[str, tuple[int, int, bool]]:
        """Size, time of change (ns) and whether it was accepted, of some jobs' archives by name."""
        rows = self._db.execute(
            "SELECT name, size, mtime_ns, error FROM archives"
            " WHERE round = ? AND proc BETWEEN ? AND ?",
            (round_, procs.start, procs.stop - 1),
        )
        return {name: (size, mtime_ns, not error) for name, size, mtime_ns, error in rows}

    def has_archives(self, round_: int) -> bool:
        """Whether any archive of a round came back."""
        found = self._db.execute("SELECT 1 FROM archives WHERE round = ? LIMIT 1", (round_,))
        return found.fetchone() is not None

    def archives_of(self, round_: int, proc: int) -> list[ArchiveRow]:
        """The archives of a job, by attempt."""
        rows = self._db.execute(
            "SELECT proc, attempt, name, size, mtime_ns, job, error FROM archives"
            " WHERE round = ? AND proc = ? ORDER BY attempt",
            (round_, proc),
        )
        return [
            ArchiveRow(proc, attempt, name, size, mtime_ns, json.loads(job), error)
            for proc, attempt, name, size, mtime_ns, job, error in rows
        ]

    def refused(self, round_: int) -> list[str]:
        """What is wrong with archives that are not accepted, and of which a task has no result."""
        text = "SELECT proc, error FROM archives WHERE round = ? AND error != '' ORDER BY proc"
        rows = self._db.execute(text, (round_,)).fetchall()
        text = "SELECT DISTINCT proc FROM tasks WHERE round = ? AND state != 'succeeded'"
        lacking = set(self._db.execute(text, (round_,))) if rows else set()
        return [error for proc, error in rows if (proc,) in lacking]

    def records_of(
        self, round_: int, proc: int, attempt: int
    ) -> tuple[dict[int, dict[str, str]], dict[int, str]]:
        """The records of an archive's tasks by index, and what is wrong with some of them."""
        rows = self._db.execute(
            "SELECT task, record, problem FROM records"
            " WHERE round = ? AND proc = ? AND attempt = ?",
            (round_, proc, attempt),
        )
        records, problems = {}, {}
        for task, record, problem in rows:
            if record:
                records[task] = json.loads(record)
            if problem:
                problems[task] = problem
        return records, problems

    def successes(
        self, round_: int, procs: range
    ) -> Iterator[tuple[tuple[int, int], str, int, str]]:
        """Proc and attempt, archive, task and problem of records of success, of some jobs."""
        rows = self._db.execute(
            "SELECT proc, attempt, name, task, problem FROM archives"
            " JOIN records USING (round, proc, attempt)"
            " WHERE round = ? AND proc BETWEEN ? AND ?"
            """ AND instr(record, '"state": "succeeded"')""",
            (round_, procs.start, procs.stop - 1),
        )
        for proc, attempt, *rest in rows.fetchall():
            yield (proc, attempt), *rest

    def put_archive(
        self,
        round_: int,
        row: ArchiveRow,
        records: Mapping[int, Mapping[str, str]],
        problems: Mapping[int, str],
    ) -> None:
        """Write down what an archive holds."""
        key = (round_, row.proc, row.attempt)
        self._db.execute("DELETE FROM records WHERE round = ? AND proc = ? AND attempt = ?", key)
        self._db.execute(
            "REPLACE INTO archives VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*key, row.name, row.size, row.mtime_ns, json.dumps(dict(row.job)), row.error),
        )
        self._db.executemany(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)",
            (
                (*key, task, json.dumps(dict(records[task])) if task in records else "",
                 problems.get(task, ""))
                for task in sorted({*records, *problems})
            ),
        )  # fmt: skip

    # -- tasks ---------------------------------------------------------------------------------

    def task(self, index: int) -> TaskRow | None:
        """What is known of a task; None while it waits and nothing is."""
        found = self._db.execute("SELECT * FROM tasks WHERE task = ?", (index,)).fetchone()
        return tuple(found) if found else None

    def has_tasks(self) -> bool:
        """Whether anything is known of any task."""
        return self._db.execute("SELECT 1 FROM tasks LIMIT 1").fetchone() is not None

    def put_tasks(self, rows: Iterable[TaskRow]) -> None:
        """Write down the states of tasks."""
        into = "REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        if not self.has_tasks():
            self._db.executemany(into, rows)
            self._count()
            return
        changes: Counter[tuple[int, str]] = Counter()
        for row in rows:
            before = self._db.execute("SELECT round, state FROM tasks WHERE task = ?", row[:1])
            changes.subtract(before.fetchall())
            changes[row[7], row[1]] += 1
            self._db.execute(into, row)
        self._db.executemany(
            "INSERT INTO counts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + ?3",
            [(*key, change) for key, change in changes.items() if change],
        )

    def _count(self) -> None:
        """Count all tasks anew."""
        self._db.execute("DELETE FROM counts")
        first, last = self._db.execute("SELECT MIN(round), MAX(round) FROM tasks").fetchone()
        if first == last:  # a third of the work
            counted, values = "SELECT ?, state, COUNT(*) FROM tasks GROUP BY state", [last]
        else:
            counted, values = "SELECT round, state, COUNT(*) FROM tasks GROUP BY round, state", []
        self._db.execute(f"INSERT INTO counts {counted}", values)

    def counts(self) -> dict[tuple[int, str], int]:
        """How many tasks are in each state, by round; of which nothing is known are in none."""
        rows = self._db.execute("SELECT round, state, count FROM counts WHERE count != 0")
        return {(number, state): count for number, state, count in rows}

    def tasks(self, states: Iterable[str] | None = None, most: int = -1) -> Iterator[TaskRow]:
        """The tasks of which anything is known, by index; only those in some states.

        most: no more than these; -1 for all.
        """
        wanted = list(states or ())
        chosen = f"WHERE state IN ({', '.join('?' * len(wanted))})" if wanted else ""
        yield from self._db.execute(
            f"SELECT * FROM tasks {chosen} ORDER BY task LIMIT ?", [*wanted, most]
        )

    def told_tasks(self) -> Iterator[ToldRow]:
        """All tasks of which anything is known, by index, with what tells of each.

        That is the name of its archive, its job's record and its own, the records as JSON, None
        where no archive tells; and what a JobState is made of, None where nothing is known of it.
        """
        rows = self._db.execute(
            f"SELECT tasks.*, archives.name, archives.job, records.record, {_OF_JOBS} FROM tasks"
            " LEFT JOIN archives USING (round, proc, attempt)"
            " LEFT JOIN records USING (round, proc, attempt, task)"
            " LEFT JOIN jobs USING (round, proc) ORDER BY task"
        )
        for row in rows:
            told, job = row[:_OF_TASK], row[_OF_TASK + 3 :]
            name, record_of_job, record = row[_OF_TASK : _OF_TASK + 3]
            yield told, name, record_of_job, record, None if job[0] is None else job


def _prepare(database: sqlite3.Connection) -> None:
    """Make the tables anew, unless another has just made them."""
    database.execute("BEGIN IMMEDIATE")
    try:
        if database.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            for (name,) in database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            ).fetchall():
                database.execute(f'DROP TABLE "{name}"')
            for statement in _SCHEMA.split(";"):
                if statement.strip():
                    database.execute(statement)
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise

"""Looks at one round: what is new in its event log and what came back, to the states of tasks."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.cancelled import cancelled
from osgbatch.batches.eventlog import LogReader, joined, log_cluster
from osgbatch.batches.folder import Batch
from osgbatch.batches.states import Attempt, supersedes, task_state
from osgbatch.batches.store import ArchiveRow, RoundRow, Store, TaskRow
from osgbatch.batches.tasks import brief, returned_of, row_of
from osgbatch.errors import BatchError, ResultError
from osgbatch.model import JobState, Round, Submitted
from osgbatch.returned import Expected, read_records
from osgbatch.task_ranges import parse_task_ranges

if TYPE_CHECKING:
    from osgbatch.condor import Queued

RUNNER_DIED = "the local runner has died; `osgbatch cancel` ends the batch, then submit it again"
CUT_SHORT = "its submission was cut short; `osgbatch submit` of its sweep continues it"
LATER_CUT_SHORT = (
    "the submission of its newest round was cut short; `osgbatch watch` or `osgbatch resubmit` "
    "sees to it"
)
NOT_SUBMITTED = "it was rendered, not submitted"

ASK_AGAIN_S = 60
"""Seconds between two questions to the schedd about a round, at least."""
SILENT_S = 600
"""Seconds without an event after which the schedd is asked whether that is right."""


class Required:
    """The patterns of outputs that each task must have brought."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        data = batch.data
        self.patterns = [tuple(o["parts"]) for o in data["outputs"] if not o["optional"]]
        self.constant = [parts[0] for parts in self.patterns if len(parts) == 1]
        self.rows: list[list[str]] | None = None

    def __call__(self, index: int) -> Sequence[str]:
        """The patterns of a task, filled in as its command was, wildcards of values escaped."""
        if len(self.constant) == len(self.patterns):
            return self.constant
        if self.rows is None:
            self.rows = list(folders.read_tasks_csv(self.batch))
        values = {"index": str(index)}
        columns = self.batch.data["columns"]
        for name, text in zip(columns, self.rows[index], strict=True):
            seen = names.task_path(text) if name in self.batch.data["file_columns"] else text
            values[name] = names.escape_glob(seen)
        return [
            "".join(values[part] if i % 2 else part for i, part in enumerate(parts))
            for parts in self.patterns
        ]


class RoundFollower:
    """One round: its log, and its archives, each read once when it has come back whole.

    cluster: 0 when none is known. moved: its jobs deliver to another folder, which may be gone when
    an event is to be written: then the event is lost.
    """

    moved = False

    def __init__(self, batch: Batch, round_: Round) -> None:
        self.batch = batch
        self.round = round_
        # What a later round requires may be another thing: the user has mended his sweep.
        self.required = Required(Batch(batch.folder, batch.round_data(round_.number)))
        self.cluster = 0
        self._submitted: Submitted | None = None
        self._tasks: list[str] | None = None
        self._fault = ""
        self._should_ask = False
        self._ended: set[int] = set()
        self._gone: frozenset[int] = frozenset()
        self._news: set[int] = set()

    @property
    def backend(self) -> str:
        """Who runs it; empty when nobody was asked to."""
        return self._submitted.backend if self._submitted else "condor" if self.cluster else ""

    def stalled(self) -> str:
        """Why nothing of this round will change by itself; empty when it may."""
        noted = self._submitted = folders.read_submitted(self.round)
        log = self.round.folder / names.EVENTS
        cluster = (noted.cluster if noted else 0) or self.cluster or first_cluster(log)
        if cluster and noted and noted.backend == "local":
            from osgbatch import local

            return "" if local.alive(self.round, cluster) else RUNNER_DIED
        if cluster:
            return ""
        if self.round.number > 1:
            return LATER_CUT_SHORT
        return CUT_SHORT if noted else NOT_SUBMITTED

    def look(self, store: Store) -> Iterator[str]:
        """Take what is new into the store; gives what is to be told of it."""
        number = self.round.number
        row = store.round(number)
        given = self._submitted.cluster if self._submitted else 0
        if given and row.cluster and row.cluster != given:
            store.forget_round(number)
            row = RoundRow(number)
        is_new = not store.has_jobs(number)
        reader = LogReader(
            self.round.folder / names.EVENTS,
            given or row.cluster,
            known=lambda proc: None if is_new else store.job(number, proc),
            offset=row.offset,
            head=bytes.fromhex(row.head),
            tail=bytes.fromhex(row.tail),
        )
        self._fault = ""
        try:
            reader.read()
        except OSError as error:
            self._fault = f"the event log cannot be read: {reader.path}: {error.strerror or error}"
            yield self._fault
        self.cluster = row.cluster = reader.cluster
        row.offset, row.head, row.tail = reader.offset, reader.head.hex(), reader.tail.hex()
        row.lost = row.lost or reader.restarted
        affected = set(reader.jobs)
        if is_new and self.cluster and number > 1:
            # Its tasks wait, whatever the rounds before say, also those not yet in the queue.
            affected.update(range(len(self._lines())))
        if reader.removed and not row.removed:
            row.removed = True
            affected.update(range(len(self._lines())))
        affected |= self._cancelled(row)
        store.put_jobs(number, reader.jobs.values())
        if self.cluster:
            affected |= self._read_archives(store, row)
        if affected:
            store.put_tasks(self._task_rows(store, row, reader.jobs, affected))
        self._news = set(reader.jobs)
        self._should_ask = self._asking_helps(store, row)
        if self._should_ask:  # also when there will be no answer
            row.asked = time.time()
        store.put_round(row)
        yield from store.refused(number)

    def _cancelled(self, row: RoundRow) -> frozenset[int]:
        """The procs that were cancelled before they were queued, when there are new ones."""
        path = self.round.folder / names.CANCELLED
        try:
            changed_ns = path.stat().st_mtime_ns
        except OSError:
            return frozenset()
        self._gone = frozenset(cancelled(self.round))
        if row.folders.get(path.name) == changed_ns:
            return frozenset()
        row.folders[path.name] = changed_ns if _is_past(changed_ns) else 0
        return self._gone

    # -- when the event log does not tell --------------------------------------------------------

    def should_ask(self) -> bool:
        """Whether the schedd knows what the log, at the last look, did not tell."""
        return self._should_ask

    def _asking_helps(self, store: Store, row: RoundRow) -> bool:
        """Rarely: when events may be lost, or nothing was heard of jobs for long."""
        noted = self._submitted
        if not self.cluster or self.backend != "condor" or not noted:
            return False
        silent = time.time() - row.asked
        if 0 <= silent < ASK_AGAIN_S or (noted.host and noted.host != socket.gethostname()):
            return False
        log = self.round.folder / names.EVENTS
        fault = bool(row.lost or self._fault or self.moved or not log.exists())
        if not fault:
            with suppress(OSError):
                silent = min(abs(silent), abs(time.time() - log.stat().st_mtime))
            if silent < SILENT_S:
                return False
        if row.removed and not fault and not store.has_open_jobs(self.round.number):
            return False
        self._ended = store.ended_jobs(self.round.number)
        return len(self._ended) < len(self._lines())

    def ask(self) -> Queued:
        """What the schedd and its history know. Raises CondorError when they cannot be asked."""
        from osgbatch import condor

        submitted = self._submitted.time if self._submitted else 0.0
        return condor.ask_jobs(self.round, self.cluster, submitted, self._ended)

    def take(self, store: Store, told: Queued) -> None:
        """Take what the schedd has told into the store."""
        number = self.round.number
        row = store.round(number)
        nothing = told.next_proc is None and not told.queued
        # One answer may be another schedd's, or come before the history: two in a row count.
        row.removed = row.removed or (nothing and row.absent)
        row.absent = nothing
        changed: dict[int, JobState] = {}
        missing = []
        for proc in range(len(self._lines()) if told.next_proc is None else told.next_proc):
            known = store.job(number, proc)
            if (known and known.ended) or proc in self._news:  # the log knows it better by now
                continue
            fact = told.jobs.get(proc)
            if fact is None:
                missing.append(proc)
                # One that leaves the queue may not be in the history yet: asked twice.
                if known and proc in row.missing:
                    known.state, known.reason = "gone", ""
                    changed[proc] = known
            else:
                if not fact.ended:  # the log will tell of the start, and counts it then
                    fact.starts = known.starts if known else 0
                    fact.started = known.started if known else 0.0
                changed[proc] = joined(known, fact) if known else fact
        # Of those that are leaving, or have left without a trace yet, it will know more.
        row.lost = not set(missing) <= set(row.missing) or bool(told.leaving)
        row.missing = missing
        store.put_jobs(number, changed.values())
        store.put_tasks(self._task_rows(store, row, changed, {*changed, *missing}))
        store.put_round(row)
        self._should_ask = False

    def tasks_of(self, proc: int) -> list[int]:
        """The tasks of a job, in the order in which it runs them."""
        return _task_list(self._lines()[proc], self.round)

    def _lines(self) -> list[str]:
        if self._tasks is None:
            self._tasks = folders.round_tasks(self.round)
        return self._tasks

    def _task_rows(
        self, store: Store, row: RoundRow, jobs: Mapping[int, JobState], procs: Iterable[int]
    ) -> Iterator[TaskRow]:
        """What this round tells of the tasks of some jobs, where it counts."""
        number, lines = self.round.number, self._lines()
        returned = store.procs_with_archives(number)
        nothing_known = not store.has_tasks()
        for proc in sorted(procs):
            if proc >= len(lines):
                continue
            job = jobs.get(proc) or store.job(number, proc)
            gone = proc in self._gone and (job is None or job.state == "waiting")
            if gone:  # it only comes into the queue to be removed there
                job = None
            attempts, damaged = self._attempts(store, proc) if proc in returned else ([], "")
            line = lines[proc]
            for index in (int(line),) if line.isdigit() else _task_list(line, self.round):
                removed = row.removed or gone
                state = task_state(
                    index, job, attempts, round_=number, removed=removed, damaged=damaged
                )
                known = None if nothing_known else store.task(index)
                if known is None or supersedes(state, brief(known)):
                    yield row_of(state, proc)

    def _attempts(self, store: Store, proc: int) -> tuple[list[Attempt], str]:
        """The archives of a job that were accepted, and why the last of the others was not."""
        found, damaged = [], ""
        for archive in store.archives_of(self.round.number, proc):
            if archive.error:
                damaged = archive.error
            else:
                found.append(
                    Attempt(
                        proc,
                        archive.attempt,
                        returned_of(store, self.round, archive),
                        archive.mtime_ns / 1e9,
                    )
                )
        return found, damaged

    # -- what came back ------------------------------------------------------------------------

    def _read_archives(self, store: Store, row: RoundRow) -> set[int]:
        """Read the archives that are new, or were not whole and have changed; their procs."""
        affected = set()
        known = None
        for folder, changed_ns in _folders(self.round.folder / names.RETURNED):
            # A folder that changed just now may change again within one tick of its clock.
            if row.folders.get(folder.name) == changed_ns:
                continue
            sure = _is_past(changed_ns)
            known = store.archives(self.round.number) if known is None else known
            for entry in _archives(folder):
                parsed = names.parse_archive_name(entry.name)
                if parsed is None or parsed[0] != self.cluster or parsed[1] >= len(self._lines()):
                    continue
                try:
                    status = entry.stat()
                except OSError:  # it has just been taken away
                    continue
                before = known.get(entry.name)
                # One that was accepted can be replaced: HTCondor may forget a start (states.py).
                if not before or before[:2] != (status.st_size, status.st_mtime_ns):
                    accepted = self._read(store, Path(entry.path), parsed[1], parsed[2], status)
                    affected.add(parsed[1])
                else:
                    accepted = before[2]
                # HTCondor writes it in its place: it may grow while its folder does not change.
                sure = sure and accepted
            row.folders[folder.name] = changed_ns if sure else 0
        return affected

    def _read(
        self, store: Store, path: Path, proc: int, attempt: int, status: os.stat_result
    ) -> bool:
        """Read an archive; says whether it is accepted."""
        expected = Expected(
            batch=self.batch.id,
            round=self.round.number,
            cluster=self.cluster,
            proc=proc,
            tasks=self.tasks_of(proc),
            required=self.required,
            light=bool(self.batch.data.get("outputs_to")),
        )
        job: Mapping[str, str] = {}
        records: Mapping[int, Mapping[str, str]] = {}
        problems: Mapping[int, str] = {}
        fault = ""
        try:
            returned = read_records(path, expected)
            job, records, problems = returned.job, returned.tasks, returned.problems
        except ResultError as error:
            fault = f"{path.name}: {error.what}"
        except OSError as error:
            fault = f"{path.name}: {error.strerror or error}"
        row = ArchiveRow(proc, attempt, path.name, status.st_size, status.st_mtime_ns, job, fault)
        store.put_archive(self.round.number, row, records, problems)
        return not fault


_TICK_NS = 3_000_000_000
"""A clock of a network file system may stand apart from ours by so much, and tick so slowly."""


def _is_past(changed_ns: int) -> bool:
    return changed_ns < time.time_ns() - _TICK_NS


def _folders(returned: Path) -> Iterator[tuple[Path, int]]:
    """The folders of returned archives, and when they changed (ns)."""
    try:
        entries = sorted(os.scandir(returned), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.isdigit() and entry.is_dir():
            yield Path(entry.path), entry.stat().st_mtime_ns


def _archives(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if entry.name.endswith(".tar.gz")]
    return sorted(found, key=lambda entry: entry.name)


def _task_list(text: str, round_: Round) -> list[int]:
    try:
        return [int(text)] if text.isdigit() else parse_task_ranges(text)
    except ValueError as error:
        raise BatchError(f"cannot read {names.ITEMS}: {error}", where=str(round_.folder)) from None


def first_cluster(log: Path) -> int:
    """The cluster of a log's first events; 0 when there is none yet, or it cannot be read now."""
    with suppress(OSError):
        return log_cluster(log)
    return 0

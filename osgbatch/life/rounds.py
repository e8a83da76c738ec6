"""Looks at one round: what is new in its event log and what came back, to the states of tasks."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches import reading
from osgbatch.batches.cancelled import cancelled
from osgbatch.batches.disorder import LATE_S, joined
from osgbatch.batches.eventlog import LogReader, log_cluster
from osgbatch.batches.folder import Batch
from osgbatch.batches.lost_events import ends_torn, no_room
from osgbatch.batches.required import Required
from osgbatch.batches.states import Attempt, supersedes, task_state
from osgbatch.batches.store import ArchiveRow, RoundRow, Store, TaskRow
from osgbatch.batches.tasks import brief, returned_of, row_of
from osgbatch.errors import ResultError
from osgbatch.life.dropped import results_stamp, take_changed, take_kept
from osgbatch.model import JobState, Round, Submitted
from osgbatch.returned import Expected, most_bytes, read_records
from osgbatch.task_ranges import parse_task_ranges

if TYPE_CHECKING:
    from osgbatch.condor import Queued

RUNNER_DIED = "the local runner has died; `osgbatch cancel` ends the batch, then submit it again"
CUT_SHORT = "its submission was cut short; `osgbatch submit` of its sweep continues it"
LATER_CUT_SHORT = (
    "the submission of its newest round was cut short; `osgbatch watch` or `osgbatch resubmit` "
    "sees to it"
)
NOT_SUBMITTED = "it was rendered, not submitted; `osgbatch submit` of its sweep makes one that runs"

ASK_AGAIN_S = 60
"""Seconds between two questions to the schedd about a round, at least."""
SAVE_S = 5.0
"""How often what a look has read is written down, when there is much of it."""
SILENT_S = 600
"""Seconds without an event after which the schedd is asked whether that is right."""


class RoundFollower:
    """One round: its log, and its archives, each read once when it has come back whole.

    cluster: 0 when none is known. moved: its jobs deliver to another folder, which may be gone when
    an event is to be written: then the event is lost. full: so it is where its disk was full at the
    last look. asking: how many rounds of the batch share what may be asked.
    """

    moved = False
    full = False
    asking = 1

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
            late_s=LATE_S if self.backend == "condor" else 0.0,  # the local runner writes alone
        )
        self._fault = ""
        try:
            reader.read()
        except OSError as error:
            self._fault = f"the event log cannot be read: {reader.path}: {error.strerror or error}"
            yield self._fault
        self.cluster = row.cluster = reader.cluster
        row.offset, row.head, row.tail = reader.offset, reader.head.hex(), reader.tail.hex()
        doubtful = {proc for proc in reader.doubtful if not reader.jobs[proc].ended}
        self.full = no_room(reader.path)
        row.lost = row.lost or reader.restarted or reader.torn or bool(doubtful) or self.full
        affected = set(reader.jobs)
        if is_new and self.cluster and number > 1:
            # Its tasks wait, whatever the rounds before say, also those not yet in the queue.
            affected.update(range(self.round.jobs))
        if reader.removed and not row.removed:
            row.removed = True
            affected.update(range(self.round.jobs))
        affected |= self._cancelled(row)
        store.put_jobs(number, reader.jobs.values())
        due = time.monotonic() + SAVE_S
        for proc in self._read_archives(store, row) if self.cluster else ():
            affected.add(proc)
            if time.monotonic() > due:  # so that one that is killed has not read them in vain
                store.put_tasks(self._task_rows(store, row, reader.jobs, affected))
                affected.clear()
                store.put_round(row)
                store.save()
                if store.round(number) != row:  # another has looked meanwhile
                    yield from self.look(store)
                    return
                due = time.monotonic() + SAVE_S
        if affected:
            store.put_tasks(self._task_rows(store, row, reader.jobs, affected))
        self._news = reader.jobs.keys() - doubtful
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
        if 0 <= silent < ASK_AGAIN_S * self.asking or (
            noted.host and noted.host != socket.gethostname()
        ):
            return False
        log = self.round.folder / names.EVENTS
        fault = bool(row.lost or self._fault or self.moved or ends_torn(log, row.offset))
        if not fault:
            with suppress(OSError):
                silent = min(abs(silent), abs(time.time() - log.stat().st_mtime))
            if silent < SILENT_S:
                return False
        if row.removed and not fault and not store.has_open_jobs(self.round.number):
            return False
        self._ended = store.ended_jobs(self.round.number)
        return len(self._ended) < self.round.jobs

    def ask(self) -> Queued:
        """What the schedd and its history know. Raises CondorError when they cannot be asked."""
        from osgbatch import condor

        when, schedd = 0.0, ""
        if self._submitted:
            when, schedd = self._submitted.time, self._submitted.schedd
        return condor.ask_jobs(self.round, self.cluster, when, self._ended, schedd)

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
        for proc in range(self.round.jobs if told.next_proc is None else told.next_proc):
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
                fact.changed = known.changed if known else 0.0
                changed[proc] = joined(known, fact) if known else fact
        # Of those that are leaving, or have left without a trace yet, it will know more.
        row.lost = not set(missing) <= set(row.missing) or bool(told.leaving) or self.full
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
        any_returned = store.has_archives(number)
        nothing_known, count = not store.has_tasks(), self.batch.tasks
        for proc in sorted(procs):
            if proc >= len(lines):
                continue
            job = jobs.get(proc) or store.job(number, proc)
            gone = proc in self._gone and (job is None or job.state == "waiting")
            if gone:  # it only comes into the queue to be removed there
                job = None
            attempts, damaged = self._attempts(store, proc) if any_returned else ([], "")
            line = lines[proc]
            for index in (int(line),) if line.isdigit() else _task_list(line, self.round):
                if index >= count:
                    raise reading.damaged(
                        self.round.folder / names.ITEMS, ValueError(f"there is no task {index}")
                    )
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

    def _read_archives(self, store: Store, row: RoundRow) -> Iterator[int]:
        """Read the archives that are new, or were not whole and have changed; gives their procs."""
        # What was dropped after collecting counts as long as its results are there.
        stamp = results_stamp(self.batch.folder) if row.kept else 0
        again, row.kept = row.kept != stamp, stamp if _is_past(stamp) else -1
        for folder, changed_ns in _folders(self.round.folder / names.RETURNED):
            # A folder that changed just now may change again within one tick of its clock.
            first = int(folder.name) * names.JOBS_PER_RETURN_FOLDER
            procs = range(first, min(first + names.JOBS_PER_RETURN_FOLDER, self.round.jobs))
            if row.folders.get(folder.name) == changed_ns:
                yield from take_changed(store, self.round, folder, procs) if again else ()
                continue
            sure = _is_past(changed_ns)
            known = store.archives(self.round.number, procs)
            for entry in _archives(folder):
                parsed = names.parse_archive_name(entry.name)
                if parsed is None or parsed[0] != self.cluster or parsed[1] not in procs:
                    continue
                try:
                    status = entry.stat()
                except OSError:  # it has just been taken away
                    continue
                before = known.get(entry.name)
                # One that was accepted can be replaced: HTCondor may forget a start (states.py).
                if not before or before[:2] != (status.st_size, status.st_mtime_ns):
                    accepted = self._read(store, Path(entry.path), parsed[1], parsed[2], status)
                    yield parsed[1]
                else:
                    accepted = before[2]
                # HTCondor writes it in its place: it may grow while its folder does not change.
                sure = sure and accepted
            if dropped := take_kept(store, self.round, folder, self.cluster):
                row.kept = row.kept or results_stamp(self.batch.folder)
                yield from dropped
            row.folders[folder.name] = changed_ns if sure else 0

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
            most=most_bytes(asked_kb(self.required.batch.data)),
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


def asked_kb(data: Mapping[str, Any]) -> int:
    """KiB of disk that the jobs of a round ask for. data: what `resolved.json` says."""
    return int(data.get("resources", {}).get("disk_kb", 0))


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
        raise reading.damaged(round_.folder / names.ITEMS, error) from None


def other_host(round_: Round) -> str:
    """The access point that a round was submitted on, when that is another one than this."""
    noted = folders.read_submitted(round_)
    return noted.host if noted and noted.host != socket.gethostname() else ""


def first_cluster(log: Path) -> int:
    """The cluster of a log's first events; 0 when there is none yet, or it cannot be read now."""
    with suppress(OSError):
        return log_cluster(log)
    return 0

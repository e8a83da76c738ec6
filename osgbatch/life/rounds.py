"""Looks at one round: what is new in its event log and what came back, to the states of tasks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches import reading
from osgbatch.batches.cancelled import cancelled
from osgbatch.batches.disorder import LATE_S
from osgbatch.batches.eventlog import LogReader
from osgbatch.batches.folder import Batch
from osgbatch.batches.lost_events import lacks_events, no_room
from osgbatch.batches.notes import cluster_so_far
from osgbatch.batches.required import Required
from osgbatch.batches.states import Attempt, supersedes, task_state
from osgbatch.batches.store import ArchiveRow, RoundRow, Store, TaskRow
from osgbatch.batches.tasks import brief, returned_of, row_of
from osgbatch.life.asking import asking_helps, is_over, take_answer
from osgbatch.life.dropped import (
    damaged_since,
    read_archive,
    results_stamp,
    take_changed,
    take_kept,
)
from osgbatch.model import JobState, Round, Submitted
from osgbatch.returned import Expected, most_bytes
from osgbatch.task_ranges import parse_task_ranges

if TYPE_CHECKING:
    from osgbatch.condor import Queued

RUNNER_DIED = "the local runner has died; `osgbatch resubmit` runs again what it left"
CUT_SHORT = "its submission was cut short; `osgbatch submit` of its sweep continues it"
LATER_CUT_SHORT = (
    "the submission of its newest round was cut short; `osgbatch watch` or `osgbatch resubmit` "
    "sees to it"
)
NOT_SUBMITTED = "it was rendered, not submitted; `osgbatch submit` of its sweep makes one that runs"

SAVE_S = 5.0
"""How often what a look has read is written down, when there is much of it."""
LOOKS = 2
"""How often a look is begun anew, when another osgbatch has looked meanwhile."""


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
        self._left: tuple[object, ...] = ()
        self._overtaken = False

    @property
    def backend(self) -> str:
        """Who runs it; empty when nobody was asked to."""
        return self._submitted.backend if self._submitted else "condor" if self.cluster else ""

    def stalled(self) -> str:
        """Why nothing of this round will change by itself; empty when it may."""
        noted = self._submitted = folders.read_submitted(self.round)
        cluster = (noted.cluster if noted else 0) or self.cluster or cluster_so_far(self.round)
        if noted and noted.backend == "local":
            from osgbatch import local

            if local.alive(self.round, cluster):  # it may be about to enter its jobs
                return ""
            if cluster:
                return RUNNER_DIED
        if cluster:
            return ""
        if self.round.number > 1:
            return LATER_CUT_SHORT
        return CUT_SHORT if noted else NOT_SUBMITTED

    def look(self, store: Store) -> Iterator[str]:
        """Take what is new into the store; gives what is to be told of it."""
        self._news = set()
        self._should_ask = False
        for _ in range(LOOKS):  # what is left after them is taken at the next look
            if self._look(store):
                break
        if self._fault:
            yield self._fault
        yield from store.refused(self.round.number)
        yield from damaged_since(store.round(self.round.number).damaged)

    def _look(self, store: Store) -> bool:
        """Take what is new into the store; False when another osgbatch came in between."""
        number = self.round.number
        row = store.round(number)
        self._overtaken = self._overtaken or _position(row) != self._left
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
        self.cluster = row.cluster = reader.cluster
        row.offset, row.head, row.tail = reader.offset, reader.head.hex(), reader.tail.hex()
        doubtful = {proc for proc in reader.doubtful if not reader.jobs[proc].ended}
        self.full = no_room(reader.path)
        torn = reader.restarted or reader.torn
        row.lost = row.lost or torn or bool(doubtful) or self.full
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
        came_back: set[int] = set()
        for proc in self._read_archives(store, row) if self.cluster else ():
            came_back.add(proc)
            affected.add(proc)
            if time.monotonic() > due:  # so that one that is killed has not read them in vain
                store.put_tasks(self._task_rows(store, row, reader.jobs, affected))
                affected.clear()
                store.put_round(row)
                store.save()
                if store.round(number) != row:  # another has looked meanwhile
                    self._left = _position(row)
                    self._news |= reader.jobs.keys() - doubtful
                    return False
                due = time.monotonic() + SAVE_S
        if affected:
            store.put_tasks(self._task_rows(store, row, reader.jobs, affected))
        self._news |= reader.jobs.keys() - doubtful
        factory = bool(self.required.batch.data.get("max_idle"))
        if not row.lost and self.cluster and self.backend == "condor":
            row.lost = lacks_events(store, self.round, reader.jobs, came_back, factory)
        # Of jobs that have ended, or that nobody can be asked for, nothing is missed.
        if row.lost and (self.backend == "local" or is_over(store, row, self.round)):
            row.lost = False
        fault = bool(self._fault or self.moved)
        if self.cluster and self.backend == "condor" and self._submitted:
            self._should_ask = asking_helps(store, row, self.round, fault=fault)
        store.put_round(row)
        self._left = _position(row)
        return True

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

    def begin_asking(self, store: Store) -> None:
        """Note that the schedd is asked now, also when there will be no answer."""
        row = store.round(self.round.number)
        row.asked = time.time()
        store.put_round(row)
        self._ended = store.ended_jobs(self.round.number).difference(row.leaving)
        self._left, self._overtaken = _position(row), False

    def ask(self) -> Queued:
        """What the schedd and its history know. Raises CondorError when they cannot be asked."""
        from osgbatch import condor

        when, schedd = 0.0, ""
        if self._submitted:
            when, schedd = self._submitted.time, self._submitted.schedd
        return condor.ask_jobs(self.round, self.cluster, when, self._ended, schedd)

    def take(self, store: Store, told: Queued) -> None:
        """Take what the schedd has told into the store, unless that is newer by now.

        It is when another osgbatch has read events, or has asked, since we asked.
        """
        self._should_ask = False
        if self._overtaken:
            return
        row = store.round(self.round.number)
        changed, affected = take_answer(store, row, self.round.jobs, told, self._news)
        row.lost = row.lost or self.full
        store.put_jobs(row.number, changed.values())
        store.put_tasks(self._task_rows(store, row, changed, affected))
        store.put_round(row)
        self._left = _position(row)

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
                    index,
                    job,
                    attempts,
                    round_=number,
                    removed=removed,
                    vanished=row.vanished,
                    damaged=damaged,
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
        # What was dropped or damaged after collecting counts as long as its results are there.
        stamp = results_stamp(self.batch.folder) if row.kept else 0
        again, row.kept = row.kept != stamp, stamp if _is_past(stamp) else -1
        for folder, changed_ns in _folders(self.round.folder / names.RETURNED):
            # A folder that changed just now may change again within one tick of its clock.
            first = int(folder.name) * names.JOBS_PER_RETURN_FOLDER
            procs = range(first, min(first + names.JOBS_PER_RETURN_FOLDER, self.round.jobs))
            if row.folders.get(folder.name) == changed_ns and not (again and row.damaged):
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
                known_as = (status.st_size, status.st_mtime_ns)
                lost = again and entry.name in row.damaged
                if not before or before[:2] != known_as or lost:
                    accepted = self._read(store, Path(entry.path), row, status)
                    yield parsed[1]
                else:
                    accepted = before[2]
                # HTCondor writes it in its place: it may grow while its folder does not change.
                sure = sure and accepted
            if dropped := take_kept(store, self.round, folder, self.cluster):
                row.kept = row.kept or -1
                yield from dropped
            row.folders[folder.name] = changed_ns if sure else 0

    def _read(self, store: Store, path: Path, row: RoundRow, status: os.stat_result) -> bool:
        """Read an archive; says whether it is accepted."""
        parsed = names.parse_archive_name(path.name)
        assert parsed is not None
        _, proc, attempt = parsed
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
        returned, fault = read_archive(path, expected, self.batch.folder / names.RESULTS, row)
        size, mtime_ns = status.st_size, status.st_mtime_ns
        found = ArchiveRow(proc, attempt, path.name, size, mtime_ns, returned.job, fault)
        store.put_archive(self.round.number, found, returned.tasks, returned.problems)
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


def _position(row: RoundRow) -> tuple[object, ...]:
    """How far the log was read, and when the schedd was asked: what another look moves."""
    return row.offset, row.head, row.tail, row.asked

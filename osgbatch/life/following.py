"""Follows a submitted batch: status, watch, and what tasks wrote."""

from __future__ import annotations

import gc
import re
import shutil
import sqlite3
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, BinaryIO

from osgbatch import exits, names
from osgbatch.batches.folder import Batch
from osgbatch.batches.measures import Measures
from osgbatch.batches.moved import Place, other_places, take_over, told
from osgbatch.batches.notes import read_note
from osgbatch.batches.reused import read_reused, take_reused
from osgbatch.batches.store import Store
from osgbatch.batches.tasks import TaskReader
from osgbatch.errors import CondorError, OsgbatchError
from osgbatch.life.asking import is_over, next_asked
from osgbatch.life.rounds import (
    LATER_CUT_SHORT,
    NOT_SUBMITTED,
    RUNNER_DIED,
    RoundFollower,
)
from osgbatch.life.status_notes import (
    REST_CANCELLED,
    WAITS_FOR_CANARY,
    canary_note,
    left_note,
    release_note,
)
from osgbatch.model import OPEN, TaskState
from osgbatch.returned import copy_member
from osgbatch.task_states import TaskStates, with_others

if TYPE_CHECKING:
    from osgbatch.condor import Queued


@dataclass(frozen=True)
class Status:
    """A batch, and how many of its tasks are in each state.

    counts: of each state that occurs; wrong: the tasks that failed, are held, removed or unknown,
    by index (not all of them where `status` was told so); all_states: those of all tasks, when
    they were asked for. stalled: why nothing can change any more without somebody acting; empty
    when it can. held_back: of those that wait, how many are in no round: they wait for a canary.
    to_release: of those that are held, how many HTCondor will release by itself; only where all
    others have ended. newest: as counts, of the tasks of which the newest round tells; its number.
    """

    batch: Batch
    counts: Mapping[str, int]
    wrong: Sequence[TaskState]
    backend: str
    cluster: int
    stalled: str = ""
    notes: tuple[str, ...] = ()
    all_states: Sequence[TaskState] | None = None
    measures: Measures | None = None
    held_back: int = 0
    to_release: int = 0
    newest: Mapping[str, int] = field(default_factory=dict)
    newest_number: int = 1

    @property
    def states(self) -> Sequence[TaskState]:
        """The states of all tasks, by index; only of a status that was asked for them."""
        assert self.all_states is not None, "the status was not asked for all tasks"
        return self.all_states

    def with_states(self, states: Sequence[TaskState]) -> Status:
        """The same, where a closer look has told of other states."""
        counts: dict[str, int] = {}
        wrong = []
        for state in states:
            counts[state.state] = counts.get(state.state, 0) + 1
            if state.state in WRONG:
                wrong.append(state)
        return replace(self, counts=counts, wrong=wrong, all_states=states)

    @property
    def open_tasks(self) -> int:
        """How many tasks are in states that change by themselves."""
        return sum(self.counts.get(state, 0) for state in OPEN)

    @property
    def ended(self) -> bool:
        """Whether nothing can change any more without somebody acting."""
        still_open = sum(self.counts.get(state, 0) for state in OPEN)
        goes_on = still_open > self.held_back or self.to_release > 0
        return bool(self.stalled) or not goes_on

    @property
    def exit_code(self) -> int:
        """0 when all tasks succeeded, else 1."""
        return exits.OK if set(self.counts) <= {"succeeded"} else exits.SOME_FAILED


@dataclass(frozen=True)
class Wanted:
    """What a look is to tell: see Follower.status. reasons: why each round is stalled."""

    all_tasks: bool
    most_wrong: int
    measures: bool
    reasons: Mapping[int, str]


class Follower:
    """Reads a batch's logs and returned archives; a later look reads only what is new.

    What is known is kept in `state.db`, where several osgbatch find it. The schedd is asked only
    when events may be lost, or when there were none for long.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._rounds: dict[int, RoundFollower] = {}
        self._store = Store(batch.folder / names.STATE)
        self._elsewhere: list[Place] = []
        self._not_brought: list[str] = []

    def status(
        self, *, all_tasks: bool = False, most_wrong: int = -1, measures: bool = False
    ) -> Status:
        """The tasks as they are now. all_tasks: those that wait, run and succeeded, too.

        most_wrong: of those that went wrong no more are told one by one; -1 for all. measures:
        how fast tasks end, what they used and where they ran, too.
        """
        for round_ in self.batch.rounds():
            if round_.number not in self._rounds:
                self._rounds[round_.number] = RoundFollower(self.batch, round_)
        self._elsewhere = other_places(self.batch)
        self._not_brought = [why for place in self._elsewhere for why in take_over(place)]
        for round_ in (one for place in self._elsewhere for one in place.rounds):
            self._rounds[round_.number].moved = True
        # Whether the runner lives is asked first: what it wrote before it ended is then seen.
        reasons = {number: follower.stalled() for number, follower in self._rounds.items()}
        wanted = Wanted(all_tasks, most_wrong, measures, reasons)
        self._store.try_file_again()
        try:
            return self._look(wanted)
        except (sqlite3.DatabaseError, *_DAMAGED) as error:
            in_the_way = isinstance(error, sqlite3.OperationalError) and _IN_THE_WAY.search(
                str(error)
            )
            if not in_the_way:  # it is damaged: made anew
                with suppress(OSError):
                    self._store.path.unlink()
                with suppress(sqlite3.DatabaseError, *_DAMAGED):
                    return self._look(wanted)
            self._store.use_memory(str(error), copy=bool(in_the_way))
            return self._look(wanted)

    def _look(self, wanted: Wanted) -> Status:
        rounds = self._rounds.values()
        with without_garbage_collection(), self._store.look() as store:
            take_reused(self.batch.folder, store)
            notes = [note for follower in rounds for note in follower.look(store)]
            asking = [follower for follower in rounds if follower.should_ask()]
            asked = self._begin_asking(store, asking) if asking and _may_ask() else None
            if asked is None:
                return self._told(store, wanted, notes)
        # The store is not kept waiting for the schedd.
        answer, faults = _answer(asked)
        with self._store.look() as store:
            notes = [note for follower in rounds for note in follower.look(store)]
            if answer is not None:
                asked.take(store, answer)
            return self._told(store, wanted, [*notes, *faults])

    def _begin_asking(self, store: Store, asking: Sequence[RoundFollower]) -> RoundFollower | None:
        """The round that the schedd is asked about now; None when it was asked just before.

        However many rounds a batch has and however many look at it, it is asked once a minute.
        """
        rows = [store.round(number) for number in self._rounds]
        number = next_asked(rows, [follower.round.number for follower in asking])
        if number is None:
            return None
        self._rounds[number].begin_asking(store)
        return self._rounds[number]

    def _told(self, store: Store, wanted: Wanted, notes: Sequence[str]) -> Status:
        """The status that the store tells."""
        by_round = store.counts()
        first, last = min(self._rounds), max(self._rounds)
        held_back = self.batch.unsubmitted()
        nowhere = self._nowhere(last) if wanted.reasons[last] == LATER_CUT_SHORT else set()
        if self.batch.rest_cancelled:
            held_back, nowhere = sorted({*held_back, *nowhere}), set()
        cancelled = bool(held_back) and self.batch.rest_cancelled
        never = ("removed", REST_CANCELLED) if cancelled else ("waiting", WAITS_FOR_CANARY)
        unknown = self.batch.tasks - sum(by_round.values()) - len(held_back) - len(nowhere)
        # All tasks of a later round have rows: what has none is not yet in the first one's queue,
        # or is in no queue, where the newest round was to bring it there and was cut short.
        by_round[first, "waiting"] = by_round.get((first, "waiting"), 0) + unknown
        by_round[last, "waiting"] = by_round.get((last, "waiting"), 0) + len(nowhere)
        dead = {number for number, why in wanted.reasons.items() if why == RUNNER_DIED}
        counts: dict[str, int] = {}
        left = others = 0
        for (number, state), count in by_round.items():
            is_left = number in dead and state in OPEN
            told_as = "unknown" if is_left else state
            counts[told_as] = counts.get(told_as, 0) + count
            left += count * is_left
            goes_on = not wanted.reasons.get(
                number, ""
            )  # what nobody was asked to run goes on nowhere
            others += count * (state in OPEN and number != last and goes_on)
        reader = TaskReader(store, {n: f.round for n, f in self._rounds.items()})
        all_states: TaskStates | None = None
        if wanted.all_tasks or left:
            apart: dict[int, tuple[str, str, int]] = dict.fromkeys(held_back, (*never, 0))
            apart |= dict.fromkeys(nowhere, ("waiting", "", last))
            usual = ("waiting", "", first)
            states: list[TaskState] = []

            def told() -> Iterator[TaskState]:
                for task in with_others(reader.read(), self.batch.tasks, apart, usual):
                    told_as = _left_behind(task) if task.round in dead else task
                    if told_as.state in WRONG:
                        states.append(told_as)
                    yield told_as

            all_states = TaskStates(told() if wanted.all_tasks else ())
            if not wanted.all_tasks:
                deque(told(), maxlen=0)
        else:
            wrong = sum(count for (_, state), count in by_round.items() if state in WRONG)
            most = wanted.most_wrong
            if not 0 <= most < wrong:
                most = wrong if wrong < MANY else -1  # at once
            states = list(reader.read(WRONG, most)) if wrong else []  # a search to the last of them
            if cancelled:
                shown = held_back[: wanted.most_wrong] if wanted.most_wrong >= 0 else held_back
                states += [TaskState(index, *never) for index in shown]
        counts[never[0]] = counts.get(never[0], 0) + len(held_back)
        counts = {state: count for state, count in counts.items() if count}
        still_open = sum(counts.get(state, 0) for state in OPEN)
        all_reused = wanted.reasons[last] == NOT_SUBMITTED and not still_open
        waits = 0 if cancelled else len(held_back)
        to_release = 0
        left_over = (
            not still_open
            and not counts.get("held")
            and any(store.has_held_jobs(n) for n, f in self._rounds.items() if f.backend)
        )
        if counts.get("held") and still_open <= waits:
            from osgbatch.life.released_later import released_later

            mine = [f.round for f in self._rounds.values() if f.backend == "condor"]
            to_release = released_later(store, mine)
        return Status(
            batch=self.batch,
            counts=counts,
            wrong=[state for state in states if state.state in WRONG],
            backend=self._rounds[last].backend,
            cluster=self._rounds[last].cluster,
            stalled=_stalled(wanted.reasons[last], left, others) if not all_reused else "",
            notes=(
                *self._moved(store),
                *canary_note(waits, wanted.reasons[last]),
                *release_note(to_release),
                *left_note(left_over),
                *notes,
            ),
            all_states=all_states if wanted.all_tasks else None,
            measures=store.measures(still_open) if wanted.measures else None,
            held_back=waits,
            to_release=to_release,
            newest={state: n for (number, state), n in by_round.items() if n and number == last},
            newest_number=last,
        )

    def _nowhere(self, last: int) -> set[int]:
        """The tasks that no round has but the newest, such as those that waited for a canary."""
        notes = [read_note(self._rounds[number].round.folder) for number in sorted(self._rounds)]
        if None in notes:  # of an older osgbatch: its first round has all tasks
            return set()
        *before, newest = [set(note.indices()) for note in notes if note]
        return newest.difference(*before, read_reused(self.batch.folder))

    def _moved(self, store: Store) -> Iterator[str]:
        """HTCondor delivers to the folder that a batch was submitted from."""
        for place in self._elsewhere:
            may_come = any(
                not (row := store.round(one.number)).removed and not is_over(store, row, one)
                for one in place.rounds
            )
            if text := told(place, self.batch.folder, may_come=may_come):
                yield text
        yield from self._not_brought
        if self._store.problem:
            yield f"{names.STATE} cannot be written ({self._store.problem}): each look reads all"


_IN_THE_WAY = re.compile("locked|busy|readonly|unable to open|full|disk I/O|open database")
"""What SQLite says of a file that cannot be written now, but is as it should be."""
_DAMAGED = (ValueError, TypeError, KeyError, IndexError)
"""What a state.db leads to that SQLite takes for whole, and that is not."""

MANY = 2000
"""So many tasks are looked up one by one."""
WRONG = ("failed", "held", "removed", "unknown")
"""States of tasks that did not go as they should."""


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """A look makes many objects and drops none in circles: walking them is in vain."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _may_ask() -> bool:
    """Whether there is a schedd here. What asks it is loaded when it is wanted."""
    from osgbatch import condor

    return condor.configured()


def _answer(asked: RoundFollower) -> tuple[Queued | None, list[str]]:
    """What the schedd answers, and why it cannot be asked now."""
    try:
        return asked.ask(), []
    except CondorError as error:
        return None, [
            f"HTCondor cannot be asked now, so this is what the event log tells: {error.what}"
        ]


def _stalled(why: str, left: int, others: int) -> str:
    """Why nothing changes by itself: what stalls the last round does not stall the others."""
    if left:
        return RUNNER_DIED
    return "" if others or why == RUNNER_DIED else why


def _left_behind(state: TaskState) -> TaskState:
    """A task that the local runner left behind when it died."""
    if state.state not in OPEN:
        return state
    return replace(state, state="unknown", reason="runner-died", detail=RUNNER_DIED)


def status(
    batch: Batch, *, all_tasks: bool = False, most_wrong: int = -1, measures: bool = False
) -> Status:
    """The tasks of a batch as they are now: see Follower.status."""
    return Follower(batch).status(all_tasks=all_tasks, most_wrong=most_wrong, measures=measures)


def copy_log(state: TaskState, stream: str, out: BinaryIO) -> int:
    """Copy what a task wrote to stdout or stderr (`stream`) from the archive that came back.

    Gives the number of bytes. Raises OsgbatchError when nothing came back.
    """
    if state.archive is None:
        why = re.sub(r"\s+", " ", state.reason)
        raise OsgbatchError(
            f"nothing came back of task {state.index}",
            fix=f"It is {state.state}{f' ({why})' if why else ''}.",
        )
    try:
        return copy_member(state.archive, f"tasks/{state.index}/{stream}", out)
    except FileNotFoundError:  # it was dropped once it was collected
        results = state.archive.parents[4] / names.RESULTS
        folder = results if state.state == "succeeded" else results / "failed"
        try:
            with (folder / str(state.index) / stream).open("rb") as collected:
                shutil.copyfileobj(collected, out)
                return collected.tell()
        except OSError:
            raise OsgbatchError(
                f"what task {state.index} printed is not there any more",
                where=str(state.archive),
                fix="Its archive was dropped, or removed, and results/ does not have it.",
            ) from None


def exit_code_so_far(now: Status) -> int:
    """As Status.exit_code, of what has ended: tasks that still wait or run have not failed."""
    return exits.SOME_FAILED if any(now.counts.get(state) for state in WRONG) else exits.OK

"""Takes what has come back of a batch into `results/`, once or again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.moved import results_outside
from osgbatch.collecting.collect import Collected, Key, collect, results_folder
from osgbatch.collecting.outside import KEY, Outside, TakenError, claim
from osgbatch.collecting.placing import Placer, Placers, told
from osgbatch.collecting.table import write_results
from osgbatch.errors import BusyError, OsgbatchError
from osgbatch.exits import SOME_FAILED
from osgbatch.life.following import Status, status
from osgbatch.life.rounds import NOT_SUBMITTED, asked_kb
from osgbatch.model import TaskState
from osgbatch.results.layout import Layout
from osgbatch.results.result_rows import result_table
from osgbatch.returned import most_bytes
from osgbatch.staging.quota import Room
from osgbatch.staging.stage import Progress
from osgbatch.submission.delivering import Data
from osgbatch.submission.reusing import bring_back
from osgbatch.submission.staged import Silent
from osgbatch.task_ranges import task_list
from osgbatch.texts import number_of, size

Say = Callable[[str], None]
WATCHING, WATCHED = "watching", "watched"
"""How a Taker collects: again and again, while tasks end; or what is left after that."""
_LISTED = 40
"""Characters for the numbers of tasks."""


class NoRoom(OsgbatchError):
    """The results do not fit."""

    exit_code = SOME_FAILED


class Taker:
    """Collects one batch; a later collection of it looks only at what is new.

    fetch: bring also the data that did not come home (`outputs_to`). how: WATCHING leaves what is
    odd to the one that is told WATCHED; usually neither.
    """

    def __init__(
        self,
        batch: Batch,
        say: Say,
        *,
        fetch: bool = False,
        progress: Progress | None = None,
        how: str = "",
    ) -> None:
        self.batch = batch
        self.results = results_folder(batch.folder)
        self._say = say
        self._fetch = fetch
        self._how = how
        self._layout = Layout(batch)
        self._known: dict[int, Key] = {}
        self._states: Sequence[TaskState] = ()
        self._empty: dict[int, str] = {}
        self._quota: Room | None = None
        self._data = Data(batch, progress or Silent()) if batch.data.get("outputs_to") else None

    @property
    def collected(self) -> int:
        """How many tasks' results are in their places, as far as was seen."""
        return len(self._known)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the batch's lock; says so when another has it, and waits."""
        with ExitStack() as stack:
            try:
                stack.enter_context(folders.locked(self.batch.folder))
            except BusyError:
                self._say("another osgbatch is working on this batch: waiting until it is done")
                stack.enter_context(folders.locked(self.batch.folder, wait=True))
            yield

    def take(self) -> tuple[Status, Collected]:
        """Unpack and verify what is new, and write `results.csv`; the lock is held by the caller.

        Raises OsgbatchError when the batch was never submitted, NoRoom when the results would not
        fit, StagingError when data cannot be brought; what was in place stays.
        """
        batch, data = self.batch, self._data
        notes = bring_back(batch)
        now = status(batch, all_tasks=True)
        if now.stalled == NOT_SUBMITTED:
            raise OsgbatchError("this batch was never submitted", where=str(batch.folder))
        placer, outside = self._placers()
        notes += outside
        found = collect(
            self.results,
            now.states,
            data,
            fetch=self._fetch,
            placer=placer,
            make_sure=self._make_sure,
            known=self._known,
            most=most_bytes(max(asked_kb(batch.round_data(r.number)) for r in batch.rounds())),
        )
        notes += [*found.notes, *told(found.misplaced)]
        self._states = found.states
        self._empty = {i: name for i, name in self._empty.items() if i not in found.new}
        self._empty |= found.empty
        if self._how != WATCHING:
            notes += self.odd_ones(None if self._how == WATCHED else found.new)
        if data and found.elsewhere:
            notes.append(data.told(found.elsewhere))
        table = result_table(batch, found.states)
        write_results(self.results / names.RESULTS_TABLE, table.columns, table.cells())
        notes += table.notes
        return now.with_states(found.states), replace(found, notes=tuple(notes))

    def _placers(self) -> tuple[Placers | None, list[str]]:
        """What gives outputs the places that the spec wants, and why one of them cannot."""
        found = [] if self._layout.is_empty else [Placer(self.results, self._layout)]
        notes: list[str] = []
        if folder := results_outside(self.batch):
            try:
                claim(folder, self.batch.id, self.batch.folder)
                found.append(Outside(self.results, folder))
            except TakenError as error:
                notes.append(f"{KEY}: {error.where}: {error.what}; they are in {self.results}")
        return (Placers(found) if found else None), notes

    def odd_ones(self, new: Set[int] | None = None) -> Iterator[str]:
        """Successes that may be none: with nothing or an empty file, where others have more.

        new: the tasks that are told of for the first time; None: all that were taken. What was told
        is told again only with others of the kind, or when the first that has more has come.
        """
        good, nothing = set[int](), set[int]()
        for state in self._states:
            if state.state == "succeeded":
                good.add(state.index)
                if state.record.get("outputs") == "0":
                    nothing.add(state.index)
        new = good if new is None else new & good
        if _is_news(nothing, good, new):
            tasks = number_of(len(nothing), "task")
            yield f"{tasks} succeeded without any output ({_listed(sorted(nothing))})"
        hollow = self._empty.keys() & good
        if _is_news(hollow, good, new):
            tasks, which = number_of(len(hollow), "task"), sorted(hollow)
            name = self._empty[which[0]]
            yield f"{tasks} brought an empty file ({_listed(which)}), such as {name}"

    def _make_sure(self, needed: int) -> None:
        """Raises NoRoom when so many bytes do not fit. The quota is asked for once."""
        from osgbatch.staging.quota import room_left
        from osgbatch.submission.quotas import room_at

        home, command = self.batch.data.get("home", ("", ""))
        if self._quota is None:
            self._quota, _ = room_at(home, command, self.results, "")
        room = self._quota
        here = room_left("", self.results)
        if here.left is not None and (room.left is None or here.left < room.left):
            room = here
        if not room.fits(needed):
            raise NoRoom(
                f"what has come back takes up to {size(needed)} unpacked, and {room.by} leaves "
                f"{size(room.left or 0)}",
                where=str(self.results),
                fix="Nothing was unpacked. Make room, or move the batch folder to where there is "
                "some, and collect it by its path there.",
            )
        if self._quota.left is not None and self._quota.by == "the quota":
            self._quota = replace(self._quota, left=self._quota.left - needed)


def _is_news(odd: Set[int], all_: Set[int], new: Set[int]) -> bool:
    """Whether some tasks are unlike others, and it was not told when they came."""
    return odd < all_ and bool(odd & new or (odd and new and all_ - new <= odd))


def _listed(tasks: Sequence[int]) -> str:
    text = task_list(tasks)
    return text if len(text) <= _LISTED else text[:_LISTED].rpartition(",")[0] + ",..."

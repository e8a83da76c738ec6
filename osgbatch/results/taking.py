"""Takes what has come back of a batch into `results/`, once or again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.collecting.collect import Collected, Key, collect, results_folder
from osgbatch.collecting.placing import Placer, told
from osgbatch.collecting.table import write_results
from osgbatch.errors import BusyError, OsgbatchError
from osgbatch.exits import SOME_FAILED
from osgbatch.life.following import Status, status
from osgbatch.life.rounds import NOT_SUBMITTED, asked_kb
from osgbatch.results.layout import Layout
from osgbatch.results.result_rows import result_table
from osgbatch.returned import most_bytes
from osgbatch.staging.quota import Room
from osgbatch.staging.stage import Progress
from osgbatch.submission.delivering import Data
from osgbatch.submission.reusing import bring_back
from osgbatch.submission.staged import Silent
from osgbatch.task_ranges import task_list
from osgbatch.texts import size

Say = Callable[[str], None]
_LISTED = 40
"""Characters for the numbers of tasks."""


class NoRoom(OsgbatchError):
    """The results do not fit."""

    exit_code = SOME_FAILED


class Taker:
    """Collects one batch; a later collection of it looks only at what is new.

    fetch: bring also the data that did not come home (`outputs_to`).
    """

    def __init__(
        self, batch: Batch, say: Say, *, fetch: bool = False, progress: Progress | None = None
    ) -> None:
        self.batch = batch
        self.results = results_folder(batch.folder)
        self._say = say
        self._fetch = fetch
        self._layout = Layout(batch)
        self._known: dict[int, Key] = {}
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
        placer = None if self._layout.is_empty else Placer(self.results, self._layout)
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
        notes += [*found.notes, *told(found.misplaced), *self._hollow_ones(found)]
        if data and found.elsewhere:
            notes.append(data.told(found.elsewhere))
        table = result_table(batch, found.states)
        write_results(self.results / names.RESULTS_TABLE, table.columns, table.cells())
        notes += table.notes
        return now.with_states(found.states), replace(found, notes=tuple(notes))

    def _hollow_ones(self, found: Collected) -> Iterator[str]:
        """Successes that may be none: with nothing or an empty file, where others have more."""
        good = [state for state in found.states if state.state == "succeeded"]
        nothing = [state.index for state in good if state.record.get("outputs") == "0"]
        if nothing and len(nothing) < len(good):
            yield f"{_count(nothing)} succeeded without any output ({_listed(nothing)})"
        succeeded = {state.index for state in good}
        fresh = {i: name for i, name in found.empty.items() if i in succeeded}
        self._empty |= fresh
        hollow = sorted(self._empty)
        if fresh and len(hollow) < len(succeeded):
            name = self._empty[hollow[0]]
            yield f"{_count(hollow)} brought an empty file ({_listed(hollow)}), such as {name}"

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


def _count(tasks: Sequence[int]) -> str:
    return f"{len(tasks):,} task" if len(tasks) == 1 else f"{len(tasks):,} tasks"


def _listed(tasks: Sequence[int]) -> str:
    text = task_list(tasks)
    return text if len(text) <= _LISTED else text[:_LISTED].rpartition(",")[0] + ",..."

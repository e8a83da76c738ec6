"""The results of a batch of calls: values in order or as they come, from the archives that came."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

from osgbatch.api.live import LiveBatch, deadline_of, in_threads
from osgbatch.api.looking import settled
from osgbatch.api.outcomes import CallError, Reader, by_archive
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.calls import values
from osgbatch.calls.package import BLOCKS
from osgbatch.errors import OsgbatchError
from osgbatch.life.following import Status
from osgbatch.life.sent import sent_folder
from osgbatch.model import TaskState
from osgbatch.submission.planned import AS_WRITTEN
from osgbatch.submission.resubmitting import Wanted, resubmit

_SHOWN = 60
"""Characters of an item in a message."""


@dataclass(frozen=True)
class Outcome:
    """What came of one call. index: of its item, from 0; error: None when it has a value."""

    index: int
    value: Any = None
    error: CallError | None = None

    @property
    def succeeded(self) -> bool:
        """Whether there is a value."""
        return self.error is None

    def result(self) -> Any:
        """The value. Raises CallError where there is none."""
        if self.error is not None:
            raise self.error
        return self.value


class MapResults(LiveBatch):
    """The results of `osgbatch.map`, and of any batch of calls that `osgbatch.load` finds.

        results[3]                  what the call of item 3 returned; waits for it
        for value in results: ...   in the order of the items, each as soon as it is there
        for one in results.as_completed(): one.index, one.value, one.error

    What is not there raises CallError, which names the item. Values that are neither JSON nor NumPy
    came back as pickles, which can run code here: see `unpickle`.
    """

    def __init__(self, batch: Batch, *, unpickle: bool = True) -> None:
        super().__init__(batch)
        self._reader = Reader(batch, unpickle)

    def __repr__(self) -> str:
        return f"<results of {len(self):,} calls: {self.folder.name}>"

    # --- values ------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        return self.values()

    def __aiter__(self) -> AsyncIterator[Any]:
        return in_threads(self.values())

    def values(self, timeout: float | None = None) -> Iterator[Any]:
        """What the calls returned, in the order of the items.

        timeout: seconds for all of them. Raises CallError at the first item without a result,
        TimeoutError.
        """
        for outcome in self.outcomes(timeout):
            yield outcome.result()

    def outcomes(self, timeout: float | None = None) -> Iterator[Outcome]:
        """What came of each call, in the order of the items; nothing is raised for those failed."""
        deadline = deadline_of(timeout)
        now = self.looker.now
        for index in range(len(self)):
            while not settled(now, now.states[index]):
                now = self.looker.next_look(deadline)
            yield self._outcome(now, index)

    def as_completed(self, timeout: float | None = None) -> Iterator[Outcome]:
        """What came of each call as it ends. timeout: seconds for all of them: TimeoutError."""
        for now, indices in self._settling(timeout):
            for same in by_archive(now.states[index] for index in indices):
                for state in same:
                    yield self.told(state, same)

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self.result(place) for place in range(len(self))[index]]
        return self.result(index)

    def result(self, index: int, timeout: float | None = None) -> Any:
        """What one call returned; waits for it. Raises CallError, TimeoutError (seconds)."""
        index = self._index(index)
        deadline, now = deadline_of(timeout), self.looker.now
        while not settled(now, now.states[index]):
            now = self.looker.next_look(deadline)
        return self._outcome(now, index).result()

    def errors(self) -> list[CallError]:
        """Why calls have no result, of all that have ended so far, by index."""
        now = self.looker.look()
        wrong = [s for s in now.states if s.state != "succeeded" and settled(now, s)]
        return [self._named(self._reader.error(state, wrong)) for state in wrong]

    def item(self, index: int) -> Any:
        """The item of a call, as it was sent. Raises OsgbatchError when it is not known any more.

        It is unpickled where it had to be pickled: this osgbatch has written it.
        """
        return values.decode_text(self._item_text(self._index(index)), pickle.loads)

    def resubmit(self) -> MapResults:
        """Run again those calls that failed, or were removed or lost; the others stay.

        The function and the items are those that were sent.
        """
        resubmit(self._batch, Wanted(), _silent, AS_WRITTEN)
        self.refresh()
        return self

    def _index(self, index: int) -> int:
        """The same from the beginning. Raises IndexError for what is none."""
        try:
            return range(len(self))[index]
        except IndexError:
            noun, last = self._noun, len(self) - 1
            raise IndexError(f"there is no {noun} {index}: there are 0 to {last}") from None

    # --- reading -----------------------------------------------------------------------------

    def _outcome(self, now: Status, index: int) -> Outcome:
        state = now.states[index]
        return self.told(state, () if self._reader.knows(state) else self._near(now, index))

    def _near(self, now: Status, index: int) -> Sequence[TaskState]:
        """The settled tasks around one that may have come in the same archive."""
        states, archive = now.states, now.states[index].archive
        begin, end = index, index + 1
        while begin and states[begin - 1].archive == archive:
            begin -= 1
        while end < len(states) and states[end].archive == archive:
            end += 1
        return [state for state in states[begin:end] if settled(now, state)]

    def told(self, state: TaskState, near: Sequence[TaskState]) -> Outcome:
        """What came of the call of a settled task. near: tasks of the same archive."""
        try:
            return Outcome(state.index, self._reader.value(state, near))
        except CallError as error:
            return Outcome(state.index, error=self._named(error))

    def _named(self, error: CallError) -> CallError:
        """The same with the item, or the arguments, in its message, where they are short."""
        try:
            error.item = values.decode_text(self._item_text(error.index))
        except (OsgbatchError, values.Damaged, values.Pickled):
            return error
        if self._arguments:
            shown = _arguments(error.item)
        else:
            shown = f"({error.item!r})"
        if len(shown) <= _SHOWN:
            head = f"item {error.index}"
            error.what = error.what.replace(head, f"{self._noun} {error.index} {shown}", 1)
            error.args = (error.what,)
        return error

    @property
    def _arguments(self) -> bool:
        """Whether the calls have arguments, not an item each."""
        return "arguments" in self._batch.data["columns"]

    @property
    def _noun(self) -> str:
        return "call" if self._arguments else "item"

    @cached_property
    def _rows(self) -> list[list[str]]:
        return list(folders.read_tasks_csv(self._batch))

    def _item_text(self, index: int) -> str:
        row = dict(zip(self._batch.data["columns"], self._rows[index], strict=True))
        for name in ("item", "arguments"):
            if name in row:
                return str(row[name])
        sent = sent_folder(self._batch)
        if sent is None:
            raise OsgbatchError(f"item {index} is not known any more", where=str(self.folder))
        path = sent / BLOCKS / row["block"]
        try:
            with path.open("rb") as stream:
                stream.seek(int(row["offset"]))
                return str(stream.read(int(row["size"])), "ascii")
        except OSError as error:
            raise OsgbatchError(
                f"item {index} is not known any more: {error.strerror}", where=str(path)
            ) from None


def _arguments(value: Any) -> str:
    """`(2, y=3)`; empty for what is none."""
    try:
        positional, named = value
        words = [*map(repr, positional), *(f"{key}={one!r}" for key, one in named.items())]
    except (TypeError, ValueError, AttributeError):
        return ""
    return f"({', '.join(words)})"


def _silent(text: str) -> None:
    """What resubmit tells on the command line."""

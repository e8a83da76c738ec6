"""A batch for programs and notebooks: wait for it, follow its tasks, cancel it, look at it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from osgbatch import ui
from osgbatch.api.display import Display, batch_html, batch_text, this_cell
from osgbatch.api.looking import Looker, settled_tasks
from osgbatch.batches.folder import Batch
from osgbatch.life.acting import cancel_batch
from osgbatch.life.following import Status
from osgbatch.results.loading import LoadedBatch, Task

_T = TypeVar("_T")


class LiveBatch(LoadedBatch):
    """A batch: its results and tasks, as `osgbatch.load` gives them, also while it runs.

    A KeyboardInterrupt ends the waiting only: the jobs go on, and `osgbatch.load` finds them again.
    """

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        self.looker = Looker(batch)
        self._shown = 0, ""

    def refresh(self) -> LiveBatch:
        """Look anew when something is next asked for."""
        super().refresh()
        self.looker.forget()
        return self

    @property
    def ended(self) -> bool:
        """Whether nothing changes any more unless somebody acts; looks each time."""
        return self.looker.look().ended

    def wait(self, timeout: float | None = None) -> LiveBatch:
        """Wait until it has ended; in a notebook a table shows meanwhile how far it is.

        timeout: seconds. Raises TimeoutError when it has not ended by then.
        """
        with Display() as display:
            deadline = deadline_of(timeout)
            now = self.looker.look()
            display.show(now)
            while not now.ended:
                now = self.looker.next_look(deadline)
                display.show(now)
            self._shown = this_cell(), batch_html(now)
        super().refresh()
        return self

    def completed(self, timeout: float | None = None) -> Iterator[Task]:
        """Its tasks as they end, each once, those that failed, too.

        timeout: seconds, for all of them. Raises TimeoutError.
        """
        for _, indices in self._settling(timeout):
            super().refresh()
            for index in indices:
                yield self.task(index)

    def __aiter__(self) -> AsyncIterator[Any]:
        return in_threads(self.completed())

    def cancel(self) -> int:
        """Remove its jobs from the queue; gives how many tasks had not ended."""
        count = cancel_batch(self._batch).tasks
        self.looker.forget()
        return count

    def collect(self) -> LiveBatch:
        """Bring what came back, verified, to `results/`, as `osgbatch collect` does."""
        from osgbatch.results.finishing import collect_batch

        _, collected, failure = collect_batch(self._batch, ui.say)
        for note in collected.notes:
            ui.say(f"note: {note}")
        if failure is not None:
            raise failure
        return self.refresh()

    def _settling(
        self, timeout: float | None = None, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[Status, list[int]]]:
        """Looks, each with the tasks that have been settled since the one before."""
        deadline = deadline_of(timeout)
        left = list(range(len(self)))
        now = self.looker.look()
        while True:
            done = settled_tasks(now, left)
            if done:
                yield now, done
                taken = set(done)
                left = [i for i in left if i not in taken]
            if not left or stop():
                return
            now = self.looker.next_look(deadline, stop)

    def _ipython_display_(self) -> None:
        """At the end of a cell whose `wait` has left its table there, no second one is shown."""
        if self._shown[0] and self._shown == (this_cell(), batch_html(self.looker.look())):
            return
        raise NotImplementedError  # then IPython asks for the forms below

    def _repr_html_(self) -> str:
        return batch_html(self.looker.look())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        now = self.looker.look()
        return {"text/plain": batch_text(now), "text/html": batch_html(now)}


def deadline_of(timeout: float | None) -> float:
    """When a timeout in seconds is over, by time.monotonic()."""
    return math.inf if timeout is None else time.monotonic() + timeout


async def in_threads(iterator: Iterator[_T]) -> AsyncIterator[_T]:
    """The same items for `async for`; each is waited for in another thread."""
    end: Any = object()
    while (item := await asyncio.to_thread(partial(next, iterator, end))) is not end:
        yield item

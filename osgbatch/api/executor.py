"""An executor as concurrent.futures has them: calls are buffered, then submitted as one cluster."""

from __future__ import annotations

import concurrent.futures
import math
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, TracebackType
from typing import Any, TypeVar

from osgbatch.api.calling import brought, sayer, submit_calls
from osgbatch.api.looking import settled_tasks
from osgbatch.api.mapped import MapResults
from osgbatch.api.outcomes import by_archive
from osgbatch.calls.package import Calls
from osgbatch.calls.pickling import Pickler
from osgbatch.errors import OsgbatchError
from osgbatch.submission.steps import Ways

_T = TypeVar("_T")

SMALL, MOST_SMALL = 10, 5
"""Flushes of fewer calls than SMALL: after MOST_SMALL of them the next one is refused."""
QUIET_S = 0.5
"""Seconds after the last call of `submit`, after which somebody who only polls is served."""


class _Waiters(list[Any]):
    """The waiters of a future. concurrent.futures.wait and as_completed enter themselves here."""

    def __init__(self, future: CallFuture) -> None:
        super().__init__()
        self._future = future

    def append(self, waiter: Any) -> None:
        super().append(waiter)
        self._future.wanted()


class CallFuture(concurrent.futures.Future[Any]):
    """What a call of an Executor comes to. To ask for it submits all that is buffered.

    Once submitted it counts as running, though its job may wait in the queue: `cancel` is then
    refused, and `Executor.cancel` removes the jobs.
    """

    def __init__(self, executor: Executor, index: int) -> None:
        super().__init__()
        self._executor = executor
        self.index = index
        self._waiters = _Waiters(self)

    def wanted(self) -> None:
        """Submit what is buffered, when this is."""
        if self._executor.has_buffered(self):
            self._executor.flush()

    def result(self, timeout: float | None = None) -> Any:
        """What the function returned.

        Raises what it raised, with a CallError as its cause; CallError where it raised nothing
        and there is no result all the same; CancelledError, TimeoutError; OsgbatchError when what
        is buffered cannot be submitted.
        """
        self.wanted()
        try:
            return super().result(timeout)
        except concurrent.futures.TimeoutError:
            if super().done():  # it is what the function has raised
                raise
            raise self._late(timeout) from None

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What it raised, None when it returned."""
        self.wanted()
        try:
            return super().exception(timeout)
        except concurrent.futures.TimeoutError:
            if super().done():  # it is what the function has raised
                raise
            raise self._late(timeout) from None

    def _late(self, timeout: float | None) -> Exception:
        told = f"call {self.index} has not ended within {timeout:g} s"
        return concurrent.futures.TimeoutError(told)

    def done(self) -> bool:
        """Whether it has ended; who only polls is served once no more calls come."""
        if self._executor.has_buffered(self):
            self._executor.flush_soon()
        return super().done()

    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[Any]], object]) -> None:
        """Call fn when it has ended. asyncio.wrap_future comes this way."""
        super().add_done_callback(fn)
        if self._executor.has_buffered(self):
            self._executor.flush_soon()

    def cancel(self) -> bool:
        """Give it up, as long as it was not submitted."""
        found = super().cancel()
        if found and self._executor.forget(self):
            self.set_running_or_notify_cancel()
        return found


class Executor(concurrent.futures.Executor):
    """Runs calls in the pool, one cluster for all that were submitted until a result is wanted.

        with osgbatch.Executor(resources={"memory": "2 GB"}) as executor:
            futures = [executor.submit(simulate, seed, steps=100) for seed in range(1000)]
        print([future.result() for future in futures])

    The keywords are those of `osgbatch.map`. What is buffered is submitted at the first `result()`
    or `exception()`, by `wait` and `as_completed`, by `flush()`, and at the end of the `with`
    block, which then waits for all. When an exception leaves the block, nothing more is submitted
    and nothing is waited for. Interrupted, the jobs go on: `batches` names them.
    """

    def __init__(
        self,
        *,
        name: str = "executor",
        folder: str | os.PathLike[str] | None = None,
        pool: str = "auto",
        tasks_per_job: int | str | None = None,
        plain: bool = False,
        quiet: bool = False,
        **keys: Any,
    ) -> None:
        self._name = name
        self._folder = Path(folder) if folder is not None else Path.cwd()
        self._pool, self._tasks_per_job, self._plain = pool, tasks_per_job, plain
        self._say = sayer(quiet)
        self._keys: Mapping[str, Any] = keys
        self._pickler = Pickler(brought(keys))
        self._lock = threading.RLock()
        self._buffer: dict[CallFuture, tuple[bytes, str]] = {}
        self._functions: dict[int, tuple[Callable[..., Any], bytes]] = {}
        self._id = secrets.token_hex(6)
        self._count = self._small = 0
        self._timer: threading.Timer | None = None
        self._threads: list[threading.Thread] = []
        self._closed = False
        self.batches: list[MapResults] = []
        """The batches that were submitted, the latest last."""

    def __repr__(self) -> str:
        return f"<Executor {self._name}: {self._count:,} calls, {len(self._buffer):,} buffered>"

    def submit(
        self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[_T]:
        """Buffer a call. Raises PickleError, RuntimeError after `shutdown`."""
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            index = self._count
            function = self._pickled(fn)
            row = self._pickler.item((args, kwargs), f"call {index}")
            future = CallFuture(self, index)
            self._buffer[future] = (function, row)
            self._count += 1
            if self._timer is not None:
                self._stop_timer()
                self.flush_soon()
            return future

    def _pickled(self, fn: Callable[..., Any]) -> bytes:
        """A function pickled. A plain one once for all calls of a batch; an object may change."""
        known = self._functions.get(id(fn))
        if known is not None and known[0] is fn:
            return known[1]
        data = self._pickler.function(fn)
        if isinstance(fn, (FunctionType, BuiltinFunctionType)):
            self._functions[id(fn)] = (fn, data)
        return data

    def flush(self) -> MapResults | None:
        """Submit what is buffered as one batch, and give that; None when there is nothing.

        Raises OsgbatchError: then all is buffered as before.
        """
        with self._lock:
            self._stop_timer()
            if not self._buffer:
                return None
            self._check_small()
            futures = list(self._buffer)
            rows = list(self._buffer.values())
            numbers = {key: n for n, key in enumerate(dict.fromkeys(key for key, _ in rows))}
            batch = submit_calls(
                Calls(
                    list(numbers),
                    [row for _, row in rows],
                    [numbers[key] for key, _ in rows],
                    "arguments",
                    self._plain,
                ),
                self._name,
                self._folder,
                self._keys,
                self._tasks_per_job,
                self._pool,
                Ways(),
                self._say,
                f"{self._id} {len(self.batches)}",
            )
            results = MapResults(batch, unpickle=not self._plain)
            thread = threading.Thread(
                target=_follow, args=(results, futures), name=f"osgbatch {batch.id}", daemon=True
            )
            # From here on nothing fails; interrupted before, the same is found again.
            thread.start()
            self._buffer.clear()
            self._functions.clear()
            self._small += len(futures) < SMALL
            self._threads.append(thread)
            self.batches.append(results)
            return results

    def _check_small(self) -> None:
        if len(self._buffer) >= SMALL:
            return
        if self._small >= MOST_SMALL:
            calls = "1 call" if len(self._buffer) == 1 else f"{len(self._buffer)} calls"
            raise OsgbatchError(
                f"{MOST_SMALL} batches of fewer than {SMALL} calls were submitted already, and "
                f"this would be one more, of {calls}: each is a cluster of its own in the queue",
                fix="Submit all calls before the first result is asked for, or use osgbatch.map.",
            )

    def flush_soon(self) -> None:
        """Submit what is buffered once no more calls have come for a moment."""
        with self._lock:
            if self._timer is not None:
                return
            self._timer = threading.Timer(QUIET_S, self._flush_or_tell)
            self._timer.daemon = True
            self._timer.start()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush_or_tell(self) -> None:
        """Flush where nobody is there who could be told of an error but the futures."""
        try:
            self.flush()
        except Exception as error:
            with self._lock:
                futures = list(self._buffer)
                self._buffer.clear()
            for future in futures:
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)

    def has_buffered(self, future: CallFuture) -> bool:
        """Whether a call was not submitted yet."""
        return future in self._buffer

    def forget(self, future: CallFuture) -> bool:
        """Leave a call out that was not submitted yet; whether it was one."""
        with self._lock:
            return self._buffer.pop(future, None) is not None

    def cancel(self) -> int:
        """Remove the jobs of all its batches from the queue; gives how many calls had not ended."""
        for future in list(self._buffer):
            future.cancel()
        return sum(results.cancel() for results in self.batches)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Submit what is buffered, or with cancel_futures give it up; wait for all that runs."""
        self._closed = True
        if cancel_futures:
            for future in list(self._buffer):
                future.cancel()
        self.flush()
        if wait:
            for thread in list(self._threads):
                while thread.is_alive():
                    thread.join(0.2)  # in steps, so that Ctrl-C is heard

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> bool | None:
        failed = kind is not None
        self.shutdown(wait=not failed, cancel_futures=failed)
        return None

    def _repr_html_(self) -> str:
        shown = "".join(batch._repr_html_() for batch in self.batches)
        return f"<div>{len(self._buffer):,} calls are buffered</div>{shown}"


def _follow(results: MapResults, futures: list[CallFuture]) -> None:
    """Give its futures what a batch brings, until it has ended."""
    # Here, and not where our lock is held: who waits for several futures holds theirs, and may
    # want ours.
    left = {i: f for i, f in enumerate(futures) if f.set_running_or_notify_cancel()}
    try:
        now = results.looker.look()
        while left:
            done = settled_tasks(now, list(left))
            for same in by_archive(now.states[index] for index in done):
                for state in same:
                    outcome = results.told(state, same)
                    future = left.pop(state.index)
                    if outcome.error is None:
                        future.set_result(outcome.value)
                        continue
                    error: BaseException = outcome.error
                    if outcome.error.original is not None:
                        error = outcome.error.original
                        error.__cause__ = outcome.error
                    future.set_exception(error)
            if left:
                now = results.looker.next_look(math.inf)
    except BaseException as error:
        for future in left.values():
            future.set_exception(error)


__all__ = ["CallFuture", "Executor"]

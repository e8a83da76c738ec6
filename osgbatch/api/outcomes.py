"""What calls returned or raised, read straight from the verified archives that came back."""

from __future__ import annotations

import hashlib
import json
import pickle
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from osgbatch.batches.folder import Batch
from osgbatch.calls import values
from osgbatch.calls.package import PLAIN, RAISED, is_returned
from osgbatch.collecting.collect import results_folder
from osgbatch.collecting.files import STATUS
from osgbatch.errors import OsgbatchError, ResultError
from osgbatch.exits import SOME_FAILED
from osgbatch.life.naming import in_commands
from osgbatch.life.rounds import asked_kb
from osgbatch.model import TaskState
from osgbatch.returned import most_bytes, read_tasks
from osgbatch.returned.small import small_files

_LAST_LINES = 12


class CallError(OsgbatchError):
    """A call has no result: its function raised, or its task was stopped, held or lost.

    index: of its item, from 0; item: the item where it is known, else None. state: of its task.
    kind: the name of the exception's class, `ValueError`, empty where the function raised none.
    remote_traceback: as text, empty where there is none. original: the exception itself where it
    could be brought, else None.
    """

    exit_code = SOME_FAILED

    def __init__(
        self,
        what: str,
        *,
        index: int,
        state: str = "",
        kind: str = "",
        remote_traceback: str = "",
        original: Exception | None = None,
        where: str = "",
        fix: str = "",
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.index = index
        self.state = state
        self.kind = kind
        self.remote_traceback = remote_traceback
        self.original = original
        self.item: Any = None

    def __str__(self) -> str:
        text = super().__str__()
        if not self.remote_traceback:
            return text
        return f"{text}\n\n{self.remote_traceback.rstrip()}"


class _Kept:
    """Keeps in memory the files of a task that tell of its call; the rest is only verified."""

    def __init__(self, wanted: Iterable[str]) -> None:
        self.files: dict[str, bytes] = {}
        self._wanted = frozenset(wanted)

    def folder(self, name: str) -> None:
        """A folder is of no interest."""

    def file(self, name: str, size: int, executable: bool, blocks: Iterable[bytes]) -> None:
        """Keep a file, or let it pass."""
        if name.removeprefix("data/") in self._wanted:
            self.files[name.removeprefix("data/")] = b"".join(blocks)
            return
        for _ in blocks:
            pass

    def hard_link(self, name: str, to: str) -> None:
        """Another name of a file that is kept."""
        if name in self._wanted and to in self.files:
            self.files[name] = self.files[to]


@dataclass
class Reader:
    """Reads what came back of the calls of a batch; the last archive's is kept in memory.

    unpickle: whether pickles may be read: they run code that the execution point wrote.
    """

    batch: Batch
    unpickle: bool = True
    _archive: Path | None = None
    _files: dict[int, Mapping[str, bytes]] = field(default_factory=dict)
    _problems: dict[int, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def returned(self) -> str:
        """The output that holds what the function returned."""
        return is_returned([output["parts"] for output in self.batch.data["outputs"]])

    def knows(self, state: TaskState) -> bool:
        """Whether what came back of a task was read just now."""
        return state.archive == self._archive and state.index in self._files

    def files(self, state: TaskState, near: Sequence[TaskState] = ()) -> Mapping[str, bytes]:
        """The files of a task that tell of its call. near: of the same archive, read with it.

        Raises ResultError when the archive, or what is in it of this task, is not accepted.
        """
        assert state.archive is not None
        with self._lock:
            if not self.knows(state):
                if not state.archive.exists():
                    return self._collected(state)
                self._read([s for s in near if s.archive == state.archive] or [state])
            if state.index in self._problems:
                raise ResultError(self._problems[state.index], where=str(state.archive))
            return self._files[state.index]

    def _read(self, states: Sequence[TaskState]) -> None:
        archive = states[0].archive
        assert archive is not None
        wanted = (self.returned, RAISED)
        self._archive, self._files, self._problems = archive, {}, {}
        quick = small_files(archive, [state.index for state in states], wanted)
        if quick is not None and all(
            self.returned in quick[s.index] for s in states if s.state == "succeeded"
        ):
            self._files = dict(quick)
            return
        sinks = {state.index: _Kept(wanted) for state in states}
        disk = asked_kb(self.batch.round_data(states[0].round)) if states[0].round else 0
        _, contents = read_tasks(archive, sinks, sinks, most=most_bytes(disk))
        for index, sink in sinks.items():
            content = contents.get(index)
            problem = content.finish() if content else "nothing of it is in the archive"
            if problem:
                self._problems[index] = problem
            self._files[index] = sink.files

    def _collected(self, state: TaskState) -> Mapping[str, bytes]:
        """The same from `results/`, of an archive that was dropped once it was collected."""
        folder = results_folder(self.batch.folder)
        folder = folder / str(state.index) if state.state == "succeeded" else folder / "failed"
        if state.state != "succeeded":
            folder = folder / str(state.index)
        found: dict[str, bytes] = {}
        try:
            told = json.loads((folder / STATUS).read_text())["files"]
            for name in (self.returned, RAISED):
                if name not in told:
                    continue
                data = (folder / name).read_bytes()
                if hashlib.sha256(data).hexdigest() != told[name]:
                    raise ResultError(f"{name} was changed", where=str(folder))
                found[name] = data
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ResultError(f"its result is not there: {error}", where=str(folder)) from None
        return found

    def value(self, state: TaskState, near: Sequence[TaskState] = ()) -> Any:
        """What the call of a succeeded task returned. Raises CallError."""
        if state.state != "succeeded":
            raise self.error(state, near)
        try:
            data = self.files(state, near)[self.returned]
        except (ResultError, KeyError) as error:
            raise self._unreadable(state, error) from None
        loads = pickle.loads if self.unpickle and self.returned != PLAIN else None
        try:
            return values.decode(data, loads)
        except values.Pickled:
            raise CallError(
                f"what item {state.index} returned is a pickle, which may run code here",
                index=state.index,
                state=state.state,
                fix="Read it with unpickle=True where you trust what ran there.",
            ) from None
        except Exception as error:
            raise self._unreadable(state, error) from error

    def _unreadable(self, state: TaskState, error: Exception) -> CallError:
        what = error.what if isinstance(error, OsgbatchError) else f"{error}"
        return CallError(
            f"the result of item {state.index} cannot be read: {type(error).__name__}: {what}",
            index=state.index,
            state=state.state,
            where=str(state.archive or ""),
        )

    def error(self, state: TaskState, near: Sequence[TaskState] = ()) -> CallError:
        """Why a call has no result."""
        told: Mapping[str, Any] = {}
        if state.archive is not None:
            try:
                data = self.files(state, near).get(RAISED)
                found = values.decode(data) if data else {}
                told = found if isinstance(found, dict) else {}
            except (ResultError, values.Damaged, values.Pickled):
                told = {}
        kind, message = _text(told, "type"), _text(told, "message")
        if told:
            head = f"{kind}: {message}" if kind else message
            return CallError(
                f"item {state.index} failed: {head}",
                index=state.index,
                state=state.state,
                kind=kind,
                remote_traceback=_text(told, "traceback"),
                original=self._original(told.get("pickle")),
            )
        return CallError(
            f"item {state.index} has no result: its task {_ending(state)}",
            index=state.index,
            state=state.state,
            remote_traceback=_last_words(state),
            fix=f"`osgbatch why {in_commands(self.batch)} {state.index}` says more.",
        )

    def _original(self, data: Any) -> Exception | None:
        if not isinstance(data, bytes) or not self.unpickle or self.returned == PLAIN:
            return None
        try:
            found = pickle.loads(data)
        except Exception:  # of a class that is not here, say
            return None
        # Nothing that would end who asks for a result, as SystemExit.
        return found if isinstance(found, Exception) else None


def _text(told: Mapping[str, Any], key: str) -> str:
    value = told.get(key)
    return _tame(value) if isinstance(value, str) else ""


def _tame(text: str) -> str:
    """A text from an execution point without what a terminal would obey."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def _ending(state: TaskState) -> str:
    why = " ".join(f"{state.reason} {state.detail}".split())
    if state.signal:
        why = f"{why}, signal {state.signal}".strip(", ")
    elif state.exit_code:
        why = f"{why}, exit code {state.exit_code}".strip(", ")
    told = {"failed": "failed", "removed": "was removed", "unknown": "is lost"}
    return told.get(state.state, f"is {state.state}") + (f" ({why})" if why else "")


def _last_words(state: TaskState) -> str:
    """The end of what it wrote to stderr."""
    from osgbatch.life.task_output import last_lines

    try:
        return _tame(last_lines(state, "stderr", _LAST_LINES)) if state.archive else ""
    except OsgbatchError:
        return ""


def by_archive(states: Iterable[TaskState]) -> Iterator[list[TaskState]]:
    """States of the same archive together, in the order of their first ones."""
    found: dict[object, list[TaskState]] = {}
    for state in states:
        found.setdefault(state.archive or ("", state.index), []).append(state)
    yield from found.values()


__all__ = ["CallError", "Reader", "by_archive"]

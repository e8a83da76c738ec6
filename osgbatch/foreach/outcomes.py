"""What became of the elements of a foreach, and what those that failed have said."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from osgbatch import names
from osgbatch.batches.folder import load, read_tasks_csv
from osgbatch.foreach.document import ELEMENTS, TOLD
from osgbatch.life.following import status
from osgbatch.model import TaskState

_MOST_TOLD = 16 << 20
_MOST_SAID = 100_000
"""Bytes that are looked at, of how the elements of a task ended and of what it said."""


@dataclass(frozen=True)
class Failure:
    """An element that has no result. task: of the step foreach; why: on one line."""

    element: int
    task: int
    why: str


@dataclass(frozen=True)
class Outcome:
    """What became of the elements. elements: their number, None while it is not known."""

    elements: int | None
    tasks: int
    failures: tuple[Failure, ...]


def outcome(scatter: Path, elements: Path) -> Outcome:
    """How the elements of a foreach ended, by what their tasks told; never trusted further.

    scatter, elements: the batch folders of the first two phases, which may not be there yet.
    """
    count: int | None = None
    with suppress(OSError, ValueError, KeyError, TypeError):
        path = scatter / names.RESULTS / "0" / "outputs" / TOLD
        count = int(json.loads(path.read_text())["elements"])
    if not (elements / names.RESOLVED).is_file():
        return Outcome(count, 0, ())
    batch = load(elements)
    failures: list[Failure] = []
    states = {state.index: state for state in status(batch, all_tasks=True).states}
    total = 0
    for index, (first, number) in enumerate(read_tasks_csv(batch)):
        total += int(number)
        state = states[index]
        if state.state != "succeeded":
            folder = batch.folder / names.RESULTS / "failed" / str(index)
            failures += _failures(state, folder, int(first), int(number))
    return Outcome(total, batch.tasks, tuple(failures))


def said(batch: Path, task: int = 0, element: int | None = None) -> list[str]:
    """The end of what a failed task wrote to stderr; of an element what is said of that one.

    batch: its folder.
    """
    path = batch / names.RESULTS / "failed" / str(task) / "stderr"
    try:
        with path.open("rb") as stream:
            if element is None:
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - _MOST_SAID))
            lines = stream.read(_MOST_SAID).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    if element is not None:
        mark = f"osgbatch: element {element} failed:"
        if mark not in lines:
            return []
        lines = lines[lines.index(mark) + 1 :]
        stop = next((i for i, line in enumerate(lines) if line.startswith("osgbatch: ")), None)
        lines = [line for line in lines[:stop] if line.strip()]
    # What comes from an execution point must not steer a terminal.
    return ["".join(c if c.isprintable() else " " for c in line)[:500] for line in lines[-20:]]


def _failures(state: TaskState, folder: Path, first: int, number: int) -> Iterator[Failure]:
    """Those of one task that has not succeeded."""
    told: dict[int, str] = {}
    try:
        with (folder / "outputs" / ELEMENTS).open("rb") as stream:
            text = stream.read(_MOST_TOLD).decode("utf-8", "replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word.isascii() and word.isdigit() and len(word) < 12:
            told[int(word)] = rest.strip()
    ended = state.detail or (f"exit code {state.exit_code}" if state.exit_code else state.reason)
    if state.reason == "missing-output":
        ended = "the script ended itself"
    elif state.signal is not None:
        ended = f"signal {state.signal}"
    for element in range(first, first + number):
        said = told.get(element)
        if said == "ok":
            continue
        if said is None:
            why = f"not run: its task is {state.state}" if text else f"its task is {state.state}"
            why += f" ({ended})" if ended else ""
        elif said:
            why = said.removeprefix("failed ")
        else:
            why = f"was running when its task ended ({ended or state.state})"
        yield Failure(element, state.index, why)

"""What tasks wrote of themselves: the scalars of `metrics.json`, or what a `function:` returned."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from osgbatch.names import METRICS_FILE, RESULT_FILE

MOST_BYTES = 256 * 1024
"""A larger file is not read: these are a task's figures, not its data."""
MOST_TEXT = 4096
"""Characters that a text may have, to be a cell of a table."""
MOST_ALL_TEXT = 64 * 1024 * 1024
"""Characters of all texts of all tasks together: they are held in memory."""
MOST_NAME = 200
"""Characters that a name may have, to be the head of a column."""
MOST_DEPTH = 16
MOST_COLUMNS = 1000
"""Of all tasks together."""
_MOST_SHAPES = 100
"""Sets of names that are remembered: usually all tasks have the same."""
PREFIX = "metrics."
"""Stands before a name that is taken by another column."""
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""As the caller of a `function:` writes them, since JSON has no such numbers."""


@dataclass(frozen=True)
class Metrics:
    """The metrics of tasks, in the order in which their folders were given.

    names: their columns, in the order in which they were first met. notes: sentences for the user
    on what could not be read or was left out.
    """

    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    _shapes: list[tuple[str, ...]] = field(default_factory=list)
    _values: list[tuple[Any, ...]] = field(default_factory=list)

    def of(self, place: int) -> dict[str, Any]:
        """Column to value (a number, a text, true, false or None) of the task at a place."""
        if place >= len(self._values):
            return {}
        return dict(zip(self._shapes[place], self._values[place], strict=True))


NONE = Metrics()


def read_metrics(
    folders: Iterable[tuple[int, str | None]], taken: Collection[str], *, function: bool = False
) -> Metrics:
    """Read the metrics of tasks; what is wrong with a file is noted, and never an error.

    folders: of each task its index and its folder in `results/`, None where there is none; taken:
    names that other columns have; function: what the tasks' function returned counts, too, where
    `metrics.json` does not say the same name. Names that are nested are joined by a dot, lists are
    left out.
    """
    reader = _Reader(taken)
    shapes, values = [], []
    files = [(METRICS_FILE, False), *([(RESULT_FILE, True)] if function else [])]
    for index, folder in folders:
        found: dict[str, Any] = {}
        if folder is not None:
            for name, is_result in files:
                reader.read(index, folder, name, found, is_result=is_result)
        shape = reader.shape(index, tuple(found)) if found else ()
        if len(shape) < len(found):
            shape, kept = reader.kept(found)
            values.append(kept)
        else:
            values.append(tuple(found.values()))
        shapes.append(shape)
    return Metrics(tuple(reader.columns.values()), tuple(reader.notes()), shapes, values)


class _Reader:
    """Reads one file after the other, and knows the columns that there are by then."""

    def __init__(self, taken: Collection[str]) -> None:
        self.columns: dict[str, str] = {}
        self._taken = set(taken)
        self._text_left = MOST_ALL_TEXT
        self._shapes: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._wrong: dict[str, list[Any]] = {}

    def read(
        self, index: int, folder: str, name: str, found: dict[str, Any], *, is_result: bool
    ) -> None:
        """Add what a file holds to what was found."""
        try:
            text = _read(f"{folder}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._note(f"{name} cannot be read", index, error.strerror or str(error))
            return
        if text is None:
            self._note(f"{name} is larger than {MOST_BYTES // 1024} kB", index)
            return
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            said = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            self._note(f"{name} is not JSON", index, said)
            return
        if isinstance(data, dict):
            if "$npy" not in data:
                self._take(index, name, data, "", found, is_result=is_result)
        elif not is_result:
            self._note(f"{name} is no object of names and values", index)
        elif not isinstance(data, list):
            self._take(index, name, {"result": data}, "", found, is_result=True)

    def _take(
        self,
        index: int,
        file: str,
        data: Mapping[str, Any],
        above: str,
        found: dict[str, Any],
        *,
        is_result: bool,
    ) -> None:
        for key, value in data.items():
            name = above + key
            if isinstance(value, dict):
                if name.count(".") >= MOST_DEPTH:
                    self._note(f"{file} is nested more than {MOST_DEPTH} deep", index, _short(name))
                elif "$npy" not in value:
                    self._take(index, file, value, f"{name}.", found, is_result=is_result)
                continue
            if isinstance(value, list):
                if not is_result:  # what a function returns is kept by itself, lists and all
                    self._note(f"{file} has a list, which is left out", index, _short(name))
                continue
            problem = _problem(key, name, value)
            if problem:
                self._note(f"{file} has {problem}, which is left out", index, _short(name))
            elif name in found:
                self._note("a metric has the same name as another", index, _short(name))
            elif isinstance(value, str) and len(value) > self._text_left:
                most = f"{MOST_ALL_TEXT:,} characters"
                self._note(f"a text is left out, since all have more than {most}", index)
            else:
                if is_result and isinstance(value, str):
                    value = _NOT_FINITE.get(value, value)
                if isinstance(value, str):
                    self._text_left -= len(value)
                found[name] = value

    def shape(self, index: int, names: tuple[str, ...]) -> tuple[str, ...]:
        """The columns of these names; fewer when there are too many columns."""
        known = self._shapes.get(names)
        if known is None:
            columns = [self._column(name) for name in names]
            known = tuple(column for column in columns if column is not None)
            if len(known) < len(names):
                self._note(f"there are more than {MOST_COLUMNS:,} metrics", index)
            elif len(self._shapes) < _MOST_SHAPES:
                self._shapes[names] = known
        return known

    def kept(self, found: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Columns and values of those that have a column."""
        pairs = [(self.columns[name], v) for name, v in found.items() if name in self.columns]
        return tuple(column for column, _ in pairs), tuple(value for _, value in pairs)

    def _column(self, name: str) -> str | None:
        column = self.columns.get(name)
        if column is None and len(self.columns) < MOST_COLUMNS:
            column = name
            while column in self._taken:
                column = PREFIX + column
            self._taken.add(column)
            self.columns[name] = column
        return column

    def _note(self, what: str, index: int, detail: str = "") -> None:
        known = self._wrong.setdefault(what, [0, index, detail])
        known[0] += 1

    def notes(self) -> Iterable[str]:
        for what, (count, index, detail) in self._wrong.items():
            more = f" and {count - 1:,} more" if count > 1 else ""
            yield f"task {index}{more}: {what}{f' ({detail})' if detail else ''}"


def _read(path: str) -> bytes | None:
    """The content of a file; None when it is too large, or no file."""
    # Not to wait for ever for a pipe that somebody has put there.
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        text = os.read(opened, MOST_BYTES + 1)
        while 0 < len(text) <= MOST_BYTES and (more := os.read(opened, MOST_BYTES + 1)):
            text += more
    finally:
        os.close(opened)
    return text if len(text) <= MOST_BYTES else None


_FORMULA = "=+-@"
"""What begins so is run by a spreadsheet that opens the table."""


def _problem(key: str, name: str, value: Any) -> str:
    """Why a name or its value cannot be in a table; empty when it can."""
    if not key:
        return "an empty name"
    if len(name) > MOST_NAME:
        return f"a name of more than {MOST_NAME} characters"
    if not _is_plain(name):
        return "a name that is no text"
    if name[0] in _FORMULA:
        return f"a name that begins with {name[0]}"
    if isinstance(value, str):
        if len(value) > MOST_TEXT:
            return f"a text of more than {MOST_TEXT:,} characters"
        if not _is_plain(value):
            return "a text that is none"
    return ""


def _is_plain(text: str) -> bool:
    """Whether a text can be written as UTF-8, and read from CSV again."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _short(name: str) -> str:
    shown = ascii(name)
    return shown if len(shown) <= 60 else shown[:57] + "..."

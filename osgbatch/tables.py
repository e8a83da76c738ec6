"""The table of a sweep: cells, columns, and rows as products of columns, read in bulk."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, NamedTuple


class Cell(NamedTuple):
    """One parameter of one task: its typed value, and its text as it was written."""

    value: Any
    text: str


class Cells(Sequence[Cell]):
    """Cells that are kept in another form than one object each, and are read in bulk."""

    def texts(self, start: int, stop: int) -> list[str]:
        """The texts of the cells from `start` up to `stop`."""
        raise NotImplementedError

    def values(self, start: int, stop: int) -> list[Any]:
        """Their typed values."""
        raise NotImplementedError

    def kind(self, start: int, stop: int) -> str:
        """What these cells are: "number" (each text is the value as JSON writes it), "text", "".

        "" when they are mixed, or when to know costs more than to look at each.
        """
        return cells_kind(self.values(start, stop), self.texts(start, stop))


_JSON_WORD = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false")


def is_json(value: Any, text: str) -> bool:
    """Whether a cell's text is its value as JSON can write it: a number, true or false."""
    return not isinstance(value, str) and _JSON_WORD.fullmatch(text) is not None


def cells_kind(values: Sequence[Any], texts: Sequence[str]) -> str:
    """`Cells.kind` by looking at each cell."""
    if all(isinstance(value, str) for value in values):
        return "text"
    return "number" if all(map(is_json, values, texts)) else ""


@dataclass(frozen=True)
class Column:
    """One column of a sweep.

    is_file: each value names a file that is brought to the task.
    """

    name: str
    cells: Sequence[Cell]
    is_file: bool = False

    def texts(self, start: int, stop: int) -> list[str]:
        """The texts of the cells from `start` up to `stop`."""
        cells = self.cells
        if isinstance(cells, Cells):
            return cells.texts(start, stop)
        return [cell.text for cell in cells[start:stop]]

    def values(self, start: int, stop: int) -> list[Any]:
        """Their typed values."""
        cells = self.cells
        if isinstance(cells, Cells):
            return cells.values(start, stop)
        return [cell.value for cell in cells[start:stop]]

    def kind(self, start: int, stop: int) -> str:
        """What these cells are, as `Cells.kind` says it."""
        if isinstance(self.cells, Cells):
            return self.cells.kind(start, stop)
        return cells_kind(self.values(start, stop), self.texts(start, stop))


@dataclass(frozen=True)
class Table:
    """All rows of a sweep: the product of blocks of columns, the last block varying fastest.

    blocks: each a tuple of columns of equal length (a table), or of one column (a list).
    copies: how many times each row is there, one after the other, with nothing to tell which.
    """

    blocks: tuple[tuple[Column, ...], ...]
    copies: int = 1

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, in the order of the spec."""
        return tuple(column for block in self.blocks for column in block)

    def __len__(self) -> int:
        return math.prod((len(block[0].cells) for block in self.blocks), start=self.copies)

    def row(self, index: int) -> tuple[Cell, ...]:
        """The cells of task `index` (0-based), in the order of `columns`."""
        cells: list[Cell] = []
        index //= self.copies
        for block in reversed(self.blocks):
            index, position = divmod(index, len(block[0].cells))
            cells[:0] = [column.cells[position] for column in block]
        return tuple(cells)

    def rows(self, size: int = 4096) -> Iterator[tuple[Cell, ...]]:
        """All rows in order; `size` at a time are held in memory."""
        names = [column.name for column in self.columns]
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            columns = [
                map(Cell, self.values(name, start, stop), self.texts(name, start, stop))
                for name in names
            ]
            yield from zip(*columns, strict=True) if columns else [()] * (stop - start)

    def texts(self, name: str, start: int, stop: int) -> list[str]:
        """One column's texts in the rows from `start` up to `stop`, fast for whole chunks."""
        column, inner = self._column(name)
        return _cycle(column.texts, len(column.cells), inner, start, min(stop, len(self)))

    def values(self, name: str, start: int, stop: int) -> list[Any]:
        """The same, typed."""
        column, inner = self._column(name)
        return _cycle(column.values, len(column.cells), inner, start, min(stop, len(self)))

    def kind(self, name: str, start: int, stop: int) -> str:
        """What one column's cells in these rows are: "number", "text" or "", as `Cells.kind`."""
        column, inner = self._column(name)
        length = len(column.cells)
        first, last = start // inner, (min(stop, len(self)) - 1) // inner + 1
        if last - first >= length or first // length != (last - 1) // length:
            first, last = 0, length
        return column.kind(first % length, first % length + last - first)

    def _column(self, name: str) -> tuple[Column, int]:
        """A column, and how many rows in a row each of its cells stands for."""
        inner = self.copies
        for block in reversed(self.blocks):
            for column in block:
                if column.name == name:
                    return column, inner
            inner *= len(block[0].cells)
        raise KeyError(name)


def _cycle(
    read: Callable[[int, int], list[Any]], length: int, inner: int, start: int, stop: int
) -> list[Any]:
    """Cells of a column of a product: each `inner` times, and after the last the first again."""
    if start >= stop:
        return []
    first, last = start // inner, (stop - 1) // inner + 1
    cells: list[Any] = []
    while first < last:
        position = first % length
        count = min(last - first, length - position)
        cells += read(position, position + count)
        first += count
    if inner == 1:
        return cells
    if len(cells) == 1:
        return cells * (stop - start)
    head, tail = inner - start % inner, (stop - 1) % inner + 1
    runs = chain.from_iterable(map(repeat, cells[1:-1], repeat(inner)))
    return [*repeat(cells[0], head), *runs, *repeat(cells[-1], tail)]

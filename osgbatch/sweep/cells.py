"""Cells of long columns, kept as a few large blocks of text and read back in bulk."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, overload

from osgbatch.tables import Cell, Cells, Column

BLOCK = 1024
"""Cells per block: reading one cell alone costs splitting one block."""

_INTEGER = r"-?(?:0|[1-9][0-9]{0,4000})"
_DECIMAL = _INTEGER + r"(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)"
_NUMBER = re.compile(rf"({_DECIMAL})|{_INTEGER}")
_INTEGERS = re.compile(rf"{_INTEGER}(?:\0{_INTEGER})*".encode())
_DECIMALS = re.compile(rf"{_DECIMAL}(?:\0{_DECIMAL})*".encode())
# Without exponent and not too long, so that none is too large for a float.
_PLAIN_NUMBER = r"-?(?:0|[1-9][0-9]{0,280})(?:\.[0-9]+)?"
_PLAIN_NUMBERS = re.compile(rf"{_PLAIN_NUMBER}(?:\0{_PLAIN_NUMBER})*".encode())
_PERHAPS_TYPED = re.compile(rb"\0(?:-?[0-9]|(?i:true|false)(?:\0|$))")
_TRUTH = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


def typed(text: str) -> Any:
    """A cell of a table as a number where it is written as JSON writes one, or as true or false.

    `true`, `True` and `TRUE` are the same, as in a list of the spec; all else is text: 007, nan,
    1_000, and a number too large for a float.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        return _TRUTH.get(text, text)
    if match[1] is None:
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else text


class TextCells(Cells):
    """Cells whose values follow from their texts; blocks of texts, NUL between them.

    rule: how a value follows: "typed" (as `typed` says), "text" (it is the text), or "json" (what
    is kept is a JSON text, of which value and text are made).
    """

    __slots__ = ("_blocks", "_last", "_length", "_rule")

    def __init__(self, blocks: Sequence[bytes], length: int, rule: str = "typed") -> None:
        self._blocks = blocks
        self._length = length
        self._rule = rule
        self._last: tuple[int, list[str]] = (-1, [])

    @classmethod
    def of(cls, texts: Iterable[str], rule: str = "typed") -> TextCells:
        """The cells of these texts; none of them holds a NUL."""
        left = iter(texts)
        blocks: list[bytes] = []
        count = 0
        while batch := list(islice(left, BLOCK)):
            blocks.append(pack(batch))
            count += len(batch)
        return cls(blocks, count, rule)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Cell: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Cell]: ...

    def __getitem__(self, index: int | slice) -> Cell | Sequence[Cell]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._length))]
        if index < 0:
            index += self._length
        if not 0 <= index < self._length:
            raise IndexError(index)
        number, position = divmod(index, BLOCK)
        text = self._block(number)[position]
        if self._rule == "json":
            value = json.loads(text)
            return Cell(value, value if isinstance(value, str) else text)
        return Cell(typed(text) if self._rule == "typed" else text, text)

    def __iter__(self) -> Iterator[Cell]:
        for start in range(0, self._length, BLOCK):
            stop = min(start + BLOCK, self._length)
            yield from map(Cell, self.values(start, stop), self.texts(start, stop))

    def __reduce__(self) -> tuple[type[TextCells], tuple[Sequence[bytes], int, str]]:
        return TextCells, (self._blocks, self._length, self._rule)

    def texts(self, start: int, stop: int) -> list[str]:
        """The texts of the cells from `start` up to `stop`."""
        return self._read(start, stop, self._texts)

    def values(self, start: int, stop: int) -> list[Any]:
        """Their typed values."""
        return self._read(start, stop, self._texts if self._rule == "text" else self._values)

    def kind(self, start: int, stop: int) -> str:
        """What these cells are: "number", "text" or "", by the blocks that they lie in."""
        if self._rule == "text":
            return "text"
        if self._rule == "json" or start >= stop:
            return super().kind(start, stop)
        kinds = {
            _block_kind(self._blocks[number])
            for number in range(start // BLOCK, (stop - 1) // BLOCK + 1)
        }
        return kinds.pop() if len(kinds) == 1 else super().kind(start, stop)

    def _read(self, start: int, stop: int, read: Callable[[int], list[Any]]) -> list[Any]:
        start, stop, _ = slice(start, stop).indices(self._length)
        if start >= stop:
            return []
        first, last = start // BLOCK, (stop - 1) // BLOCK
        cells = read(first)
        if first == last:
            return cells[start % BLOCK : (stop - 1) % BLOCK + 1]
        cells = cells[start % BLOCK :]
        for number in range(first + 1, last):
            cells += read(number)
        return cells + read(last)[: (stop - 1) % BLOCK + 1]

    def _block(self, number: int) -> list[str]:
        """The texts of a block as they are kept; the last one asked for is remembered."""
        last, texts = self._last
        if last != number:
            texts = self._blocks[number].decode("utf-8", "surrogateescape").split("\0")
            self._last = (number, texts)
        return texts

    def _texts(self, number: int) -> list[str]:
        texts = self._block(number)
        if self._rule == "json":
            return [json.loads(text) if text[0] == '"' else text for text in texts]
        return texts

    def _values(self, number: int) -> list[Any]:
        if self._rule == "json":
            return [json.loads(text) for text in self._block(number)]
        block = self._blocks[number]
        if _INTEGERS.fullmatch(block):
            return list(map(int, block.split(b"\0")))
        if _DECIMALS.fullmatch(block):
            numbers = list(map(float, block.split(b"\0")))
            if all(map(math.isfinite, numbers)):
                return numbers
        return list(map(typed, self._block(number)))


def _block_kind(block: bytes) -> str:
    """The kind of a block of typed cells, where a glance tells."""
    if _PLAIN_NUMBERS.fullmatch(block):
        return "number"
    return "" if _PERHAPS_TYPED.search(b"\0" + block) else "text"


def pack(texts: Sequence[str]) -> bytes:
    """A block of texts, as TextCells keeps it. Raises ValueError when one of them holds a NUL."""
    block = "\0".join(texts)
    if block.count("\0") != len(texts) - 1:
        raise ValueError("a NUL character")
    return block.encode("utf-8", "surrogateescape")


class PickedCells(Cells):
    """The cells of a column in some of the rows of a product.

    rows: the rows that were picked; inner: how many rows in a row each cell stands for.
    """

    __slots__ = ("_column", "_inner", "_rows")

    def __init__(self, column: Column, inner: int, rows: Sequence[int]) -> None:
        self._column = column
        self._inner = inner
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Cell: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Cell]: ...

    def __getitem__(self, index: int | slice) -> Cell | Sequence[Cell]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        cells = self._column.cells
        return cells[self._rows[index] // self._inner % len(cells)]

    def __iter__(self) -> Iterator[Cell]:
        for start in range(0, len(self), BLOCK):
            stop = min(start + BLOCK, len(self))
            yield from map(Cell, self.values(start, stop), self.texts(start, stop))

    def __reduce__(self) -> tuple[type[PickedCells], tuple[Column, int, Sequence[int]]]:
        return PickedCells, (self._column, self._inner, self._rows)

    def texts(self, start: int, stop: int) -> list[str]:
        """The texts of the cells from `start` up to `stop`."""
        return self._read(start, stop, self._column.texts)

    def values(self, start: int, stop: int) -> list[Any]:
        """Their typed values."""
        return self._read(start, stop, self._column.values)

    def kind(self, start: int, stop: int) -> str:
        """What these cells are: "number" or "text" where all around them are, else by each."""
        rows = self._rows[start:stop]
        length = len(self._column.cells)
        positions = [row // self._inner % length for row in (min(rows), max(rows))] if rows else []
        if positions and positions[0] <= positions[1] and rows[-1] - rows[0] < length:
            return self._column.kind(positions[0], positions[1] + 1) or super().kind(start, stop)
        return self._column.kind(0, length) if length <= BLOCK else super().kind(start, stop)

    def _read(self, start: int, stop: int, read: Callable[[int, int], list[Any]]) -> list[Any]:
        length, inner = len(self._column.cells), self._inner
        if inner == 1:
            positions = [row % length for row in self._rows[start:stop]]
        else:
            positions = [row // inner % length for row in self._rows[start:stop]]
        if not positions:
            return []
        low, high = min(positions), max(positions)
        if high - low < 8 * len(positions) + BLOCK:
            cells = read(low, high + 1)
            return [cells[position - low] for position in positions]
        return _scattered(positions, read)


def _scattered(positions: Sequence[int], read: Callable[[int, int], list[Any]]) -> list[Any]:
    """Cells that lie far apart: each block that has some of them is read once."""
    by_block: dict[int, list[int]] = {}
    for i, position in enumerate(positions):
        by_block.setdefault(position // BLOCK, []).append(i)
    found: list[Any] = [None] * len(positions)
    for number, indices in by_block.items():
        cells = read(number * BLOCK, (number + 1) * BLOCK)
        for i in indices:
            found[i] = cells[positions[i] % BLOCK]
    return found

"""Which rows of a product stay: `where:`, `exclude:` and `sample:`."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from typing import Any

from osgbatch.errors import SpecError
from osgbatch.expressions import Expression, ExpressionError, parse_expression
from osgbatch.spec_model import ColumnSource
from osgbatch.sweep.cells import PickedCells
from osgbatch.sweep.draws import sample
from osgbatch.tables import Column, Table

MAX_CHECKED = 100_000_000
"""Rows of a product that conditions are tried on: some minutes."""
_CHUNK = 4096


class Condition:
    """One `where:` or `exclude:`, ready to be tried on rows.

    Raises SpecError, with the caret under the name, when it uses a column that is not there.
    """

    def __init__(self, source: ColumnSource, columns: Sequence[str]) -> None:
        self.source = source
        self.wanted = source.kind == "where"
        try:
            self.expression: Expression = parse_expression(source.text, columns)
            self.names = self.expression.names
            if "index" in self.names and "index" not in columns:
                raise _no_index(source.text)
            self.test: Callable[[Sequence[Any]], Any] = self.expression.compile(self.names)
        except ExpressionError as error:
            fix = error.fix.replace(", index.", ".")  # which expressions know elsewhere
            if re.fullmatch("repeat", source.text[error.offset :][: error.width]):
                fix = "The rows are repeated after they are chosen."
            raise self._error(error, fix) from None
        self.kept = 0

    def _error(self, error: ExpressionError, fix: str, row: str = "") -> SpecError:
        place = self.source.inside(error.offset, error.width)
        return SpecError(f"{self.source.kind}: {error.message}{row}", place, fix=fix)

    def try_on(
        self, rows: Sequence[Sequence[Any]], first: int, numbers: Sequence[int]
    ) -> list[bool]:
        """Which of these rows stay. first + numbers[i]: the 0-based number of a row."""
        try:
            found = list(map(self.test, rows))
        except ExpressionError as error:
            raise self._in_row(error, rows, first, numbers) from None
        if not all(map(_is_truth, found)):
            wrong = next(i for i, value in enumerate(found) if not _is_truth(value))
            raise SpecError(
                f"{self.source.kind}: gives {found[wrong]!r}, not true or false"
                + self._row(rows[wrong], first + numbers[wrong]),
                self.source.inside(0, len(self.source.text)),
                fix="Write a comparison, such as x > 0.",
            )
        return found if self.wanted else [not value for value in found]

    def _in_row(
        self,
        error: ExpressionError,
        rows: Sequence[Sequence[Any]],
        first: int,
        numbers: Sequence[int],
    ) -> SpecError:
        for number, row in zip(numbers, rows, strict=True):
            try:
                self.test(row)
            except ExpressionError as found:
                return self._error(found, found.fix, f", in row {first + number + 1}")
        return self._error(error, error.fix)

    def _row(self, row: Sequence[Any], number: int) -> str:
        cells = ", ".join(
            f"{name} = {value!r}" for name, value in zip(self.names, row, strict=True)
        )
        return f" (row {number + 1}: {cells[:200]})"


def _is_truth(value: Any) -> bool:
    return value is True or value is False


def _no_index(text: str) -> ExpressionError:
    found = re.search(r"\bindex\b", text)
    offset = found.start() if found else 0
    fix = "Tasks are numbered after their rows are chosen."
    return ExpressionError('"index" is not known here', offset, 5, fix)


def choose(table: Table, conditions: Sequence[ColumnSource], drawn: ColumnSource | None) -> Table:
    """The rows of the table for which the conditions hold and, of these, a random sample.

    Raises SpecError for a condition that cannot be computed, when no row is left, and when the
    sample is larger than what there is.
    """
    total = _length(table)
    rows: Sequence[int] = range(total)
    if conditions:
        if total > MAX_CHECKED:
            raise SpecError(
                f"{conditions[0].kind}: {total:,} rows are too many to look at each",
                conditions[0].place,
                fix=f"Up to {MAX_CHECKED:,} are possible.",
            )
        names = [column.name for column in table.columns]
        tests = [Condition(source, names) for source in conditions]
        rows = _numbers(total, (row for part in _kept(table, tests) for row in part))
        if not rows:
            raise _nothing_left(tests, total)
    if drawn:
        left = total if isinstance(rows, range) else len(rows)
        if drawn.count > left:
            of = f" ({total:,} before where and exclude)" if conditions else ""
            what = f"sample: {drawn.count:,} rows are wanted, and there are {left:,}{of}"
            raise SpecError(what, drawn.place, fix="Leave sample out to take them all.")
        numbers = sample(left, drawn.count, drawn.seed)
        rows = (
            _numbers(total, [rows[i] for i in numbers]) if conditions else _numbers(total, numbers)
        )
    return picked(table, rows)


def _numbers(total: int, rows: Iterable[int]) -> Sequence[int]:
    """Numbers of rows in the least memory."""
    if total > 2**64:
        return list(rows)
    return array("I" if total <= 2**32 else "Q", rows)


def _length(table: Table) -> int:
    """The rows of a product, which may be more than `len` can say."""
    total = table.copies
    for block in table.blocks:
        total *= len(block[0].cells)
    return total


def _nothing_left(tests: Sequence[Condition], total: int) -> SpecError:
    before = total
    for test in tests:
        if not test.kept:
            break
        before = test.kept
    source = test.source
    what = f"{source.kind}: leaves no row of {before:,}"
    if before != total:
        what += f" ({total:,} before where and exclude)"
    return SpecError(what, source.inside(0, len(source.text)), fix="A sweep needs a row.")


def _kept(table: Table, tests: Sequence[Condition]) -> Iterator[Sequence[int]]:
    """The numbers of the rows that pass all tests, in parts; each sees what passed before it."""
    total = len(table)
    for first in range(0, total, _CHUNK):
        stop = min(first + _CHUNK, total)
        numbers: Sequence[int] = range(stop - first)
        values: dict[str, list[Any]] = {}
        for test in tests:
            for name in test.names:
                if name not in values:
                    values[name] = table.values(name, first, stop)
            columns = [values[name] for name in test.names]
            if len(numbers) < stop - first:
                columns = [[column[i] for i in numbers] for column in columns]
            rows: list[Sequence[Any]] = list(zip(*columns, strict=True)) or [()] * len(numbers)
            numbers = list(compress(numbers, test.try_on(rows, first, numbers)))
            test.kept += len(numbers)
            if not numbers:
                break
        if numbers:
            yield [first + number for number in numbers]


def picked(table: Table, rows: Sequence[int]) -> Table:
    """These rows of the table, as a table of one block."""
    columns: list[Column] = []
    inner = table.copies
    for block in reversed(table.blocks):
        columns[:0] = [
            Column(column.name, PickedCells(column, inner, rows), column.is_file)
            for column in block
        ]
        inner *= len(block[0].cells)
    return Table((tuple(columns),)) if columns else table

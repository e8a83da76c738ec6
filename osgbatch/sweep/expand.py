"""The sources of a spec to one table of parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from osgbatch.errors import SpecError, SpecErrors
from osgbatch.spec_model import ColumnSource, Spec, UserPath
from osgbatch.sweep.cells import TextCells, typed
from osgbatch.sweep.draws import random_column
from osgbatch.sweep.files import matches, natural_key, read_lines
from osgbatch.sweep.select import choose
from osgbatch.sweep.series import linspace, logspace, number_range
from osgbatch.sweep.tables import read_table
from osgbatch.tables import Column, Table

__all__ = ["expand", "natural_key", "typed"]

MAX_ROWS = 100_000_000
"""Tasks of a sweep: more are a slip of the finger."""
_SERIES = {"range": number_range, "linspace": linspace, "logspace": logspace}


ListUrls = Callable[[UserPath], list[str]]
"""The URLs that a pattern stands for. Raises SpecError."""


def expand(spec: Spec, list_urls: ListUrls | None = None) -> Table:
    """Read every source of the spec and give its rows. list_urls: for `files:` of a bucket.

    The product of columns, tables and zips, in the order of the spec, the last varying fastest;
    of it what `where:` and `exclude:` leave; of that a `sample:`; of that each row `repeat:` times.

    Raises SpecError, or SpecErrors for several at once: a pattern without a match, a table that
    cannot be read, a column that is given twice, columns of a zip that differ in length, a
    condition that cannot be computed, and a sweep without a task.
    """
    errors: list[SpecError] = []
    blocks: list[tuple[Column, ...]] = []
    seen: dict[str, ColumnSource] = {}
    rows = [s for s in spec.sources if s.kind in ("where", "exclude", "sample", "repeat", "count")]
    for source in spec.sources:
        if source in rows:
            continue
        try:
            block = _block(source, spec.folder, list_urls)
            for column in block:
                if column.name in seen:
                    raise _twice(column.name, source, seen[column.name])
                seen[column.name] = source
            blocks.append(block)
        except SpecError as error:
            errors.append(error)
    if errors:
        raise errors[0] if len(errors) == 1 else SpecErrors(errors)
    table = _arranged(Table(tuple(blocks)), rows)
    total = table.copies
    for block in table.blocks:
        total *= len(block[0].cells)
    if total > MAX_ROWS:
        raise SpecError(
            f"{_count(total)} tasks are more than the {MAX_ROWS:,} that are possible",
            spec.sources[-1].place,
            fix="`sample: 1000` takes some of them at random.",
        )
    return table


def _count(total: int) -> str:
    return f"{total:,}" if total < 10**15 else f"{total:.1e}" if total < 10**300 else "too many"


def _arranged(table: Table, rows: Sequence[ColumnSource]) -> Table:
    """What is done to the rows of the product."""
    last: dict[str, ColumnSource] = {source.kind: source for source in rows}
    conditions = [source for source in rows if source.kind in ("where", "exclude")]
    if conditions and not table.blocks:
        raise SpecError(f"{conditions[0].kind}: the sweep has no columns", conditions[0].place)
    if conditions or "sample" in last:
        table = choose(table, conditions, last.get("sample"))
    if "repeat" in last:
        numbers = TextCells.of(map(str, range(last["repeat"].count)))
        table = Table((*table.blocks, (Column("repeat", numbers),)))
    if "count" in last:
        table = Table(table.blocks, last["count"].count)
    return table


def _block(source: ColumnSource, folder: Path, list_urls: ListUrls | None) -> tuple[Column, ...]:
    """The columns of one source, all of the same length."""
    if source.kind == "list":
        return (Column(source.name, source.cells),)
    if source.kind == "files":
        cells = TextCells.of(matches(source.paths, folder, list_urls), "text")
        return (Column(source.name, cells, is_file=True),)
    if source.kind == "lines":
        return (Column(source.name, read_lines(source.paths[0], folder)),)
    if source.kind == "random":
        return (random_column(source),)
    if source.kind == "table":
        return read_table(source.paths[0], folder)
    if source.kind == "zip":
        return _zipped(source, folder, list_urls)
    return (Column(source.name, _SERIES[source.kind](source.numbers)),)


def _zipped(source: ColumnSource, folder: Path, list_urls: ListUrls | None) -> tuple[Column, ...]:
    parts = [_block(part, folder, list_urls) for part in source.parts]
    columns = [column for part in parts for column in part]
    lengths = [len(column.cells) for column in columns]
    if len(set(lengths)) > 1:
        listed = [
            f"{column.name} has {length}" for column, length in zip(columns, lengths, strict=True)
        ]
        what = f"the columns of a zip should have as many values each: {', '.join(listed)}"
        fix = "To combine each with each, write them under sweep itself."
        raise SpecError(what, source.place, fix=fix)
    return tuple(columns)


def _twice(name: str, source: ColumnSource, other: ColumnSource) -> SpecError:
    paths = [path.text for s in (other, source) for path in s.paths]
    where = f": in {' and in '.join(dict.fromkeys(paths))}" if len(set(paths)) > 1 else ""
    if not where and other.place.file == source.place.file:
        where = f", first in line {other.place.line}"
    fix = ""
    if source.kind == other.kind == "table":
        fix = "Tables are combined each row with each; rows of one kind belong in one file."
    return SpecError(f'column "{name}" is given twice{where}', source.place, fix=fix)

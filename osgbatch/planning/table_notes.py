"""What looks like a slip in the table of a sweep: notes, and never errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from osgbatch.expressions import ExpressionError, parse_expression
from osgbatch.planning.checks import used_names
from osgbatch.spec_model import ColumnSource, Spec
from osgbatch.tables import Column, Table

MAX_COMPARED = 200_000
"""Rows above which nobody looks for equal ones: a million would take a second."""
_CHUNK = 16_384
_NUMBERS = re.compile(r"([-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?(\s+|$)){2,}")
_LONGEST_SHOWN = 60


def table_notes(spec: Spec, table: Table) -> list[str]:
    """Columns that nothing uses, one value that should be several, rows that are there twice."""
    return [*_unused(spec, table), *_no_commas(spec.sources), *_twice(spec, table)]


def _unused(spec: Spec, table: Table) -> Iterator[str]:
    """Columns that nothing names: without braces, by a wrong name, or beside others that are named.

    Where no column is named at all, a program may read its row in params.json.
    """
    used = _used(spec)
    if used is None:
        return
    unused = [column for column in table.columns if column.name not in used]
    told: set[str] = set()
    for name, near in _set_beside(spec, [column.name for column in unused]):
        told.add(name)
        yield f"sweep.{name}, given by --set, is a new column: did you mean sweep.{near}?"
    if spec.function or not (spec.command or spec.script):
        return  # a function is given the whole row, a container's run script has params.json
    words = {word.fill({}).rpartition("=")[2] for word in spec.command[1:] if not word.names}
    for column in unused:
        if column.name in words and column.name not in {*told, "repeat"}:
            told.add(column.name)
            yield (
                f'the command has "{column.name}" without braces: write {{{column.name}}} for the '
                "value of the column"
            )
    if len(unused) == len(table.columns):
        return
    left = [
        column.name
        for column in unused
        if column.name not in told and not column.is_file and column.name != "repeat"
    ]
    if left:
        shown = ", ".join(left[:5]) + (f" and {len(left) - 5:,} more" if left[5:] else "")
        yield (
            f"nothing uses {'column' if len(left) == 1 else 'the columns'} {shown}: "
            "a task can read them only in params.json"
        )


def _set_beside(spec: Spec, unused: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Unused columns that only `--set` gives, each with the column of the spec that is near."""
    columns = [part for source in spec.sources for part in (source, *source.parts) if part.name]
    written = [source.name for source in columns if source.place.file != "--set"]
    for source in columns:
        if source.place.file == "--set" and source.name in unused:
            near = get_close_matches(source.name, written, n=1, cutoff=0.75)
            if near:
                yield source.name, near[0]


def _no_commas(sources: Sequence[ColumnSource], around: str = "sweep") -> Iterator[str]:
    """Lists of one value with blanks in it: `[Ada Grace]`, `[2.8 3.6]`."""
    for source in sources:
        yield from _no_commas(source.parts, f"{around}.zip")
        text = source.cells[0].text if len(source.cells) == 1 else ""
        if source.kind != "list" or not re.search(r"\S\s+\S", text):
            continue
        # as it stands in its line: what is in quotes is one value on purpose
        line = source.place.source[source.place.column - 1 :]
        plain = re.match(rf"(?P<list>\[)?(?(list)|-\s)\s*{re.escape(text)}", line)
        if plain and (plain["list"] or _NUMBERS.fullmatch(text)):
            shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
            yield f'{around}.{source.name} has one value, "{shown}": commas separate values'


def _used(spec: Spec) -> set[str] | None:
    """The names that stand anywhere in the spec; None when that is not known."""
    used = used_names(spec)
    expressions = [(e.text, True) for e in spec.expressions]
    expressions += [(s.text, False) for s in spec.sources if s.kind in ("where", "exclude")]
    try:
        for text, units in expressions:
            used.update(parse_expression(text, units=units).names)
    except ExpressionError:
        return None
    return used


def _twice(spec: Spec, table: Table) -> Iterator[str]:
    """Equal rows: of a product there are some when one of its blocks has some.

    Random numbers may be drawn twice, and tasks that use their index are told apart by it.
    """
    used = _used(spec)
    if used is None or "index" in used or spec.script or table.copies > 1:
        return
    drawn = {name for source in spec.sources for name in _drawn(source)}
    inner = 1
    for block in reversed(table.blocks):
        length = len(block[0].cells)
        if length <= MAX_COMPARED and not drawn.intersection(column.name for column in block):
            found = _repeated(block)
            if found is not None:
                times, first, second = found
                rows = "row is" if times == 1 else "rows are"
                yield (
                    f"{times:,} {rows} there already, such as that of task {second * inner:,}, "
                    f"which is task {first * inner:,} again (`repeat:` would do so on purpose)"
                )
                return
        inner *= length


def _drawn(source: ColumnSource) -> Iterator[str]:
    """The columns of a source that are drawn at random, those in a zip too."""
    if source.kind == "random":
        yield source.name
    for part in source.parts:
        yield from _drawn(part)


def _repeated(block: Sequence[Column]) -> tuple[int, int, int] | None:
    """How many rows of a block repeat an earlier one, and the first such pair; None for none."""
    length = len(block[0].cells)
    hashes: set[int] = set()
    for rows in _rows(block, length):
        hashes.update(map(hash, rows))
    if len(hashes) == length:
        return None
    seen: dict[tuple[str, ...], int] = {}
    times, pair = 0, (0, 0)
    number = 0
    for rows in _rows(block, length):
        for row in rows:
            earlier = seen.setdefault(row, number)
            if earlier != number:
                times += 1
                pair = pair if times > 1 else (earlier, number)
            number += 1
    return (times, *pair) if times else None


def _rows(block: Sequence[Column], length: int) -> Iterator[list[tuple[str, ...]]]:
    """The texts of a block's rows, a chunk at a time."""
    for start in range(0, length, _CHUNK):
        stop = min(start + _CHUNK, length)
        columns = [column.texts(start, stop) for column in block]
        yield list(zip(*columns, strict=True))

"""The sources of a spec to one table of parameters."""

from __future__ import annotations

import csv
import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from osgbatch.errors import OsgbatchError, SpecError
from osgbatch.model import Cell, Column, ColumnSource, Place, Spec, Table
from osgbatch.names import column_problem


def expand(spec: Spec) -> Table:
    """Read every source of the spec and give the product of them.

    Raises SpecError for a pattern without a match, a table that cannot be read, a column that is
    given twice, and a sweep without a task.
    """
    blocks = tuple(_block(source, spec.folder) for source in spec.sources)
    seen: dict[str, ColumnSource] = {}
    for source, block in zip(spec.sources, blocks, strict=True):
        for column in block:
            if column.name in seen:
                raise SpecError(f'column "{column.name}" is given twice', source.place)
            seen[column.name] = source
    return Table(blocks)


def _block(source: ColumnSource, folder: Path) -> tuple[Column, ...]:
    if source.kind == "list":
        return (Column(source.name, source.cells),)
    if source.kind == "files":
        paths = _matches(source, folder)
        return (Column(source.name, [Cell(path, path) for path in paths], is_file=True),)
    return _read_csv(source, folder)


def _matches(source: ColumnSource, folder: Path) -> list[str]:
    """The files of a pattern, relative to the spec's folder as the pattern is, in natural order."""
    if os.path.isabs(source.pattern):
        found = glob.glob(source.pattern, recursive=True)
    else:
        found = glob.glob(source.pattern, root_dir=folder, recursive=True)
    paths = sorted((p for p in found if (folder / p).is_file()), key=natural_key)
    if not paths:
        raise SpecError(
            f'no file matches "{source.pattern}"',
            source.place,
            fix=f"Paths start from the spec's folder, {folder}.",
        )
    return paths


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts `2.npy` before `10.npy`."""
    return [
        (0, int(part), part) if part.isdigit() and part.isascii() else (1, 0, part)
        for part in re.split(r"([0-9]+)", text)
    ]


def _read_csv(source: ColumnSource, folder: Path) -> tuple[Column, ...]:
    path = folder / source.pattern
    name = source.pattern
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            _check_header(header, name)
            columns: list[list[Cell]] = [[] for _ in header]
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise SpecError(
                        f"{len(row)} cells, but the header has {len(header)}",
                        Place(name, reader.line_num, 1, ",".join(row)),
                    )
                for column, text in zip(columns, row, strict=True):
                    if "\0" in text:
                        raise SpecError("a NUL character", Place(name, reader.line_num, 1))
                    column.append(Cell(typed(text), text))
    except OSError as error:
        raise SpecError(f'cannot read "{name}": {error.strerror}', source.place) from None
    except UnicodeDecodeError as error:
        raise OsgbatchError(
            f"byte 0x{error.object[error.start]:02x} is not UTF-8",
            where=name,
            fix="Save the table as UTF-8.",
        ) from None
    except csv.Error as error:
        raise SpecError(f"not CSV: {error}", Place(name, reader.line_num, 1)) from None
    if not columns[0]:
        raise SpecError(f'"{name}" has a header but no rows', source.place)
    return tuple(Column(name, cells) for name, cells in zip(header, columns, strict=True))


def _check_header(header: Sequence[str], name: str) -> None:
    place = Place(name, 1, 1, ",".join(header))
    if not header:
        raise SpecError("the table is empty", place, fix="Its first line names the columns.")
    for column in header:
        if not column:
            raise SpecError("a column has no name", place, fix="Name every column in line 1.")
        if header.count(column) > 1:
            raise SpecError(f'column "{column}" is there twice', place.at(column))
        problem = column_problem(column)
        if problem:
            raise SpecError(problem, place.at(column))


_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def typed(text: str) -> Any:
    """A cell of a CSV table as a number where it is written as JSON writes one, else as text."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    return float(text) if match[2] or match[3] else int(text)

"""Tables of parameters from files: what kind of file it is, and CSV and TSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from osgbatch.errors import SpecError
from osgbatch.names import column_problem, other_column
from osgbatch.spec_model import Place, UserPath
from osgbatch.sweep.cells import BLOCK, TextCells, pack
from osgbatch.sweep.files import cannot_read, decoded
from osgbatch.sweep.jsonlines import read_json_lines
from osgbatch.sweep.parquet import read_parquet
from osgbatch.tables import Column

Columns = tuple[Column, ...]
LONGEST = 131_072
"""Characters that a cell may have: what Python's reader takes by itself."""


def read_table(path: UserPath, folder: Path) -> Columns:
    """The columns of a table; the name's ending says how it is written.

    Raises SpecError, in the table where it can, else in the spec.
    """
    suffix = Path(path.text).suffix.lower()
    reader = _READERS.get(suffix)
    if reader is None:
        fix = f"Known are {', '.join(_READERS)}."
        if suffix in (".xlsx", ".xls", ".ods"):
            fix = "Save the sheet as CSV (UTF-8)."
        raise SpecError(f'"{path.text}": tables of this kind cannot be read', path.place, fix=fix)
    columns = reader(path, folder)
    if not columns or not len(columns[0].cells):
        raise SpecError(f'"{path.text}" has a header but no rows', path.place)
    return columns


def read_csv(path: UserPath, folder: Path) -> Columns:
    """The columns of a CSV file with a header; empty lines are left out."""
    return _read_separated(path, folder, ",")


def read_tsv(path: UserPath, folder: Path) -> Columns:
    """The same with tabs between the cells; quotes mean what they mean in CSV."""
    return _read_separated(path, folder, "\t")


class _Wrong(Exception):
    """Something is wrong in a table; where, a second and slower reading tells."""


def _read_separated(path: UserPath, folder: Path, comma: str) -> Columns:
    try:
        with (folder / path.text).open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True, delimiter=comma)
            csv.field_size_limit(LONGEST)  # one for all readers: others may have set it
            records = filter(None, reader)
            header = [cell.strip() for cell in next(records, [])]
            if any(header_problem(header, number) for number in range(len(header))) or not header:
                raise _Wrong
            blocks: list[list[bytes]] = [[] for _ in header]
            count = 0
            while batch := list(islice(records, BLOCK)):
                columns = list(zip(*batch, strict=True))  # ValueError when rows differ
                if len(columns) != len(header):
                    raise _Wrong
                for column, texts in zip(blocks, columns, strict=True):
                    column.append(pack(texts))
                count += len(batch)
    except OSError as error:
        raise cannot_read(path, error, folder) from None
    except (_Wrong, csv.Error, ValueError):  # UnicodeDecodeError is one, a NUL another
        raise _find_mistake(path, folder, comma) from None
    return tuple(
        Column(name, TextCells(column, count)) for name, column in zip(header, blocks, strict=True)
    )


def header_problem(header: Sequence[str], number: int) -> str:
    """What is wrong with the name of a column of a table; empty when nothing is."""
    name = header[number]
    if not name:
        return "a column has no name"
    if name in header[:number]:
        return f'column "{name}" is there twice'
    return column_problem(name)


def _find_mistake(path: UserPath, folder: Path, comma: str) -> SpecError:
    """Read a table that something is wrong with again, row by row, and say what and where."""
    try:
        raw = (folder / path.text).read_bytes()
        for number, line in enumerate(raw.splitlines(keepends=True), 1):
            decoded(line, path.text, number)
    except SpecError as error:
        return error
    csv.field_size_limit(LONGEST)
    lines = list(io.StringIO(raw.decode("utf-8-sig"), newline=""))
    reader = csv.reader(lines, strict=True, delimiter=comma)
    header: list[str] = []
    start = 1
    try:
        for row in reader:
            at = _Row(path.text, start, lines[start - 1].rstrip("\r\n"), comma)
            mistake = _row_mistake(row, header, at) if header else _header_mistake(row, at)
            if mistake:
                return mistake
            header = header or [cell.strip() for cell in row]
            start = reader.line_num + 1
    except csv.Error as error:
        source = lines[start - 1].rstrip("\r\n") if start <= len(lines) else ""
        return _csv_error(str(error), Place(path.text, start, 1, source))
    if not header:
        fix = "Its first line names the columns."
        return SpecError("the table is empty", Place(path.text, 1, 1), fix=fix)
    return SpecError(f'"{path.text}" changed while it was read', path.place)


class _Row(NamedTuple):
    """Where a row stands: line is that of its beginning, source the text of this line."""

    file: str
    line: int
    source: str
    comma: str

    def place(self, number: int | None = None, text: str = "") -> Place:
        """The place of the row, or of one of its cells; quotes are not counted through."""
        whole = Place(self.file, self.line, 1, self.source, max(1, len(self.source)))
        if number is None:
            return whole
        if '"' in self.source:
            return whole.at(text) if text else whole
        cells = self.source.split(self.comma)
        column = sum(len(cell) + 1 for cell in cells[:number])
        return Place(
            self.file, self.line, column + 1, self.source, max(1, len(cells[number].rstrip()))
        )


def _header_mistake(row: Sequence[str], at: _Row) -> SpecError | None:
    header = [cell.strip() for cell in row]
    for number, name in enumerate(header):
        problem = header_problem(header, number)
        if not problem:
            continue
        fix = "" if name else "Name every column."
        if other := other_column(name):
            fix = f"Write {other}, for example."
        if name in header[:number]:
            fix = "Every column has a name of its own."
        if len(header) == 1:
            seen = [kind for char, kind in _OTHERS.items() if char in name]
            fix = f"The cells seem to be separated by {seen[0]}." if seen else fix
        return SpecError(problem, at.place(number, name), fix=fix)
    return None


_OTHERS = {
    ",": "commas: call the file .csv",
    "\t": "tabs: call the file .tsv",
    ";": "semicolons: save it with commas",
}


def _row_mistake(row: Sequence[str], header: Sequence[str], at: _Row) -> SpecError | None:
    for number, cell in enumerate(row):
        if "\0" in cell:
            return SpecError("a NUL character", at.place(number))
    if not row or len(row) == len(header):
        return None
    cells = f"{len(row)} cell{'s' if len(row) != 1 else ''}"
    what = f"{cells}, but the header has {len(header)}"
    if len(row) < len(header):
        missing = header[len(row)]
        fix = f'There is none for "{missing}"; an empty cell needs its separator too.'
        return SpecError(what, at.place(), fix=fix)
    fix = 'A cell with a comma in it needs quotes: "a,b".' if at.comma == "," else ""
    return SpecError(what, at.place(len(header)), fix=fix)


def _csv_error(what: str, place: Place) -> SpecError:
    fix = ""
    if "NUL" in what:  # Python 3.10 says so itself
        return SpecError("a NUL character", place)
    if "unexpected end of data" in what:
        what, place = "a quote is opened and never closed", place.at('"')
        fix = "Close it behind the text of its cell."
    elif "field larger than field limit" in what:
        what = f"a cell of this row has more than {csv.field_size_limit():,} characters"
        if place.source.count('"') % 2:
            what += ", or its quote is never closed"
        return SpecError(what, place, fix="Put long values into files, and their names here.")
    elif "expected after" in what:
        what = "text follows the closing quote of a cell"
        fix = 'A quote inside of a quoted cell is written twice: "5"" disk".'
    return SpecError(f"not CSV: {what}", place, fix=fix)


_READERS: dict[str, Callable[[UserPath, Path], Columns]] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".parquet": read_parquet,
}

"""Tables of parameters in Parquet files, through pyarrow, which is an optional extra."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from osgbatch.errors import SpecError
from osgbatch.names import column_problem
from osgbatch.spec_model import Place, UserPath
from osgbatch.sweep.cells import TextCells
from osgbatch.sweep.files import cannot_read
from osgbatch.tables import Column

_ROWS = 16 * 1024
"""Rows that are held as Python objects at a time."""
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


def read_parquet(path: UserPath, folder: Path) -> tuple[Column, ...]:
    """The columns of a Parquet file; a missing value, or NaN, is an empty cell.

    Numbers and booleans stay what they are, dates and times are text as ISO 8601 has it. The index
    that pandas writes is left out. Raises SpecError, also when pyarrow is not installed.
    """
    try:
        pyarrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise SpecError(
            "reading Parquet needs pyarrow, which is not installed",
            path.place,
            fix="Type `pip install 'osgbatch[parquet]'`, or save the table as CSV.",
        ) from None
    try:
        with (folder / path.text).open("rb") as stream, parquet.ParquetFile(stream) as file:
            fields = [f for f in file.schema_arrow if not _PANDAS_INDEX.fullmatch(f.name)]
            _check_header([str(field.name) for field in fields], path)
            return tuple(_column(file, field, path, pyarrow) for field in fields)
    except OSError as error:
        if not error.strerror:
            raise SpecError(f'"{path.text}" is not Parquet: {error}', path.place) from None
        raise cannot_read(path, error, folder) from None
    except pyarrow.ArrowException as error:
        reason = str(error).split("\n")[0]
        raise SpecError(f'"{path.text}" is not Parquet: {reason}', path.place) from None


def _check_header(names: list[str], path: UserPath) -> None:
    for number, name in enumerate(names):
        problem = column_problem(name) if name else f"column {number + 1} has no name"
        if name in names[:number]:
            problem = f'column "{name}" is there twice'
        if problem:
            raise SpecError(problem, Place(path.text, 1, number + 1))


def _column(file: Any, field: Any, path: UserPath, pyarrow: Any) -> Column:
    types = pyarrow.types
    kind = field.type.value_type if types.is_dictionary(field.type) else field.type
    single = types.is_float32(kind) or types.is_float16(kind)
    numbers = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)
    others = (types.is_string, types.is_large_string, types.is_null, types.is_temporal)
    if any(is_a(kind) for is_a in numbers):
        rule = "typed"
    elif any(is_a(kind) for is_a in others) and not types.is_duration(kind):
        rule = "text"
    else:
        raise SpecError(
            f'column "{field.name}" of "{path.text}" is {field.type}',
            path.place,
            fix="A value should be text, a number, true or false, or a date.",
        )
    texts = _texts(file, field.name, single, pyarrow)
    return Column(str(field.name), TextCells.of(_checked(texts, field.name, path), rule))


def _texts(file: Any, name: str, single: bool, pyarrow: Any) -> Iterator[str]:
    """The texts of a column; single: floats of 32 bits or less, which have fewer digits."""
    for batch in file.iter_batches(batch_size=_ROWS, columns=[name]):
        array = batch.column(0)
        if pyarrow.types.is_timestamp(array.type) and array.type.unit == "ns":
            array = array.cast(pyarrow.timestamp("us", array.type.tz), safe=False)
        if single:
            array = array.cast("float32").cast("string")
        for value in array.to_pylist():
            if value is None or value != value or (single and value == "nan"):
                yield ""
            elif single:
                yield repr(float(value))
            elif isinstance(value, bool):
                yield "true" if value else "false"
            elif isinstance(value, float):
                yield repr(value)
            elif hasattr(value, "isoformat"):
                yield value.isoformat()
            else:
                yield str(value)


def _checked(texts: Iterator[str], name: str, path: UserPath) -> Iterator[str]:
    for number, text in enumerate(texts, 1):
        if "\0" in text:
            what = f'a NUL character in column "{name}" of "{path.text}", row {number}'
            raise SpecError(what, path.place)
        yield text

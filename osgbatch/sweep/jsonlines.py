"""Tables of parameters in JSON lines: one object per line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any, NoReturn

from osgbatch.errors import SpecError
from osgbatch.names import column_problem, other_column
from osgbatch.spec_model import Place, UserPath
from osgbatch.sweep.cells import BLOCK, TextCells, pack
from osgbatch.sweep.files import numbered_lines
from osgbatch.tables import Column

_SAID = {
    "Extra data": ("Extra data", "One object per line."),
    "Expecting value": (
        "Expecting a value",
        "That is text in double quotes, a number, true, false or null.",
    ),
    "Expecting property name": ("Expecting a key in double quotes", ""),
    "Expecting ',' delimiter": ("Expecting a comma, or the closing }", ""),
    "Expecting ':' delimiter": ("Expecting a colon after the key", ""),
    "Unterminated string": ("a quote is opened and never closed", "Close it."),
    "Illegal trailing comma": ("a comma before the closing }", "Leave it out."),
}
"""What Python's messages begin with, what we say, and what to do."""


class _Number(str):
    """A number as it is written in the file."""


class _Pairs(list[tuple[str, Any]]):
    """An object as it is written in the file, keys that are there twice included."""


class _NoNumber(Exception):
    """NaN or Infinity, which JSON lacks."""


def _constant(name: str) -> NoReturn:
    raise _NoNumber(name)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Pairs, parse_int=_Number, parse_float=_Number, parse_constant=_constant
)


def read_json_lines(path: UserPath, folder: Path) -> tuple[Column, ...]:
    """The columns of a JSON-lines file: the keys of its first object, in their order.

    Numbers keep their text, null is a missing cell, as an empty one of a CSV table is.
    Raises SpecError for a line that is no flat object, or has other keys than the first.
    """
    names: list[str] = []
    known: set[str] = set()
    blocks: list[list[bytes]] = []
    waiting: list[list[str]] = []
    count = 0
    for number, line in numbered_lines(path, folder):
        place = Place(path.text, number, 1, line)
        row = _object(line, place)
        if not names:
            names = _header(row, place)
            known = set(names)
            blocks, waiting = [[] for _ in names], [[] for _ in names]
        cells = dict(row)
        if cells.keys() != known or len(cells) != len(row):
            raise _other_keys(row, names, place)
        for name, column in zip(names, waiting, strict=True):
            column.append(_json_text(cells[name], name, place))
        count += 1
        if count % BLOCK == 0:
            _move(waiting, blocks)
    if not names:
        raise SpecError("the table is empty", Place(path.text, 1, 1), fix="One object per line.")
    if count % BLOCK:
        _move(waiting, blocks)
    return tuple(
        Column(name, TextCells(column, count, "json"))
        for name, column in zip(names, blocks, strict=True)
    )


def _move(waiting: Sequence[list[str]], blocks: Sequence[list[bytes]]) -> None:
    for column, done in zip(waiting, blocks, strict=True):
        done.append(pack(column))
        column.clear()


def _object(line: str, place: Place) -> _Pairs:
    try:
        row = _DECODER.decode(line)
    except json.JSONDecodeError as error:
        at = Place(place.file, place.line, error.pos + 1, line)
        what, fix = next(
            (said for start, said in _SAID.items() if error.msg.startswith(start)), (error.msg, "")
        )
        raise SpecError(f"not JSON: {what}", at, fix=fix) from None
    except RecursionError:
        raise SpecError("not a flat object: nested too deep", place) from None
    except _NoNumber as error:
        fix = "Write null for a missing value."
        raise SpecError(f"not JSON: {error}", place.at(str(error)), fix=fix) from None
    if not isinstance(row, _Pairs):
        raise SpecError("a line should be an object", place, fix='Write {"x": 1, "y": "a"}.')
    return row


def _at_key(place: Place, name: str) -> Place:
    return place.at(json.dumps(name, ensure_ascii=False))


def _header(row: _Pairs, place: Place) -> list[str]:
    names: list[str] = []
    for name, _ in row:
        problem = column_problem(name) if name else "a column has no name"
        if name in names:
            problem = f'"{name}" is there twice'
        if problem:
            other = other_column(name)
            fix = f"Write {other}, for example." if other else ""
            raise SpecError(problem, _at_key(place, name), fix=fix)
        names.append(name)
    if not names:
        raise SpecError("the object is empty", place, fix="Its keys name the columns.")
    return names


def _other_keys(row: _Pairs, names: Sequence[str], place: Place) -> SpecError:
    """What the keys of this row have that those of the first have not, or lack."""
    seen: set[str] = set()
    for name, _ in row:
        if name in seen:
            return SpecError(f'"{name}" is there twice', _at_key(place, name))
        if name not in names:
            near = get_close_matches(name, names, n=1)
            did_you = f'; did you mean "{near[0]}"?' if near else ""
            fix = "All lines have the keys of the first."
            what = f'the first line has no "{name}"{did_you}'
            return SpecError(what, _at_key(place, name), fix=fix)
        seen.add(name)
    missing = next(name for name in names if name not in seen)
    return SpecError(
        f'"{missing}" is missing', place, fix=f'Write "{missing}": null for a missing value.'
    )


def _json_text(value: Any, name: str, place: Place) -> str:
    """A value as TextCells keeps it."""
    if isinstance(value, _Number):
        return value if _finite(value) else json.dumps(str(value))
    if value is None:
        return '""'
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        if "\0" in value:
            raise SpecError(f'a NUL character in "{name}"', _at_key(place, name))
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                what = f'half of a surrogate pair in "{name}"'
                raise SpecError(what, _at_key(place, name)) from None
        return encode_basestring(value)
    raise SpecError(
        f'"{name}" is nested: a value should be text, a number, true, false or null',
        _at_key(place, name),
        fix="Give each part a key of its own.",
    )


def _finite(number: str) -> bool:
    """Can this number be kept as one? Not 1e999, nor one of thousands of digits."""
    return len(number) < 300 and float(number) not in (float("inf"), float("-inf"))

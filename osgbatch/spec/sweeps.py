"""The `sweep:` section of a spec: where columns and tables come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any

from osgbatch.model import Cell, ColumnSource
from osgbatch.names import column_problem
from osgbatch.spec.document import Document, Loc

Fail = Callable[..., None]
"""Called with what is wrong, its Place and, perhaps, what to do."""


def suggest(name: str, known: list[str]) -> str:
    """`; did you mean "nearest"?`, or nothing."""
    near = get_close_matches(name, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def read_sources(document: Document, sweep: dict[str, Any], fail: Fail) -> Iterator[ColumnSource]:
    """The columns and tables of the `sweep:` section; what is wrong is told to `fail`."""
    for name, value in sweep.items():
        loc: Loc = ("sweep", name)
        place = document.place(loc)
        if name == "table":
            if isinstance(value, str) and value.strip():
                yield ColumnSource("table", "", place, pattern=value)
            else:
                fail("table: should name a CSV file", place)
            continue
        problem = column_problem(name)
        if problem:
            fail(problem, document.place(loc, key=True))
        if isinstance(value, list):
            cells = tuple(_cells(document, value, loc, fail))
            if not value:
                fail(f'the list of "{name}" is empty', place, "Give it a value.")
            yield ColumnSource("list", name, place, cells)
        elif isinstance(value, dict) and set(value) == {"files"}:
            pattern = value["files"]
            if isinstance(pattern, str) and pattern.strip():
                yield ColumnSource("files", name, document.place((*loc, "files")), pattern=pattern)
            else:
                fail("files: should be a path or a pattern", place)
        elif isinstance(value, dict):
            for key in value:
                if key != "files":
                    near = suggest(key, ["files"])
                    fail(
                        f'unknown source "{key}" of column "{name}"{near}',
                        document.place((*loc, key), key=True),
                        "Known are a list, [1, 2, 3], and {files: data/*.npy}.",
                    )
        else:
            fail(
                f'the values of "{name}" should be a list',
                place,
                f"Write [{document.texts.get(loc, '')}], or {{files: data/*.npy}}.",
            )


def _cells(document: Document, values: list[Any], loc: Loc, fail: Fail) -> Iterator[Cell]:
    for i, value in enumerate(values):
        here = (*loc, i)
        if isinstance(value, (dict, list)) or value is None:
            fail("a value should be text, a number or true/false", document.place(here))
        elif isinstance(value, str) and "\0" in value:
            fail("a value cannot hold a NUL character", document.place(here))
        else:
            text = document.texts[here]
            plain = isinstance(value, (str, int, float, bool))
            yield Cell(value if plain else text, text)

"""The `sweep:` section of a spec: where columns and tables come from, what is done to the rows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from osgbatch.expressions import ExpressionError, parse_expression
from osgbatch.names import SWEEP_WORDS, column_problem, other_column
from osgbatch.spec.document import Document, Loc
from osgbatch.spec.elsewhere import call_in, from_keys, in_a_spec
from osgbatch.spec.series import SOURCES, Fail, ValueReader
from osgbatch.spec.series import suggest as suggest
from osgbatch.spec_model import ColumnSource, Place, UserPath
from osgbatch.tables import Cell
from osgbatch.urls import scheme

LISTED = ("s3", "osdf", "pelican", "file")
"""Schemes of URLs that `files:` can list."""


def read_sources(document: Document, sweep: dict[str, Any], fail: Fail) -> Iterator[ColumnSource]:
    """The entries of the `sweep:` section, in order; what is wrong is told to `fail`."""
    reader = _Reader(document, fail)
    found = [source for name in sweep for source in reader.entry(name, sweep[name])]
    counts = [source for source in found if source.kind == "count"]
    if counts and len(sweep) > 1:
        others = ", ".join(name for name in sweep if name != "count")
        fail(
            f"count is for a sweep without columns, and here is {others}",
            document.place(("sweep", "count"), key=True),
            f"To run every row {counts[0].count} times, write `repeat: {counts[0].count}`.",
        )
    yield from found


def _setting(value: str, loc: Loc) -> str:
    return f"--set {shlex.quote('.'.join(map(str, loc)) + '=' + value)}"


class _Reader(ValueReader):
    def __init__(self, document: Document, fail: Fail) -> None:
        super().__init__(document, fail)
        self.names: dict[str, Place] = {}
        self.torn = False
        """Whether the commas of a call, `range(1, 5)`, have made columns of its arguments."""

    def entry(self, name: str, value: Any) -> Iterator[ColumnSource]:
        """What one key of the section stands for."""
        loc: Loc = ("sweep", name)
        if self.torn and value is None:
            self.torn = not name.endswith(")")
        elif name == "table":
            yield from self._tables(value, loc)
        elif name == "zip":
            yield from self._zips(value, loc)
        elif name in ("where", "exclude"):
            yield from self._conditions(name, value, loc)
        elif name == "sample":
            yield from self._sample(value, loc)
        elif name in ("repeat", "count"):
            number = self._whole(value, loc, name, 1)
            if number:
                yield ColumnSource(name, "", self.document.place(loc), count=number)
        else:
            yield from self._column(name, value, loc)

    # --- columns ---------------------------------------------------------------------------

    def _check_name(self, name: str, loc: Loc) -> None:
        key = self._key(loc)
        problem = column_problem(name)
        if problem:
            other = other_column(name)
            self.fail(problem, key, f"Write {other}." if other else "")
        if name in self.names:
            self.fail(f'column "{name}" is given twice, first in line {self.names[name].line}', key)
        self.names[name] = key

    def _column(self, name: str, value: Any, loc: Loc) -> Iterator[ColumnSource]:
        place = self._place(loc)
        self._check_name(name, loc)
        if isinstance(value, list):
            cells = self._cells(value, loc)
            if not value:
                self.fail(f'the list of "{name}" is empty', place, "Give it a value.")
            yield ColumnSource("list", name, place, cells)
        elif isinstance(value, dict):
            yield from self._made(name, value, loc)
        else:
            near = get_close_matches(name, SWEEP_WORDS, n=1, cutoff=0.75)
            fix = self._as_list(loc, place)
            fix = f'Did you mean "{near[0]}"?' if near else fix
            self.fail(f'the values of "{name}" should be a list', place, fix)

    def _as_list(self, loc: Loc, place: Place) -> str:
        """How to write values that are no list: `Ada,Grace`, `data/*.npy`."""
        text = self.document.texts.get(loc, "")
        cells = [cell.strip() for cell in text.split(",")]
        call = call_in(place.source[place.column - 1 :])
        self.torn = bool(call) and text != call
        if fix := in_a_spec(call or text):
            return self._as_typed(fix, loc)
        told, other = f"[{', '.join(cell for cell in cells if cell)}]", ", or {files: data/*.npy}"
        if "*" in text:
            told, other = f"{{files: {told if len(cells) > 1 else text}}}", ""
        if place.file == "--set":  # a shell takes blanks and brackets for its own
            told = _setting(told, loc)
        return f"Write {told}{other}."

    def _as_typed(self, fix: str, loc: Loc) -> str:
        """Advice with {range: 3} in it, with the whole option where the command line is wrong."""
        if self._place(loc).file != "--set":
            return fix
        return re.sub(r"\{[^{}]*\}", lambda form: _setting(form[0], loc), fix)

    def _made(self, name: str, value: dict[str, Any], loc: Loc) -> Iterator[ColumnSource]:
        """A column that is a mapping: one key says where its values come from."""
        known = [key for key in value if key in SOURCES]
        texts = {key: self.document.texts.get((*loc, key), "") for key in value}
        ends = from_keys(texts)
        for key in value:
            if key not in SOURCES:
                fix = self._as_typed(ends or in_a_spec(key), loc)
                near = "" if fix else suggest(key, [*SOURCES])
                if key.partition(":")[0] in SOURCES:
                    fix = "Write a blank after the colon."
                self.fail(
                    f'unknown source "{key}" of column "{name}"{near}',
                    self.document.place((*loc, key), key=True),
                    fix or f"Known are a list, [1, 2, 3], and {', '.join(SOURCES)}.",
                )
                if ends:
                    return  # one mistake, not one for each of its keys
        if len(known) > 1 or not value:
            self.fail(
                f'column "{name}" should have one source, not {" and ".join(known) or "none"}',
                self.document.place((*loc, known[1]), key=True) if known else self._place(loc),
                "Leave one of them out." if known else "Write a list, or {range: 5}.",
            )
        elif known:
            kind = known[0]
            here = (*loc, kind)
            if kind in ("files", "lines"):
                paths = self._paths(kind, value[kind], here)
                if paths:
                    yield ColumnSource(kind, name, self._place(here), paths=paths)
            elif kind == "random":
                yield from self._random(name, value[kind], here)
            else:
                yield from self._series(kind, name, value[kind], here)

    def _paths(self, kind: str, value: Any, loc: Loc) -> tuple[UserPath, ...]:
        """A path or pattern, or a list of them; empty when something was wrong."""
        what = "a path or a pattern" if kind == "files" else "a path"
        entries = [(loc, value)]
        if isinstance(value, list) and value and kind != "lines":
            entries = [((*loc, i), item) for i, item in enumerate(value)]
            what += " or a list of them"
        paths: list[UserPath] = []
        for here, text in entries:
            if not isinstance(text, str) or not text.strip():
                self.fail(f"{kind}: should be {what}", self._place(here))
            elif "\0" in text:
                self.fail("a path cannot hold a NUL character", self._place(here))
            elif "://" in text and not (kind == "files" and scheme(text) in LISTED):
                fix = "Bring it to the access point, or write the addresses down as a list."
                can = "local files, a bucket and a stash" if kind == "files" else "local files only"
                self.fail(f"{kind}: reads {can}", self._place(here), fix)
            else:
                paths.append(UserPath(text, self._place(here)))
        return tuple(paths) if len(paths) == len(entries) else ()

    # --- tables, and columns side by side ----------------------------------------------------

    def _tables(self, value: Any, loc: Loc) -> Iterator[ColumnSource]:
        if not isinstance(value, (str, list)) or not value:
            what = "table: should name a CSV, TSV, JSON lines or Parquet file"
            self.fail(what, self._place(loc), "Write table: params.csv, or [{a: 1}, {a: 2}].")
            return
        if isinstance(value, list) and isinstance(value[0], dict):
            yield from self._inline(value, loc)
            return
        for path in self._paths("table", value, loc):
            yield ColumnSource("table", "", path.place, paths=(path,))

    def _inline(self, rows: list[Any], loc: Loc) -> Iterator[ColumnSource]:
        """A table that is written down in the spec: a list of rows, each with the same columns."""
        names = list(rows[0])
        columns: dict[str, list[Cell]] = {name: [] for name in names}
        for name in names:
            self._check_name(name, (*loc, 0, name))
        for i, row in enumerate(rows):
            here = (*loc, i)
            if not isinstance(row, dict):
                fix = "Tables that are files, and rows, do not mix in one list."
                self.fail("a row should be columns, with their values", self._place(here), fix)
                continue
            for name in row:
                if name not in columns:
                    what = f'the first row has no "{name}"{suggest(name, names)}'
                    self.fail(what, self._key((*here, name)), "All rows have the same columns.")
            for name in names:
                if name not in row:
                    fix = 'Write "" for an empty cell.'
                    self.fail(f'"{name}" is missing in this row', self._place(here), fix)
                elif cell := self._cell(row[name], (*here, name)):
                    columns[name].append(cell)
        place = self._place(loc)
        parts = [ColumnSource("list", name, place, tuple(columns[name])) for name in names]
        if parts:
            yield ColumnSource("zip", "", place, parts=tuple(parts))
        else:
            self.fail("a row should have a column", self._place((*loc, 0)))

    def _zips(self, value: Any, loc: Loc) -> Iterator[ColumnSource]:
        if isinstance(value, list) and value:
            for i, item in enumerate(value):
                yield from self._zip(item, (*loc, i))
        else:
            yield from self._zip(value, loc)

    def _zip(self, value: Any, loc: Loc) -> Iterator[ColumnSource]:
        if not isinstance(value, dict) or not value:
            fix = "Write zip: {a: [1, 2, 3], b: [x, y, z]}."
            self.fail("zip: should be columns, with their values", self._place(loc), fix)
            return
        parts: list[ColumnSource] = []
        for name, item in value.items():
            here = (*loc, name)
            if name == "table":
                parts += self._tables(item, here)
            elif name in SWEEP_WORDS:
                fix = "It belongs beside zip."
                self.fail(f'"{name}" cannot stand inside zip', self._key(here), fix)
            else:
                parts += self._column(name, item, here)
        place = self._key(loc) if isinstance(loc[-1], str) else self._place(loc)
        yield ColumnSource("zip", "", place, parts=tuple(parts))

    # --- what is done to the rows ------------------------------------------------------------

    def _conditions(self, kind: str, value: Any, loc: Loc) -> Iterator[ColumnSource]:
        entries = [(loc, value)]
        if isinstance(value, list) and value:
            entries = [((*loc, i), item) for i, item in enumerate(value)]
        for here, text in entries:
            place = self._place(here)
            if not isinstance(text, str) or not text.strip():
                fix = f'Write {kind}: "threshold < 0.5 and n in [1, 2]".'
                self.fail(f"{kind}: should be a condition, or a list of them", place, fix)
                continue
            source = ColumnSource(kind, "", place, text=text)
            try:
                parse_expression(text)
            except ExpressionError as error:
                at = source.inside(error.offset, error.width)
                self.fail(f"{kind}: {error.message}", at, error.fix)
            else:
                yield source

    def _sample(self, value: Any, loc: Loc) -> Iterator[ColumnSource]:
        place = self._place(loc)
        seed: int | None = 0
        if isinstance(value, dict):
            for key in value:
                if key not in ("n", "seed"):
                    what = f'unknown key "{key}" in sample{suggest(key, ["n", "seed"])}'
                    self.fail(what, self._key((*loc, key)), "Known are n, seed.")
            if "n" not in value:
                self.fail('sample: "n" is missing', place, "Write sample: {n: 100, seed: 1}.")
                return
            if "seed" in value:
                seed = self._seed(value["seed"], (*loc, "seed"))
            value, loc = value["n"], (*loc, "n")
        number = self._whole(value, loc, "sample", 1)
        if number is not None and seed is not None:
            yield ColumnSource("sample", "", self._place(loc), count=number, seed=seed)

"""Sweeps of any shape against plain Python: lists, zips, tables, conditions, CSV in any dialect."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osgbatch.errors import SpecError, SpecErrors
from osgbatch.spec.load import load_spec
from osgbatch.submission.steps import plan_sweep
from osgbatch.sweep.expand import expand
from osgbatch.tables import Table

Row = dict[str, Any]
_INT = st.integers(-4, 4)
_TEXT = st.sampled_from(["", "a", "b", "ab", "it's", 'say "x"', "ä b", "a,b", "1e", "{x}"])


@st.composite
def sweeps(draw: st.DrawFn) -> list[tuple[str, list[Row]]]:
    """The entries of a sweep: what they are ("list", "zip" or "table"), and the rows of each."""
    names = iter("abcdefgh")
    entries: list[tuple[str, list[Row]]] = []
    for kind in draw(st.lists(st.sampled_from(["list", "zip", "table"]), min_size=1, max_size=3)):
        length = draw(st.integers(1, 4))
        width = 1 if kind == "list" else draw(st.integers(1, 2))
        columns: dict[str, list[Any]] = {}
        for name in itertools.islice(names, width):
            cell = draw(st.sampled_from([_INT, _TEXT]))
            columns[name] = draw(st.lists(cell, min_size=length, max_size=length))
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        entries.append((kind, rows))
    return entries


def written(entries: list[tuple[str, list[Row]]]) -> tuple[Row, list[tuple[str, list[Row]]]]:
    """The `sweep:` section; and the entries in the order in which the section has them.

    There is one key `zip` and one key `table`, so entries of a kind stand together.
    """
    section: Row = {}
    for kind, rows in entries:
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        if kind == "list":
            section |= columns
        elif kind == "zip" or "table" in section:  # a zip says the same as a second table
            section.setdefault("zip", []).append(columns)
        else:
            section["table"] = rows
    order = []
    for key, value in section.items():
        if key == "zip":
            order += [
                (
                    "zip",
                    [dict(zip(part, row, strict=True)) for row in zip(*part.values(), strict=True)],
                )
                for part in value
            ]
        else:
            order.append((key, value if key == "table" else [{key: cell} for cell in value]))
    return section, order


@st.composite
def conditions(draw: st.DrawFn, rows: list[Row]) -> str:
    """A condition that Python and the sweep both understand, over columns of these rows."""
    numbers = [name for name, value in rows[0].items() if isinstance(value, int)]
    texts = [name for name, value in rows[0].items() if isinstance(value, str)]

    def number(depth: int) -> str:
        choice = draw(st.integers(0, 3 if depth else 1))
        if choice == 0 or not numbers:
            return str(draw(st.integers(0, 4)))
        if choice == 1:
            return draw(st.sampled_from(numbers))
        left, right = number(depth - 1), number(depth - 1)
        if choice == 2:
            return f"({left} {draw(st.sampled_from(['+', '-', '*']))} {right})"
        return f"{draw(st.sampled_from(['min', 'max']))}({left}, {right}, abs({right}))"

    def test(depth: int) -> str:
        choice = draw(st.integers(0, 5 if depth else 2))
        if choice == 1 and texts:
            operator = draw(st.sampled_from(["==", "!=", "<", ">="]))
            return f"{draw(st.sampled_from(texts))} {operator} {draw(_TEXT)!r}"
        if choice == 2:
            inside = "in" if draw(st.booleans()) else "not in"
            return f"{number(1)} {inside} [{number(0)}, {number(0)}]"
        if choice == 3:
            return f"not ({test(depth - 1)})"
        if choice >= 4:
            return f"({test(depth - 1)}) {('and', 'or')[choice - 4]} ({test(depth - 1)})"
        return (
            f"{number(2)} {draw(st.sampled_from(['<', '<=', '>', '>=', '==', '!=']))} {number(2)}"
        )

    return test(2)


def table_of(folder: Path, section: Row) -> Table:
    """The rows of a sweep; JSON is YAML."""
    (folder / "sweep.yaml").write_text(json.dumps({"command": "echo", "sweep": section}))
    return expand(load_spec(folder / "sweep.yaml"))


def rows_of(table: Table) -> list[Row]:
    """All rows as Python's values."""
    names = [column.name for column in table.columns]
    return [dict(zip(names, [c.value for c in row], strict=True)) for row in table.rows()]


@settings(max_examples=200, deadline=None)
@given(sweeps(), st.data())
def test_products_zips_tables_and_conditions_agree_with_plain_python(
    tmp_path_factory: pytest.TempPathFactory,
    entries: list[tuple[str, list[Row]]],
    data: st.DataObject,
) -> None:
    section, order = written(entries)
    rows: list[Row] = [{}]
    for _, parts in order:
        rows = [{**row, **part} for row in rows for part in parts]
    for kind in ("where", "exclude"):
        texts = data.draw(st.lists(conditions(rows), max_size=2), label=kind)
        if texts:
            section[kind] = texts
    kept = [
        row
        for row in rows
        if all(eval(text, {}, row) for text in section.get("where", ()))
        and not any(eval(text, {}, row) for text in section.get("exclude", ()))
    ]
    folder = tmp_path_factory.mktemp("oracle")
    if kept:
        assert rows_of(table_of(folder, section)) == kept
    else:
        with pytest.raises((SpecError, SpecErrors), match="leaves no row"):
            table_of(folder, section)


_CELL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
_QUOTED = [csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(_CELL, _CELL, _CELL), min_size=1, max_size=6),
    st.sampled_from(_QUOTED),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_any_quoted_csv_reaches_the_arguments_of_its_tasks(
    tmp_path_factory: pytest.TempPathFactory,
    cells: list[tuple[str, str, str]],
    quoting: Any,
    end: str,
    bom: bool,
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    encoding = "utf-8-sig" if bom else "utf-8"
    with (folder / "t.csv").open("w", newline="", encoding=encoding) as stream:
        csv.writer(stream, quoting=quoting, lineterminator=end).writerows([("a", "b", "c"), *cells])
    spec = "command: [echo, '{a}', '{b}:{c}']\nsweep: {table: t.csv}\n"
    (folder / "sweep.yaml").write_text(spec)
    plan = plan_sweep(folder / "sweep.yaml")
    argv = [plan.tasks[index].argv for index in range(len(plan.tasks))]
    assert argv == [("echo", a, f"{b}:{c}") for a, b, c in cells]
    assert sorted(task for job in plan.jobs for task in job) == list(range(len(cells)))

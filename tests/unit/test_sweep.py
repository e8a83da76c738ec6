"""Columns and tables to rows."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osgbatch.errors import OsgbatchError
from osgbatch.spec.load import load_spec
from osgbatch.sweep.expand import expand, natural_key, typed
from osgbatch.tables import Cell, Column, Table


def rows(folder: Path, sweep: str) -> list[tuple[str, ...]]:
    (folder / "sweep.yaml").write_text(f"command: echo\nsweep:\n{sweep}")
    return [
        tuple(cell.text for cell in row) for row in expand(load_spec(folder / "sweep.yaml")).rows()
    ]


def test_lists_multiply_and_the_last_varies_fastest(tmp_path: Path) -> None:
    assert rows(tmp_path, "  a: [1, 2]\n  b: [x, y, z]\n") == [
        ("1", "x"), ("1", "y"), ("1", "z"), ("2", "x"), ("2", "y"), ("2", "z"),
    ]  # fmt: skip


def test_no_sweep_is_one_task(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("command: echo\n")
    assert len(expand(load_spec(tmp_path / "sweep.yaml"))) == 1


def test_files_come_in_natural_order_with_their_tree(tmp_path: Path) -> None:
    for name in ("d/10.npy", "d/2.npy", "d/1.npy", "d/.hidden.npy", "d/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "d/folder.npy").mkdir()
    assert rows(tmp_path, "  f: {files: 'd/*.npy'}\n") == [
        ("d/1.npy",),
        ("d/2.npy",),
        ("d/10.npy",),
    ]


def test_a_table_is_crossed_with_a_list(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b'\xef\xbb\xbfx,y\r\n1,"a,b"\r\n\r\n2,"c\nd"\r\n')
    assert rows(tmp_path, "  table: p.csv\n  n: [0, 1]\n") == [
        ("1", "a,b", "0"), ("1", "a,b", "1"), ("2", "c\nd", "0"), ("2", "c\nd", "1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "p.csv:1:1: the table is empty"),
        (b"a,b\n", "has a header but no rows"),
        (b"a,a\n1,2\n", 'p.csv:1:3: column "a" is there twice'),
        (b"a,\n1,2\n", "p.csv:1:3: a column has no name"),
        (b"a,index\n1,2\n", 'p.csv:1:3: "index" is taken by osgbatch'),
        (b"a,b\n1\n", "p.csv:2:1: 1 cell, but the header has 2"),
        (b"a\n\xff\n", "byte 0xff is not UTF-8"),
        (b'a\n"x\n', "p.csv:2:1: not CSV"),
    ],
)
def test_a_wrong_table_is_shown_where_it_is(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(OsgbatchError) as caught:
        rows(tmp_path, "  table: p.csv\n")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("  table: no.csv\n", 'sweep.yaml:3:10: cannot read "no.csv": No such file'),
        ("  x: {files: 'no/*'}\n", 'sweep.yaml:3:14: no file matches "no/*"'),
        ("  x: [1]\n  table: x.csv\n", 'column "x" is given twice'),
    ],
)
def test_a_source_that_cannot_be_read_is_named(tmp_path: Path, sweep: str, message: str) -> None:
    (tmp_path / "x.csv").write_text("x\n1\n")
    with pytest.raises(OsgbatchError) as caught:
        rows(tmp_path, sweep)
    assert message in str(caught.value)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_rows_agree_with_itertools_product(sizes: list[int]) -> None:
    columns = [[Cell(i, str(i)) for i in range(size)] for size in sizes]
    table = Table(tuple((Column(f"c{i}", cells),) for i, cells in enumerate(columns)))
    assert list(table.rows()) == list(itertools.product(*columns))
    assert len(table) == len(list(table.rows()))


_CELL = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n"), min_size=1)


@given(st.lists(st.tuples(_CELL, _CELL), min_size=1, max_size=5))
def test_any_table_written_as_csv_reads_back(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    with (folder / "p.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("a", "b"), *cells])
    assert rows(folder, "  table: p.csv\n") == cells


def test_numbers_are_numbers_where_json_writes_them_so() -> None:
    assert [typed(t) for t in ("1", "-2.5", "1e3", "007", "1_0", "", "nan", "0x1")] == [
        1, -2.5, 1000.0, "007", "1_0", "", "nan", "0x1",
    ]  # fmt: skip


def test_natural_order_takes_any_mixture() -> None:
    names = ["b", "10", "2", "a10", "a2", "a", "²"]
    assert sorted(names, key=natural_key) == ["2", "10", "a", "a2", "a10", "b", "²"]

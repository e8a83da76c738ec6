"""Tables from files: CSV, TSV, JSON lines, Parquet; and mistakes in them, at their place."""

from __future__ import annotations

import csv
import datetime
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osgbatch.errors import OsgbatchError
from osgbatch.spec.load import load_spec
from osgbatch.sweep.cells import BLOCK
from osgbatch.sweep.expand import expand

Row = tuple[Any, ...]


def read(folder: Path, name: str) -> tuple[list[str], list[Row], list[Row]]:
    """The names, texts and values of a table."""
    (folder / "sweep.yaml").write_text(f"command: echo\nsweep: {{table: {name}}}\n")
    table = expand(load_spec(folder / "sweep.yaml"))
    rows = list(table.rows())
    return (
        [column.name for column in table.columns],
        [tuple(cell.text for cell in row) for row in rows],
        [tuple(cell.value for cell in row) for row in rows],
    )


def complaint(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    with pytest.raises(OsgbatchError) as caught:
        read(folder, name)
    return str(caught.value).replace(f"{folder}/", "")


# --- any table that is written reads back ---------------------------------------------------------

_CELL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
_VALUE = st.one_of(
    _CELL, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans()
)


def _repeated(rows: list[Row], often: bool) -> list[Row]:
    return rows * (2 * BLOCK // len(rows) + 1) if often else rows


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(_CELL, _CELL), min_size=1, max_size=5), st.booleans(), st.booleans(),
    st.sampled_from([("p.csv", ","), ("p.tsv", "\t")]), st.sampled_from(["\n", "\r\n"]),
)  # fmt: skip
def test_any_table_written_as_csv_or_tsv_reads_back(
    tmp_path_factory: pytest.TempPathFactory,
    cells: list[Row], often: bool, bom: bool, kind: tuple[str, str], end: str,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("csv")
    rows = _repeated(cells, often)
    encoding = "utf-8-sig" if bom else "utf-8"
    with (folder / kind[0]).open("w", newline="", encoding=encoding) as stream:
        # before Python 3.13 the writer quotes a CR only where lines end with one
        quoting = csv.QUOTE_ALL if "\\r" in repr(cells) else csv.QUOTE_MINIMAL
        writer = csv.writer(stream, delimiter=kind[1], lineterminator=end, quoting=quoting)
        writer.writerows([("a", "b"), *rows])
    assert read(folder, kind[0])[:2] == (["a", "b"], rows)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(_VALUE, _VALUE), min_size=1, max_size=5), st.booleans(), st.booleans())
def test_any_table_written_as_json_lines_reads_back(
    tmp_path_factory: pytest.TempPathFactory, cells: list[Row], often: bool, ascii_only: bool
) -> None:
    folder = tmp_path_factory.mktemp("json")
    rows = _repeated(cells, often)
    lines = [json.dumps({"a": a, "b": b}, ensure_ascii=ascii_only) for a, b in rows]
    (folder / "p.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    _, texts, values = read(folder, "p.jsonl")
    assert values == rows
    assert [[type(v) for v in row] for row in values] == [[type(v) for v in row] for row in rows]
    assert texts == [tuple(v if isinstance(v, str) else json.dumps(v) for v in row) for row in rows]


def test_json_lines_keep_types_and_the_text_of_numbers(tmp_path: Path) -> None:
    lines = [
        '{"a": 1.50, "b": "1", "c": null, "d": true}',
        "",
        '  {"d": false, "b": "é \\"q\\"", "a": 1e3, "c": -0}  ',
        '{"a": 1e999, "b": "", "c": %s, "d": 1}' % ("7" * 5000),
    ]
    (tmp_path / "p.ndjson").write_bytes(("\ufeff" + "\r\n".join(lines)).encode())
    names, texts, values = read(tmp_path, "p.ndjson")
    assert names == ["a", "b", "c", "d"]
    assert texts[:2] == [("1.50", "1", "", "true"), ("1e3", 'é "q"', "-0", "false")]
    assert values[:2] == [(1.5, "1", "", True), (1000.0, 'é "q"', 0, False)]
    assert values[2] == (*texts[2][:3], 1) == ("1e999", "", "7" * 5000, 1)


def test_csv_numbers_and_truth_are_typed_and_an_empty_cell_is_empty(tmp_path: Path) -> None:
    (tmp_path / "p.CSV").write_text('a,b\n1,True\n2.50,false\n,"TRUE "\n1e999,' + "7" * 5000)
    assert read(tmp_path, "p.CSV")[2] == [
        (1, True), (2.5, False), ("", "TRUE "), ("1e999", "7" * 5000),
    ]  # fmt: skip


def test_an_empty_line_is_no_row_also_before_the_header(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("\n\n a , b \n\n1,2\n\n")
    assert read(tmp_path, "p.csv")[:2] == (["a", "b"], [("1", "2")])


def test_parquet_columns_keep_their_types(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    day = datetime.datetime(2026, 1, 2, 3, 4, 5)
    columns = {
        "i": pa.array([1, None]), "f": pa.array([0.5, float("nan")]),
        "s": pa.array([0.1, float("nan")], pa.float32()), "h": pa.array([2, 3], pa.float32()),
        "b": pa.array([True, None]), "t": pa.array(["7", None]),
        "d": pa.array(["x", "y"]).dictionary_encode(),
        "w": pa.array([day, None], pa.timestamp("ns")),
        "n": pa.array([Decimal("1.50"), None]), "e": pa.nulls(2),
        "y": pa.array([day.date(), None]), "__index_level_0__": pa.array([0, 1]),
    }  # fmt: skip
    parquet.write_table(pa.table(columns), tmp_path / "p.parquet")
    names, texts, values = read(tmp_path, "p.parquet")
    assert "".join(names) == "ifshbtdwney"
    assert texts == [
        (
            "1",
            "0.5",
            "0.1",
            "2.0",
            "true",
            "7",
            "x",
            "2026-01-02T03:04:05",
            "1.50",
            "",
            "2026-01-02",
        ),
        ("", "", "", "3.0", "", "", "y", "", "", "", ""),
    ]
    assert values[0] == (
        1,
        0.5,
        0.1,
        2.0,
        True,
        "7",
        "x",
        "2026-01-02T03:04:05",
        1.5,
        "",
        "2026-01-02",
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [[1]]}, 'sweep.yaml:2:16: column "a" of "p.parquet" is list<'),
        ({"a": [b"x"]}, 'column "a" of "p.parquet" is binary'),
        ({"a b": [1]}, '"a b" cannot name a column'),
        ({"": [1]}, "column 1 has no name"),
        ({"a": ["x", "y\0"]}, 'a NUL character in column "a" of "p.parquet", row 2'),
        ({"a": []}, '"p.parquet" has a header but no rows'),
    ],
)
def test_what_parquet_has_and_a_command_cannot_take_is_refused(
    tmp_path: Path, columns: dict[str, list[Any]], message: str
) -> None:
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pa.table(columns), tmp_path / "p.parquet")
    assert message in complaint(tmp_path, "p.parquet", (tmp_path / "p.parquet").read_bytes())


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    assert 'sweep.yaml:2:16: "p.parquet" is not Parquet: ' in complaint(
        tmp_path, "p.parquet", b"a,b\n1,2\n"
    )


def test_without_pyarrow_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = complaint(tmp_path, "p.parquet", b"")
    assert said.startswith("sweep.yaml:2:16: reading Parquet needs pyarrow")
    assert "pip install 'osgbatch[parquet]'" in said


CSV = [
    (b"", "p.csv:1:1: the table is empty", 0),
    (b"\n\n", "p.csv:1:1: the table is empty", 0),
    (b"a,b\n", 'sweep.yaml:2:16: "p.csv" has a header but no rows', 5),
    (b"a,b,a\n1,2,3\n", 'p.csv:1:5: column "a" is there twice', 1),
    (b"a,\n1,2\n", "p.csv:1:3: a column has no name", 1),
    (b"a,index\n1,2\n", 'p.csv:1:3: "index" is taken by osgbatch', 5),
    (b'"a","repeat"\n1,2\n', 'p.csv:1:6: "repeat" is taken by osgbatch', 6),
    (b"a,b c\n1,2\n", 'p.csv:1:3: "b c" cannot name a column', 3),
    (b"a;b\n1;2\n", 'p.csv:1:1: "a;b" cannot name a column', 3),
    (b"a,b\n1\n", "p.csv:2:1: 1 cell, but the header has 2", 1),
    (b"a,b\n1,2\n\n1,22,33\n", "p.csv:4:6: 3 cells, but the header has 2", 2),
    (b'a,b\n"x\ny",2\n3\n', "p.csv:4:1: 1 cell, but the header has 2", 1),
    (b'a,b\r\n1,2\r\n3,"x\r\ny",4\r\n5\r\n', "p.csv:3:1: 3 cells, but the header has 2", 4),
    (b"a,b\n1,2\n\xc3\xa9,x\xff\n", "p.csv:3:4: byte 0xff is not UTF-8", 1),
    (b"\xff\xfea\0", "p.csv:1:1: byte 0xff is not UTF-8", 1),
    (b'a\n1\n"x\n', "p.csv:3:1: not CSV: a quote is opened and never closed", 1),
    (b'a,b\n1,"x"y\n', "p.csv:2:1: not CSV: text follows the closing quote", 1),
    (b"a,b\n1,2\n3,x\0y\n", "p.csv:3:3: a NUL character", 3),
    (b"a,b\n" + b"1,2\n" * 3000 + b"3\n" + b"1,2\n", "p.csv:3002:1: 1 cell, but", 1),
]


@pytest.mark.parametrize(("content", "message", "width"), CSV)
def test_a_mistake_in_a_csv_table_is_shown_where_it_is(
    tmp_path: Path, content: bytes, message: str, width: int
) -> None:
    if b"\0" in content and sys.version_info < (3, 11) and not content.startswith(b"\xff"):
        message = message.replace(":3:3:", ":3:1:")  # the csv module says no more
    said = complaint(tmp_path, "p.csv", content).splitlines()
    assert said[0].startswith(message)
    if width:
        assert said[2].count("^") == width
        column = int(message.split(":")[2])
        assert said[2].index("^") - said[2].index("|") == column + 1


def test_a_separator_that_is_another_is_named(tmp_path: Path) -> None:
    assert "semicolons" in complaint(tmp_path, "p.csv", b"a;b\n1;2\n")
    assert "call the file .tsv" in complaint(tmp_path, "p.csv", b"a\tb\n1\t2\n")
    assert "call the file .csv" in complaint(tmp_path, "p.tsv", b"a,b\n1,2\n")
    assert "UTF-16" in complaint(tmp_path, "p.csv", "a,b\n1,2\n".encode("utf-16"))


JSON = [
    (b"", "p.jsonl:1:1: the table is empty"),
    (b"[1]\n", "p.jsonl:1:1: a line should be an object"),
    (b"{}\n", "p.jsonl:1:1: the object is empty"),
    (b'{"a": 1\n', "p.jsonl:1:8: not JSON: Expecting"),
    (b'{"a": 1}, {"a": 2}\n', "p.jsonl:1:9: not JSON: Extra data"),
    (b'{"a": 1}\n{"b": 1}\n', 'p.jsonl:2:2: the first line has no "b"'),
    (b'{"a": 1, "b": 2}\n\n{"b": 1}\n', 'p.jsonl:3:1: "a" is missing'),
    (b'{"a": 1, "a": 2}\n', 'p.jsonl:1:2: "a" is there twice'),
    (b'{"a": 1}\n{"a": 1, "a": 2}\n', 'p.jsonl:2:2: "a" is there twice'),
    (b'{"a": 1, "b": [1]}\n', 'p.jsonl:1:10: "b" is nested'),
    (b'{"a": 1, "b": {"c": 1}}\n', 'p.jsonl:1:10: "b" is nested'),
    (b'{"a": NaN}\n', "p.jsonl:1:7: not JSON: NaN"),
    (b'{"state": 1}\n', 'p.jsonl:1:2: "state" is taken by osgbatch'),
    (b'{"a b": 1}\n', 'p.jsonl:1:2: "a b" cannot name a column'),
    (b'{"": 1}\n', "p.jsonl:1:2: a column has no name"),
    (b'{"a": "x\\u0000"}\n', 'p.jsonl:1:2: a NUL character in "a"'),
    (b'{"a": "\0"}\n', "p.jsonl:1:8: a NUL character"),
    (b'{"a": "\\ud800"}\n', 'p.jsonl:1:2: half of a surrogate pair in "a"'),
    (b'{"a": "\xff"}\n', "p.jsonl:1:8: byte 0xff is not UTF-8"),
    (b'{"a": ' + b"[" * 100_000, "p.jsonl:1:1: not a flat object"),
]


@pytest.mark.parametrize(("content", "message"), JSON)
def test_a_mistake_in_json_lines_is_shown_where_it_is(
    tmp_path: Path, content: bytes, message: str
) -> None:
    assert complaint(tmp_path, "p.jsonl", content).startswith(message)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no.csv", 'sweep.yaml:2:16: cannot read "no.csv": No such file or directory'),
        ("no.jsonl", 'sweep.yaml:2:16: cannot read "no.jsonl": No such file or directory'),
        ("no.parquet", 'sweep.yaml:2:16: cannot read "no.parquet": No such file or directory'),
        ("d.csv", 'sweep.yaml:2:16: cannot read "d.csv": Is a directory'),
        ("p.xlsx", 'sweep.yaml:2:16: "p.xlsx": tables of this kind cannot be read'),
        ("p", 'sweep.yaml:2:16: "p": tables of this kind cannot be read'),
    ],
)
def test_a_table_that_cannot_be_read_is_shown_in_the_spec(
    tmp_path: Path, name: str, message: str
) -> None:
    if "parquet" in name:
        pytest.importorskip("pyarrow")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(OsgbatchError) as caught:
        read(tmp_path, name)
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(message)


def test_a_cell_that_is_too_long_is_told_with_what_to_do(tmp_path: Path) -> None:
    content = b"a,b\n1,2\n3," + b"x" * 131_073 + b"\n"
    said = complaint(tmp_path, "t.csv", content)
    assert "t.csv:3:1: a cell of this row has more than 131,072 characters" in said
    assert "Put long values into files" in said and "quote" not in said and "not CSV" not in said
    said = complaint(tmp_path, "t.csv", b'a,b\n1,"2\n' + b"3,4\n" * 40_000)
    assert "t.csv:2:1: a cell of this row has more than 131,072" in said
    assert "or its quote is never closed" in said

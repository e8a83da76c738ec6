"""Every form of the sweep section, with an example; and what the rows are made of."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osgbatch.spec.load import load_spec
from osgbatch.sweep.cells import BLOCK, PickedCells, TextCells, typed
from osgbatch.tables import Cell, Column, Table


def table(folder: Path, sweep: str) -> Table:
    from osgbatch.sweep.expand import expand

    (folder / "sweep.yaml").write_text(f"command: echo\nsweep: {sweep}\n")
    return expand(load_spec(folder / "sweep.yaml"))


def texts(folder: Path, sweep: str) -> list[tuple[str, ...]]:
    return [tuple(cell.text for cell in row) for row in table(folder, sweep).rows()]


def values(folder: Path, sweep: str) -> list[tuple[Any, ...]]:
    return [tuple(cell.value for cell in row) for row in table(folder, sweep).rows()]


SERIES = [
    ("[1, 2.50, abc]", "1 2.50 abc"),
    ("{range: 3}", "0 1 2"),
    ("{range: [2, 4]}", "2 3"),
    ("{range: [5, 0, -2]}", "5 3 1"),
    ("{range: [0, 0.5, 0.1]}", "0.0 0.1 0.2 0.3 0.4"),
    ("{range: [1, 0, -0.25]}", "1.0 0.75 0.5 0.25"),
    ("{range: 2.5}", "0.0 1.0 2.0"),
    ("{range: [0, 3e-7, 1e-7]}", "0.0 1e-07 2e-07"),
    ("{linspace: [0, 1, 11]}", "0.0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0"),
    ("{linspace: [5, 6, 1]}", "5.0"),
    ("{linspace: [1, -1, 3]}", "1.0 0.0 -1.0"),
    ("{logspace: [-3, 3, 7]}", "0.001 0.01 0.1 1.0 10.0 100.0 1000.0"),
    ("{logspace: [0, 1, 3]}", "1.0 3.1622776601683795 10.0"),
]


@pytest.mark.parametrize(("source", "expected"), SERIES)
def test_a_column_has_the_values_that_its_source_says(
    tmp_path: Path, source: str, expected: str
) -> None:
    assert texts(tmp_path, f"{{x: {source}}}") == [(text,) for text in expected.split()]


def test_numbers_of_a_series_are_numbers_and_whole_ones_stay_whole(tmp_path: Path) -> None:
    found = values(tmp_path, "{a: {range: 1}, b: {range: [1, 2, 0.5]}}")
    assert [(type(a), type(b)) for a, b in found] == [(int, float)] * 2


def test_series_agree_with_numpy_but_for_roundings(tmp_path: Path) -> None:
    import numpy

    found = [row[0] for row in values(tmp_path, "{x: {logspace: [-2.5, 1.25, 40]}}")]
    assert numpy.allclose(found, numpy.logspace(-2.5, 1.25, 40), rtol=1e-14)
    found = [row[0] for row in values(tmp_path, "{x: {linspace: [-2.5, 1.25, 40]}}")]
    assert numpy.allclose(found, numpy.linspace(-2.5, 1.25, 40), rtol=1e-14)


def test_files_are_found_at_any_depth_by_several_patterns_each_once(tmp_path: Path) -> None:
    for name in ("a/10.npy", "a/b/9.npy", "a/2.npy", "c.npy", "a/x.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = texts(tmp_path, "{f: {files: [c.npy, 'a/**/*.npy', 'a/2*']}}")
    assert [row[0] for row in found] == ["c.npy", "a/2.npy", "a/10.npy", "a/b/9.npy"]
    assert table(tmp_path, "{f: {files: c.npy}}").columns[0].is_file
    absolute = f"{{f: {{files: {tmp_path}/a/*.npy}}}}"
    assert texts(tmp_path, absolute)[0] == (f"{tmp_path}/a/2.npy",)


def test_file_names_that_are_numbers_or_no_utf_8_stay_text(tmp_path: Path) -> None:
    (tmp_path / "7").touch()
    Path(str(tmp_path) + "/x\udcff").touch()
    assert values(tmp_path, "{f: {files: ['7', 'x*']}}") == [("7",), ("x\udcff",)]


def test_lines_are_values_and_blank_ones_none(tmp_path: Path) -> None:
    content = "\ufeffalpha beta\r\n\r\n  2.50 \r\n# no comment\r\ntrue\r\n\u2028é"
    (tmp_path / "n.txt").write_bytes(content.encode())
    found = table(tmp_path, "{x: {lines: n.txt}}").rows()
    assert [tuple(cell) for (cell,) in found] == [
        ("alpha beta",) * 2, (2.5, "2.50"), ("# no comment",) * 2, (True, "true"), ("é",) * 2,
    ]  # fmt: skip


def test_zip_puts_columns_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("u,v\n1,a\n2,b\n3,c\n")
    assert texts(tmp_path, "{zip: {a: [1, 2, 3], b: {linspace: [0, 1, 3]}}}") == [
        ("1", "0.0"), ("2", "0.5"), ("3", "1.0"),
    ]  # fmt: skip
    assert texts(tmp_path, "{zip: {table: p.csv, w: [7, 8, 9]}}")[2] == ("3", "c", "9")
    assert texts(tmp_path, "{n: [0, 1], zip: [{a: [1, 2], b: [x, y]}, {c: [p]}]}") == [
        ("0", "1", "x", "p"), ("0", "2", "y", "p"), ("1", "1", "x", "p"), ("1", "2", "y", "p"),
    ]  # fmt: skip


def test_rows_may_stand_in_the_spec(tmp_path: Path) -> None:
    assert texts(tmp_path, "{table: [{a: 1, b: x}, {b: 'y', a: 2.50}], c: [0]}") == [
        ("1", "x", "0"), ("2.50", "y", "0"),
    ]  # fmt: skip


def test_several_tables_are_combined_each_row_with_each(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("u\n1\n2\n")
    (tmp_path / "q.tsv").write_text("v\tw\na b\tc,d\n")
    assert texts(tmp_path, "{table: [p.csv, q.tsv]}") == [("1", "a b", "c,d"), ("2", "a b", "c,d")]


def test_where_and_exclude_leave_rows_out(tmp_path: Path) -> None:
    grid = "a: {range: 4}, b: [x, y]"
    assert texts(tmp_path, f"{{{grid}, where: a > 1, exclude: \"a == 2 and b == 'x'\"}}") == [
        ("2", "y"), ("3", "x"), ("3", "y"),
    ]  # fmt: skip
    assert len(table(tmp_path, f"{{{grid}, where: [a > 1, \"b == 'x'\"]}}")) == 2
    assert len(table(tmp_path, f"{{{grid}, exclude: [a > 1, \"b == 'x'\"]}}")) == 2


def test_a_condition_sees_only_rows_that_passed_those_before_it(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("kind,x\nn,1\nt,abc\nn,2\n")
    assert texts(tmp_path, "{table: p.csv, where: [\"kind == 'n'\", x > 1]}") == [("n", "2")]


def test_repeat_runs_each_row_again_and_says_which_time(tmp_path: Path) -> None:
    assert texts(tmp_path, "{a: [x, y], repeat: 2}") == [
        ("x", "0"), ("x", "1"), ("y", "0"), ("y", "1"),
    ]  # fmt: skip
    assert values(tmp_path, "{repeat: 2}") == [(0,), (1,)]
    (tmp_path / "sweep.yaml").write_text("command: echo {repeat}\nsweep: {repeat: 2}\n")
    assert load_spec(tmp_path / "sweep.yaml").command[1].names == ("repeat",)


def test_count_makes_tasks_without_a_column(tmp_path: Path) -> None:
    found = table(tmp_path, "{count: 3}")
    assert (len(found), found.columns, list(found.rows()), found.row(2)) == (3, (), [()] * 3, ())


def test_the_order_is_where_then_sample_then_repeat(tmp_path: Path) -> None:
    for head in ("", "repeat: 2, sample: 3, where: a > 4, "):
        tail = "" if head else ", where: a > 4, sample: 3, repeat: 2"
        found = values(tmp_path, f"{{{head}a: {{range: 10}}{tail}}}")
        assert [number for _, number in found] == [0, 1] * 3
        assert all(a > 4 for a, _ in found)
        assert len({a for a, _ in found}) == 3


def test_a_sample_comes_in_order_and_is_the_same_every_time(tmp_path: Path) -> None:
    sweep = "{a: {range: 100}, b: {range: 100}, sample: %s}"
    first = values(tmp_path, sweep % "50")
    assert first == sorted(set(first))
    assert (
        first == values(tmp_path, sweep % "{n: 50}") == values(tmp_path, sweep % "{n: 50, seed: 0}")
    )
    assert first != values(tmp_path, sweep % "{n: 50, seed: 1}")
    assert values(tmp_path, "{a: [1, 2], sample: 2}") == [(1,), (2,)]


def test_a_sample_of_a_grid_too_large_to_count_is_taken(tmp_path: Path) -> None:
    grid = ", ".join(f"c{i}: {{range: 10000}}" for i in range(6))
    found = values(tmp_path, f"{{{grid}, sample: 200}}")
    assert len(found) == 200 and found == sorted(found)
    assert all(len({row[i] for row in found}) > 150 for i in range(6))


def test_files_keep_being_files_when_rows_are_chosen(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.npy").touch()
    found = table(tmp_path, "{f: {files: '*.npy'}, where: \"f != 'a.npy'\"}")
    assert found.columns[0].is_file
    assert [cell.text for cell in found.columns[0].cells] == ["b.npy"]


# --- against plain Python ----------------------------------------------------------------------

_COLUMN = st.lists(st.integers(-3, 3), min_size=1, max_size=4)
_TEST = st.tuples(
    st.sampled_from(["where", "exclude"]), st.sampled_from("abcd"), st.integers(-3, 3)
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(_COLUMN, st.booleans()), min_size=1, max_size=4),
    st.lists(_TEST, max_size=2),
    st.integers(0, 3),
    st.integers(0, 2),
)
def test_rows_agree_with_plain_python(
    tmp_path_factory: pytest.TempPathFactory,
    columns: list[tuple[list[int], bool]],
    tests: list[tuple[str, str, int]],
    sample: int,
    repeat: int,
) -> None:
    """Every other column may be zipped with a copy of itself; conditions compare with <."""
    lines: list[str] = []
    rows: list[dict[str, int]] = [{}]
    for name, (cells, zipped) in zip("abcd", columns, strict=False):
        new = [{name: cell, f"{name}2": -cell} if zipped else {name: cell} for cell in cells]
        rows = [{**row, **more} for row in rows for more in new]
        source = f"{name}: {cells}"
        copy = f"{name}2: {[-cell for cell in cells]}"
        lines.append(f"- {{{source}, {copy}}}" if zipped else source)
    tests = [test for test in tests if test[1] < "abcde"[len(columns)]]
    zips = [line for line in lines if line[0] == "-"]
    plain = [line for line in lines if line[0] != "-"]
    if zips:  # there is one zip key, so zipped columns come together, first
        order = [line[3] for line in zips] + [line[0] for line in plain]
        rows = _product(order, dict(zip("abcd", columns, strict=False)))
    sweep = "".join(f"    {line}\n" for line in zips)
    text = (f"  zip:\n{sweep}" if zips else "") + "".join(f"  {line}\n" for line in plain)
    for kind in ("where", "exclude"):
        conditions = [f'"{name} < {limit}"' for k, name, limit in tests if k == kind]
        if conditions:
            text += f"  {kind}: [{', '.join(conditions)}]\n"
    for kind, name, limit in tests:
        rows = [row for row in rows if (row[name] < limit) == (kind == "where")]
    if len(rows) < max(sample, 1):
        return
    if sample:
        text += f"  sample: {sample}\n"
    if repeat:
        text += f"  repeat: {repeat}\n"
    folder = tmp_path_factory.mktemp("oracle")
    (folder / "sweep.yaml").write_text(f"command: echo\nsweep:\n{text}")
    from osgbatch.sweep.expand import expand

    found = expand(load_spec(folder / "sweep.yaml"))
    names = [column.name for column in found.columns]
    got = [dict(zip(names, [c.value for c in row], strict=True)) for row in found.rows()]
    if sample:
        assert len(got) == sample * max(repeat, 1)
        chosen = [row for row in got if row.pop("repeat", 0) == 0]
        left = iter(rows)
        assert all(row in left for row in chosen)  # a subsequence
    else:
        again = range(max(repeat, 1))
        want = [({**row, "repeat": i} if repeat else row) for row in rows for i in again]
        assert got == want
    for name in names:
        assert found.texts(name, 0, len(found)) == [
            str(row[names.index(name)].value) for row in found.rows()
        ]


def _product(order: list[str], columns: dict[str, tuple[list[int], bool]]) -> list[dict[str, int]]:
    rows: list[dict[str, int]] = [{}]
    for name in order:
        cells, zipped = columns[name]
        new = [{name: cell, f"{name}2": -cell} if zipped else {name: cell} for cell in cells]
        rows = [{**row, **more} for row in rows for more in new]
    return rows


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 3),
    st.integers(0, 400), st.integers(0, 400),
)  # fmt: skip
def test_any_part_of_a_column_reads_as_row_by_row(
    sizes: list[int], copies: int, start: int, stop: int
) -> None:
    columns = [Column(f"c{i}", TextCells.of(map(str, range(size)))) for i, size in enumerate(sizes)]
    found = Table(tuple((column,) for column in columns), copies)
    rows = [found.row(i) for i in range(len(found))]
    for i, column in enumerate(columns):
        assert found.texts(column.name, start, stop) == [row[i].text for row in rows[start:stop]]
        assert found.values(column.name, start, stop) == [row[i].value for row in rows[start:stop]]
    assert list(found.rows(7)) == rows


@given(st.lists(st.integers(0, 3 * BLOCK * 4 - 1), max_size=40), st.integers(1, 4))
def test_picked_rows_read_as_one_by_one(rows: list[int], inner: int) -> None:
    column = Column("x", TextCells.of(map(str, range(3 * BLOCK))))
    picked = PickedCells(column, inner, rows)
    want = [Cell(number, str(number)) for number in (row // inner % (3 * BLOCK) for row in rows)]
    assert list(picked) == want
    assert [picked[i] for i in range(len(rows))] == want
    assert list(picked[1:3]) == want[1:3]


_TEXT = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.integers().map(str), st.floats(allow_nan=False).map(repr), st.sampled_from(["TRUE", "007"]),
)  # fmt: skip


@given(st.lists(_TEXT), st.booleans())
def test_cells_are_kept_as_they_are_at_any_length(some: list[str], long: bool) -> None:
    kept = some * (BLOCK // (len(some) or 1) + 1) if long else some
    cells = TextCells.of(kept)
    assert cells.texts(0, len(kept)) == kept
    assert cells.values(0, len(kept)) == [typed(text) for text in kept]
    assert list(cells) == [Cell(typed(text), text) for text in kept]
    if kept:
        assert cells[-1] == cells[len(kept) - 1] == Cell(typed(kept[-1]), kept[-1])
        assert list(cells[:2]) == [Cell(typed(text), text) for text in kept[:2]]
    with pytest.raises(IndexError):
        cells[len(kept)]


def test_a_table_can_be_pickled(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("u,v\n" + "".join(f"{i},x{i}\n" for i in range(3000)))
    found = table(tmp_path, "{table: p.csv, where: u > 2000, n: [1, 2], repeat: 2}")
    again = pickle.loads(pickle.dumps(found))
    assert list(again.rows()) == list(found.rows())


def test_a_large_table_stays_small_in_memory(tmp_path: Path) -> None:
    """100,000 rows of two columns as Python strings would take 11 MB."""
    import tracemalloc

    with (tmp_path / "p.csv").open("w") as stream:
        stream.write("u,v\n")
        stream.writelines(f"{i},name_{i}\n" for i in range(100_000))
    table(tmp_path, "{x: [1]}")
    tracemalloc.start()
    found = table(tmp_path, "{table: p.csv, where: u >= 0}")
    used, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 100_000
    assert used < 3_500_000
    assert peak < 8_000_000

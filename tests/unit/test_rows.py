"""Rows as shell text: what a task gets is what the spec says, whatever the values are."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from osgbatch.plan_model import Plan
from osgbatch.planning.plan import make_plan
from osgbatch.planning.resolve import resolve
from osgbatch.rendering.items import item_lines, item_names
from osgbatch.rendering.program import row_body
from osgbatch.rendering.rows import RowWriter, decode_rows
from osgbatch.spec.load import load_spec
from osgbatch.spec_model import ColumnSource, Place, Spec, Template
from osgbatch.sweep.cells import TextCells
from osgbatch.sweep.expand import expand
from osgbatch.tables import Cell, Column, Table

NOWHERE = Place("sweep.yaml", 1, 1)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
CELLS = (
    TEXTS.map(lambda text: Cell(text, text))
    | st.integers(-(10**9), 10**9).map(lambda n: Cell(n, str(n)))
    | st.sampled_from(
        [
            Cell(2.5, "2.50"), Cell(True, "True"), Cell(False, "false"), Cell("1", "1"),
            Cell(5, "+5"), Cell(0.5, ".5"), Cell("", ""), Cell("true", "true"),
            Cell(1e300, "1e300"),
        ]
    )
)  # fmt: skip
PRELUDE = """
index=0 row_has_params=''
params() { row_has_params=yes; printf 'params\\0%s\\0' "$1"; }
input() { printf 'input\\0%s\\0%s\\0' "$1" "$2"; }
run() { printf 'run\\0%d\\0' $#; for word in "$@"; do printf '%s\\0' "$word"; done; }
"""


def executed(plan: Plan, functions: str) -> list[tuple[Any, list[str]]]:
    """What a real sh makes of the rows: the params and the argument vector of each task."""
    writer = RowWriter(plan.table, plan.tasks)
    script = f"{PRELUDE}\nrow() {{\n{row_body(plan, writer)}\n}}\n{functions}\n"
    for task in range(len(plan.table)):
        script += f"index={task} row_has_params=''; row_{task}\n"
    with tempfile.NamedTemporaryFile() as file:
        file.write(script.encode("utf-8", "surrogateescape"))
        file.flush()
        done = subprocess.run(["sh", file.name], capture_output=True, check=True)
    words = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    found: list[tuple[Any, list[str]]] = []
    position = 0
    while position < len(words) - 1:
        assert words[position] == "params"
        row = json.loads(words[position + 1])
        assert words[position + 2] == "run"
        count = int(words[position + 3])
        position += 4 + count
        found.append((row, words[position - count : position]))
    return found


def planned(columns: dict[str, list[Cell]], *command: str) -> Plan:
    """A plan without a spec file: these columns side by side, this command."""
    words = tuple(Template(tuple(word.split("|"))) for word in command)
    sources = (ColumnSource("list", "x", NOWHERE),)
    spec = Spec(Path("/nowhere/sweep.yaml"), b"", "test", words, sources=sources)
    block = tuple(Column(name, cells) for name, cells in columns.items())
    return make_plan(spec, Table((block,)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=30), TEXTS)
def test_any_row_reaches_the_task_as_it_was_written(
    rows: list[tuple[Cell, Cell]], literal: str
) -> None:
    if "|" in literal:
        literal = literal.replace("|", "")
    columns = {"a": [a for a, _ in rows], "b": [b for _, b in rows]}
    plan = planned(columns, "run", literal, "|a|", "--x=|b|/|index|", "|a||b|")
    functions = "".join(RowWriter(plan.table, plan.tasks).functions(0, len(rows)))
    for index, (params, argv) in enumerate(executed(plan, functions)):
        a, b = rows[index]
        assert argv == ["run", literal, a.text, f"--x={b.text}/{index}", a.text + b.text]
        assert params == {"a": a.value, "b": b.value}
        assert [type(v) for v in params.values()] == [type(a.value), type(b.value)]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(TEXTS | st.sampled_from(["1", "2.5", "true", "007", "1e999", "-3", "nan"]), min_size=1)
)
def test_a_column_of_a_table_keeps_its_types(texts: list[str]) -> None:
    cells = TextCells.of(texts)
    plan = planned({"a": list(cells)}, "|a|")
    lazy = make_plan(plan.spec, Table(((Column("a", cells),),)))
    functions = "".join(RowWriter(lazy.table, lazy.tasks).functions(0, len(texts)))
    found = executed(lazy, functions)
    assert [argv for _, argv in found] == [[text] for text in texts]
    seen = [params["a"] for params, _ in found]
    wanted = [cell.value for cell in cells]
    assert [(value, type(value)) for value in seen] == [(value, type(value)) for value in wanted]


def test_more_than_nine_columns_have_a_place_each() -> None:
    columns = {f"c{i}": [Cell(i, str(i))] for i in range(12)}
    plan = planned(columns, "|c10|-|c0|-|c1|")
    functions = "".join(RowWriter(plan.table, plan.tasks).functions(0, 1))
    assert executed(plan, functions) == [({f"c{i}": i for i in range(12)}, ["10-0-1"])]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9000), st.integers(1, 700))
def test_every_task_has_its_row_in_one_job(tasks: int, per_job: int) -> None:
    source = ColumnSource("count", "", NOWHERE, count=tasks)
    spec = Spec(
        Path("/nowhere/sweep.yaml"), b"", "t", (Template(("echo",)),), sources=(source,),
        tasks_per_job=per_job,
    )  # fmt: skip
    resolved = resolve(make_plan(spec, Table((), tasks)), [])
    seen: list[int] = []
    for line in b"".join(item_lines(resolved, rows_file=False)).decode().splitlines():
        ranges, word = line.split(" ")
        rows = decode_rows(word).decode().splitlines()
        first, _, last = ranges.partition("-")
        wanted = range(int(first), int(last or first) + 1)
        assert rows == [f"row_{i}(){{ row;}}" for i in wanted]
        seen += wanted
    assert seen == list(range(tasks))


def test_what_differs_between_jobs_stands_in_the_item_file(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(
        "command: echo {n}\nsweep: {n: [1, 2, 3]}\ntasks_per_job: 2\n"
        'resources: {memory: {expr: "1 GB * n"}, disk: {expr: "10 MB * n"},'
        ' time: {expr: "1 min * n"}}\n'
    )
    spec = load_spec(tmp_path / "sweep.yaml")
    resolved = resolve(make_plan(spec, expand(spec)), [])
    assert item_names(resolved) == ("tasks", "rows", "memory_mb", "disk_kb", "execute_s")
    lines = b"".join(item_lines(resolved, rows_file=False)).decode().splitlines()
    fields = [line.split(" ") for line in lines]
    assert [f[0] for f in fields] == ["0", "1-2"]
    assert [f[2:] for f in fields] == [
        ["1024", "10240", str(60 + 10 + 1800)],
        ["3072", str(50 * 1024), str(300 + 20 + 1800)],
    ]
    assert b"row_2(){ row '3' '180';}" in decode_rows(fields[1][1])
    assert (resolved.resources.memory_mb, resolved.resources.disk_kb) == (3072, 50 * 1024)

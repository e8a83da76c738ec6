"""Tables of tasks: filtered, as text, CSV, JSON and indices."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from osgbatch.batches.folder import Batch
from osgbatch.cli.app import command_line
from osgbatch.cli.house_texts import tasks_text
from osgbatch.collecting.table import write_results
from osgbatch.errors import OsgbatchError
from osgbatch.life import following
from osgbatch.model import JobState, TaskState
from osgbatch.results.result_rows import result_table
from osgbatch.results.task_table import json_rows, ranges, task_table, write_csv
from osgbatch.submission import steps
from osgbatch.submission.planned import plan_sweep

DONE = {"start": "100", "end": "175.5", "memory_kb": "524288"}
STATES = (
    TaskState(0, "succeeded", exit_code=0, record=DONE, job_record={"site": "Here", "host": "a.b"}),
    TaskState(1, "failed", "exit", exit_code=3, record=DONE, job_record={"host": "x.example"}),
    TaskState(2, "held", "memory over its request " * 20, job=JobState(2, "held", hold_code=34)),
    TaskState(3, "waiting"),
    TaskState(4, "failed", "signal", signal=9, record=DONE),
    TaskState(5, "transferring output", job=JobState(5, host="slot1_1@ep.example")),
)


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Six tasks of two columns, one of numbers and one of texts, in as many states."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "sweep.yaml").write_text(
        "command: e {n} {word}\nsweep: {n: [1, 2.5, 3], word: [a, '7']}\n"
    )
    made = steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)
    now = following.status(made, all_tasks=True).with_states(STATES)
    monkeypatch.setattr("osgbatch.life.following.status", lambda batch, **_: now)
    return made


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ((), "0-5"),
        (["n > 1", "word == 'a'"], "2,4"),
        ("n > 1", "2-5"),
        ("n == 2.5 and state != 'waiting'", "2"),
        ("word == 'a' or index == 5", "0,2,4-5"),
        ("exit_code == 3", "1"),
        ("exit_code != 0", "1"),
        ("site != 'There'", "0"),
        ("host not in ['x.example']", "0,5"),
        ("host == 'ep.example'", "5"),  # without its slot, wherever it is known from
        ("exit_code != 0 or state == 'held'", "1-2"),
        ("not (exit_code == 0 or index == 3)", "1"),
        ("not (exit_code == 0 and index < 3)", "1,3-5"),
        ("site == '' and signal != ''", "4"),
        ("reason != 'exit'", "0,2-5"),  # a success has a reason: none
        ("exit_code > 0", "1"),  # what has no exit code does not match
        ("not exit_code > 0", "0"),
        ("memory_mb >= 512 and wall_s < 80", "0-1,4"),
        ("startswith(reason, 'memory')", "2"),
        ("site in ['Here']", "0"),
        ("signal == 9", "4"),
    ],
)
def test_rows_are_filtered_by_columns_and_results(
    batch: Batch, where: str | list[str], found: str
) -> None:
    assert ranges(row.index for row in task_table(batch, where).rows) == found


@pytest.mark.parametrize(
    ("states", "found"),
    [(["failed"], "1,4"), (["held", "waiting"], "2-3"), (["transferring-output"], "5")],
)
def test_rows_are_filtered_by_state(batch: Batch, states: list[str], found: str) -> None:
    assert ranges(row.index for row in task_table(batch, states=states).rows) == found
    assert ranges(r.index for r in task_table(batch, "n >= 100", states).rows) == ""


@pytest.mark.parametrize(
    ("where", "states", "said"),
    [
        ("m > 1", [], 'unknown name "m"'),
        ("n >", [], "where: "),
        ("word > 1", [], "task 0: cannot evaluate word > 1: word is text"),
        ("state == 'sucess'", [], '"sucess"'),
        ("n > 1 or state in ['held', 'runing']", [], 'unknown state "runing"'),
        ("n > 1", ["done"], 'unknown state "done"\n  Known are waiting, '),
        ("", [], "an empty condition"),
    ],
)  # fmt: skip
def test_a_wrong_filter_says_what_is_wrong(
    batch: Batch, where: str, states: list[str], said: str
) -> None:
    with pytest.raises(OsgbatchError) as error:
        task_table(batch, where, states)
    assert said in str(error.value)
    if where and not states:
        assert f"\n    {where}\n    " in str(error.value)
        assert "^" in str(error.value)


def test_csv_is_what_collect_writes(batch: Batch, tmp_path: Path) -> None:
    table = result_table(batch, STATES)
    write_results(tmp_path / "r.csv", table.columns, table.cells())
    out = io.BytesIO()
    write_csv(task_table(batch), out)
    assert out.getvalue() == (tmp_path / "r.csv").read_bytes()


def test_json_has_typed_values(batch: Batch) -> None:
    rows = list(json_rows(task_table(batch)))
    assert json.loads(json.dumps(rows)) == rows
    assert rows[0]["parameters"] == {"n": 1, "word": "a"}
    first: Mapping[str, Any] = rows[0]
    assert (first["exit_code"], first["wall_s"], first["memory_mb"]) == (0, 75.5, 512.0)
    assert (rows[2]["hold_code"], rows[2]["proc"], rows[2]["exit_code"]) == (34, 2, None)
    assert rows[3]["wall_s"] is None


def test_a_table_of_parameters_is_one_for_another_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    values = ["a", "a,b", 'say "x"', "two\nlines", "cr\rhere", " blank ", "007", "1.50", "ü"]
    text = json.dumps({"command": "e {x} {y}", "sweep": {"x": values, "y": [1]}})
    (tmp_path / "one.yaml").write_text(text)
    made = steps.render_sweep(tmp_path / "one.yaml", None, lambda text: None)
    with (tmp_path / "left.csv").open("wb") as out:
        write_csv(task_table(made, "index != 0"), out, parameters_only=True)
    (tmp_path / "two.yaml").write_text("command: e {x} {y}\nsweep: {table: left.csv}\n")
    table = plan_sweep(tmp_path / "two.yaml").table
    assert table.texts("x", 0, len(table)) == values[1:]


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_fits_the_terminal(batch: Batch, width: int) -> None:
    lines = tasks_text(task_table(batch), width).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= 9  # what is long is cut: `why` tells it
    assert ("512.0 MB" in lines[1]) == (width == 120)
    assert ("Here" in lines[1]) == (width == 120)
    only = tasks_text(task_table(batch, "index == 0"), 80)
    assert " ".join(only.split()[5:]) == "0 succeeded 1 min 512.0 MB n=1 word=a"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_what_was_asked_for_is_shown(batch: Batch, width: int) -> None:
    text = tasks_text(task_table(batch, ["memory_mb > 5", "word != 'b'"]), width)
    assert text.split()[:4] == ["task", "state", "memory_mb", "word"]
    assert text.splitlines()[1].split()[:4] == ["0", "succeeded", "512.0", "a"]
    assert " 512.0 MB" not in text
    assert max(map(len, text.splitlines())) <= width


def test_the_command_prints_one_form(batch: Batch) -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(command_line(), ["tasks", str(batch.folder), *arguments])

    assert run("--failed", "--ids").output == "1,4\n"
    assert run("--state", "held", "--ids").stdout == "2\n"
    assert json.loads(run("--where", "n > 100", "--json").stdout) == []
    assert run("--where", "n > 1", "--where", "exit_code == 0", "--ids").stdout == ""
    assert run("--where", "n > 1", "--where", "signal == 9", "--ids").stdout == "4\n"
    nothing = run("--where", "n > 100", "--ids")
    assert (nothing.stdout, nothing.exit_code) == ("", 0)
    assert "no task matches, of 6" in nothing.stderr
    assert run("--csv", "--parameters", "--failed").stdout == '"n","word"\n"1","7"\n"3","a"\n'
    for wrong in (["--csv", "--ids"], ["--parameters"], ["--state", "x"], ["--where", ""]):
        assert isinstance(run(*wrong).exception, OsgbatchError)

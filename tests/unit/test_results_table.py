"""results.csv and what is known of each task: types, requests, times, metrics, Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from osgbatch import names
from osgbatch.batches.eventlog import LogReader
from osgbatch.batches.folder import Batch
from osgbatch.collecting import metrics as metrics_module
from osgbatch.collecting.metrics import Metrics, read_metrics
from osgbatch.collecting.parquet import check_parquet, write_parquet
from osgbatch.collecting.table import result_values, write_results, write_table
from osgbatch.errors import OsgbatchError
from osgbatch.model import JobState, TaskState
from osgbatch.results.loading import LoadedBatch
from osgbatch.results.result_rows import result_table, task_folder
from osgbatch.submission import steps

SPEC = """\
command: e {n} {word} {id}
sweep:
  zip: {n: [1, 2, 3], word: [a, '7', b], id: ['007', '8', '9']}
resources: {memory: {expr: "100 MB * n"}, cpus: 2, disk: 1 GB}
"""


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Three tasks, whose jobs ask for different memory; the second one succeeded."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "sweep.yaml").write_text(SPEC)
    return steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)


JOB = JobState(
    1, "completed", 0, starts=1, host="slot1@ep", submitted=100, input_began=160, started=165,
    output_began=200, ended=203.5, memory_mb=61, memory_requested_mb=256,
)  # fmt: skip
RECORD = {"start": "170.5", "end": "199", "memory_kb": "51200", "disk_kb": "36"}
STATES = (
    TaskState(0, "waiting", round=1),
    TaskState(
        1,
        "succeeded",
        "",
        "",
        0,
        None,
        1,
        JOB,
        1,
        Path("x"),
        0,
        RECORD,
        {"host": "ep", "site": "S"},
    ),
    TaskState(2, "held", "too much", job=JobState(2, "held", memory_mb=400), round=1),
)


def put(batch: Batch, task: str, data: Any, name: str = "metrics.json") -> None:
    """Write what a task has brought."""
    outputs = batch.folder / "results" / task / "outputs"
    outputs.mkdir(parents=True, exist_ok=True)
    text = data if isinstance(data, (str, bytes)) else json.dumps(data)
    (outputs / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def test_rows_are_typed(batch: Batch) -> None:
    put(batch, "1", {"loss": 0.5})
    table = result_table(batch, STATES)
    rows = list(table.rows)
    assert [row.parameters for row in rows[:2]] == [
        {"n": 1, "word": "a", "id": "007"},
        {"n": 2, "word": "7", "id": "8"},  # text, since not all are numbers
    ]
    assert table.numbers == {"n"}
    assert rows[1].results == {
        "state": "succeeded", "reason": "", "exit_code": 0, "signal": None, "attempts": 1,
        "start": 170.5, "end": 199.0, "queue_s": 60.0, "transfer_in_s": 5.0, "wall_s": 28.5,
        "transfer_out_s": 3.5, "memory_mb": 50.0, "memory_requested_mb": 256, "disk_mb": 0.035,
        "disk_requested_mb": 1024.0, "cpus_requested": 2, "host": "ep", "site": "S", "detail": "",
    }  # fmt: skip
    assert tuple(rows[1].results) == names.RESULT_COLUMNS
    known = {k: v for k, v in rows[2].results.items() if v not in (None, "")}
    assert known == {
        "state": "held", "reason": "too much", "attempts": 0, "memory_mb": 400.0,
        "memory_requested_mb": 300, "disk_requested_mb": 1024.0, "cpus_requested": 2,
    }  # fmt: skip
    assert [row.results["memory_requested_mb"] for row in rows] == [100, 256, 300]
    assert [row.metrics for row in rows] == [{}, {"loss": 0.5}, {}]
    assert rows[1].flat()["loss"] == 0.5 and rows[1].flat()["index"] == 1
    assert [row.index for row in result_table(batch, STATES[1:]).rows] == [1, 2]


def test_only_what_is_in_results_has_a_folder(batch: Batch) -> None:
    assert [task_folder(batch, state) for state in STATES] == [None] * 3
    put(batch, "1", {})
    assert task_folder(batch, STATES[1]) == batch.folder / "results/1"


# --- metrics -------------------------------------------------------------------------------------


def metrics_of(folder: Path, *texts: Any, taken: Any = ("index", "state", "x")) -> Metrics:
    """The metrics of tasks whose metrics.json hold these; None: there is none."""
    for i, text in enumerate(texts):
        outputs = folder / str(i) / "outputs"
        outputs.mkdir(parents=True)
        if isinstance(text, bytes):
            (outputs / "metrics.json").write_bytes(text)
        elif text is not None:
            (outputs / "metrics.json").write_text(json.dumps(text))
    return read_metrics(((i, f"{folder}/{i}") for i in range(len(texts))), taken)


def test_scalars_of_all_depths_become_columns(tmp_path: Path) -> None:
    found = metrics_of(
        tmp_path,
        {"a": 1, "fit": {"r2": 0.5, "deep": {"ok": True}}, "list": [1], "none": None},
        None,
        {"b": "x", "a": math.nan},
    )
    assert found.names == ("a", "fit.r2", "fit.deep.ok", "none", "b")
    assert found.of(0) == {"a": 1, "fit.r2": 0.5, "fit.deep.ok": True, "none": None}
    assert found.of(1) == {}
    assert found.of(2)["b"] == "x" and math.isnan(found.of(2)["a"])
    [told] = found.notes
    assert told == "task 0: outputs/metrics.json has a list, which is left out ('list')"


def test_a_name_that_is_taken_has_another(tmp_path: Path) -> None:
    odd = 'a,"b"\r\nc'
    found = metrics_of(tmp_path, {"state": 1, "metrics": {"state": 2}, odd: 3, "x": 4})
    assert list(found.of(0).values()) == [1, 2, 3, 4]
    assert found.names == ("metrics.state", "metrics.metrics.state", odd, "metrics.x")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "is not JSON"),
        (b"", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "no object"),
        (b"3", "no object"),
        (b'{"a":"' + b"x" * 300_000 + b'"}', "larger than 256 kB"),
        ({"": 1}, "an empty name"),
        ({"n" * 300: 1}, "a name of more than 200 characters"),
        ({"t": "x" * 5000}, "a text of more than 4,096 characters"),
        ({"t": "\ud800"}, "a text that is none"),
        ({"t": "a\0b"}, "a text that is none"),
        ({"\udc80": 1}, "a name that is no text"),
        ({"a": {"b": 1}, "a.b": 2}, "the same name as another"),
    ],
    ids=str,
)
def test_what_cannot_be_in_a_table_is_told_and_left_out(
    tmp_path: Path, data: Any, said: str
) -> None:
    found = metrics_of(tmp_path, data, data, {"good": 1})
    assert found.of(2) == {"good": 1}
    (note,) = found.notes
    assert note.startswith("task 0 and 1 more: ") and said in note
    assert len(note) < 200


def test_there_are_no_more_columns_than_a_table_can_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_module, "MOST_COLUMNS", 3)
    found = metrics_of(tmp_path, {"a": 1, "b": 2}, {"b": 3, "c": 4, "d": 5}, {"d": 6}, {"a": 7})
    assert found.names == ("a", "b", "c")
    assert [found.of(i) for i in range(4)] == [{"a": 1, "b": 2}, {"b": 3, "c": 4}, {}, {"a": 7}]
    assert "more than 3 metrics" in found.notes[0]


def test_texts_of_all_tasks_fit_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_module, "MOST_ALL_TEXT", 10)
    found = metrics_of(tmp_path, {"a": "x" * 6, "n": 1}, {"a": "x" * 5, "n": 2}, {"a": "x" * 4})
    assert [found.of(i) for i in range(3)] == [{"a": "x" * 6, "n": 1}, {"n": 2}, {"a": "x" * 4}]
    assert found.notes == ("task 1: a text is left out, since all have more than 10 characters",)


def test_a_pipe_in_place_of_the_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    (tmp_path / "0/outputs").mkdir(parents=True)
    os.mkfifo(tmp_path / "0/outputs/metrics.json")
    assert read_metrics([(0, f"{tmp_path}/0")], ()).of(0) == {}


def test_what_a_function_returned_counts_too(tmp_path: Path) -> None:
    outputs = tmp_path / "0" / "outputs"
    outputs.mkdir(parents=True)

    def read(result: Any) -> dict[str, Any]:
        (outputs / "result.json").write_text(json.dumps(result))
        return read_metrics([(0, f"{tmp_path}/0")], (), function=True).of(0)

    assert read({"a": 1, "b": {"c": "Infinity"}, "m": {"$npy": "m.npy", "shape": [2]}}) == {
        "a": 1,
        "b.c": math.inf,
    }
    assert (read(2.5), read([1, 2]), read({"$npy": "r.npy"})) == ({"result": 2.5}, {}, {})
    (outputs / "metrics.json").write_text('{"a": 5}')
    assert read({"a": 1, "b": 2}) == {"a": 5, "b": 2}
    assert read_metrics([(0, f"{tmp_path}/0")], ()).of(0) == {"a": 5}


# --- as files ------------------------------------------------------------------------------------


def test_odd_texts_and_names_survive_csv(batch: Batch) -> None:
    odd = {"a,b": "x\ny", "cr": "lone\rcr", 'q"': '"', "yes": True, "inf": -math.inf, "ü": " é "}
    put(batch, "1", odd)
    table = result_table(batch, STATES)
    write_results(batch.folder / "results/results.csv", table.columns, table.cells())
    with (batch.folder / "results/results.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 and list(rows[0]) == list(table.columns)
    assert {name: rows[1][name] for name in odd} == {**odd, "yes": "true", "inf": "-inf"}
    assert rows[0]["cr"] == "" and rows[1]["wall_s"] == "28.5"


def test_a_header_with_a_cr_is_read_back() -> None:
    out = io.StringIO(newline="")
    write_table(out, ["a", "b\rc"], [[1, None]])
    assert list(csv.reader(io.StringIO(out.getvalue(), newline=""))) == [["a", "b\rc"], ["1", ""]]


def test_parquet_has_the_types(batch: Batch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    put(batch, "1", {"loss": 0.5, "n_ok": 3, "ok": True, "huge": 2**70, "mixed": "x"})
    table = result_table(batch, STATES)
    columns = table.by_column()
    columns["mixed"][0] = 7
    columns["word"][0] = os.fsdecode(b"\xff")
    columns["large"] = [1.5, 10**400, None]
    check_parquet()
    write_parquet(batch.folder / "results/results.parquet", columns)
    read = parquet.read_table(batch.folder / "results/results.parquet")
    assert read.column_names == [*table.columns, "large"]
    types = {name: str(read.schema.field(name).type) for name in read.column_names}
    assert {types[name] for name in ("index", "n", "exit_code", "signal", "n_ok")} == {"int64"}
    assert {types[name] for name in ("wall_s", "transfer_in_s", "memory_mb", "loss")} == {"double"}
    assert {types[name] for name in ("word", "id", "state", "huge", "mixed", "large")} == {"string"}
    assert types["ok"] == "bool"
    assert read.column("huge").to_pylist() == [None, str(2**70), None]
    assert read.column("word").to_pylist()[0] == "\\xff"


def test_without_pyarrow_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(OsgbatchError, match="pip install 'osgbatch"):
        check_parquet()


# --- from Python ---------------------------------------------------------------------------------


def test_a_batch_is_loaded(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    import osgbatch
    from osgbatch.life import following

    put(batch, "1", {"loss": 0.5})
    now = following.status(batch, all_tasks=True).with_states(STATES)
    monkeypatch.setattr("osgbatch.life.following.status", lambda batch, **_: now)
    monkeypatch.chdir(batch.folder.parents[1])
    loaded = osgbatch.load(batch.id[:6])
    assert isinstance(loaded, LoadedBatch) and loaded.folder == batch.folder
    assert osgbatch.load(batch.folder).id == osgbatch.load().id == batch.id
    assert loaded.status() == {"waiting": 1, "succeeded": 1, "held": 1} and len(loaded) == 3
    assert [row["n"] for row in loaded.results] == [1, 2, 3]
    assert loaded.results[-1]["state"] == "held" and loaded.results[1:2][0]["loss"] == 0.5
    assert loaded.results.column("loss") == [None, 0.5, None]
    task = loaded.task(1)
    assert (task.state, task.succeeded, task.metrics) == ("succeeded", True, {"loss": 0.5})
    assert task.parameters == {"n": 2, "word": "7", "id": "8"}
    assert json.loads(task.path("outputs/metrics.json").read_text()) == {"loss": 0.5}
    assert [one.index for one in loaded.tasks[1:]] == [1, 2] and len(loaded.tasks) == 3
    for wrong, said in (
        (lambda: task.path("outputs/no"), "task 1 has no outputs/no"),
        (lambda: task.path("outputs/no"), "has succeeded without it"),
        (lambda: loaded.task(0).path("stdout"), f"`osgbatch collect {batch.id[:6]}`"),
        (lambda: loaded.task(3), "there is no task 3"),
        (lambda: loaded.results.column("los"), 'no column "los"'),
        (lambda: osgbatch.load("nobody"), "there is no batch"),
    ):
        with pytest.raises(OsgbatchError) as error:
            wrong()
        assert said in str(error.value)
    put(batch, "1", {"loss": 0.25})
    assert loaded.task(1).metrics == {"loss": 0.5}
    assert loaded.refresh().task(1).metrics == {"loss": 0.25}


def test_a_frame_of_pandas(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    results = LoadedBatch(batch).results
    fake = type("pandas", (), {"DataFrame": staticmethod(dict)})
    monkeypatch.setitem(__import__("sys").modules, "pandas", fake)
    frame = results.to_pandas()
    assert list(frame) == list(results.columns) and frame["state"] == results.column("state")
    assert None in results.column("queue_s") and None not in frame["queue_s"]
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(OsgbatchError, match="pip install pandas"):
        results.to_pandas()


def test_importing_osgbatch_loads_nothing() -> None:
    import subprocess
    import sys

    code = "import sys, osgbatch; print([m for m in sys.modules if m.startswith('osgbatch.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['osgbatch.version']"


# --- the log's part ------------------------------------------------------------------------------


def test_the_log_tells_when_the_last_start_was_brought_its_files(tmp_path: Path) -> None:
    head = "(007.000.000) 2026-11-20 10:"
    row = "\t   Memory (MB)          :       42      100       128 \n"
    events = [
        f"000 {head}00:00 Job submitted from host: <x>\n",
        f"040 {head}00:10 Started transferring input files\n",
        f"001 {head}00:12 Job executing on host: <x>\n",
        f"040 {head}00:20 Started transferring output files\n",
        f"004 {head}00:21 Job was evicted.\n",
        f"001 {head}01:00 Job executing on host: <y>\n",
        f"040 {head}01:30 Started transferring output files\n",
        f"005 {head}01:33 Job terminated.\n\t(1) Normal termination (return value 0)\n{row}",
    ]

    def read(count: int) -> JobState:
        (tmp_path / "events.log").write_text("".join(f"{event}...\n" for event in events[:count]))
        reader = LogReader(tmp_path / "events.log")
        reader.read()
        return reader.jobs[0]

    job = read(4)
    assert (job.input_began - job.submitted, job.output_began - job.submitted) == (10, 20)
    job = read(6)  # of this start no event tells when its input came
    assert (job.input_began, job.output_began) == (0, 0)
    job = read(8)
    assert (job.output_began - job.submitted, job.memory_requested_mb) == (90, 100)
    values = dict(
        zip(names.RESULT_COLUMNS, result_values(TaskState(0, "failed", job=job), None), strict=True)
    )
    assert (values["queue_s"], values["transfer_in_s"], values["transfer_out_s"]) == (60, None, 3)


@pytest.mark.parametrize("data", [{"=1+1": 2}, {"@x": 1}])
def test_a_name_that_a_spreadsheet_runs_is_left_out(tmp_path: Path, data: Any) -> None:
    found = metrics_of(tmp_path, {**data, "loss": 2})
    assert (found.names, found.of(0)) == (("loss",), {"loss": 2})
    assert len(found.notes) == 1

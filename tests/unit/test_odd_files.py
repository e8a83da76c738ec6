"""Files of a batch folder that are cut, empty or odd: one clear error, and other batches go on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from osgbatch import names
from osgbatch.batches.folder import Batch, load, read_submitted, round_tasks
from osgbatch.batches.notes import write_submitted
from osgbatch.errors import BatchError
from osgbatch.life.batch_list import listed
from osgbatch.life.following import Follower
from osgbatch.model import Submitted
from osgbatch.results.task_table import task_table
from osgbatch.submission import steps

EVENTS = "000 (7.000.000) 2026-11-20 10:00:00 Job submitted from host: <1.2.3.4>\n...\n"
ODD = {
    "empty": b"",
    "cut": None,
    "no text": b"\xff\xfe\0\1",
    "a list": b"[]",
    "nothing": b"null",
    "deep": b"[" * 100_000,
    "numbers": b"1e999",
}
JSONS = (names.RESOLVED, names.SUBMITTED, names.ROUND)


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Twelve jobs, one of which is in the queue."""
    monkeypatch.delenv("CONDOR_CONFIG", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "s.yaml").write_text("command: e\nsweep: {n: {range: 12}}\n")
    made = steps.render_sweep(tmp_path / "s.yaml", None, lambda text: None)
    write_submitted(made.rounds()[0], Submitted("condor", 7, 12, 0.0, "elsewhere"))
    (made.rounds()[0].folder / names.EVENTS).write_text(EVENTS)
    return made


def path_of(batch: Batch, name: str) -> Path:
    own = batch.folder / name
    return own if own.exists() else batch.folder / "rounds/001" / name


def look(batch: Batch) -> Any:
    """All that reads these files."""
    again = load(batch.folder)
    Follower(again).status(all_tasks=True)
    return task_table(again, "n > 3")


def refused(batch: Batch, name: str) -> str:
    with pytest.raises(BatchError) as error:
        look(batch)
    assert error.value.fix
    assert name in error.value.what
    assert str(path_of(batch, name)) in error.value.where
    assert len(str(error.value)) < 1000
    return error.value.what


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", [*JSONS, names.ITEMS, names.TASKS])
def test_an_odd_file_is_one_clear_error_and_other_batches_go_on(
    batch: Batch, tmp_path: Path, name: str, odd: str
) -> None:
    other = steps.render_sweep(tmp_path / "s.yaml", None, lambda text: None)
    path = path_of(batch, name)
    content = ODD[odd]
    path.write_bytes(path.read_bytes()[:-20] if content is None else content)
    refused(batch, name)
    if name != names.TASKS:  # which a list does not need
        bad, good = listed([batch.folder, other.folder])
        assert name in bad.problem
        assert good.counts == {"waiting": 12}


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        (names.RESOLVED, "tasks", 10**15),
        (names.RESOLVED, "tasks", 11),
        (names.RESOLVED, "jobs", True),
        (names.RESOLVED, "payload", [{}]),
        (names.RESOLVED, "outputs", [{"parts": "x"}]),
        (names.RESOLVED, "columns", [7]),
        (names.ROUND, "jobs", 11),
        (names.ROUND, "jobs", -1),
        (names.ROUND, "tasks", "9-2"),
        (names.ROUND, "settings", "abc"),
        (names.ROUND, "time", "soon"),
        (names.SUBMITTED, "cluster", "7"),
        (names.SUBMITTED, "cluster", None),
        (names.SUBMITTED, "backend", "slurm"),
        (names.SUBMITTED, "time", [1]),
    ],
)
def test_a_value_that_cannot_be_is_refused(batch: Batch, name: str, key: str, value: Any) -> None:
    path = path_of(batch, name)
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(BatchError) as error:
        look(batch)
    assert error.value.fix


@pytest.mark.parametrize("line", ["x .", "", "12 .", "3-1 .", "\u00b2 .", "0-99999999 ."])
def test_a_line_of_items_that_names_no_task_is_refused(batch: Batch, line: str) -> None:
    path = path_of(batch, names.ITEMS)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([line, *lines[1:]]) + "\n")
    refused(batch, names.ITEMS)


def test_what_a_newer_osgbatch_notes_is_passed_over_and_what_is_lost_can_be_written(
    batch: Batch,
) -> None:
    (round_,) = batch.rounds()
    path = path_of(batch, names.SUBMITTED)
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "more": 1}))
    assert read_submitted(round_) == Submitted("condor", 7, 12, 0.0, "elsewhere")
    path.write_text("")
    with pytest.raises(BatchError) as error:
        read_submitted(round_)
    text = error.value.fix
    path.write_text(text[text.index("{") : text.index("}") + 1])
    found = read_submitted(round_)
    assert found is not None
    assert (found.backend, found.cluster, found.jobs) == ("condor", 7, 12)
    assert abs(found.time - time.time()) < 600  # so that no more of the history is read
    assert len(round_tasks(round_)) == 12

"""Later rounds: a batch that is named otherwise, and a canary whose sweep or mind has changed."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.keys import read_digest
from osgbatch.condor import Queue, QueuedJob
from osgbatch.errors import BatchError, BusyError
from osgbatch.life.following import status
from osgbatch.results.crated import write_crate
from osgbatch.submission import canary, later_rounds, steps
from osgbatch.submission.later_rounds import Choice, Later, add_round
from osgbatch.submission.planned import AS_WRITTEN, Choices
from osgbatch.submission.rendered import Rendered

SPEC = """\
command: sh job.sh {x}
sweep: {x: [0, 1, 2, 3]}
files: [job.sh]
inputs: [all.txt]
"""


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """A batch that HTCondor has taken; what is given to HTCondor later is only written down."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "job.sh").write_text("true\n")
    (project / "all.txt").write_text("one\n")
    (project / "sweep.yaml").write_text(SPEC)
    made = steps.render_sweep(project / "sweep.yaml", None, lambda text: None)
    note(made.folder / "rounds/001")

    def give(
        backend: str, rendered: Rendered, lock: int, say: object, prepared: Callable[[], None]
    ) -> None:
        prepared()
        note(rendered.folder)
        rendered.folder.rename(rendered.round.folder)

    monkeypatch.setattr("osgbatch.condor.configured", lambda: False)
    monkeypatch.setattr(later_rounds, "choose_backend", lambda pool, ran="": "condor")
    monkeypatch.setattr(later_rounds, "_usual_backend", lambda batch: "condor")
    monkeypatch.setattr(later_rounds, "give_later", give)
    monkeypatch.setattr("osgbatch.condor.look", lambda round_, cluster: Queue(cluster, {}))
    return made


def note(round_: Path, host: str = "") -> None:
    said = {"backend": "condor", "cluster": 1, "jobs": 1, "time": 1.0, "host": host}
    (round_ / names.SUBMITTED).write_text(json.dumps(said))


def quiet(text: str) -> None:
    """Says nothing."""


def more(batch: Batch, choice: Choice) -> Later:
    return add_round(batch, choice, "resubmit", quiet, AS_WRITTEN, again=lambda: choice)


# --- named otherwise -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["dots", "link to the batch", "link to the project", "batches"])
def test_a_batch_named_otherwise_has_the_same_rounds(
    batch: Batch, tmp_path: Path, how: str
) -> None:
    project = batch.folder.parent.parent
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    link = tmp_path / "elsewhere/deep/link"
    named = batch.folder
    if how == "dots":
        named = tmp_path / "elsewhere/deep/../.." / batch.folder.relative_to(tmp_path)
    elif how == "link to the batch":
        link.symlink_to(batch.folder)
        named = link
    elif how == "link to the project":
        link.symlink_to(project)
        named = link / batch.folder.relative_to(project)
    else:  # the batches lie on another disk
        (project / names.BATCHES).rename(link)
        (project / names.BATCHES).symlink_to(link)
    first = (batch.folder / "rounds/001" / names.SUBMIT_FILE).read_text()
    made = more(folders.load(named), Choice(range(4)))
    second = (made.round.folder / names.SUBMIT_FILE).read_text()
    for old in ("round 1", "OSGBatchRound = 1", "rounds/001"):
        assert old in first
        first = first.replace(old, old.replace("1", "2"))
    assert second == first
    assert made.round.initialdir == project
    assert made.batch.folder.samefile(batch.folder)


def test_the_provenance_has_an_input_as_the_newest_round_was_brought_it(batch: Batch) -> None:
    source, states = batch.folder.parent.parent / "all.txt", status(batch, all_tasks=True).states

    def told() -> tuple[dict[str, str], tuple[str, ...]]:
        notes = write_crate(batch, states).notes
        with (batch.folder / "provenance/inputs.csv").open(newline="") as stream:
            (row,) = csv.DictReader(stream)
        return row, notes

    assert told()[0]["sha256"] == hashlib.sha256(b"one\n").hexdigest()
    source.write_text("mended\n")
    assert told()[0]["sha256"] == hashlib.sha256(b"one\n").hexdigest()  # of the crate before
    more(batch, Choice(range(4)))
    source.write_text("and changed again\n")
    row, notes = told()
    assert (row["state"], row["sha256"]) == ("changed", "")  # that of the crate before is older
    assert "all.txt is not known" in notes[0]
    note_of = batch.folder / "rounds/002/round.json"
    note_of.write_text(json.dumps(json.loads(note_of.read_text()) | {"time": time.time() + 1}))
    row, notes = told()
    assert (row["state"], row["sha256"]) == (
        "mended", hashlib.sha256(b"and changed again\n").hexdigest()
    )  # fmt: skip
    assert "all.txt as the newest round was brought it" in notes[0]


# --- jobs that the queue still has ---------------------------------------------------------------


def test_jobs_still_to_come_and_those_under_another_host_name_are_live(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = {2: QueuedJob(2, "held")}
    found = [Queue(1, jobs, unqueued=[1])]
    monkeypatch.setattr("osgbatch.condor.look", lambda round_, cluster: found[0])
    round_ = batch.rounds()[0]
    for host in ("", "ap.example.edu"):
        note(round_.folder, host)
        monkeypatch.setattr("osgbatch.condor.configured", lambda: True)
        with pytest.raises(BusyError, match=r"task 1 is in job 1\.1"):
            later_rounds._refuse_live(batch, Choice([1]))
        later_rounds._refuse_live(batch, Choice([2], {1: {2}}))
        later_rounds._refuse_live(batch, Choice([0, 3]))
    with pytest.raises(BusyError, match="another access point"):
        later_rounds._refuse_live(batch, Choice([3], {1: {3}}))
    monkeypatch.setattr("osgbatch.condor.configured", lambda: False)
    later_rounds._refuse_live(batch, Choice([1]))
    # what was cancelled before it came runs on no host; what is held may be released
    (round_.folder / names.CANCELLED).write_text("1-2\n")
    monkeypatch.setattr("osgbatch.condor.configured", lambda: True)
    later_rounds._refuse_live(batch, Choice([1]))
    with pytest.raises(BusyError, match=r"job 1\.2, .*held"):
        later_rounds._refuse_live(batch, Choice([2]))
    # one that was removed may still be running
    found[0] = Queue(1, {}, leaving=[3])
    with pytest.raises(BusyError, match=r"job 1\.3"):
        later_rounds._refuse_live(batch, Choice([3]))


# --- a canary ------------------------------------------------------------------------------------


@pytest.fixture
def good(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """The first and the last task ran as a canary, and succeeded."""
    round_ = batch.folder / "rounds/001"
    note_ = folders.read_note(round_)
    assert note_ is not None
    folders.write_note(round_, replace(note_, why="canary", tasks="0+3", jobs=2))
    (round_ / names.ITEMS).write_text("0 .\n3 .\n")
    monkeypatch.setattr(canary, "verdict", lambda now: ([], "succeeded"))
    return batch


def test_the_rest_of_a_canary_is_submitted(good: Batch) -> None:
    made = canary.go_on(good, quiet)
    assert made is not None
    first, second = (read_digest(round_.folder) for round_ in made.rounds())
    assert first == second != ""
    assert made.unsubmitted() == []


def test_a_rest_that_is_cancelled_meanwhile_is_not_submitted(good: Batch) -> None:
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if text.startswith("submitting the other"):
            (good.folder / names.REST_CANCELLED).touch()

    assert canary.go_on(good, say) is None
    assert len(good.rounds()) == 1
    assert "cancelled meanwhile" in said[-1]


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("job.sh", "true", "false", ": files have changed"),
        ("all.txt", "one", "three", "what tasks run or are brought has changed"),
        ("sweep.yaml", "job.sh {x}", "job.sh -n {x}", "what tasks run or are brought has changed"),
        ("sweep.yaml", "inputs", "outputs: [a]\ninputs", "what tasks run or are brought has"),
    ],
)
def test_the_rest_runs_only_what_the_canary_ran(
    good: Batch, name: str, old: str, new: str, told: str
) -> None:
    path = good.folder.parent.parent / name
    before = path.stat()
    path.write_text(path.read_text().replace(old, new))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(canary.FilesChangedError, match=told):
        canary.go_on(good, quiet)
    assert len(good.rounds()) == 1
    more_memory = Choices(("resources.memory=3 GB",))
    path.write_text(path.read_text().replace(new, old))
    if name != "all.txt":  # which is known by how it looks
        assert canary.go_on(good, quiet, more_memory) is not None


# --- tasks.csv -----------------------------------------------------------------------------------


def test_long_cells_are_read_and_short_rows_are_not(batch: Batch) -> None:
    path = batch.folder / names.TASKS
    long = "x" * 200_000
    path.write_text(f'"index","x"\n0,"{long}"\n')
    one = Batch(batch.folder, {**batch.data, "tasks": 1})
    assert list(folders.read_tasks_csv(one)) == [[long]]
    for row in ('0,"a","b"', "0", ""):
        path.write_text(f'"index","x"\n0,"a"\n{row}\n')
        with pytest.raises(BatchError, match=r"line 3 has \d cells, not 2"):
            list(folders.read_tasks_csv(batch))

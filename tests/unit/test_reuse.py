"""What earlier batches have computed: which tasks are the same, what becomes of their results."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.keys import read_keys
from osgbatch.batches.reused import read_reused
from osgbatch.batches.settled import settled_counts
from osgbatch.cli.app import command_line
from osgbatch.errors import BusyError, OsgbatchError
from osgbatch.life.following import status
from osgbatch.life.naming import in_commands
from osgbatch.life.task_output import copy_output
from osgbatch.model import Round, Submitted, TaskState
from osgbatch.planning import keys as keying
from osgbatch.results.finishing import collect_batch
from osgbatch.results.task_table import task_table
from osgbatch.submission import reusing, steps
from osgbatch.submission.canary import verdict
from osgbatch.submission.keyed import keys_of
from osgbatch.submission.planned import plan_sweep
from osgbatch.submission.resubmitting import Wanted, chosen_tasks

SPEC = """\
command: sh job.sh {x} {f}
sweep: {x: [0, 1, 2], f: {files: data/*}}
files: [job.sh]
inputs: [model]
outputs: [outputs/x]
gather: gather.py
resources: {memory: 100 MB}
"""


@dataclass
class Scene:
    """A sweep's folder. said: what osgbatch has told; given: the tasks of each round submitted."""

    folder: Path
    said: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)

    @property
    def spec(self) -> Path:
        return self.folder / "sweep.yaml"

    def write(self, **changes: str) -> None:
        """Write the spec with some words of it replaced by others."""
        text = SPEC
        for key, value in changes.items():
            lines = text.splitlines()
            text = "".join(f"{value if at.startswith(f'{key}:') else at}\n" for at in lines)
        self.spec.write_text(text)

    def keys(self) -> tuple[str, list[str]]:
        """What all tasks share, and the key of each."""
        found = keys_of(plan_sweep(self.spec))
        assert not found.problem
        return found.common, list(found.rows)

    def done(self) -> Batch:
        """A batch whose tasks have all succeeded and were collected, as far as its results tell."""
        batch = steps.render_sweep(self.spec, None, self.said.append)
        for index in range(batch.tasks):
            folder = batch.folder / "results" / str(index)
            (folder / "outputs").mkdir(parents=True)
            files = {"outputs/x": f"result {index}", "stdout": "out", "stderr": ""}
            for name, text in files.items():
                (folder / name).write_text(text)
            told = {
                "index": index,
                "state": "succeeded",
                "reason": "",
                "archive": "0/1_0_0.tar.gz",
                "task": {"index": str(index), "state": "succeeded", "start": "5", "end": "7"},
                "job": {"round": "1", "host": "ep1"},
                "files": {n: hashlib.sha256(t.encode()).hexdigest() for n, t in files.items()},
                "links": {},
            }
            (folder / "status.json").write_text(json.dumps(told))
        return batch

    def reuse(self) -> Batch:
        """`osgbatch submit --reuse`, with nobody who takes the round."""
        ways = steps.Ways(reuse=True)
        return steps.submit_sweep(self.spec, "local", self.said.append, ways=ways)

    def give(self, backend: str, round_: Round, lock: int, say: object) -> None:
        note = folders.read_note(round_.folder)
        assert note is not None
        self.given.append(note.tasks)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "a sweep"
    (folder / "data").mkdir(parents=True)
    for name in ("data/a", "data/b", "model"):
        (folder / name).write_text(name)
    (folder / "job.sh").write_text("true\n")
    (folder / "gather.py").write_text("open('gathered', 'w').write('x')\n")
    made = Scene(folder)
    monkeypatch.setattr(steps, "give", made.give)
    made.write()
    return made


# --- keys ----------------------------------------------------------------------------------------


def test_a_key_is_of_the_row_and_its_files_not_of_the_number(scene: Scene) -> None:
    common, keys = scene.keys()
    assert len(set(keys)) == 6
    scene.write(sweep="sweep: {x: [2, 7, 0], f: {files: data/*}}", resources="tags: [b]")
    assert scene.keys() == (common, [*keys[4:6], *scene.keys()[1][2:4], *keys[0:2]])
    scene.write(sweep='sweep: {x: ["0"], f: {files: data/*}}')
    assert not set(keys) & set(scene.keys()[1])  # params.json would say "0"
    scene.write()
    (scene.folder / "data/a").write_text("data/A")
    now = scene.keys()[1]
    assert [now[i] == keys[i] for i in range(6)] == [False, True] * 3


@pytest.mark.parametrize(
    "change",
    [
        {"command": "command: sh job.sh {f} {x}"},
        {"outputs": "outputs: [outputs/y]"},
        {"files": "environment_variables: {A: b}\nfiles: [job.sh]"},
        {"inputs": "inputs: [{path: model, as: m}]"},
    ],
)
def test_what_all_tasks_share_is_in_their_digest(scene: Scene, change: dict[str, str]) -> None:
    common, keys = scene.keys()
    if "inputs" in change:
        (scene.folder / "model").write_text("another")
    else:
        scene.write(**change)
    changed, same = scene.keys()
    assert changed != common
    assert same == keys


def test_a_command_that_names_its_index_has_other_keys_elsewhere(scene: Scene) -> None:
    scene.write(command="command: sh job.sh {x} {f} {index}")
    keys = scene.keys()[1]
    swapped = "sweep: {x: [1, 0, 2], f: {files: data/*}}"
    scene.write(command="command: sh job.sh {x} {f} {index}", sweep=swapped)
    assert [key in keys for key in scene.keys()[1]] == [False] * 4 + [True] * 2


def test_urls_count_only_where_their_content_cannot_change(scene: Scene) -> None:
    urls = "[osdf:///a/b, https://example.org/c]"
    scene.write(sweep=f"sweep: {{x: {urls}}}", inputs='inputs: ["{x}"]', command="command: cat {x}")
    rows = scene.keys()[1]
    assert rows[0] != keying.NO_KEY
    assert rows[1] == keying.NO_KEY
    scene.write(inputs="inputs: [https://example.org/c]")
    assert "https://example.org/c" in keys_of(plan_sweep(scene.spec)).problem
    image = "environment: {container: docker://alpine:3}\nfiles: [job.sh]"
    scene.write(files=image)
    assert "docker://alpine:3" in keys_of(plan_sweep(scene.spec)).problem


def test_folders_are_known_by_what_is_in_them(scene: Scene) -> None:
    (scene.folder / "ref/deep").mkdir(parents=True)
    (scene.folder / "ref/deep/a").write_text("a")
    scene.write(inputs="inputs: [ref/]")
    before = scene.keys()
    assert scene.keys() == before
    (scene.folder / "ref/deep/a").write_text("b")
    assert scene.keys()[0] != before[0]


def test_a_large_sweep_has_no_keys(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keying, "MOST_TASKS", 5)
    batch = steps.render_sweep(scene.spec, None, scene.said.append)
    assert read_keys(batch.rounds()[0].folder) == ("", {})
    with pytest.raises(OsgbatchError, match="more than 5 tasks"):
        scene.reuse()


# --- batches -------------------------------------------------------------------------------------


def test_what_has_succeeded_is_taken_over_and_nothing_is_submitted(scene: Scene) -> None:
    first = scene.done()
    scene.write(sweep="sweep: {x: [2, 0], f: {files: data/*}}")
    batch = scene.reuse()
    name = first.folder.name
    assert scene.said[-1] == (
        f"reuse: 4 of 4 tasks have succeeded before (batch {name}) and are not run again"
    )
    texts = [(batch.folder / f"results/{i}/outputs/x").read_text() for i in range(4)]
    assert texts == ["result 4", "result 5", "result 0", "result 1"]
    told = json.loads((batch.folder / "results/0/status.json").read_text())
    assert told["index"] == 0
    assert told["reused_from"] == {"batch": name, "index": 4}
    assert len([p for p in batch.folder.rglob("*") if "results" not in p.parts]) <= 20
    for _ in range(2):  # as it was, and with nothing in the cache
        now = status(batch, all_tasks=True)
        assert now.ended
        assert not now.stalled
        assert now.counts == {"succeeded": 4}
        assert now.exit_code == 0
        assert now.states[0].detail == f"reused from {name} task 4"
        (batch.folder / names.STATE).unlink()
    assert not chosen_tasks(now, Wanted()).tasks
    assert [row.results["host"] for row in task_table(batch).rows] == ["ep1"] * 4
    _, collected, failure = collect_batch(batch, scene.said.append)
    assert (failure, collected.unpacked, collected.notes) == (None, 0, ())
    assert (batch.folder / "results/gathered").exists()
    with (batch.folder / "results/results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["state"], r["wall_s"], r["x"]) for r in rows] == [
        ("succeeded", "2.0", x) for x in ("2", "2", "0", "0")
    ]

    # taken over once more: the results are told to be of where they were computed
    shutil.rmtree(first.folder)
    again = scene.reuse()
    assert {origin.batch for origin in read_reused(again.folder).values()} == {name}


def test_a_damaged_or_foreign_result_is_not_taken(scene: Scene) -> None:
    first = scene.done()
    (first.folder / "results/1/outputs/x").write_text("result X")
    (first.folder / "results/2/outputs/x").unlink()
    path = first.folder / "results/3/status.json"
    path.write_text(
        path.read_text().replace('"state": "succeeded", "reason"', '"state": "unknown", "reason"')
    )
    told = json.loads((first.folder / "results/4/status.json").read_text())
    told["files"]["../../secret"] = hashlib.sha256(b"secret").hexdigest()
    (first.folder / "secret").write_bytes(b"secret")
    (first.folder / "results/4/status.json").write_text(json.dumps(told))
    shutil.rmtree(first.folder / "results/5")
    batch = scene.reuse()
    assert scene.given == ["1-5"]
    assert list(read_reused(batch.folder)) == [0]
    assert [p.name for p in (batch.folder / "results").iterdir()] == ["0"]
    assert len((batch.folder / "rounds/001/jobs.items").read_text().splitlines()) == 5
    assert len(read_keys(batch.rounds()[0].folder)[1]) == 6
    assert status(batch).counts == {"succeeded": 1, "waiting": 5}
    assert any("'outputs/x' is not what came back (and 2 more)" in line for line in scene.said)


def test_repetitions_are_not_all_given_one_result(scene: Scene) -> None:
    scene.write(command="command: sh job.sh", sweep="sweep: {count: 2}")
    assert len(set(scene.keys()[1])) == 1
    scene.done()
    found = read_reused(scene.reuse().folder)
    assert sorted(origin.task for origin in found.values()) == [0, 1]
    assert len({origin.batch for origin in found.values()}) == 1
    # two batches have these results now: they are the same ones
    scene.write(command="command: sh job.sh", sweep="sweep: {count: 4}")
    again = read_reused(scene.reuse().folder)
    assert sorted(again) == [0, 1]
    assert {*again.values()} == {*found.values()}


def test_a_result_that_was_deleted_is_brought_back_or_unknown(scene: Scene) -> None:
    first = scene.done()
    batch = scene.reuse()
    (batch.folder / "results/0/outputs/x").unlink()
    (batch.folder / "results/0/mine").write_text("notes")
    shutil.rmtree(batch.folder / "results/1")
    assert status(batch).counts == {"unknown": 2, "succeeded": 4}
    now, collected, _ = collect_batch(batch, scene.said.append)
    assert now.counts == {"succeeded": 6}
    assert (batch.folder / "results/0/outputs/x").read_text() == "result 0"
    assert (batch.folder / "results/old/0.1/mine").read_text() == "notes"
    assert "results/old/0.1" in collected.notes[0]

    status(batch)
    assert settled_counts(batch) == {"succeeded": 6}
    shutil.rmtree(first.folder)
    shutil.rmtree(batch.folder / "results/3")
    assert settled_counts(batch) is None
    now, _, _ = collect_batch(batch, scene.said.append)
    assert now.counts == {"unknown": 1, "succeeded": 5}
    assert now.wrong[0].reason == "reused-gone"
    assert now.wrong[0].detail == f"its result was reused from {first.folder.name} task 3"
    assert chosen_tasks(status(batch, all_tasks=True), Wanted()).tasks == [3]


def test_what_a_reused_task_printed_is_shown(
    scene: Scene, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    scene.done()
    batch = scene.reuse()
    for words in (["3"], []):  # without a number the first of them
        index = words[0] if words else "0"
        (batch.folder / f"results/{index}/stdout").write_bytes(f"printed by {index}".encode())
        arguments = ["logs", str(batch.folder), *words]
        command_line()(arguments, standalone_mode=False)
        shown = capfdbinary.readouterr().out
        assert f"task {index}, succeeded: reused from".encode() in shown
        assert f"=== stdout\nprinted by {index}\n".encode() in shown
    (batch.folder / "results/3/stdout").unlink()
    state = TaskState(3, "succeeded", detail="reused from b task 3")
    with pytest.raises(OsgbatchError, match="copies it anew"):
        copy_output(batch, state, "stdout", io.BytesIO())


def test_a_task_of_two_rounds_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("osgbatch.submission.reusing._succeeded", lambda folder: {0})
    monkeypatch.setattr("osgbatch.submission.reusing.folders.load", Path)
    monkeypatch.setattr("osgbatch.submission.reusing.in_commands", lambda folder: "abc123")
    search = reusing.Search("digest", {"key": deque([0])})
    search.uncollected["b c"] += [(0, "key"), (0, "key")]

    def agree(reason: str) -> bool:
        asked.append(reason)
        return True

    reusing._ask_of_uncollected(search, tmp_path, agree)
    assert asked == [
        (
            "1 task has succeeded in batch b c, which is not collected: without "
            "`osgbatch collect abc123` first it is run again"
        )
    ]


def test_what_has_succeeded_and_was_not_collected_is_not_run_again_unasked(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scene.done()
    shutil.rmtree(first.folder / "results")
    monkeypatch.setattr("osgbatch.submission.reusing._succeeded", lambda folder: {0, 4})
    ways = steps.Ways(reuse=True, recompute=lambda reason: False)
    with pytest.raises(BusyError, match="2 tasks have succeeded in batch") as told:
        steps.submit_sweep(scene.spec, "local", scene.said.append, ways=ways)
    assert f"`osgbatch collect {in_commands(first)}`, then submit again" in told.value.fix
    assert not scene.given
    assert list(first.folder.parent.glob("[!.]*")) == [first.folder]
    scene.reuse()
    assert scene.given == ["0-5"]


def test_what_changes_while_the_batch_is_made_is_not_submitted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scene.done()

    def changing(*arguments: object, **options: object) -> object:
        (scene.folder / "job.sh").write_text("false\n")
        return stage(*arguments, **options)

    stage = steps.stage_plan
    monkeypatch.setattr(steps, "stage_plan", changing)
    with pytest.raises(OsgbatchError, match="files have changed"):
        scene.reuse()
    assert list(first.folder.parent.iterdir()) == [first.folder]
    assert not scene.given


def test_a_canary_is_of_the_tasks_that_are_left(scene: Scene) -> None:
    first = scene.done()
    for index in (1, 2, 4, 5):
        shutil.rmtree(first.folder / f"results/{index}")
    ways = steps.Ways(canary=2, reuse=True)
    batch = steps.submit_sweep(scene.spec, "local", scene.said.append, ways=ways)
    assert scene.given == ["1+5"]
    assert batch.unsubmitted() == [2, 4]
    assert verdict(status(batch, all_tasks=True))[1] == "open"
    assert [state.index for state in verdict(status(batch, all_tasks=True))[0]] == [1, 5]


def test_a_submission_that_was_cut_short_goes_on_with_what_it_reused(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scene.done()
    scene.write(sweep="sweep: {x: [0, 1, 2, 3], f: {files: data/*}}")

    def killed(backend: str, round_: Round, *rest: object) -> None:
        folders.write_submitted(round_, Submitted(backend, 0, round_.jobs, 1.0))
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "give", killed)
    with pytest.raises(KeyboardInterrupt):
        scene.reuse()
    (left,) = (p for p in first.folder.parent.iterdir() if p != first.folder)
    monkeypatch.setattr(steps, "give", scene.give)
    assert scene.reuse().folder == left
    assert sorted(first.folder.parent.iterdir()) == sorted([first.folder, left])
    assert scene.given == ["6-7"]
    assert sorted(read_reused(left)) == [0, 1, 2, 3, 4, 5]


def test_a_result_counts_for_the_round_that_it_is_of(scene: Scene) -> None:
    first = scene.done()
    rounds = first.folder / "rounds"
    folders.write_submitted(first.rounds()[0], Submitted("local", 1, 6, 1.0))
    shutil.copytree(rounds / "001", rounds / "002")
    keys = (rounds / "001/keys.txt").read_text()
    (rounds / "001/keys.txt").write_text(keys.replace("1 ", "1 0", 1))  # before it was mended
    path = first.folder / "results/4/status.json"
    path.write_text(path.read_text().replace('"round": "1"', '"round": "2"'))
    assert sorted(read_reused(scene.reuse().folder)) == [4]

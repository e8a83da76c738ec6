"""Later rounds: which tasks they have, what they are planned from, and what a crash leaves."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.cli.app import command_line
from osgbatch.cli.watch_commands import rest_text
from osgbatch.errors import BatchError, BusyError, CondorError, OsgbatchError
from osgbatch.life.acting import cancel_batch
from osgbatch.life.following import Status, status
from osgbatch.life.why import explain
from osgbatch.model import JobState, TaskState
from osgbatch.plan_model import Plan
from osgbatch.planning.chosen import choose
from osgbatch.planning.resolve import resolve
from osgbatch.rendering.items import item_lines
from osgbatch.reporting import sizing
from osgbatch.submission import canary, steps
from osgbatch.submission.later_rounds import Choice, add_round
from osgbatch.submission.planned import AS_WRITTEN, Choices, plan_sweep
from osgbatch.submission.planned_again import plan_again
from osgbatch.submission.rendered import Made, link_or_copy, render_round
from osgbatch.submission.resubmitting import Wanted, chosen_tasks, parse_tasks
from osgbatch.submission.staged import Silent, Staging, stage_plan
from osgbatch.submission.submitting import settle
from osgbatch.task_ranges import named_tasks, parse_task_ranges

SPEC = """\
command: sh job.sh {x} {f}
sweep: {x: [0, 1, 2, 3, 4, 5], f: {files: data/*}}
files: [job.sh]
tasks_per_job: 4
resources: {memory: {expr: "10 MB * (x + 1)"}, disk: {expr: "1 MB * (x + 1)"}}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for name, size in (("a", 10), ("b", 5000)):
        (tmp_path / "data" / name).write_bytes(b"x" * size)
    (tmp_path / "job.sh").write_text("true\n")
    (tmp_path / "sweep.yaml").write_text(SPEC)
    return tmp_path / "sweep.yaml"


@pytest.fixture
def batch(spec: Path) -> Batch:
    """A batch whose first round HTCondor has taken."""
    made = steps.render_sweep(spec, None, lambda text: None)
    note(made, 1, cluster=1)
    return made


def note(batch: Batch, number: int, cluster: int, backend: str = "condor") -> None:
    said = {"backend": backend, "cluster": cluster, "jobs": 1, "time": 1.0}
    path = names.round_folder(batch.folder, number) / names.SUBMITTED
    path.write_text(json.dumps(said))


def end_first_round(batch: Batch) -> None:
    """All its jobs were removed."""
    log = batch.rounds()[0].folder / names.EVENTS
    head = "(001.{0:03}.000) 2026-11-20 10:00:00"
    log.write_text(
        "".join(
            f"000 {head.format(p)} Job submitted from host: <x>\n...\n"
            f"009 {head.format(p)} Job was aborted.\n\tgone\n...\n"
            for p in range(3)
        )
    )


def later(batch: Batch, tasks: list[int], why: str = "resubmit") -> folders.Batch:
    """Write a later round, as whole as it is before it is submitted, under its own name."""
    plan = choose(plan_again(batch, AS_WRITTEN, pytest.fail), tasks)
    rendered = render_round(batch, Made(Staging(plan), None, why), pytest.fail, Silent())
    rendered.folder.rename(rendered.round.folder)
    return folders.load(batch.folder)


# --- the plan of some tasks ----------------------------------------------------------------------


@pytest.fixture
def plan(spec: Path) -> Plan:
    return plan_sweep(spec)


@given(data=st.data())
def test_chosen_tasks_are_in_one_job_each_and_ask_for_what_they_asked(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    plan = data.draw(st.sampled_from(_plans(tmp_path_factory)))
    count = len(plan.table)
    tasks = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
    chosen = choose(plan, tasks)
    assert sorted(i for job in chosen.jobs for i in job) == sorted(tasks)
    assert all(1 <= len(job) <= 4 for job in chosen.jobs)
    lines = b"".join(item_lines(resolve(chosen, ()), rows_file=False)).decode().splitlines()
    assert [parse_task_ranges(line.split(" ")[0]) for line in lines] == list(map(list, chosen.jobs))
    for line, job in zip(lines, chosen.jobs, strict=True):
        _, _, memory, disk, inputs = line.split(" ")
        assert int(memory) == max(10 * (i // 2 + 1) for i in job)
        brought = -(-chosen.job_bytes // 1024)
        assert int(disk) == sum(1024 * (i // 2 + 1) for i in job) + brought
        assert set(inputs.split(",")) == {f"data/{'ab'[i % 2]}" for i in job}
    assert choose(plan, range(count)).demand == plan.demand


_KNOWN: list[Plan] = []


def _plans(folders_: pytest.TempPathFactory) -> list[Plan]:
    if not _KNOWN:
        folder = folders_.mktemp("plans")
        (folder / "data").mkdir()
        for name in "ab":
            (folder / "data" / name).write_text(name)
        (folder / "job.sh").write_text("true\n")
        (folder / "sweep.yaml").write_text(SPEC)
        _KNOWN.append(plan_sweep(folder / "sweep.yaml"))
    return _KNOWN


@given(tasks=st.integers(1, 10_000), count=st.integers(1, 50))
def test_a_canary_has_the_first_task_and_the_last(tasks: int, count: int) -> None:
    found = canary.spread(count, tasks)
    assert len(found) == len(set(found)) == min(count, tasks)
    assert found[0] == 0 and (len(found) == 1 or found[-1] == tasks - 1)


# --- planned as it was ---------------------------------------------------------------------------


def test_what_the_user_has_mended_is_what_runs(batch: Batch, spec: Path) -> None:
    before = folders.payload_sums(batch.data)
    (spec.parent / "job.sh").write_text("echo mended\n")
    spec.write_text(SPEC.replace("sh job.sh", "sh -x job.sh"))
    made = later(batch, [2, 5])
    data = made.round_data(2)
    assert folders.payload_sums(data) != before
    assert {p.name for p in (batch.folder / "payload").iterdir()} == {
        p["file"].split("/")[-1] for p in (*batch.data["payload"], *data["payload"])
    }
    round_ = made.rounds()[1]
    assert (round_.number, round_.jobs) == (2, 1)
    assert folders.round_tasks(round_) == ["2+5"]
    assert "sh -x job.sh" in (round_.folder / "sweep.yaml").read_text()
    assert "OSGBatchRound = 2" in (round_.folder / "job.submit").read_text()
    assert "rounds/002/returned" in (round_.folder / "job.submit").read_text()
    assert "ROUND=2" in (round_.folder / "shim.sh").read_text()


def test_the_same_files_are_not_packed_into_other_archives(batch: Batch) -> None:
    before = sorted(p.name for p in (batch.folder / "payload").iterdir())
    data = later(batch, [0]).round_data(2)
    assert data["payload"] == batch.data["payload"]
    assert sorted(p.name for p in (batch.folder / "payload").iterdir()) == before


def test_what_is_in_the_stash_is_not_brought_there_again(
    spec: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stash = tmp_path_factory.mktemp("stash")
    for name in ("model", "own"):
        (spec.parent / name).mkdir()
    for index in range(12):
        (spec.parent / f"own/{index}").write_text(f"of task {index}")
    (spec.parent / "model/weights").write_text("of all tasks")
    more = "[{path: model/weights, shared: true}, {path: 'own/{index}', shared: true}]"
    url = f"stash: {{folder: {stash}, url: 'osdf:///ns/data'}}"
    spec.write_text(f"{SPEC}inputs: {more}\n{url}\n")
    batch = steps.render_sweep(spec, None, lambda text: None)
    note(batch, 1, cluster=1)
    objects = (batch.folder / names.OBJECTS).read_text()
    assert len(objects.splitlines()) == 1 + 13
    chosen = choose(plan_again(batch, AS_WRITTEN, pytest.fail), [3])
    assert len(chosen.placed) == 2
    said: list[str] = []
    staging = stage_plan(chosen, None, said.append, Silent())
    assert said == ["stage: 0 files of 2 to upload, 2 already there"]
    half = render_round(batch, Made(staging, None, "resubmit"), pytest.fail, Silent()).folder
    assert (batch.folder / names.OBJECTS).read_text() == objects
    assert all(name in objects for name in staging.objects)
    of_all, own = (name.rpartition("/")[2] for name in staging.objects)
    assert of_all in (half / "shim.sh").read_text()
    assert own in (half / "jobs.items").read_text()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("[0, 1, 2, 3, 4, 5]", "[0, 1, 7, 3, 4, 5]"), "task 4 any more: x=2 f=data/a"),
        (("[0, 1, 2, 3, 4, 5]", "[0, 1, 2, 3, 4]"), "task 10 any more"),
        (("{x: ", "{y: [1], x: "), "other columns"),
    ],
)
def test_another_table_is_refused(
    batch: Batch, spec: Path, change: tuple[str, str], told: str
) -> None:
    spec.write_text(SPEC.replace(*change))
    with pytest.raises(BatchError, match=told):
        plan_again(batch, AS_WRITTEN, pytest.fail)


def test_tasks_keep_their_indices_when_the_sweep_has_grown(batch: Batch, spec: Path) -> None:
    before = list(folders.read_tasks_csv(batch))
    (spec.parent / "data/0").write_text("comes first now")
    spec.write_text(SPEC.replace("[0, 1, 2, 3, 4, 5]", "[9, 0, 1, 2, 3, 4, 5]"))
    said: list[str] = []
    plan = plan_again(batch, AS_WRITTEN, said.append)
    assert [[cell.text for cell in plan.table.row(i)] for i in range(12)] == before
    assert len(plan.table) == 12
    assert "9 more rows" in said[0]
    assert plan.tasks[3].argv == ("sh", "job.sh", "1", "inputs/data/b")
    assert choose(plan, [3]).tasks[3].row == plan.table.row(3)


def test_what_only_tasks_that_do_not_run_were_brought_may_be_gone(batch: Batch, spec: Path) -> None:
    (spec.parent / "data/a").unlink()
    said: list[str] = []
    plan = choose(plan_again(batch, AS_WRITTEN, said.append, [3, 5]), [3, 5])
    assert [[cell.text for cell in plan.table.row(i)] for i in (3, 5)] == [
        ["1", "data/b"],
        ["2", "data/b"],
    ]
    assert plan.tasks[5].argv == ("sh", "job.sh", "2", "inputs/data/b")
    assert len(plan.table) == 12
    assert "row of task 0" in said[-1]
    for wanted in (None, [2, 3], range(12)):
        with pytest.raises(BatchError, match="the sweep has not the row of task"):
            plan_again(batch, AS_WRITTEN, pytest.fail, wanted)


def test_an_input_of_a_task_that_does_not_run_may_be_gone(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(
        "command: cat {x}.txt\nsweep: {x: [0, 1]}\ninputs: ['{x}.txt']\n"
    )
    for x in range(2):
        (tmp_path / f"{x}.txt").write_text("x")
    made = steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)
    (tmp_path / "0.txt").unlink()
    said: list[str] = []
    plan = choose(plan_again(made, AS_WRITTEN, said.append, [1]), [1])
    assert [
        file.carried for file in (*plan.tasks.shared, *(plan.tasks.inputs(1, 2) or [()])[0])
    ] == ["1.txt"]
    with pytest.raises(OsgbatchError, match=r"0\.txt"):
        plan_again(made, AS_WRITTEN, pytest.fail, [0])


def test_the_batchs_own_copy_serves_where_the_spec_is_gone(batch: Batch, spec: Path) -> None:
    spec.rename(spec.with_name("other.yaml"))
    said: list[str] = []
    plan = plan_again(batch, Choices(("resources.cpus=2",)), said.append)
    assert (plan.spec.folder, plan.spec.name) == (spec.parent, batch.name)
    assert (plan.spec.resources.cpus, len(plan.table)) == (2, 12)
    assert "sweep.yaml is not there" in said[0]


# --- which tasks ---------------------------------------------------------------------------------


def states_of(batch: Batch, *states: str) -> Status:
    found = [TaskState(i, state, round=1) for i, state in enumerate(states)]
    return Status(batch, {}, [], "condor", 1).with_states(found)


def test_the_tasks_that_are_wanted(batch: Batch) -> None:
    now = states_of(batch, "succeeded", "failed", "held", "removed", "unknown", "running", "failed")
    assert chosen_tasks(now, Wanted()).tasks == [1, 3, 4, 6]
    assert chosen_tasks(now, Wanted(failed=True)).tasks == [1, 6]
    assert chosen_tasks(now, Wanted(missing=True)).tasks == [3, 4]
    assert chosen_tasks(now, Wanted(failed=True, held=True)).tasks == [1, 2, 6]
    assert chosen_tasks(now, Wanted(tasks=(3, 6))).tasks == (3, 6)
    # conditions are put together
    assert chosen_tasks(now, Wanted(failed=True, tasks=(0, 5, 6))).tasks == [6]
    assert chosen_tasks(now, Wanted(missing=True, tasks=(0, 6))).tasks == []
    for index in (1, 2):
        now.states[index].state, now.states[index].job = "held", JobState(7, "held")
    both = chosen_tasks(now, Wanted(held=True, tasks=(2,)))  # its job is removed as a whole
    assert (both.tasks, dict(both.held)) == ([1, 2], {now.states[1].round: {7}})


@pytest.mark.parametrize(
    ("index", "kind", "told"),
    [
        (0, OsgbatchError, "has succeeded"),
        (1, BusyError, "is held"),
        (2, BusyError, "has not ended"),
        (3, BusyError, "has not ended"),
    ],
)
def test_tasks_that_live_jobs_hold_or_that_succeeded_are_refused(
    batch: Batch, index: int, kind: type[OsgbatchError], told: str
) -> None:
    now = states_of(batch, "succeeded", "held", "running", "waiting", "failed")
    with pytest.raises(kind, match=told):
        chosen_tasks(now, Wanted(tasks=(index, 4)))


@pytest.mark.parametrize("text", ["", "a", "1-", "0,,2", "3-1", "-1", "12", "0-12"])
def test_what_names_no_tasks_is_refused(text: str) -> None:
    with pytest.raises(OsgbatchError):
        parse_tasks(text, 12)


def test_tasks_are_named_as_people_write_them() -> None:
    assert parse_tasks("0, 2,4-7,2", 12) == [0, 2, 4, 5, 6, 7]
    assert named_tasks(["4-5", "0,5"], 12) == [0, 4, 5]
    assert named_tasks(None, 12) == []


@pytest.mark.parametrize("command", ["cancel", "release", "resubmit"])
@pytest.mark.parametrize("given", [[""], ["1", ""], [" "]])
def test_an_empty_word_never_means_all_tasks(batch: Batch, command: str, given: list[str]) -> None:
    """As a shell makes it of `"$(osgbatch tasks --ids ...)"` that found nothing."""
    words = [word for text in given for word in ("--tasks", text)]
    done = CliRunner().invoke(command_line(), [command, str(batch.folder), *words])
    assert isinstance(done.exception, OsgbatchError)
    assert "names no tasks" in str(done.exception)
    assert status(batch).counts == {"waiting": 12}


def test_an_empty_size_is_refused(batch: Batch) -> None:
    done = CliRunner().invoke(command_line(), ["release", str(batch.folder), "--memory", ""])
    assert isinstance(done.exception, OsgbatchError)
    assert "a size" in str(done.exception)


# --- what a crash leaves, and what a look makes of later rounds ----------------------------------


def test_a_round_that_is_half_written_is_none(batch: Batch) -> None:
    half = names.half_round_folder(batch.folder, 2)
    half.mkdir()
    (half / "job.submit").write_text("half")
    assert len(batch.rounds()) == 1
    assert later(batch, [1]).rounds()[1].number == 2
    assert not half.exists()


@pytest.mark.parametrize("noted", [True, False])
def test_a_later_round_that_nobody_runs_is_taken_away(batch: Batch, noted: bool) -> None:
    end_first_round(batch)
    made = later(batch, [1])
    if noted:
        note(made, 2, cluster=0, backend="local")
    assert "newest round was cut short" in status(made).stalled
    settle(made, lambda text: None)
    assert [r.number for r in made.rounds()] == [1]
    assert sorted(p.name for p in (batch.folder / "rounds").iterdir()) == ["001"]


def test_a_later_round_that_was_queued_after_all_stays(batch: Batch) -> None:
    made = later(batch, [1])
    note(made, 2, cluster=0)
    log = names.round_folder(made.folder, 2) / names.EVENTS
    log.write_text("000 (007.000.000) 2026-11-20 10:00:00 Job submitted from host: <x>\n...\n")
    said: list[str] = []
    settle(made, said.append)
    submitted = folders.read_submitted(made.rounds()[1])
    assert submitted is not None and submitted.cluster == 7
    assert "as cluster 7" in said[-1]
    settle(made, pytest.fail)


def test_tasks_of_a_later_round_wait_before_they_are_in_the_queue(batch: Batch) -> None:
    end_first_round(batch)
    assert status(batch).counts == {"removed": 12}
    made = later(batch, [1, 9])
    note(made, 2, cluster=7)
    now = status(made, all_tasks=True)
    assert now.counts == {"removed": 10, "waiting": 2}
    assert not now.ended
    assert [s.round for s in now.states[:2]] == [1, 2]


# --- a canary ------------------------------------------------------------------------------------


def test_what_waits_for_a_canary_is_open_but_nothing_to_watch(spec: Path) -> None:
    whole = steps.render_sweep(spec, None, lambda text: None)
    round_ = whole.rounds()[0].folder
    note_ = folders.read_note(round_)
    assert note_ is not None and note_.indices() == list(range(12))
    folders.write_note(round_, replace(note_, why="canary", tasks="0+11", jobs=2))
    (round_ / "jobs.items").write_text("0 .\n11 .\n")
    note(whole, 1, cluster=0, backend="local")  # cut short
    now = status(whole)
    assert now.notes == ("10 more tasks wait for the canary, which was not submitted yet",)
    with pytest.raises(BatchError, match="never submitted"):
        cancel_batch(whole)
    assert not folders.load(whole.folder).rest_cancelled
    note(whole, 1, cluster=1)
    (round_ / names.EVENTS).write_text(
        "000 (001.000.000) 2026-11-20 10:00:00 Job submitted from host: <x>\n...\n"
        "000 (001.001.000) 2026-11-20 10:00:00 Job submitted from host: <x>\n...\n"
    )
    now = status(whole, all_tasks=True)
    assert (now.counts, now.held_back, now.ended) == ({"waiting": 12}, 10, False)
    assert [s.reason for s in now.states[:2]] == ["", "waits for the canary"]
    assert any("wait for the canary" in text for text in now.notes)
    assert rest_text(whole).startswith("canary: the 10 tasks that wait for it are submitted only ")
    with (round_ / names.EVENTS).open("a") as log:
        for proc in range(2):
            log.write(f"009 (001.{proc:03}.000) 2026-11-20 10:00:01 Job was aborted.\n\tx\n...\n")
    now = status(whole, all_tasks=True)
    assert (now.counts, now.ended) == ({"waiting": 10, "removed": 2}, True)
    said: list[str] = []
    assert canary.go_on(whole, said.append) is None
    assert "0 of 2 tasks succeeded" in said[0]
    assert "memory" not in said[0]
    assert chosen_tasks(now, Wanted()).tasks == [0, 11]
    assert chosen_tasks(now, Wanted(missing=True)).tasks == list(range(12))
    (whole.folder / names.REST_CANCELLED).touch()
    now = status(whole)
    assert (now.counts, now.held_back, len(now.wrong)) == ({"removed": 12}, 0, 12)
    assert canary.go_on(whole, said.append) is None
    assert len(said) == 1
    assert rest_text(whole) == ""
    found = explain(whole, 5)
    assert "never submitted" in found.causes[0].cause
    assert not found.causes[0].hosts


@pytest.mark.parametrize(
    ("used_mb", "asked", "enough"),
    [(3, 50, 50), (3, 1024, 64), (60, 50, 128), (40, 70, 64), (45, 70, 70), (0, 1, 1)],
)
def test_a_canary_that_took_little_is_not_told_to_ask_for_more(
    used_mb: int, asked: int, enough: int
) -> None:
    assert sizing.enough(used_mb * 1024**2, 1.5, asked) == enough


# --- removing held jobs, and what an earlier round brought ---------------------------------------


def test_what_an_earlier_round_brought_is_not_written_again(tmp_path: Path) -> None:
    source, there = tmp_path / "source", tmp_path / "there"
    for path in (source, there):
        path.write_bytes(b"packed")
    digest = hashlib.sha256(b"packed").hexdigest()
    before = there.stat()
    assert link_or_copy(source, there, digest) == there
    after = there.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    # a damaged one may be a link to the cache: it is replaced, not written into
    other = tmp_path / "other"
    there.write_bytes(b"damage")
    os.link(there, other)
    link_or_copy(source, there, digest)
    assert (there.read_bytes(), other.read_bytes()) == (b"packed", b"damage")


def test_the_same_content_is_told_from_another(spec: Path) -> None:
    made = [steps.render_sweep(spec, None, lambda text: None) for _ in range(2)]
    assert folders.same_content(*made)
    (spec.parent / "job.sh").write_text("false\n")
    assert not folders.same_content(made[0], steps.render_sweep(spec, None, lambda text: None))
    (made[1].folder / names.TASKS).write_text("index,x\n")
    assert not folders.same_content(*made)


def test_where_there_is_no_htcondor_it_is_said_where_to_type_it(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osgbatch.condor.configured", lambda: False)
    note = {"backend": "condor", "cluster": 7, "jobs": batch.rounds()[0].jobs, "time": 1.0}
    (batch.rounds()[0].folder / "submitted.json").write_text(json.dumps(note))
    with pytest.raises(CondorError, match="there is none here") as told:
        add_round(batch, Choice([0]), "resubmit", print, AS_WRITTEN, again=lambda: Choice([0]))
    assert "Type it on the access point" in told.value.fix
    said: list[str] = []
    monkeypatch.setattr(steps, "give", lambda *_: None)
    steps.submit_sweep(batch.folder.parents[1] / "sweep.yaml", "auto", said.append)
    assert any("went to HTCondor, and there is none here" in line for line in said)

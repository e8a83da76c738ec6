"""The local runner: what a job asks for itself, and what may run at the same time then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_local_harness import last, make_round, numbers, record_of, returned, run

from osgbatch import names
from osgbatch.errors import BatchError
from osgbatch.local import backend, slots
from osgbatch.local.events import Request
from osgbatch.local.record import Items, Need, read_work, resolved_path
from osgbatch.local.slots import Room, room


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OSGBATCH_LOCAL_GRACE", "0.3")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("OSGBATCH_LOCAL_DIR", str(tmp_path / "scratch"))


def need(cpus: int = 1, memory_mb: int = 1, gpus: int = 0) -> Need:
    return Need(Request(cpus, memory_mb, 1), gpus)


def test_an_items_own_fields_hold_for_its_job(tmp_path: Path) -> None:
    ask = 'grep -h "^Request" .job.ad; echo $OMP_NUM_THREADS; cat "$_CONDOR_SCRATCH_DIR/data"'
    (tmp_path / "data").write_text("brought")
    own = [
        {"memory_mb": 100, "disk_kb": 3000, "cpus": 1, "execute_s": 60, "gpus": 0},
        {"memory_mb": 20, "disk_kb": 4000, "cpus": 2, "execute_s": 0, "gpus": 0},
    ]
    round_ = make_round(tmp_path, [ask, ask], own=own, inputs=[["data"], ["data"]])
    events = run(round_)
    said = returned(round_)
    assert said["0/1_0.out"] == (
        "RequestCpus = 1\nRequestMemory = 100\nRequestDisk = 3000\n1\nbrought"
    )
    assert said["0/1_1.out"] == (
        "RequestCpus = 2\nRequestMemory = 20\nRequestDisk = 4000\n2\nbrought"
    )
    assert [last(events, proc)["RequestMemory"] for proc in range(2)] == [100, 20]


def test_the_inputs_field_may_be_empty(tmp_path: Path) -> None:
    own = [{"disk_kb": 5}, {"disk_kb": 6}]
    events = run(make_round(tmp_path, ["true", "true"], own=own, inputs=[[], ["gone"]]))
    assert numbers(events, 0) == [0, 1, 5]
    assert numbers(events, 1) == [0, 12]


def test_each_job_has_its_own_time(tmp_path: Path) -> None:
    own = [{"execute_s": 1}, {"execute_s": 0}]
    events = run(make_round(tmp_path, ["sleep 60", "true"], own=own, execute_s=60))
    assert last(events, 0)["HoldReason"] == "The job exceeded allowed execute duration of 0:00:01"
    assert numbers(events, 1) == [0, 1, 5]


def test_jobs_that_do_not_fit_beside_each_other_run_in_turn(tmp_path: Path) -> None:
    alone = f"mkdir '{tmp_path}/lock' || exit 9; sleep 0.3; rmdir '{tmp_path}/lock'"
    events = run(make_round(tmp_path, [alone] * 3, own=[{"cpus": 4096}] * 3))
    assert [last(events, proc)["ReturnValue"] for proc in range(3)] == [0, 0, 0]


def test_room_counts_processors_and_memory_of_what_runs() -> None:
    place = Room(8, cpus=4, memory_mb=1000)
    first = place.take(need(cpus=2, memory_mb=600))
    assert place.fits(need(cpus=2, memory_mb=400))
    assert not place.fits(need(cpus=3))
    assert not place.fits(need(memory_mb=401))
    second = place.take(need(cpus=2, memory_mb=400))
    assert (first, second) == (1, 2)
    place.give_back(first)
    assert place.fits(need(cpus=2, memory_mb=600))
    assert place.take(need()) == 1


def test_a_job_larger_than_the_machine_runs_alone() -> None:
    place = Room(8, cpus=4, memory_mb=1000)
    assert place.fits(need(cpus=64, memory_mb=10**6))
    place.take(need(cpus=64, memory_mb=10**6))
    assert not place.fits(need())


def test_a_job_with_gpus_runs_alone() -> None:
    place = Room(8, cpus=4, memory_mb=1000)
    slot = place.take(need(gpus=1))
    assert not place.fits(need())
    place.give_back(slot)
    place.take(need())
    assert not place.fits(need(gpus=1))


def test_a_number_of_slots_is_taken_at_its_word() -> None:
    place = Room(2)
    place.take(need(cpus=10**6))
    assert place.fits(need(cpus=10**6))
    place.take(need())
    assert not place.fits(need())


def test_the_number_of_slots_follows_from_what_all_jobs_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "usable_cpus", lambda: 8)
    monkeypatch.setattr(slots, "available_memory_mb", lambda: 1000)
    same = read_work(resolved_path(make_round(tmp_path / "a", ["true"], cpus=2).folder))
    assert room(same, None).count == 4
    large = read_work(resolved_path(make_round(tmp_path / "b", ["true"], memory_mb=300).folder))
    assert room(large, None).count == 2
    own = make_round(tmp_path / "c", ["true"], cpus=2, memory_mb=300, own=[{"memory_mb": 5}])
    assert room(read_work(resolved_path(own.folder)), None).count == 4


@pytest.mark.parametrize(
    "item_names",
    [
        ["tasks", "memory_mb"],
        ["tasks", "rows", "inputs", "memory_mb"],
        ["tasks", "rows", "rows"],
        ["tasks", "rows", "wishes"],
    ],
)
def test_items_whose_names_say_nothing_useful_are_refused(
    tmp_path: Path, item_names: list[str]
) -> None:
    round_ = make_round(tmp_path, ["true"])
    path = resolved_path(round_.folder)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"item_names": item_names}))
    with pytest.raises(BatchError, match="says something else"):
        backend.submit(round_)


@pytest.mark.parametrize("line", ["0 cm93", "0 cm93 much", "0 cm93 1 2"])
def test_a_line_without_its_fields_is_refused_before_anything_runs(
    tmp_path: Path, line: str
) -> None:
    round_ = make_round(tmp_path, ["true"], own=[{"memory_mb": 10}])
    (round_.folder / names.ITEMS).write_text(line + "\n")
    with pytest.raises(BatchError, match="job 0 has not the fields tasks, rows, memory_mb"):
        backend.submit(round_)
    assert not (round_.folder / names.EVENTS).exists()


def test_an_old_batch_is_read_by_the_number_of_its_fields(tmp_path: Path) -> None:
    round_ = make_round(tmp_path, ["a", "b"], inputs=[["x y", "z"], []], memory_mb=77)
    items = Items(round_.folder / names.ITEMS, read_work(resolved_path(round_.folder)))
    assert [item.inputs for item in items] == [("x y", "z"), ()]
    assert items[1].tasks == b"1"
    assert items[0].need.request.memory_mb == 77
    items.close()


def test_each_job_is_held_to_its_own_memory_where_the_system_lets_it(tmp_path: Path) -> None:
    job = "x=$(head -c 100000000 /dev/zero | tr '\\0' x); exit 7"
    round_ = make_round(
        tmp_path, [job, job], memory_mb=10, own=[{"memory_mb": 40}, {"memory_mb": 900}]
    )
    events = run(round_)
    if not record_of(round_).memory_enforced:
        pytest.skip(f"control groups: {record_of(round_).why}")
    assert "cgroup memory limit of 40 megabytes" in last(events)["HoldReason"]
    assert last(events, 1)["ReturnValue"] == 7


def test_a_job_over_its_memory_asks_for_more_where_the_system_lets_it(tmp_path: Path) -> None:
    eat = "x=$(head -c 60000000 /dev/zero | tr '\\0' x); "
    flag = tmp_path / "seen"
    tell = f'grep -h "^RequestMemory" .job.ad; {eat}'
    jobs = [f"{tell}[ -e '{flag}' ] || {{ touch '{flag}'; exit 101; }}; exit 7", eat]
    ladder = {"factor": 0, "sizes": [50, 600]}
    # One retry after a failure of the execution point; those for memory are none.
    retries = {"times": 1, "any": False, "codes": [101], "memory": ladder}
    own = [{"memory_mb": 40}, {"memory_mb": 20}]
    round_ = make_round(tmp_path, jobs, retries=retries, own=own)
    (round_.folder / "local.more.json").write_text('{"1": [50, 0]}')  # as a release asked for
    events = run(round_)
    if not record_of(round_).memory_enforced:
        pytest.skip(f"control groups: {record_of(round_).why}")
    assert numbers(events, 0) == [0, 1, 4, 1, 4, 1, 4, 1, 5]
    assert last(events)["ReturnValue"] == 7
    assert returned(round_)["0/1_0.out"] == "RequestMemory = 600\n"
    asked = json.loads((round_.folder / "local.more.json").read_text())
    assert asked == {"0": [600, 0], "1": [600, 0]}
    assert numbers(events, 1) == [0, 1, 4, 1, 5]

"""The local runner: how jobs are run, and what their ends look like."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from test_local_harness import (
    last,
    make_round,
    numbers,
    processes_of,
    read_events,
    record_of,
    returned,
    run,
    wait_for_end,
)

from osgbatch import names
from osgbatch.errors import BatchError, BusyError, OsgbatchError
from osgbatch.local import backend, record


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OSGBATCH_LOCAL_GRACE", "0.3")
    monkeypatch.setenv("OSGBATCH_LOCAL_SLOTS", "2")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("OSGBATCH_LOCAL_DIR", str(tmp_path / "scratch"))


def test_a_round_is_run_to_its_end_and_nothing_is_left(tmp_path: Path) -> None:
    round_ = make_round(tmp_path, ["true", "true", "true"])
    submitted = backend.submit(round_)
    assert (submitted.backend, submitted.cluster, submitted.jobs) == ("local", 1, 3)
    assert numbers(read_events(round_), 2)[0] == 0
    wait_for_end(round_)
    events = read_events(round_)
    for proc in range(3):
        assert numbers(events, proc) == [0, 1, 5]
        end = last(events, proc)
        assert end["TerminatedNormally"] is True
        assert end["ReturnValue"] == 0
        assert end["cluster"] == 1
    assert returned(round_) == {f"0/1_{p}_0.tar.gz": f"archive of 1.{p}\n" for p in range(3)}
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not backend.alive(round_, 1)
    assert not backend.interrupted(round_, 1)
    assert (round_.folder / record.LOG).read_text() == ""


def test_a_runner_that_starts_is_seen_before_it_has_entered_its_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_BOOT", "import time; time.sleep(0.5); " + backend._BOOT)
    round_ = make_round(tmp_path, ["true"])
    submitting = threading.Thread(target=backend.submit, args=(round_,))
    submitting.start()
    deadline = time.monotonic() + 20
    while not backend.alive(round_, 1):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not (round_.folder / names.EVENTS).exists()
    with pytest.raises(BusyError, match="is starting"):
        backend.await_entered(round_, 0)
    backend.await_entered(round_)
    assert numbers(read_events(round_))[0] == 0
    submitting.join()
    wait_for_end(round_)


def test_a_failing_job_ends_with_its_code_once(tmp_path: Path) -> None:
    events = run(make_round(tmp_path, ["exit 3"]))
    assert numbers(events) == [0, 1, 5]
    assert last(events)["ReturnValue"] == 3


def test_an_infrastructure_code_is_tried_again_up_to_the_limit(tmp_path: Path) -> None:
    round_ = make_round(tmp_path, ["echo out of $1.$2; echo bad >&2; exit 101"])
    events = run(round_)
    assert numbers(events) == [0, 1, 4, 1, 4, 1, 5]
    assert events[2]["TerminatedAndRequeued"] is True
    assert events[2]["TerminatedNormally"] is True
    assert events[2]["ReturnValue"] == 101
    assert "start 1 of at most 3" in events[2]["Reason"]
    assert last(events)["ReturnValue"] == 101
    assert list(returned(round_)) == [
        "0/1_0.err",
        "0/1_0.out",
        "0/1_0_0.tar.gz",
        "0/1_0_1.tar.gz",
        "0/1_0_2.tar.gz",
    ]
    assert returned(round_)["0/1_0.out"] == "out of 1.0\n"


def test_a_job_that_succeeds_at_its_second_start_ends_well(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    job = f"if [ -e '{mark}' ]; then exit 0; fi; : > '{mark}'; exit 102"
    events = run(make_round(tmp_path, [job]))
    assert numbers(events) == [0, 1, 4, 1, 5]
    assert last(events)["ReturnValue"] == 0


def test_on_any_every_failure_is_tried_again(tmp_path: Path) -> None:
    retries = {"times": 1, "any": True, "codes": []}
    events = run(make_round(tmp_path, ["exit 3", "exit 0"], retries=retries))
    assert numbers(events, 0) == [0, 1, 4, 1, 5]
    assert numbers(events, 1) == [0, 1, 5]


def test_a_killed_shim_is_tried_again_then_ends_by_its_signal(tmp_path: Path) -> None:
    retries = {"times": 1, "any": False, "codes": [101]}
    events = run(make_round(tmp_path, ["kill -9 $$"], retries=retries))
    assert numbers(events) == [0, 1, 4, 1, 5]
    assert events[2]["TerminatedBySignal"] == 9
    assert events[2]["TerminatedNormally"] is False
    assert last(events)["TerminatedNormally"] is False
    assert last(events)["TerminatedBySignal"] == 9


@pytest.mark.parametrize(
    ("job", "subcode"),
    [
        ("rm osgbatch-out.tar.gz; exit 101", 2),
        ("rm osgbatch-out.tar.gz; ln -s /etc/passwd osgbatch-out.tar.gz", 40),
        ("rm osgbatch-out.tar.gz; mkdir osgbatch-out.tar.gz", 22),
        ("rm osgbatch-out.tar.gz; mkfifo osgbatch-out.tar.gz", 22),
    ],
)
def test_a_job_without_its_archive_is_held(tmp_path: Path, job: str, subcode: int) -> None:
    round_ = make_round(tmp_path, [job])
    events = run(round_)
    assert numbers(events) == [0, 1, 12]
    assert last(events)["HoldReasonCode"] == 12
    assert last(events)["HoldReasonSubCode"] == subcode
    assert "osgbatch-out.tar.gz" in last(events)["HoldReason"]
    assert returned(round_) == {}
    assert not backend.interrupted(round_, 1)


def test_a_job_over_its_duration_is_stopped_and_held(tmp_path: Path) -> None:
    round_ = make_round(tmp_path, ["trap '' TERM; sleep 60 & wait; sleep 60"], execute_s=1)
    events = run(round_)
    assert numbers(events) == [0, 1, 12]
    assert last(events)["HoldReasonCode"] == 47
    assert last(events)["HoldReason"] == "The job exceeded allowed execute duration of 0:00:01"
    assert returned(round_) == {}


def test_a_missing_input_holds_only_its_job(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("x")
    round_ = make_round(
        tmp_path,
        ["true", "true", "true"],
        inputs=[["gone"], ["here"], ["../outside"]],
    )
    events = run(round_)
    assert numbers(events, 0) == [0, 12]
    assert (last(events)["HoldReasonCode"], last(events)["HoldReasonSubCode"]) == (13, 2)
    assert str(tmp_path / "gone") in last(events)["HoldReason"]
    assert numbers(events, 1) == [0, 1, 5]
    assert (last(events, 2)["HoldReasonCode"], last(events, 2)["HoldReasonSubCode"]) == (13, 1)


@pytest.mark.parametrize("name", ["gone", "pipe", "folder"])
def test_a_round_whose_last_job_is_held_before_it_runs_ends(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "pipe")
    round_ = make_round(tmp_path, ["true"], inputs=[[name]])
    events = run(round_)
    assert numbers(events) == [0, 12]
    assert last(events)["HoldReasonCode"] == 13
    assert last(events)["HoldReasonSubCode"] == (2 if name == "gone" else 22)
    assert ("neither a file nor a folder" in last(events)["HoldReason"]) == (name != "gone")
    assert not backend.alive(round_, 1) and not backend.interrupted(round_, 1)


def test_linked_folders_are_held_as_by_htcondor_and_linked_files_arrive(tmp_path: Path) -> None:
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "real" / "f").write_text("x")
    (tmp_path / "top").symlink_to("real")
    (tmp_path / "holds").mkdir()
    (tmp_path / "holds" / "up").symlink_to("..")  # a cycle
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "fine").mkdir()
    (tmp_path / "fine" / "link").symlink_to("../real/f")
    inputs = [["top"], ["holds"], ["self"], ["fine", "top/f"]]
    events = run(make_round(tmp_path, ["true", "true", "true", "cat fine/link"], inputs=inputs))
    for proc, place in enumerate(["top", "holds/up"]):
        assert numbers(events, proc) == [0, 12]
        held = last(events, proc)
        assert (held["HoldReasonCode"], held["HoldReasonSubCode"]) == (13, 21)
        assert held["HoldReason"].endswith(
            f"reading from file {tmp_path}/{place}: (errno 21) Is a directory; "
            "Transfer of symlinks to directories is not supported."
        )
    assert (last(events, 2)["HoldReasonCode"], last(events, 2)["HoldReasonSubCode"]) == (13, 40)
    assert last(events, 3)["ReturnValue"] == 0


def test_a_deep_folder_arrives(tmp_path: Path) -> None:
    deep = tmp_path.joinpath("deep", *"d" * 600)
    deep.mkdir(parents=True)
    round_ = make_round(tmp_path, ["find deep | wc -l"], inputs=[["deep"]])
    run(round_)
    assert returned(round_)["0/1_0.out"].split() == ["601"]


def test_a_shim_that_cannot_be_started_holds_the_job(tmp_path: Path) -> None:
    events = run(make_round(tmp_path, ["true"], shim="#!/no/such/interpreter\n"))
    assert numbers(events) == [0, 12]
    assert (last(events)["HoldReasonCode"], last(events)["HoldReasonSubCode"]) == (6, 2)


def test_inputs_and_payload_arrive_at_their_paths_as_copies(tmp_path: Path) -> None:
    odd = ['data/a b/it\'s "x" $HOME *', "tree", "data/\udcff"]
    (tmp_path / "data" / "a b").mkdir(parents=True)
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "f").write_text("deep")
    for name in (odd[0], odd[2]):
        (tmp_path / name).write_text("as it was")
        (tmp_path / name).chmod(0o444)
    (tmp_path / "tree" / "link").symlink_to(tmp_path / odd[0])
    job = (
        'set -e; f="data/a b/it\'s \\"x\\" \\$HOME *"; cat "$f" tree/sub/f tree/link '
        'b/payload/p.tar.gz; printf more >> "$f"; test ! -L tree/link; ls data | wc -l'
    )
    round_ = make_round(tmp_path, [job], inputs=[odd], payload=["p.tar.gz"])
    (round_.folder.parent.parent / "payload" / "p.tar.gz").write_text("payload")
    events = run(round_)
    assert returned(round_).get("0/1_0.err") is None
    assert last(events)["ReturnValue"] == 0
    out = returned(round_)["0/1_0.out"]
    assert out.split() == ["as", "it", "wasdeepas", "it", "waspayload2"]
    assert (tmp_path / odd[0]).read_text() == "as it was"


def test_a_job_sees_nothing_of_the_users_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    job = (
        "env; cat .machine.ad; umask; pwd; ls /proc/self/fd | wc -l; trap; readlink /proc/self/fd/0"
    )
    round_ = make_round(tmp_path, [job], cpus=2)
    run(round_)
    out = returned(round_)["0/1_0.out"]
    variables = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    scratch = variables["_CONDOR_SCRATCH_DIR"]
    assert variables["PATH"] == "/usr/local/bin:/usr/bin:/bin"
    assert variables["TMPDIR"] == scratch
    assert variables["OMP_NUM_THREADS"] == "2"
    assert variables["_CONDOR_MACHINE_AD"] == f"{scratch}/.machine.ad"
    assert variables["Name "].startswith(' "slot1_1@')
    assert not {"HOME", "LANG", "SECRET_TOKEN", "PYTHONPATH", "USER"} & set(variables)
    assert out.splitlines()[-4:] == ["0022", scratch, "4", "/dev/null"]


def test_long_rows_arrive_whole(tmp_path: Path) -> None:
    job = "echo ${#4} #" + "x" * 60_000
    round_ = make_round(tmp_path, [job])
    run(round_)
    length = int(returned(round_)["0/1_0.out"])
    assert length == -(-len(job) // 3) * 4


@pytest.mark.parametrize("name", ["plain", "a b", 'it\'s "odd" $(x) `y`; \\', "line\nbreak"])
def test_odd_folder_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    scratch = tmp_path / f"scratch {name}"
    scratch.mkdir()
    folder = tmp_path / name
    folder.mkdir()
    (folder / "in").write_text("content")
    monkeypatch.setenv("OSGBATCH_LOCAL_DIR", str(scratch))
    round_ = make_round(folder, ["cat in; exit 5"], inputs=[["in"]])
    events = run(round_)
    assert numbers(events) == [0, 1, 5]
    assert last(events)["ReturnValue"] == 5
    assert returned(round_)["0/1_0.out"] == "content"
    assert list(scratch.iterdir()) == []


def test_what_a_job_leaves_behind_is_ended_with_it(tmp_path: Path) -> None:
    # One in the job's session, one that has left it, one that has also hidden its environment.
    job = (
        "sleep 600 & setsid sleep 600 & setsid sh -c 'sleep 600 & sleep 600' & "
        "setsid env -i /bin/sleep 600 & mkdir -p d/e; touch d/e/f; chmod 0 d/e d; exit 0"
    )
    round_ = make_round(tmp_path, [job])
    events = run(round_)
    assert numbers(events) == [0, 1, 5]
    assert processes_of(round_) == []
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_usage_table_is_read_by_htcondor(tmp_path: Path) -> None:
    job = "head -c 300000 /dev/zero > big; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
    end = last(run(make_round(tmp_path, [job], memory_mb=100)))
    assert (end["RequestMemory"], end["Memory"], end["RequestCpus"]) == (100, 100, 1)
    assert (end["RequestDisk"], end["DiskUsage"] >= 292) == (2048, True)
    assert 0 < end["MemoryUsage"] < 100
    assert 0 < end["CpusUsage"] < 2
    assert end["SentBytes"] > 0


def test_a_second_submit_is_refused_while_it_runs_and_afterwards(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    round_ = make_round(tmp_path, [f"read x < '{gate}'"])
    backend.submit(round_)
    assert backend.alive(round_, 1)
    with pytest.raises(BusyError):
        backend.submit(round_)
    gate.write_text("go\n")
    wait_for_end(round_)
    with pytest.raises(OsgbatchError, match="already been submitted"):
        backend.submit(round_)
    assert numbers(read_events(round_)) == [0, 1, 5]


def test_a_submission_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    round_ = make_round(tmp_path, ["true"])
    before = sorted(round_.folder.iterdir())
    monkeypatch.setenv("OSGBATCH_LOCAL_SLOTS", "many")
    with pytest.raises(OsgbatchError, match='OSGBATCH_LOCAL_SLOTS: "many" is not a number'):
        backend.submit(round_)
    assert sorted(round_.folder.iterdir()) == before
    monkeypatch.setenv("OSGBATCH_LOCAL_DIR", str(tmp_path / "gone"))
    with pytest.raises(OsgbatchError, match="no scratch folder can be made"):
        backend.submit(round_)
    monkeypatch.setenv("OSGBATCH_LOCAL_DIR", str(tmp_path / "scratch"))
    monkeypatch.setenv("OSGBATCH_LOCAL_SLOTS", "1")
    monkeypatch.setenv("OSGBATCH_LOCAL_GRACE", "soon")
    with pytest.raises(OsgbatchError, match="did not start: ValueError"):
        backend.submit(round_)
    assert sorted(round_.folder.iterdir()) == before
    monkeypatch.setenv("OSGBATCH_LOCAL_GRACE", "1")
    with pytest.raises(OsgbatchError, match="within 0 s"):
        backend.submit(round_, limit_s=0)
    assert sorted(round_.folder.iterdir()) == before
    assert list((tmp_path / "scratch").iterdir()) == []
    assert numbers(run(round_)) == [0, 1, 5]


def test_a_folder_that_is_no_round_is_refused(tmp_path: Path) -> None:
    round_ = make_round(tmp_path, ["true"])
    resolved = (round_.folder.parent.parent / names.RESOLVED).read_text()
    (round_.folder.parent.parent / names.RESOLVED).write_text('{"version": 1}')
    with pytest.raises(BatchError, match="says something else"):
        backend.submit(round_)
    (round_.folder.parent.parent / names.RESOLVED).write_text(resolved)
    (round_.folder / names.ITEMS).write_text("")
    with pytest.raises(BatchError, match="has 0 jobs, the round has 1"):
        backend.submit(round_)


def test_a_job_over_its_memory_is_held_where_the_system_lets_it(tmp_path: Path) -> None:
    job = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); exit 7"
    round_ = make_round(tmp_path, [job, "exit 1"], memory_mb=40)
    events = run(round_)
    found = record_of(round_)
    assert bool(found.why) is not found.memory_enforced
    if not found.memory_enforced:
        pytest.skip(f"control groups: {found.why}")
    assert numbers(events) == [0, 1, 12]
    assert (last(events)["HoldReasonCode"], last(events)["HoldReasonSubCode"]) == (34, 102)
    assert "cgroup memory limit of 40 megabytes" in last(events)["HoldReason"]
    assert last(events, 1)["ReturnValue"] == 1

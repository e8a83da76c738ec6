"""Nothing is submitted twice, nothing that failed is left behind, cancel is for one batch only."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Pool
from sweeps import osgbatch, write_sweep

pytestmark = [pytest.mark.pool, pytest.mark.once]  # of the queue, whatever runs the jobs

SPEC = """\
command: [sh, -c, "sleep {seconds}"]
sweep: {seconds: [%s]}
resources: {memory: 100 MB, disk: 50 MB}
"""


def slow_condor_submit(folder: Path, before: float, after: float) -> str:
    """A PATH on which condor_submit takes its time, before and after it does its work."""
    real = shutil.which("condor_submit")
    folder.mkdir()
    program = folder / "condor_submit"
    program.write_text(
        f'#!/bin/sh\ntouch "{folder}/begun"\nsleep {before}\n"{real}" "$@"\nsleep {after}\n'
    )
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.both_versions
@pytest.mark.parametrize(("before", "after"), [(2, 0), (0, 3)])
def test_killed_during_condor_submit_it_is_continued_and_not_submitted_twice(
    pool: Pool, tmp_path: Path, before: float, after: float
) -> None:
    spec = write_sweep(tmp_path / "sweep", SPEC % "0, 0", {})
    path = slow_condor_submit(tmp_path / "bin", before, after)
    victim = subprocess.Popen(
        [sys.executable, "-m", "osgbatch", "submit", "--pool", "condor", "sweep.yaml"],
        cwd=spec.parent,
        env={**os.environ, "PATH": path},
        stdout=subprocess.DEVNULL,
    )
    pool.wait_for((tmp_path / "bin/begun").exists, 30, "condor_submit to begin")
    if after:
        pool.wait_for(
            lambda: list((spec.parent / "batches").glob("*/rounds/001/events.log")), 30, "a log"
        )
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    again = osgbatch("submit", "--pool", "condor", "--json", "sweep.yaml", cwd=spec.parent)
    assert "continuing batch" in again.stderr
    assert "it had been submitted to HTCondor, as cluster" in again.stderr
    told = json.loads(again.stdout)
    assert [Path(told["folder"])] == list((spec.parent / "batches").iterdir())
    log = Path(told["folder"]) / "rounds/001/events.log"
    for proc in range(2):
        assert pool.terminate_event(log, told["cluster"], proc).exit_code == 0
        assert pool.history_ad(told["cluster"], proc)["OSGBatchID"] == told["id"]
    assert log.read_text().count("Job submitted from host") == 2
    later = json.loads(
        osgbatch("submit", "--pool", "condor", "--json", "sweep.yaml", cwd=spec.parent).stdout
    )
    assert later["id"] != told["id"]


@pytest.mark.both_versions
def test_killed_before_condor_submit_it_is_continued(pool: Pool, tmp_path: Path) -> None:
    spec = write_sweep(tmp_path / "sweep", SPEC % "0", {})
    made = json.loads(osgbatch("render", "--json", "sweep.yaml", cwd=spec.parent).stdout)
    noted = {"backend": "condor", "cluster": 0, "jobs": 1, "time": time.time()}
    (Path(made["folder"]) / "rounds/001/submitted.json").write_text(json.dumps(noted))
    told = json.loads(
        osgbatch("submit", "--pool", "condor", "--json", "sweep.yaml", cwd=spec.parent).stdout
    )
    assert told["id"] == made["id"]
    log = Path(told["folder"]) / "rounds/001/events.log"
    assert pool.terminate_event(log, told["cluster"], 0).exit_code == 0
    assert pool.history_ad(told["cluster"], 0)["OSGBatchID"] == made["id"]


def test_two_that_continue_one_submission_submit_it_once(pool: Pool, tmp_path: Path) -> None:
    spec = write_sweep(tmp_path / "sweep", SPEC % "0, 0", {})
    made = json.loads(osgbatch("render", "--json", "sweep.yaml", cwd=spec.parent).stdout)
    noted = {"backend": "condor", "cluster": 0, "jobs": 2, "time": time.time()}
    (Path(made["folder"]) / "rounds/001/submitted.json").write_text(json.dumps(noted))
    # condor_submit takes its time, so that both have found the batch cut short before either ends
    path = slow_condor_submit(tmp_path / "bin", 2, 0)
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "osgbatch", "submit", "--pool", "condor", "sweep.yaml"],
            cwd=spec.parent,
            env={**os.environ, "PATH": path},
            stdout=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    assert [process.wait() for process in both] == [0, 0]
    assert list((spec.parent / "batches").iterdir()) == [Path(made["folder"])]
    log = Path(made["folder"]) / "rounds/001/events.log"
    assert log.read_text().count("Job submitted from host") == 2
    cluster = json.loads((log.parent / "submitted.json").read_text())["cluster"]
    for proc in range(2):
        assert pool.terminate_event(log, cluster, proc).exit_code == 0
        assert pool.history_ad(cluster, proc)["OSGBatchID"] == made["id"]


def test_what_changed_since_a_cut_short_submission_is_not_run_as_it_was(
    pool: Pool, tmp_path: Path
) -> None:
    spec = write_sweep(
        tmp_path / "sweep", "command: sh job.sh\nfiles: [job.sh]\n", {"job.sh": "echo old\n"}
    )
    made = json.loads(osgbatch("render", "--json", "sweep.yaml", cwd=spec.parent).stdout)
    noted = {"backend": "condor", "cluster": 0, "jobs": 1, "time": time.time()}
    (Path(made["folder"]) / "rounds/001/submitted.json").write_text(json.dumps(noted))
    status = json.loads(osgbatch("status", "--json", cwd=spec.parent).stdout)
    assert status["ended"]
    (spec.parent / "job.sh").write_text("echo new\n")
    said = osgbatch("submit", "--pool", "condor", "--watch", "sweep.yaml", cwd=spec.parent)
    assert "files have changed since then" in said.stderr
    (folder,) = (spec.parent / "batches").iterdir()
    assert folder != Path(made["folder"])
    assert (folder / "results/0/stdout").read_text() == "new\n"
    cluster = json.loads((folder / "rounds/001/submitted.json").read_text())["cluster"]
    assert pool.history_ad(cluster, 0)["ExitCode"] == 0


def test_cancel_waits_for_a_submission_that_is_under_way(pool: Pool, tmp_path: Path) -> None:
    spec = write_sweep(tmp_path / "sweep", SPEC % "600", {})
    path = slow_condor_submit(tmp_path / "bin", 2, 0)
    submitting = subprocess.Popen(
        [sys.executable, "-m", "osgbatch", "submit", "--pool", "condor", "sweep.yaml"],
        cwd=spec.parent,
        env={**os.environ, "PATH": path},
        stdout=subprocess.DEVNULL,
    )
    pool.wait_for((tmp_path / "bin/begun").exists, 30, "condor_submit to begin")
    osgbatch("cancel", cwd=spec.parent)
    assert submitting.wait() == 0
    (folder,) = (spec.parent / "batches").iterdir()
    cluster = json.loads((folder / "rounds/001/submitted.json").read_text())["cluster"]
    pool.event(9, folder / "rounds/001/events.log", cluster, 0)
    assert pool.history_ad(cluster, 0)["JobStatus"] == 3


def test_a_batch_that_was_submitted_by_hand_is_followed_and_cancelled(
    pool: Pool, tmp_path: Path
) -> None:
    spec = write_sweep(tmp_path / "sweep", SPEC % "600", {})
    made = json.loads(osgbatch("render", "--json", "sweep.yaml", cwd=spec.parent).stdout)
    said = osgbatch("watch", cwd=spec.parent, check=1)
    assert "it was rendered, not submitted" in said.stdout
    assert "was never submitted" in osgbatch("collect", cwd=spec.parent, check=2).stderr
    submit_file = f"{made['folder']}/rounds/001/job.submit"
    cluster = int(pool.run("condor_submit", "-terse", submit_file, cwd=tmp_path).split(".")[0])
    status = json.loads(osgbatch("status", "--json", cwd=spec.parent).stdout)
    assert status["cluster"] == cluster
    osgbatch("cancel", cwd=spec.parent)
    pool.event(9, Path(made["folder"]) / "rounds/001/events.log", cluster, 0)
    assert pool.history_ad(cluster, 0)["JobStatus"] == 3


def test_a_refused_submission_leaves_nothing(pool: Pool, tmp_path: Path) -> None:
    spec = write_sweep(tmp_path / "sweep", SPEC % "0", {})
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "condor_submit").write_text("#!/bin/sh\necho 'ERROR: no such luck' >&2\nexit 1\n")
    (folder / "condor_submit").chmod(0o755)
    done = osgbatch(
        "submit", "--pool", "condor", "sweep.yaml", cwd=spec.parent, check=5,
        env={"PATH": f"{folder}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert "no such luck" in done.stderr
    assert [p.name for p in spec.parent.iterdir()] == ["sweep.yaml"]


def test_jobs_of_a_submission_that_condor_submit_complained_of_are_removed(
    pool: Pool, tmp_path: Path
) -> None:
    spec = write_sweep(tmp_path / "sweep", SPEC % "0", {})
    folder = tmp_path / "bin"
    folder.mkdir()
    real = shutil.which("condor_submit")
    # what condor_submit does when a macro cannot be expanded: complains, and queues all the same
    (folder / "condor_submit").write_text(
        f'#!/bin/sh\n"{real}" "$@"\necho "ERROR: $INT() macro: bad" >&2\n'
    )
    (folder / "condor_submit").chmod(0o755)
    done = osgbatch(
        "submit", "--pool", "condor", "sweep.yaml", cwd=spec.parent, check=5,
        env={"PATH": f"{folder}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert "its jobs were removed" in done.stderr
    pool.wait_for(lambda: not pool.queue_ads('JobBatchName == "sweep"'), 30, "removal")


@pytest.mark.parametrize("pool_name", ["auto", "condor"])
@pytest.mark.parametrize("listens", [True, False])
def test_an_htcondor_that_is_silent_is_an_error_and_changes_nothing(
    pool: Pool, tmp_path: Path, pool_name: str, listens: bool
) -> None:
    spec = write_sweep(tmp_path / "sweep", SPEC % "0", {})
    # daemons that have died, or that hang: nobody listens, or nobody ever answers
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if not listens:
            server.close()
        config = tmp_path / "condor_config"
        config.write_text(
            f"LOCAL_DIR = /nowhere\nCONDOR_HOST = 127.0.0.1\nCOLLECTOR_HOST = 127.0.0.1:{port}\n"
            f"SCHEDD_HOST = 127.0.0.1\nTOOL_TIMEOUT_MULTIPLIER = 1\nQUERY_TIMEOUT = 5\n"
            "SEC_CLIENT_AUTHENTICATION_METHODS = FS\nuse security:recommended_v9_0\n"
        )
        done = osgbatch(
            "submit", "--pool", pool_name, "sweep.yaml", cwd=spec.parent, check=5,
            env={"CONDOR_CONFIG": str(config)},
        )  # fmt: skip
    assert "condor_q" in done.stderr
    assert "--pool local" in done.stderr
    assert [p.name for p in spec.parent.iterdir()] == ["sweep.yaml"]


def test_an_unreadable_library_is_an_error_and_changes_nothing(pool: Pool, tmp_path: Path) -> None:
    spec = write_sweep(
        tmp_path / "sweep", "command: echo\nlibraries: [lib/]\n", {"lib/__init__.py": ""}
    )
    for path, code in ((spec.parent / "lib/__init__.py", 3), (spec.parent / "lib", 2)):
        path.chmod(0)  # pool tests never run as root, who reads everything
        done = osgbatch("submit", "--pool", "condor", "sweep.yaml", cwd=spec.parent, check=code)
        assert "ermission denied" in done.stderr
        assert "lib" in done.stderr
        assert sorted(p.name for p in spec.parent.iterdir()) == ["lib", "sweep.yaml"]
    (spec.parent / "lib").chmod(0o755)


@pytest.mark.both_versions
def test_cancel_removes_this_batch_and_no_other(pool: Pool, tmp_path: Path) -> None:
    batches = []
    for name in ("one", "two"):
        spec = write_sweep(tmp_path / name, SPEC % "600, 600", {})
        said = osgbatch("submit", "--pool", "condor", "--json", "sweep.yaml", cwd=spec.parent)
        batches.append(json.loads(said.stdout))
    one, two = batches
    said = osgbatch("cancel", one["folder"], cwd=tmp_path)
    assert "2 tasks had not ended" in said.stdout
    for proc in range(2):
        pool.event(9, Path(one["folder"]) / "rounds/001/events.log", one["cluster"], proc)
        assert pool.history_ad(one["cluster"], proc)["JobStatus"] == 3
    left = {ad["ClusterId"] for ad in pool.queue_ads()}
    assert two["cluster"] in left
    assert one["cluster"] not in left
    status = json.loads(osgbatch("status", one["folder"], "--json", cwd=tmp_path, check=1).stdout)
    assert status["counts"] == {"removed": 2}
    osgbatch("cancel", two["folder"], cwd=tmp_path)


@pytest.mark.once  # of the queue: jobs only sleep until they are removed
def test_a_large_sweep_waits_outside_of_the_queue(pool: Pool, tmp_path: Path) -> None:
    values = ", ".join(["600"] * 10_500)
    spec = write_sweep(tmp_path / "sweep", SPEC % values, {})
    told = json.loads(
        osgbatch("submit", "--pool", "condor", "--json", "sweep.yaml", cwd=spec.parent).stdout
    )
    folder = Path(told["folder"])
    assert len([p for p in folder.rglob("*") if p.is_file()]) <= 20
    pool.wait_for(lambda: pool.queue_ads(f"ClusterId == {told['cluster']}"), 30, "some procs")
    ads = pool.queue_ads(f"ClusterId == {told['cluster']}")
    assert len(ads) < 10_500
    last = max(ads, key=lambda ad: int(ad["ProcId"]))
    assert f"/{last['ProcId'] // 1000}/" in last["TransferOutputRemaps"]
    osgbatch("cancel", folder, cwd=tmp_path)
    pool.wait_for(
        lambda: not pool.queue_ads(f"ClusterId == {told['cluster']}"), 60, "an empty queue"
    )
    status = pool.wait_for(
        lambda: (
            s
            if (
                s := json.loads(
                    osgbatch("status", folder, "--json", cwd=tmp_path, check=None).stdout
                )
            )["counts"]
            == {"removed": 10_500}
            else None
        ),
        60,
        "all to be removed",
    )
    assert status["ended"]

"""Chosen jobs are released, edited and cancelled, also those not yet queued, and no others."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import Pool
from sweeps import osgbatch, write_sweep

from osgbatch import condor
from osgbatch.batches.folder import load

pytestmark = pytest.mark.pool

SPEC = """\
command: [sh, -c, "sleep {seconds}"]
sweep: {seconds: [%s]}
resources: {memory: 100 MB, disk: 50 MB}
retries: {times: 0}
"""


class Batch:
    """A submitted batch, and osgbatch as a user runs it on it."""

    def __init__(self, pool: Pool, folder: Path, seconds: str, more: str = "") -> None:
        self.pool = pool
        spec = write_sweep(folder, SPEC % seconds + more, {})
        said = osgbatch("submit", "--pool", "condor", "--json", spec, cwd=folder)
        told = json.loads(said.stdout)
        self.folder, self.cluster, self.id = Path(told["folder"]), told["cluster"], told["id"]
        self.log = self.folder / "rounds/001/events.log"

    def __call__(self, command: str, *options: str) -> dict[str, Any]:
        """Run a command on it, with --json; gives what it prints."""
        done = osgbatch(*command.split(), self.folder, *options, "--json", cwd=self.folder)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def fails(self, command: str, code: int, **more: Any) -> str:
        """Run a command on it that fails; gives what it says."""
        return osgbatch(*command.split(), self.folder, cwd=self.folder, check=code, **more).stderr

    def jobs(self, status: int | None = None) -> list[int]:
        """Its procs in the queue; only those with this JobStatus."""
        ads = self.pool.queue_ads(f"ClusterId == {self.cluster}")
        return sorted(ad["ProcId"] for ad in ads if status is None or ad["JobStatus"] == status)

    def wait_for(self, procs: list[int], status: int) -> None:
        """Wait until these procs, and no others, have this JobStatus."""
        self.pool.wait_for(lambda: self.jobs(status) == procs, 60, f"{procs} with {status}")

    def hold(self, constraint: str = "true") -> None:
        """As another tool does it."""
        mine = f'OSGBatchID == "{self.id}" && ({constraint})'
        self.pool.run("condor_hold", "-constraint", mine)

    def ended(self, proc: int) -> dict[str, Any]:
        """The job's ad in the history, once it is there."""
        return self.pool.history_ad(self.cluster, proc)


@pytest.mark.both_versions
@pytest.mark.once  # of the queue: jobs only sleep
def test_chosen_tasks_are_cancelled_also_those_not_yet_queued_and_the_others_run(
    pool: Pool, tmp_path: Path
) -> None:
    other = Batch(pool, tmp_path / "other", "600, 600")
    batch = Batch(pool, tmp_path / "one", "600, 600, 0, 0, 0, 0, 0, 0", "max_running: 2\n")
    pool.wait_for(lambda: batch.jobs() == [0, 1], 30, "two jobs")
    # what has yet to come is live, too: none of its tasks is run in another job
    (round_,) = load(batch.folder).rounds()
    queue = condor.look(round_, batch.cluster)
    assert (queue.live, sorted(queue.jobs)) == (list(range(8)), [0, 1])
    done = batch("cancel", "--tasks", "4,6")
    assert (done["cancelled"], done["jobs"], done["not_queued"]) == (2, 2, 2)
    assert batch.jobs() == [0, 1]
    again = batch("cancel", "--tasks", "4,6")
    assert again["cancelled"] == 0
    # as if the schedd looked at its rules very rarely
    rules = ("condor_qedit", str(batch.cluster), "PeriodicRemove")
    pool.run(*rules, "false")
    # more of them, and some that are queued
    done = batch("cancel", "--tasks", "0,1,7")
    assert (done["tasks"], done["not_queued"]) == ([0, 1, 7], 1)
    for proc in (2, 3, 5):
        assert pool.terminate_event(batch.log, batch.cluster, proc).exit_code == 0
        assert batch.ended(proc)["ExitCode"] == 0
    pool.wait_for(lambda: batch.jobs() == [4, 6], 30, "what is cancelled, waiting")
    pool.run(*rules, "OSGBatchCancelled")
    for proc in (0, 1, 4, 6, 7):
        pool.event(9, batch.log, batch.cluster, proc)
        ad = batch.ended(proc)
        assert ad["JobStatus"] == 3
        assert "osgbatch cancel" in ad["RemoveReason"]
        assert proc < 2 or not ad.get("NumJobStarts")
    counts = batch_status(batch)["counts"]
    assert counts == {"succeeded": 3, "removed": 5}
    assert other.jobs() == [0, 1]
    osgbatch("cancel", other.folder, cwd=tmp_path)


@pytest.mark.once  # of the queue: jobs only sleep
def test_what_is_held_idle_or_at_most_so_many_is_cancelled(pool: Pool, tmp_path: Path) -> None:
    other = Batch(pool, tmp_path / "other", "600")
    batch = Batch(pool, tmp_path / "one", ", ".join(["600"] * 9), "max_running: 5\n")
    batch.wait_for([0, 1, 2, 3, 4], 2)
    batch.hold("ProcId == 1 || ProcId == 2")
    # what has changed its state meanwhile is left, and told
    (round_,) = load(batch.folder).rounds()
    assert condor.remove(round_, batch.cluster, [0, 3], ("waiting", "held")) == [0, 3]
    assert batch("cancel", "--held")["tasks"] == [1, 2]
    batch.wait_for([0, 3, 4, 5, 6], 2)
    done = batch("cancel", "--idle")
    assert (done["tasks"], done["not_queued"]) == ([7, 8], 2)
    done = batch("cancel", "--max", "2")
    assert (done["tasks"], done["not_queued"]) == ([5, 6], 0)
    pool.wait_for(lambda: batch.jobs() == [0, 3, 4], 30, "removal")
    # 7 and 8 would have come by now: the factory has ended
    assert batch("cancel", "--idle")["cancelled"] == 0
    assert batch("prioritize -3")["tasks"] == 3
    assert {ad["JobPrio"] for ad in pool.queue_ads(f"ClusterId == {batch.cluster}")} == {-3}
    assert batch("cancel")["cancelled"] > 0
    pool.wait_for(lambda: not batch.jobs(), 30, "removal")
    for proc in range(7):
        assert batch.ended(proc)["JobStatus"] == 3
    assert batch_status(batch)["counts"] == {"removed": 9}
    # a later round has the priority that was set
    number = batch("resubmit", "--tasks", "0")["cluster"]
    pool.wait_for(
        lambda: [ad["JobPrio"] for ad in pool.queue_ads(f"ClusterId == {number}")] == [-3],
        30,
        "the priority",
    )
    batch("cancel")
    ads = pool.queue_ads(f"ClusterId == {other.cluster}")
    assert [(ad["ProcId"], ad["JobPrio"]) for ad in ads] == [(0, 0)]
    # a job of two tasks: neither is cancelled without the other being told of
    two = Batch(pool, tmp_path / "two", "600, 600, 600, 600", "tasks_per_job: 2\n")
    assert "would go, too: 1" in two.fails("cancel --tasks 0,2-3", 2)
    assert two.jobs() == [0, 1]
    assert two("cancel", "--tasks", "0", "--yes")["not_chosen"] == [1]
    pool.wait_for(lambda: two.jobs() == [1], 30, "removal")
    # a factory that is held, and none of whose jobs is queued, is not cancelled by saying so
    held = Batch(pool, tmp_path / "held", "600, 600", "max_running: 1\n")
    pool.wait_for(lambda: held.jobs() == [0], 30, "a job")
    held.hold("ProcId =?= undefined")
    pool.run("condor_rm", f"{held.cluster}.0")
    pool.wait_for(lambda: not held.jobs(), 30, "removal")
    refuses = tmp_path / "bin/condor_rm"
    refuses.parent.mkdir()
    refuses.write_text("#!/bin/sh\necho no >&2\nexit 1\n")
    refuses.chmod(0o755)
    path = {"PATH": f"{refuses.parent}:{os.environ['PATH']}"}
    assert "were not removed" in held.fails("cancel --yes", 5, env=path)
    assert held("cancel --yes")["cancelled"] == 1
    (round_,) = load(held.folder).rounds()
    assert condor.look(round_, held.cluster).live == []
    # nobody answers: nothing is changed, and nothing is said to have failed
    silent = tmp_path / "condor_config"
    silent.write_text("LOCAL_DIR = /nowhere\nCOLLECTOR_HOST = 127.0.0.1:9\nSCHEDD_HOST = x\n")
    for command in ("cancel --held", "cancel --yes", "release"):
        told = two.fails(command, 5, env={"CONDOR_CONFIG": str(silent)})
        assert "condor_q" in told
    assert two.jobs() == [1]
    # another access point has the jobs, and this one does not know them
    noted = two.folder / "rounds/001/submitted.json"
    before = noted.read_text()
    here = {**json.loads(before), "host": "ap40.example.edu", "cluster": two.cluster + 1000}
    noted.write_text(json.dumps(here))
    for command in ("cancel --idle", "cancel --yes", "release"):
        assert "which was submitted on ap40.example.edu" in two.fails(command, 5)
    noted.write_text(before)
    for one in (other, two):
        osgbatch("cancel", one.folder, cwd=tmp_path)


@pytest.mark.once  # of the queue
def test_held_jobs_are_released_with_more_memory_and_the_factory_too(
    pool: Pool, tmp_path: Path
) -> None:
    batch = Batch(pool, tmp_path / "one", "2, 2, 0, 0", "max_running: 2\n")
    pool.wait_for(lambda: batch.jobs() == [0, 1], 30, "two jobs")
    batch.hold()  # the factory, too
    batch.wait_for([0, 1], 5)
    assert "asks for 100 MB of memory already" in batch.fails("release --memory 50MB", 2)
    assert batch.jobs(5) == [0, 1]
    # one job alone: what is not yet queued stays as it is, held
    assert batch("release", "--tasks", "1", "--memory", "300MB")["released"] == 1
    assert pool.terminate_event(batch.log, batch.cluster, 1).exit_code == 0
    assert batch.ended(1)["RequestMemory"] == 300
    assert batch.jobs() == [0]
    done = batch("release", "--memory", "200MB", "--disk", "70MB")
    assert (done["released"], done["not_queued"], done["resumed"]) == (1, 2, True)
    assert done["warnings"] == []
    for proc in (0, 2, 3):
        assert pool.terminate_event(batch.log, batch.cluster, proc).exit_code == 0
        ad = batch.ended(proc)
        assert (ad["RequestMemory"], ad["RequestDisk"]) == (200, 70 * 1024)
    assert batch_status(batch)["counts"] == {"succeeded": 4}
    assert batch("release")["released"] == 0


def batch_status(batch: Batch) -> dict[str, Any]:
    """What status says, whatever its exit code."""
    done = osgbatch("status", batch.folder, "--json", cwd=batch.folder, check=None)
    found: dict[str, Any] = json.loads(done.stdout)
    return found

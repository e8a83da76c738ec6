"""Old batches on a real pool: none is removed while a job is queued; one is moved too early."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import Pool
from sweeps import osgbatch, write_sweep

from osgbatch import condor
from osgbatch.batches.folder import load
from osgbatch.life import following

pytestmark = [pytest.mark.pool, pytest.mark.once]

SPEC = """\
command: sh -c 'sleep {nap}; echo done > outputs/told'
sweep: {nap: [6, 8, 0]}
resources: {memory: 50 MB, disk: 50 MB}
outputs: [outputs/told]
max_running: 3
"""


def test_a_batch_that_was_moved_while_its_jobs_ran(pool: Pool, tmp_path: Path) -> None:
    spec = write_sweep(tmp_path / "sweep", SPEC, {})
    said = osgbatch("submit", "--pool", "condor", "--json", "--no-watch", spec, cwd=tmp_path)
    submitted = json.loads(said.stdout)
    old, cluster, batch_id = Path(submitted["folder"]), int(submitted["cluster"]), submitted["id"]
    new = tmp_path / "elsewhere"
    log = old / "rounds/001/events.log"

    def counts(**wanted: int) -> None:
        def look() -> bool:
            return following.status(load(new)).counts == wanted

        pool.wait_for(look, 60, lambda: str(following.status(load(new)).counts))

    # The second runs, and is held by hand: it will start again when all is elsewhere.
    pool.event(1, log, cluster, 0)
    pool.event(1, log, cluster, 1)
    pool.run("condor_hold", f"{cluster}.1")
    pool.event(12, log, cluster, 1)
    shutil.move(old, new)
    pool.run("condor_release", f"{cluster}.1")
    osgbatch("rm", "--yes", new, cwd=tmp_path, check=6)  # the first runs
    # Its hold is told by a log that is begun anew, or by none, where the folder is not there yet.
    pool.wait_for(
        lambda: pool.queue_ads(f"ClusterId == {cluster} && HoldReasonCode == 13"),
        60,
        "a second hold",
    )
    pool.event(5, new / "rounds/001/events.log", cluster, 0)
    counts(succeeded=2, held=1)
    held = following.status(load(new), all_tasks=True).states[1]
    assert "Transfer input files failure" in held.reason
    said = osgbatch("status", new, cwd=tmp_path, check=1)
    assert f"They deliver to {old}" in said.stdout
    assert (old / "rounds/001/returned/0" / f"{cluster}_0_0.tar.gz").is_file()
    osgbatch("collect", "--no-gather", new, cwd=tmp_path, check=1)
    assert (new / "results/0/outputs/told").read_text() == "done\n"
    assert pool.history_ad(cluster, 0)["ExitCode"] == 0
    assert pool.terminate_event(new / "rounds/001/events.log", cluster, 0).exit_code == 0

    # A job that is only held keeps the batch, whatever its folder tells.
    assert condor.clusters_in_queue([batch_id, "0" * 12]) == {batch_id: [cluster]}
    refused = osgbatch("rm", "--yes", batch_id, cwd=tmp_path, check=6)
    assert "jobs of it are" in refused.stderr

    # What status advises helps.
    shutil.move(old, tmp_path / "aside")
    shutil.move(new, old)
    osgbatch("release", old, cwd=tmp_path)
    pool.wait_for(lambda: following.status(load(old)).counts == {"succeeded": 3}, 60, "success")
    pool.wait_for(lambda: not condor.clusters_in_queue([batch_id]), 30, "an empty queue")
    assert following.status(load(old)).notes == ()
    shutil.move(old, new)
    counts(succeeded=3)
    osgbatch("archive", "--rm", "--yes", new, cwd=tmp_path)
    assert not new.exists()
    shutil.unpack_archive(f"{new}.tar.gz", tmp_path)
    counts(succeeded=3)
    osgbatch("rm", "--yes", new, cwd=tmp_path)
    assert not new.exists()

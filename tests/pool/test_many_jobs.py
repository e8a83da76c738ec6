"""A sweep of many jobs: the queue holds a few of them at a time, and cancelling ends them all."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Pool
from sweeps import osgbatch, write_sweep

pytestmark = [pytest.mark.pool, pytest.mark.once]  # of the queue, whatever runs the jobs

TASKS = 20_000
SPEC = f"""\
command: [echo, "{{n}}"]
sweep: {{n: {{range: {TASKS}}}}}
resources: {{memory: 100 MB, disk: 50 MB}}
"""


def cluster_ad(pool: Pool, cluster: int) -> dict[str, Any] | None:
    """The ad of a cluster's factory; None when the queue has none."""
    answer = pool.run("condor_q", "-allusers", "-factory", "-json", str(cluster))
    ads: list[dict[str, Any]] = json.loads(answer) if answer.strip() else []
    return ads[0] if ads else None


def cluster_events(log: Path, cluster: int) -> list[str]:
    """The numbers of the events that are the factory's own; they have no proc."""
    text = log.read_text() if log.exists() else ""
    return re.findall(rf"^(\d{{3}}) \(0*{cluster}\.-", text, re.M)


def test_a_sweep_of_many_jobs_is_a_factory_that_runs_and_that_cancel_ends(
    pool: Pool, tmp_path: Path
) -> None:
    spec = write_sweep(tmp_path / "sweep", SPEC, {})
    said = osgbatch("submit", "--pool", "condor", "--no-watch", "--json", spec, cwd=spec.parent)
    submitted = json.loads(said.stdout)
    folder, cluster = Path(submitted["folder"]), int(submitted["cluster"])
    files = {path for path in folder.rglob("*") if path.is_file()}
    assert len(files - set((folder / "rounds/001/returned").rglob("*"))) <= 20
    ad = cluster_ad(pool, cluster)
    assert ad is not None
    assert ad["OSGBatchID"] == submitted["id"]
    assert ad["TotalSubmitProcs"] == TASKS
    most = ad["JobMaterializeMaxIdle"]
    assert 0 < most < TASKS / 2

    log = folder / "rounds/001/events.log"
    pool.wait_for(lambda: "035" in cluster_events(log, cluster), 30, "the factory's first event")
    ended = pool.wait_for(
        lambda: [e for e in pool.events(log) if e.number == 5][:5] or None, 30, "ended jobs"
    )
    for event in ended:
        assert event.exit_code == 0
        returned = folder / f"rounds/001/returned/{event.proc // 1000}"
        assert list(returned.glob(f"{cluster}_{event.proc}_*.tar.gz"))
    queued = [e for e in pool.events(log) if e.number == 0]
    assert len(queued) < TASKS / 2, "the queue was given all jobs at once"

    osgbatch("cancel", folder, cwd=spec.parent)
    mine = f"ClusterId == {cluster}"
    pool.wait_for(lambda: not pool.queue_ads(mine), 30, "removal of the jobs")
    pool.wait_for(lambda: cluster_ad(pool, cluster) is None, 30, "removal of the factory")
    pool.wait_for(lambda: "036" in cluster_events(log, cluster), 30, "the factory's last event")
    seen = pool.events(log)
    procs = {e.proc for e in seen if e.number == 0}
    # Each that was in the queue has ended, by itself or removed, and no other came after.
    assert {e.proc for e in seen if e.number in (5, 9)} == procs
    assert len(procs) < TASKS
    tasks = json.loads(osgbatch("status", folder, "--json", cwd=spec.parent, check=None).stdout)
    states = {task["state"] for task in tasks["tasks"]}
    assert states <= {"succeeded", "removed"}
    assert states >= {"succeeded", "removed"}

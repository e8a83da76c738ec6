"""Watching a batch on a real pool: it ends, it is stopped, it is left and come back to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Pool
from sweeps import osgbatch, write_sweep

from osgbatch import condor
from osgbatch.batches.folder import load
from osgbatch.errors import CondorError

pytestmark = [pytest.mark.pool, pytest.mark.once]

FAILING = """\
command: [sh, -c, "[ {n} -lt 3 ] || sleep 9999; echo no luck >&2; exit 3"]
sweep: {n: {range: 40}}
resources: {memory: 50 MB, disk: 50 MB}
max_running: 2
"""
"""Three that fail, and others that do not end by themselves, however long it takes."""


def test_the_rest_is_held_when_the_first_tasks_all_fail_alike(pool: Pool, tmp_path: Path) -> None:
    spec = write_sweep(tmp_path / "s", FAILING, {})
    told = json.loads(osgbatch("submit", "--json", spec, cwd=spec.parent).stdout)
    done = osgbatch("watch", told["folder"], "--stop-after", "3", cwd=spec.parent, check=1)
    assert "tasks all failed alike, so the rest is held" in done.stderr
    folder, cluster = Path(told["folder"]), told["cluster"]
    assert f"osgbatch release {told['id'][:6]}" in done.stderr
    ads = pool.queue_ads(f"ClusterId == {cluster}")
    assert ads and all(ad["JobStatus"] == 5 for ad in ads), ads
    assert all("osgbatch --stop-after" in ad["HoldReason"] for ad in ads)
    (round_,) = load(folder).rounds()
    queue = condor.look(round_, cluster)
    assert queue.paused or not queue.unqueued  # nothing follows from the factory
    osgbatch("cancel", "--yes", told["folder"], cwd=spec.parent)
    events = pool.events(folder / "rounds/001/events.log")
    procs = {number: [e.proc for e in events if e.number == number] for number in (0, 1, 5, 12)}
    assert sorted(procs[5]) == [0, 1, 2]
    assert {event.exit_code for event in events if event.number == 5} == {3}
    assert sorted(procs[5] + procs[12]) == sorted(procs[0])  # all that came into the queue
    assert len(procs[0]) < 40
    held = set[int]()
    for event in events:
        held |= {event.proc} if event.number == 12 else set()
        assert event.number != 1 or event.proc not in held, "a job started after its hold"


def test_watching_can_be_left_and_come_back_to(pool: Pool, tmp_path: Path) -> None:
    spec = write_sweep(
        tmp_path / "s",
        "command: [sh, -c, 'until [ -e {flag} ]; do sleep 0.2; done; echo x > outputs/x']\n"
        f"sweep: {{flag: ['{tmp_path}/flag']}}\nresources: {{memory: 50 MB, disk: 50 MB}}\n",
        {},
    )
    told = json.loads(osgbatch("submit", "--json", spec, cwd=spec.parent).stdout)
    folder, cluster = Path(told["folder"]), int(told["cluster"])
    log = folder / "rounds/001/events.log"
    pool.event(1, log, cluster, 0)
    (ad,) = pool.queue_ads(f"ClusterId == {cluster}")
    noted = folder / "rounds/001/submitted.json"
    said = json.loads(noted.read_text())
    assert ad["GlobalJobId"].startswith(f"{said['schedd']}#")
    (round_,) = load(folder).rounds()
    assert condor.ask_jobs(round_, cluster, 0.0, (), said["schedd"]).jobs[0].state == "running"
    with pytest.raises(CondorError, match="other@nowhere"):
        condor.ask_jobs(round_, cluster, 0.0, (), "other@nowhere")
    command = [sys.executable, "-m", "osgbatch", "watch", str(folder)]
    one = subprocess.Popen(
        [*command, "--notify", f'echo "$OSGBATCH_ENDED" > {tmp_path}/told; cat >> {tmp_path}/told'],
        cwd=spec.parent, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    other = subprocess.Popen(
        command, cwd=spec.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert other.stdout
    assert "1 running" in other.stdout.readline()
    other.send_signal(signal.SIGINT)
    _, said = other.communicate(timeout=60)
    assert other.returncode == 130
    assert f"osgbatch watch {told['id'][:6]}" in said
    assert pool.queue_ads(f"ClusterId == {cluster}")[0]["JobStatus"] == 2
    (folder / "state.db").unlink()
    os.close(os.open(tmp_path / "flag", os.O_CREAT))
    assert pool.terminate_event(log, cluster, 0).exit_code == 0
    said, _ = one.communicate(timeout=120)
    assert one.returncode == 0
    assert said.splitlines()[-1] == "1 task: 1 succeeded"
    lines = (tmp_path / "told").read_text().splitlines()
    assert lines[0] == "0"
    assert lines[1] == "osgbatch: s has ended: 1 succeeded"

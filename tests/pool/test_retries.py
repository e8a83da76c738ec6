"""What the submit file says of trying again: memory, checkpoints, files that cannot be brought."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import Event, Pool
from sweeps import Ran, osgbatch, write_sweep

pytestmark = pytest.mark.pool

EAT = """\
command: [sh, eat.sh, "{megabytes}"]
files: [eat.sh]
sweep: {megabytes: [1, 300]}
resources: {memory: 50 MB, disk: 50 MB}
retries: {memory: x12 up to 800 MB, disk: x2 up to 1 GB}
# not in a larger slot that an earlier job had claimed: what it has is what counts
requirements: {expr: PartitionableSlot || Memory < 300}
profile: ./pool.yaml
"""
EAT_SH = """\
# zeros in the memory of tail, which waits for a newline
(dd if=/dev/zero bs=1M count="$1" 2>/dev/null; sleep 4) | tail -n 1 >/dev/null
"""

COUNT = """\
command: [sh, count.sh]
files: [count.sh]
outputs: [outputs/seen]
resources: {memory: 100 MB, disk: 50 MB}
checkpoint: [n, kept]
"""
COUNT_SH = """\
n=0; [ ! -e n ] || n=$(cat n)
echo "from $n"
mkdir -p kept; echo "$n" >>kept/seen
sleep 1
n=$((n + 1)); echo "$n" >n
[ "$n" -ge 4 ] || exit 85
cp kept/seen outputs/seen
"""

BRING = """\
command: "true"
inputs: ['{url}']
resources: {memory: 50 MB, disk: 50 MB}
profile: ./pool.yaml
"""
POOL = "releases: 2\nrelease_after: 1 s\nbad_starts: 2\navoid: NoSlotHasThis\n"


def submitted(spec: Path) -> Ran:
    """A batch that is in the queue, and not waited for."""
    said = json.loads(
        osgbatch("submit", "--pool", "condor", "--json", spec, cwd=spec.parent).stdout
    )
    return Ran("condor", said, {}, Path(said["folder"]))


def ended(ran: Ran) -> Ran:
    """The same batch when it has ended and was collected."""
    spec_folder = ran.folder.parent.parent
    for verb in (["watch"], ["collect", "--no-gather"]):
        osgbatch(*verb, ran.folder, cwd=spec_folder, check=None)
    said = osgbatch("status", ran.folder, "--json", cwd=spec_folder, check=None)
    return Ran("condor", ran.submitted, json.loads(said.stdout), ran.folder)


def numbered(pool: Pool, ran: Ran, number: int, proc: int = 0) -> list[Event]:
    return [e for e in pool.events(ran.log) if (e.number, e.proc) == (number, proc)]


def test_over_its_memory_a_job_asks_for_more_and_one_that_was_moved_goes_on(
    pool: Pool, tmp_path: Path
) -> None:
    files = {"eat.sh": EAT_SH, "pool.yaml": POOL}
    eating = submitted(write_sweep(tmp_path / "eat", EAT, files))
    counting = submitted(write_sweep(tmp_path / "count", COUNT, {"count.sh": COUNT_SH}))
    cluster = int(counting.submitted["cluster"])
    # The first checkpoint is home when its transfer has ended.
    pool.wait_for(lambda: len(numbered(pool, counting, 40)) >= 4, what="a checkpoint")
    pool.run("condor_vacate_job", f"{cluster}.0")

    counting = ended(counting)
    pool.terminate_event(counting.log, cluster, 0)
    ad = pool.history_ad(cluster, 0)
    assert (ad["ExitCode"], ad["NumJobStarts"]) == (0, 2)
    assert len(numbered(pool, counting, 4)) == 1  # evicted
    task = counting.task(0)
    assert task["state"] == "succeeded"
    lines = counting.result(0, "stdout").decode().split("\n")
    assert lines[0] == "from 0" and lines[-2] == "from 3"
    assert "from 0" not in lines[1:], "it began anew"
    assert counting.result(0, "outputs/seen").decode().split() == [li[5:] for li in lines[:-1]]

    cluster = int(eating.submitted["cluster"])
    # An older HTCondor holds the job for a moment, and a watch ends when all that is left is held.
    bodies = [pool.terminate_event(eating.log, cluster, proc).body for proc in (0, 1)]
    eating = ended(eating)
    assert eating.status["counts"] == {"succeeded": 2}
    small, large = (pool.history_ad(cluster, proc) for proc in (0, 1))
    assert (small["ExitCode"], small["NumJobStarts"]) == (0, 1)
    assert large["ExitCode"] == 0 and large["NumJobStarts"] >= 2
    # The request of the last start, as the terminate event tells it.
    asked = [re.findall(r"Memory \(MB\) +: +\d+ +(\d+)", body) for body in bodies]
    assert asked == [["50"], ["600"]]


@contextmanager
def refusing() -> Iterator[str]:
    """A web server that says what is there, and gives nothing."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()

        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def rendered(pool: Pool, folder: Path, spec: str, files: dict[str, str]) -> tuple[int, Path]:
    """The cluster and the event log of a batch that is submitted by hand."""
    path = write_sweep(folder, spec, files)
    osgbatch("render", path, "--out", folder / "out", cwd=folder)
    for gone in folder.glob("gone*"):
        gone.unlink()
    said = pool.run("condor_submit", "-terse", folder / "out/rounds/001/job.submit", cwd=folder)
    return int(said.split(".")[0]), folder / "out/rounds/001/events.log"


@pytest.mark.once
def test_what_cannot_be_brought_is_tried_a_few_times_and_not_for_ever(
    pool: Pool, tmp_path: Path
) -> None:
    image = BRING.replace("inputs: ['{url}']", "environment: docker://127.0.0.1:9/none:1")
    with refusing() as url:
        made = {
            "url": rendered(
                pool, tmp_path / "url", BRING.replace("{url}", f"{url}/x"), {"pool.yaml": POOL}
            ),
            "gone": rendered(
                pool,
                tmp_path / "gone",
                BRING.replace("{url}", "gone.dat"),
                {"pool.yaml": POOL, "gone.dat": "x"},
            ),
            "image": rendered(
                pool,
                tmp_path / "image",
                image,
                {"pool.yaml": POOL.replace("starts: 2", "starts: 1")},
            ),
        }

        def held(name: str) -> dict[str, object] | None:
            ads = pool.queue_ads(f"ClusterId == {made[name][0]} && JobStatus == 5")
            return ads[0] if ads else None

        def for_good() -> bool:
            ad = held("url")
            return bool(ad and ad["NumHolds"] == 3)

        pool.wait_for(for_good, what="the third hold")
        ad = pool.wait_for(lambda: held("image"), what="a hold of the job without its image")
        assert (ad["HoldReasonCode"], ad["HoldReasonSubCode"]) == (3, 1)
        assert "started too often in vain" in str(ad["HoldReason"])
        assert "docker://127.0.0.1:9/none:1" in str(ad["HoldReason"])
        assert int(str(ad["NumShadowStarts"])) <= 2
    numbers = [e.number for e in pool.events(made["url"][1]) if e.number in (12, 13)]
    assert numbers == [12, 13, 12, 13, 12]
    numbers = [e.number for e in pool.events(made["gone"][1]) if e.number in (12, 13)]
    assert numbers == [12]
    missing = held("gone")
    assert missing and (missing["HoldReasonCode"], missing["HoldReasonSubCode"]) == (13, 2)
    pool.clear()

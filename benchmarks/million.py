"""A million tasks in a real queue: submitted, held, removed; time and memory of all who take part.

Run it inside a pool: `make bench` does. `million.py 100000` takes another number of tasks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import run
from sweeps import write_table

TASKS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
OSGBATCH = Path(sys.executable).parent / "osgbatch"
LIMIT_S = 120
STATES = {1: "idle", 2: "running", 3: "removed", 4: "completed", 5: "held"}
SHOWN = (
    "JobMaterializeMaxIdle", "JobMaterializeItemCount", "JobMaterializeNextProcId",
    "JobMaterializeNextRow", "JobMaterializePaused", "TotalSubmitProcs", "JobStatus",
)  # fmt: skip


def main() -> None:
    """Submit, look, hold, look, cancel, look."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for variable in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            os.environ[variable] = str(folder / variable)
        sweep = write_table(folder / "sweep", TASKS)
        print(
            f"{TASKS:,} tasks, one job each; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        )
        schedd = daemon("condor_schedd")
        before = memory(schedd)
        submitted = run(
            [OSGBATCH, "submit", "--no-watch", "--pool", "condor", "--json", "sweep.yaml"], sweep
        )
        said = json.loads(submitted.stdout)
        cluster = int(said["cluster"])
        print(
            f"osgbatch submit: {submitted.wall_s:.2f} s, peak {submitted.memory_mb:.0f} MiB; "
            f"cluster {cluster}"
        )
        began = time.perf_counter()
        ad = wait(lambda: at_least(cluster, "JobMaterializeNextProcId", 1))
        most = int(ad["JobMaterializeMaxIdle"])
        wait(lambda: len(jobs(cluster)) >= min(most, TASKS))
        print(f"its {most:,} waiting jobs were there {time.perf_counter() - began:.1f} s later")
        show("in the queue", cluster, schedd, before)

        subprocess.run(["condor_hold", str(cluster)], check=True, capture_output=True)
        wait(lambda: all(job["JobStatus"] == 5 for job in jobs(cluster)))
        ad = wait(lambda: at_least(cluster, "JobMaterializePaused", 1))
        show("held", cluster, schedd, before)

        cancelled = run([OSGBATCH, "cancel", str(said["folder"])], sweep)
        print(f"osgbatch cancel: {cancelled.wall_s:.2f} s, peak {cancelled.memory_mb:.0f} MiB")
        began = time.perf_counter()
        wait(lambda: not jobs(cluster) and not factories(cluster))
        print(f"the queue was empty {time.perf_counter() - began:.1f} s later")
        show("removed", cluster, schedd, before)
        print(f"load {os.getloadavg()[0]:.1f} at the end")


def show(when: str, cluster: int, schedd: int, before: float) -> None:
    """Print what the queue knows of the cluster, and the schedd's memory."""
    now = memory(schedd)
    states = Counter(job["JobStatus"] for job in jobs(cluster))
    counts = ", ".join(f"{count:,} {STATES.get(state, state)}" for state, count in states.items())
    print(f"{when}: jobs in the queue: {counts or 'none'}")
    print(f"  the schedd has {now:.0f} MiB, {now - before:+.0f} since before")
    for ad in factories(cluster):
        print("  cluster ad: " + ", ".join(f"{name} {ad[name]}" for name in SHOWN if name in ad))


def query(cluster: int, *options: str) -> list[dict[str, Any]]:
    """Ads of a cluster in the queue."""
    answer = subprocess.run(
        ["condor_q", "-allusers", *options, "-json", str(cluster)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    ads: list[dict[str, Any]] = json.loads(answer) if answer.strip() else []
    return ads


def jobs(cluster: int) -> list[dict[str, Any]]:
    """Its jobs that are in the queue."""
    return query(cluster, "-attributes", "ProcId,JobStatus")


def factories(cluster: int) -> list[dict[str, Any]]:
    """Its cluster ad, as a list of one, or of none."""
    return query(cluster, "-factory")


def at_least(cluster: int, name: str, least: int) -> dict[str, Any] | None:
    """The cluster ad when an attribute of it is as large as that."""
    return next((ad for ad in factories(cluster) if int(ad.get(name, 0)) >= least), None)


def wait(look: Callable[[], Any]) -> Any:
    """Ask until the answer is true, and return it."""
    limit = time.monotonic() + LIMIT_S
    while not (answer := look()):
        if time.monotonic() > limit:
            raise SystemExit("waited too long for the queue")
        time.sleep(0.2)
    return answer


def daemon(name: str) -> int:
    """The process of one of the pool's daemons."""
    log = Path(os.environ["OSGBATCH_POOL"])
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "comm").read_text().strip() != name:
                    continue
                if str(log).encode() in (entry / "environ").read_bytes():
                    return int(entry.name)
            except OSError:
                continue
    raise SystemExit(f"no {name} of this pool was found")


def memory(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()

"""20,000 tasks of 0.05 s, 50 in each job, through a real pool: all accounted for, and what it took.

`many_tasks.py 2000` takes another number of tasks. Run it inside a pool: `make bench` does.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from measure import run

TASKS = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
PER_JOB = 50
OSGBATCH = Path(sys.executable).parent / "osgbatch"
SPEC = """\
command: [sh, -c, "sleep 0.05; echo {n} > outputs/n"]
sweep: {n: {range: %d}}
outputs: [outputs/n]
tasks_per_job: %d
resources: {memory: 50 MB, disk: 50 MB}
"""


def main() -> None:
    """Submit, watch, collect, count."""
    print(f"{TASKS:,} tasks, {PER_JOB} per job; {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_STATE_HOME"] = f"{name}/state"
        sweep = Path(name) / "many"
        sweep.mkdir()
        (sweep / "sweep.yaml").write_text(SPEC % (TASKS, PER_JOB))
        began = time.perf_counter()
        submitted = run([OSGBATCH, "submit", "--no-watch", "--json", "sweep.yaml"], sweep)
        batch = Path(json.loads(submitted.stdout)["folder"])
        watched = run([OSGBATCH, "watch", batch], sweep)
        wall = time.perf_counter() - began
        looked = run([OSGBATCH, "status", batch], sweep)
        collected = run([OSGBATCH, "collect", batch], sweep)
        for what, taken in (
            ("submit", submitted), ("watch", watched), ("status", looked), ("collect", collected),
        ):  # fmt: skip
            print(
                f"osgbatch {what:<8} {taken.wall_s:7.1f} s wall, {taken.cpu_s:6.1f} s cpu, "
                f"peak {taken.memory_mb:.0f} MiB"
            )
        print(f"from submit to the last result {wall:.0f} s: {TASKS / wall:.0f} tasks/s")
        with (batch / "results" / "results.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        wrong = [
            row["index"]
            for row in rows
            if row["state"] != "succeeded"
            or (batch / "results" / row["index"] / "outputs/n").read_text().strip() != row["n"]
        ]
        print(dict(Counter(row["state"] for row in rows)))
        if len(rows) != TASKS or wrong:
            raise SystemExit(f"not accounted for: {len(rows)} rows, wrong: {wrong[:20]}")


if __name__ == "__main__":
    main()

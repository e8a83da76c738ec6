"""The crate of a large batch: time and memory to write it, and to verify the results by it.

    .venv/bin/python benchmarks/provenance.py [TASKS]

The results are made here, in a folder for temporary files: as collect writes them, three files for
each task and its status.json. Needs no pool.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from measure import Sample, run

TASKS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 100_000
BAR_S = 20.0

SPEC = f"""\
command: python3 job.py {{x}}
sweep: {{x: {{range: {TASKS}}}}}
files: [job.py]
"""

WRITE = """\
import sys, time
from pathlib import Path
from osgbatch.batches import folder
from osgbatch.results.crated import write_crate
from osgbatch.model import TaskState
batch = folder.load(Path(sys.argv[1]))
archive = batch.folder / "rounds/001/returned/0/7_0_0.tar.gz"
record = {"start": "1795000000.5", "end": "1795000060.25", "memory_kb": "200000", "disk_kb": "100"}
job = {"host": "ep1.example.edu", "site": "EXAMPLE"}
states = [
    TaskState(i, "succeeded", exit_code=0, attempts=1, round=1, archive=archive, record=record,
              job_record=job)
    for i in range(batch.tasks)
]
began = time.perf_counter()
print(write_crate(batch, states).files)
print(time.perf_counter() - began)
"""


def main() -> None:
    """Make the results, write their crate, verify them, print what it took."""
    with tempfile.TemporaryDirectory(prefix="osgbatch-provenance-") as room:
        top = Path(room)
        os.environ |= {
            "XDG_CACHE_HOME": f"{room}/cache",
            "XDG_STATE_HOME": f"{room}/state",
            "XDG_CONFIG_HOME": f"{room}/config",
        }
        (top / "sweep.yaml").write_text(SPEC)
        (top / "job.py").write_text("print()\n")
        command = [sys.executable, "-m", "osgbatch"]
        run([*command, "render", top / "sweep.yaml", "--out", top / "batch"])
        make_results(top / "batch" / "results")
        print(f"load {os.getloadavg()[0]:.1f}")
        wrote = run([sys.executable, "-c", WRITE, top / "batch"])
        files, inside = wrote.stdout.split()
        size = sum(p.stat().st_size for p in (top / "batch/provenance").rglob("*") if p.is_file())
        told(f"provenance of {TASKS:,} tasks, {files} files", wrote, BAR_S * TASKS / 100_000)
        print(
            f"  of that without start-up and states {float(inside):.1f} s; {size / 2**20:.1f} MiB"
        )
        told("osgbatch verify of them", run([*command, "verify", top / "batch"]))
        began = time.perf_counter()
        run(["sha256sum", "--quiet", "-c", "../provenance/manifest.sha256"], top / "batch/results")
        print(f"sha256sum -c of them: {time.perf_counter() - began:.1f} s")
        print(f"load {os.getloadavg()[0]:.1f}")


def told(what: str, sample: Sample, bar: float = 0.0) -> None:
    """Print what something took."""
    missed = " MISSED" if bar and sample.wall_s > bar else ""
    beside = f" (bar {bar:.0f} s{missed})" if bar else ""
    print(
        f"{what}: {sample.wall_s:.1f} s{beside}, cpu {sample.cpu_s:.1f} s, peak "
        f"{sample.memory_mb:.0f} MiB"
    )


def make_results(results: Path) -> None:
    """A folder for each task, as collect writes it."""
    results.mkdir()
    content = {"outputs/result.txt": b"0.5\n", "stdout": b"done\n", "stderr": b""}
    files = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    told_ = {"state": "succeeded", "reason": "ok", "archive": "0/7_0_0.tar.gz", "task": {"a": "b"}}
    for index in range(TASKS):
        folder = f"{results}/{index}"
        os.makedirs(f"{folder}/outputs")
        for name, data in content.items():
            with open(f"{folder}/{name}", "wb") as out:
                out.write(data)
        with open(f"{folder}/status.json", "w") as text:
            json.dump({"index": index, **told_, "files": files, "links": {}}, text, indent=1)
    (results / "results.csv").write_text("index\n" * TASKS)


if __name__ == "__main__":
    main()

"""`osgbatch report` of a batch of 100,000 tasks: time, memory, and the size of the page.

`report.py 10000` takes another number of tasks. The batch is made by this file: one job for each
task with its events, its records in state.db, and a metric; nothing runs.
"""

from __future__ import annotations

import json
import math
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measure import Sample, run

from osgbatch.batches.folder import Batch
from osgbatch.batches.notes import write_submitted
from osgbatch.batches.store import ArchiveRow, Store, TaskRow
from osgbatch.life.following import status
from osgbatch.model import Submitted
from osgbatch.submission import steps

TASKS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
SECONDS, MEGABYTES = 15.0, 5.0
CLUSTER = 123
SITES = 25
SLOTS = 400
START = 1_795_000_000
OSGBATCH = Path(sys.executable).parent / "osgbatch"
SPEC = """\
name: scan
command: python3 task.py {{a}} {{b}}
sweep:
  a: {{range: {a}}}
  b: {{linspace: [0, 1, {b}]}}
resources: {{memory: 2 GB, disk: 1 GB, time: 1 h}}
"""
TABLE = """\
\tPartitionable Resources :    Usage  Request Allocated
\t   Cpus                 :     0.93        1         1
\t   Disk (KB)            :   {disk:8} 1048576   1048576
\t   Memory (MB)          :   {memory:8}     2048      2048
"""


def make_batch(folder: Path) -> Batch:
    """A batch that has ended, of two parameters; one in a hundred tasks has failed."""
    side = max(1, round(math.sqrt(TASKS / 2.5)))
    (folder / "sweep.yaml").write_text(SPEC.format(a=side, b=-(-TASKS // side)))
    batch = steps.render_sweep(folder / "sweep.yaml", None, lambda text: None)
    round_ = batch.rounds()[0]
    write_submitted(round_, Submitted("condor", CLUSTER, batch.tasks, 0.0, "elsewhere"))
    with (round_.folder / "events.log").open("w") as log:
        log.writelines(_events(batch.tasks))
    status(batch)
    store = Store(batch.folder / "state.db")
    rows: list[TaskRow] = []
    with store.look() as look:
        for proc in range(batch.tasks):
            job, record = _records(proc)
            row = ArchiveRow(proc, 0, f"{CLUSTER}_{proc}_0.tar.gz", 1, 1, job)
            look.put_archive(1, row, {proc: record}, {})
            state, reason, code = ("failed", "exit", 3) if proc % 100 == 7 else ("succeeded", "", 0)
            rows.append((proc, state, reason, "", code, None, 1, 1, proc, 0, False))
        look.put_tasks(rows)
    _results(batch)
    return batch


def _results(batch: Batch) -> None:
    """A metric of each task, as collect would have put it."""
    for index in range(batch.tasks):
        if index % 100 != 7:
            outputs = batch.folder / "results" / str(index) / "outputs"
            outputs.mkdir(parents=True)
            (outputs / "metrics.json").write_text(json.dumps({"score": index % 977 / 977}))


def _begin(proc: int) -> float:
    return START + proc // SLOTS * 600.0 + proc % 7


def _took(proc: int) -> float:
    return random.Random(proc).lognormvariate(5.7, 0.3)


def _events(tasks: int) -> Iterator[str]:
    for proc in range(tasks):
        yield _event(0, proc, START, "Job submitted from host: <1.2.3.4>\n")
    for proc in range(tasks):
        now, slot = _begin(proc), f"slot1_{proc % 10}@host{proc % SLOTS // 10}.example.org"
        yield _event(40, proc, now, "Started transferring input files\n")
        yield _event(40, proc, now + 5, "Finished transferring input files\n")
        yield _event(1, proc, now + 5, f"Job executing on host: <1.2.3.4>\n\tSlotName: {slot}\n")
        if proc % 50 == 3:
            yield _event(4, proc, now + 40, "Job was evicted.\n\t(0) CPU times\n")
            now += 60
            yield _event(
                1, proc, now + 5, f"Job executing on host: <1.2.3.4>\n\tSlotName: {slot}\n"
            )
        end = now + 10 + _took(proc)
        yield _event(40, proc, end - 2, "Started transferring output files\n")
        how = "(1) Normal termination (return value 0)\n"
        table = TABLE.format(disk=20_000 + proc % 9000, memory=300 + proc % 211)
        yield _event(5, proc, end, f"Job terminated.\n\t{how}{table}")


def _event(kind: int, proc: int, when: float, text: str) -> str:
    from datetime import datetime

    stamp = datetime.fromtimestamp(int(when)).isoformat(" ")
    return f"{kind:03} ({CLUSTER}.{proc:03}.000) {stamp} {text}...\n"


def _records(proc: int) -> tuple[dict[str, str], dict[str, str]]:
    host = f"host{proc % SLOTS // 10}.example.org"
    begin = _begin(proc) + 8
    job = {"host": host, "site": f"Site-{proc % SLOTS // 10 % SITES}", "state": "finished"}
    return job, {
        "index": str(proc), "state": "failed" if proc % 100 == 7 else "succeeded",
        "start": f"{begin}", "end": f"{begin + _took(proc)}",
        "memory_kb": f"{300_000 + 1000 * (proc % 211)}", "disk_kb": f"{20_000 + proc % 9000}",
    }  # fmt: skip


def told(name: str, sample: Sample, page: Path) -> None:
    """Print what was measured, and the bars."""
    size = page.stat().st_size / 1e6
    missed = [] if sample.wall_s <= SECONDS else [f"{SECONDS:.0f} s"]
    missed += [] if size <= MEGABYTES else [f"{MEGABYTES:.0f} MB"]
    print(
        f"{name}: {sample.wall_s:.1f} s (cpu {sample.cpu_s:.1f} s), peak {sample.memory_mb:.0f} "
        f"MiB, page {size:.2f} MB" + (f"  MISSED {', '.join(missed)}" if missed else "")
    )


def main() -> None:
    """Make the batch, and its report three times."""
    with tempfile.TemporaryDirectory(prefix="osgbatch-bench-") as name:
        batch = make_batch(Path(name))
        print(f"{batch.tasks:,} tasks; bars: {SECONDS:.0f} s, {MEGABYTES:.0f} MB")
        page = Path(name) / "report.html"
        for turn in range(3):
            command = ["sh", "-c", '"$@" || [ $? = 1 ]', "sh", OSGBATCH, "report", batch.folder]
            told(f"osgbatch report, {turn + 1}", run([*command, "--out", page]), page)


if __name__ == "__main__":
    main()

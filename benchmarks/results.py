"""`results.csv` of 100,000 tasks: with what is known (state.db), and without.

    python benchmarks/results.py [TASKS] [ROUNDS]

The batch is made by hand: an event log as HTCondor writes it, and either a state.db filled as a
look at returned archives fills it, or the archives themselves, 50 tasks in each. Measured is what
`osgbatch collect` does after unpacking: the states of all tasks, their metrics, the table.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from eventlog import CLUSTER, log_of, make_batch, told
from measure import alternate, report, run

from osgbatch.batches.folder import load
from osgbatch.batches.store import ArchiveRow, Store
from osgbatch.life.following import status
from osgbatch.names import return_folder

TASKS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
BAR_S = 10.0
TASKS_OF_A_JOB = 50
TABLE = """
import resource, sys, time
from pathlib import Path
from osgbatch import names
from osgbatch.batches.folder import load
from osgbatch.life.following import status
from osgbatch.results.result_rows import result_table
from osgbatch.collecting.table import write_results
folder = Path(sys.argv[1])
began = time.perf_counter()
batch = load(folder)
now = status(batch, all_tasks=True)
looked = time.perf_counter()
table = result_table(batch, now.states)
read = time.perf_counter()
write_results(folder / names.RESULTS / names.RESULTS_TABLE, table.columns, table.cells())
written = time.perf_counter()
assert len(table) == int(sys.argv[2]), len(table)
assert now.counts == {"succeeded": len(table)}, now.counts
print(f"look {looked - began:.2f} metrics {read - looked:.2f} table {written - read:.2f}")
"""
COLUMNS = ("threshold", "label", "seed", "lfp")


def job_record(proc: int, tasks: int) -> dict[str, str]:
    """What the shim tells of a job."""
    return {
        "shim": "1", "batch": "4a8012345678", "round": "1", "cluster": str(CLUSTER),
        "proc": str(proc), "tasks": str(tasks), "state": "finished", "reason": "ok", "detail": "",
        "exit_code": "0", "host": f"ep{proc % 400}.example.org", "slot": f"slot1_{proc % 32}",
        "site": f"SITE-{proc % 20}", "os": "AlmaLinux 9.4", "cpu": "AMD EPYC 7763", "cores": "1",
        "start": "1795170000.123", "end": "1795170009.456", "selftest_s": "0.021",
        "unpack_s": "1.502", "env_s": "0.310", "first_command_s": "1.900", "tasks_s": "7.100",
        "pack_s": "0.080", "disk_free_kb": "81234567",
    }  # fmt: skip


def task_record(index: int) -> dict[str, str]:
    """What it tells of a task."""
    return {
        "index": str(index), "state": "succeeded", "reason": "ok", "detail": "", "exit_code": "0",
        "tries": "1", "start": f"{1795170000 + index / 1000:.3f}",
        "end": f"{1795170005 + index / 990:.3f}", "memory_kb": str(40_000 + index % 9000),
        "memory_source": "cgroup", "disk_kb": str(1200 + index % 300), "outputs": "1",
    }  # fmt: skip


def batch_of(folder: Path, tasks: int, jobs: int) -> Path:
    """A batch folder with parameters, and an event log in which all its jobs have ended."""
    make_batch(folder, jobs)
    data = json.loads((folder / "resolved.json").read_text())
    data |= {
        "tasks": tasks, "columns": list(COLUMNS), "item_names": ["tasks", "rows", "inputs"],
        "resources": {"cpus": 1, "memory_mb": 1024, "disk_kb": 2097152},
    }  # fmt: skip
    (folder / "resolved.json").write_text(json.dumps(data))
    each = tasks // jobs
    with (folder / "rounds" / "001" / "jobs.items").open("w") as stream:
        stream.writelines(
            f"{p * each}-{p * each + each - 1} xxxx \n" if each > 1 else f"{p} xxxx \n"
            for p in range(jobs)
        )
    with (folder / "tasks.csv").open("w") as stream:
        stream.write(",".join(f'"{name}"' for name in ("index", *COLUMNS)) + "\n")
        stream.writelines(
            f'{i},"{i / 7:.6f}","label {i % 12}","{i}","data/{i % 1000}.npy"\n'
            for i in range(tasks)
        )
    (folder / "results").mkdir()
    return folder


def warm(folder: Path) -> Path:
    """Each task in a job of its own, and all in state.db."""
    batch_of(folder, TASKS, TASKS)
    batch = load(folder)
    status(batch)
    store = Store(folder / "state.db")
    with store.look():
        for proc in range(TASKS):
            name = f"{CLUSTER}_{proc}_0.tar.gz"
            row = ArchiveRow(proc, 0, name, 900, 1, job_record(proc, 1))
            store.put_archive(1, row, {proc: task_record(proc)}, {})
        store.put_tasks((i, "succeeded", "", "", 0, None, 1, 1, i, 0, False) for i in range(TASKS))
    return folder


def metrics(folder: Path) -> None:
    """A metrics.json of 100 bytes for each task."""
    for index in range(TASKS):
        outputs = folder / "results" / str(index) / "outputs"
        outputs.mkdir(parents=True)
        text = json.dumps({"loss": index / 3, "fit": {"r2": 0.5 + index / 1e6, "n": index}})
        (outputs / "metrics.json").write_text(text.ljust(100))


def cold(folder: Path) -> Path:
    """50 tasks in each job, their archives, and nothing known."""
    jobs = TASKS // TASKS_OF_A_JOB
    batch_of(folder, jobs * TASKS_OF_A_JOB, jobs)
    for proc in range(jobs):
        place = return_folder(folder / "rounds" / "001", proc)
        place.mkdir(parents=True, exist_ok=True)
        with tarfile.open(place / f"{CLUSTER}_{proc}_0.tar.gz", "w:gz", compresslevel=1) as tar:
            _add(tar, "job", job_record(proc, TASKS_OF_A_JOB))
            for index in range(proc * TASKS_OF_A_JOB, (proc + 1) * TASKS_OF_A_JOB):
                _add(tar, f"tasks/{index}/status", task_record(index) | {"outputs": "0"})
                for name in ("stdout", "stderr", "sha256"):
                    _add(tar, f"tasks/{index}/{name}", {})
    return folder


def _add(tar: tarfile.TarFile, name: str, record: dict[str, str]) -> None:
    text = "".join(f"{key}={value}\n" for key, value in record.items()).encode()
    member = tarfile.TarInfo(name)
    member.size = len(text)
    tar.addfile(member, io.BytesIO(text))


def measured(what: str, folder: Path, tasks: int, *, forget: bool = False) -> None:
    """Time and memory of one case, beside the bar."""

    def once() -> object:
        if forget:
            (folder / "state.db").unlink(missing_ok=True)
        return run([sys.executable, "-c", TABLE, folder, str(tasks)])

    taken = alternate(ROUNDS, {what: once})  # type: ignore[dict-item]
    medians = report(taken)
    print(f"    {taken[what][-1].stdout.strip()}")
    told(f"{what}, s", medians[what], BAR_S)


def main() -> None:
    """All of it."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {TASKS:,} tasks")
    with tempfile.TemporaryDirectory(prefix="results-bench-") as name:
        os.environ["XDG_STATE_HOME"] = f"{name}/state"
        began = time.perf_counter()
        folder = warm(Path(name) / "warm")
        print(f"made in {time.perf_counter() - began:.0f} s: {log_of(folder).stat().st_size:,} B")
        measured("state.db warm", folder, TASKS)
        metrics(folder)
        measured("the same, metrics of each task", folder, TASKS)
        cold(Path(name) / "cold")
        tasks = TASKS // TASKS_OF_A_JOB * TASKS_OF_A_JOB
        measured("no state.db, archives read", Path(name) / "cold", tasks, forget=True)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

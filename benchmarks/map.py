"""`osgbatch.map` of 10,000 items, and gathering 10,000 results, beside submitit's `map_array`.

    python benchmarks/map.py [ITEMS] [ROUNDS]

Inside a pool the calls are submitted to it (no slot matches them); without one, to a stub in place
of the local runner. submitit is given a stub in place of Slurm's `sbatch`. Each run is a process of
its own; what is measured is told by it, so that starting Python does not count. The results are
made by hand, as the shim and as submitit's jobs write them.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import statistics
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from measure import Sample, alternate, run

from osgbatch import condor
from osgbatch.calls import values
from osgbatch.calls.package import RETURNED
from osgbatch.names import return_folder
from osgbatch.task_ranges import parse_task_ranges

ITEMS = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
QUEUED_S, GATHERED_S, FILES = 3.0, 5.0, 20
MAP = """
import os, sys, time
folder, items, stub = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "stub"
os.chdir(folder)
import osgbatch
if stub:
    from osgbatch import local
    from osgbatch.model import Submitted
    local.submit = lambda round_: Submitted("local", 1, round_.jobs, time.time())
def double(x):
    return 2 * x
keys = {} if stub else {"requirements": {"expr": "false"}}
began = time.perf_counter()
results = osgbatch.map(double, range(items), pool="local" if stub else "condor", quiet=True, **keys)
took = time.perf_counter() - began
files = sum(len(names) for _, _, names in os.walk(folder))
print(took, files, results.folder)
if not stub:
    results.cancel()
"""
MAP_ARRAY = """
import os, sys, time
folder, items = sys.argv[1], int(sys.argv[2])
import submitit
def double(x):
    return 2 * x
executor = submitit.SlurmExecutor(folder=folder)
executor.update_parameters(time=10, array_parallelism=500)
began = time.perf_counter()
jobs = executor.map_array(double, range(items))
took = time.perf_counter() - began
files = sum(len(names) for _, _, names in os.walk(folder))
print(took, files, folder)
"""
GATHER = """
import os, sys, time
import osgbatch
began = time.perf_counter()
found = list(osgbatch.load(sys.argv[1]))
took = time.perf_counter() - began
assert found == [2 * x for x in range(int(sys.argv[2]))], found[:20]
files = sum(len(names) for _, _, names in os.walk(sys.argv[1]))
print(took, files, sys.argv[1])
"""
GATHER_ARRAY = """
import os, sys, time
import submitit
folder, items = sys.argv[1], int(sys.argv[2])
jobs = [submitit.SlurmJob(folder, f"7_{i}") for i in range(items)]
began = time.perf_counter()
found = [job.result() for job in jobs]
took = time.perf_counter() - began
assert found == [2 * x for x in range(items)], found[:20]
files = sum(len(names) for _, _, names in os.walk(folder))
print(took, files, folder)
"""
EVENTS = (
    "000 (007.{0:03d}.000) 2026-11-20 10:00:00 Job submitted from host: <x>\n...\n"
    "001 (007.{0:03d}.000) 2026-11-20 10:00:01 Job executing on host: <x>\n...\n"
    "005 (007.{0:03d}.000) 2026-11-20 10:00:09 Job terminated.\n"
    "\t(1) Normal termination (return value 0)\n...\n"
)


def record(fields: Mapping[str, object]) -> bytes:
    """Lines as the shim writes them."""
    return "".join(f"{key}={value}\n" for key, value in fields.items()).encode()


def bring(batch: Path) -> None:
    """All that the jobs of a batch of calls bring home, as if HTCondor had run them."""
    identity = json.loads((batch / "resolved.json").read_text())["batch_id"]
    home = batch / "rounds" / "001"
    jobs = [line.split(" ", 1)[0] for line in (home / "jobs.items").read_text().splitlines()]
    noted = {"backend": "condor", "cluster": 7, "jobs": len(jobs), "time": 1.0}
    (home / "submitted.json").write_text(json.dumps(noted))
    with (home / "events.log").open("w") as log:
        for proc, tasks in enumerate(jobs):
            log.write(EVENTS.format(proc))
            place = return_folder(home, proc)
            place.mkdir(parents=True, exist_ok=True)
            job = {"shim": 1, "batch": identity, "round": 1, "cluster": 7, "proc": proc}
            job |= {"tasks": tasks, "state": "finished", "reason": "ok", "exit_code": 0}
            members: dict[str, bytes] = {"job": record(job)}
            for index in parse_task_ranges(tasks):
                data = values.encode(2 * index)
                digest = hashlib.sha256(data).hexdigest()
                task = {"index": index, "state": "succeeded", "reason": "ok", "exit_code": 0}
                members |= {
                    f"tasks/{index}/status": record(task | {"outputs": 1}),
                    f"tasks/{index}/stdout": b"",
                    f"tasks/{index}/stderr": b"",
                    f"tasks/{index}/sha256": f"{digest}  {RETURNED}\n".encode(),
                    f"tasks/{index}/data/{RETURNED}": data,
                }
            with tarfile.open(place / f"7_{proc}_0.tar.gz", "w:gz", compresslevel=1) as tar:
                for name, content in members.items():
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))


def bring_array(folder: Path) -> None:
    """What submitit's jobs write: a pickle for each, as its own code makes it."""
    from submitit.core import utils

    for index in range(ITEMS):
        place = folder / f"7_{index}_0_result.pkl"
        utils.cloudpickle_dump(("success", 2 * index), place)


def told(samples: Mapping[str, list[Sample]], bars: Mapping[str, float]) -> None:
    """Medians of what the processes told, their memory and files, and the ratio."""
    medians: dict[str, float] = {}
    for name, taken in samples.items():
        times = [float(sample.stdout.split()[0]) for sample in taken]
        files = taken[-1].stdout.split()[1]
        medians[name] = statistics.median(times)
        bar = bars.get(name, 0.0)
        missed = "   MISSED" if bar and medians[name] > bar else ""
        print(
            f"{name:<26} median {medians[name]:6.2f} s ({min(times):.2f} to {max(times):.2f}, "
            f"{len(times)} runs)   cpu {statistics.median(s.cpu_s for s in taken):5.2f} s   "
            f"peak {max(s.memory_mb for s in taken):.0f} MiB   {files} files"
            + (f"   (<= {bar:g} s){missed}" if bar else "")
        )
        if name == "osgbatch.map" and int(files) > FILES:
            print(f"    {files} files are more than {FILES}   MISSED")
    ours, theirs = medians.values()
    print(f"    osgbatch takes {ours / theirs:.2f} times as long as submitit")


def main() -> None:
    """Both halves."""
    stub = "pool" if condor.configured() else "stub"
    print(f"{ITEMS:,} items to a {stub}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="map-bench-") as name:
        os.environ["XDG_STATE_HOME"] = f"{name}/state"
        top = Path(name)
        (top / "bin").mkdir()
        sbatch = top / "bin" / "sbatch"
        sbatch.write_text("#!/bin/sh\necho Submitted batch job 7\n")
        sbatch.chmod(0o755)
        for tool in ("srun", "squeue", "sacct", "scancel"):
            shutil.copy(sbatch, top / "bin" / tool)
        os.environ["PATH"] = f"{top}/bin:{os.environ['PATH']}"

        def fresh(what: str) -> Path:
            shutil.rmtree(top / what, ignore_errors=True)
            (top / what).mkdir()
            return top / what

        def mapped() -> Sample:
            return run([sys.executable, "-c", MAP, fresh("ours"), str(ITEMS), stub])

        def mapped_array() -> Sample:
            return run([sys.executable, "-c", MAP_ARRAY, fresh("theirs"), str(ITEMS)])

        samples = alternate(ROUNDS, {"osgbatch.map": mapped, "submitit map_array": mapped_array})
        told(samples, {"osgbatch.map": QUEUED_S})
        batch = Path(samples["osgbatch.map"][-1].stdout.split()[2])
        shutil.rmtree(batch / "rounds" / "001" / "returned", ignore_errors=True)
        (batch / "state.db").unlink(missing_ok=True)
        bring(batch)
        bring_array(fresh("theirs"))

        def gathered() -> Sample:
            (batch / "state.db").unlink(missing_ok=True)
            return run([sys.executable, "-c", GATHER, batch, str(ITEMS)])

        def gathered_array() -> Sample:
            return run([sys.executable, "-c", GATHER_ARRAY, top / "theirs", str(ITEMS)])

        samples = alternate(
            ROUNDS, {"osgbatch gather": gathered, "submitit job.result()": gathered_array}
        )
        told(samples, {"osgbatch gather": GATHERED_S})
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

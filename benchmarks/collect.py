"""`osgbatch collect` of 10,000 archives of 100 kB, beside a loop of `tar -xzf` with sha256sum.

`collect.py 2000 5` takes another number of archives, and of runs. The archives are as the shim
makes them, of jobs of one task each, with one file of numbers. Both begin with nothing: no
`state.db`, no `results/`. Both start from the same files, which are in the page cache.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from measure import Sample, alternate, report, run

ARCHIVES = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
RUNS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
SIZE = 100_000
OSGBATCH = Path(sys.executable).parent / "osgbatch"
SPEC = """\
command: [sh, -c, "true"]
sweep: {n: {range: %d}}
outputs: [outputs/numbers.bin]
"""
LOOP = """\
set -e
for archive in "$1"/rounds/001/returned/*/*.tar.gz; do
    name=${archive##*/}
    mkdir -p "$2/$name"
    tar -xzf "$archive" -C "$2/$name"
    for sums in "$2/$name"/tasks/*/sha256; do
        (cd "${sums%/*}/data" && sha256sum --quiet -c ../sha256)
    done
done
"""
EVENTS = (
    "000 (007.{0:03d}.000) 2026-11-20 10:00:00 Job submitted from host: <x>\n...\n"
    "001 (007.{0:03d}.000) 2026-11-20 10:00:01 Job executing on host: <x>\n...\n"
    "005 (007.{0:03d}.000) 2026-11-20 10:00:09 Job terminated.\n"
    "\t(1) Normal termination (return value 0)\n...\n"
)


def archive(path: Path, batch: str, proc: int, content: bytes) -> None:
    """What a job of one task brings home."""
    job = {"shim": 1, "batch": batch, "round": 1, "cluster": 7, "proc": proc, "tasks": proc}
    job |= {
        "state": "finished",
        "reason": "ok",
        "exit_code": 0,
        "host": "ep7",
        "start": 1,
        "end": 9,
    }
    task = {"index": proc, "state": "succeeded", "reason": "ok", "exit_code": 0, "outputs": 1}
    task |= {"start": 2, "end": 8, "memory_kb": 1000, "disk_kb": 100}
    digest = hashlib.sha256(content).hexdigest()
    home = f"tasks/{proc}"
    members: dict[str, bytes | None] = {
        "job": "".join(f"{k}={v}\n" for k, v in job.items()).encode(),
        "tasks": None,
        home: None,
        f"{home}/stdout": b"done\n",
        f"{home}/stderr": b"",
        f"{home}/sha256": f"{digest}  outputs/numbers.bin\n".encode(),
        f"{home}/data": None,
        f"{home}/data/outputs": None,
        f"{home}/data/outputs/numbers.bin": content,
        f"{home}/status": "".join(f"{k}={v}\n" for k, v in task.items()).encode(),
    }
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT, compresslevel=1) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.type = tarfile.REGTYPE if data is not None else tarfile.DIRTYPE
            info.size, info.mode = len(data or b""), 0o644 if data is not None else 0o755
            tar.addfile(info, io.BytesIO(data or b""))


def make_batch(folder: Path) -> Path:
    """A batch of which everything has come back."""
    (folder / "sweep.yaml").write_text(SPEC % ARCHIVES)
    made = run([OSGBATCH, "render", "--json", "sweep.yaml"], folder)
    batch = Path(json.loads(made.stdout)["folder"])
    identity = json.loads((batch / "resolved.json").read_text())["batch_id"]
    home = batch / "rounds/001"
    noted = {"backend": "condor", "cluster": 7, "jobs": ARCHIVES, "time": 1.0}
    (home / "submitted.json").write_text(json.dumps(noted))
    chance = random.Random(1)
    with (home / "events.log").open("w") as log:
        for proc in range(ARCHIVES):
            log.write(EVENTS.format(proc))
            place = home / "returned" / str(proc // 1000)
            place.mkdir(parents=True, exist_ok=True)
            archive(place / f"7_{proc}_0.tar.gz", identity, proc, chance.randbytes(SIZE))
    return batch


def main() -> None:
    """Measure both in turn."""
    print(
        f"{ARCHIVES:,} archives of {SIZE:,} bytes; {os.cpu_count()} cores, load {os.getloadavg()}"
    )
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH")) as name:
        os.environ["XDG_STATE_HOME"] = f"{name}/state"
        folder = Path(name)
        batch = make_batch(folder)

        def collected() -> Sample:
            shutil.rmtree(batch / "results", ignore_errors=True)
            (batch / "state.db").unlink(missing_ok=True)
            return run([OSGBATCH, "collect", batch])

        def looped() -> Sample:
            shutil.rmtree(folder / "unpacked", ignore_errors=True)
            return run(["sh", "-c", LOOP, "sh", batch, folder / "unpacked"])

        samples = alternate(RUNS, {"osgbatch collect": collected, "tar and sha256sum": looped})
        medians = report(samples)
        again = run([OSGBATCH, "collect", batch])
        ratio = medians["tar and sha256sum"] / medians["osgbatch collect"]
        memory = max(sample.memory_mb for sample in samples["osgbatch collect"])
        print(
            f"osgbatch collect, nothing new: {again.wall_s:.2f} s, peak {again.memory_mb:.0f} MiB"
        )
        print(f"speed of the loop: {ratio:.2f} (>= 0.7){'' if ratio >= 0.7 else '   MISSED'}")
        print(f"memory: {memory:.0f} MiB (<= 200 MiB){'' if memory <= 200 else '   MISSED'}")
    print(f"load {os.getloadavg()}")


if __name__ == "__main__":
    main()

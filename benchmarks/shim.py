"""What the shim costs: jobs of tasks that do nothing, beside a loop of `sh -c true`.

A job of one task and one of many; what a further task costs is the difference, divided. Without an
environment, and with a small one, whose unpacking and first start are not counted: the shim notes
them in the record of the job (in hundredths of a second).

A task is some ten processes one after the other, so that other work on the machine shows at once in
the wall time, less in the processor time: look at the load that is printed. Where it is not low,
`chrt -r 10 python benchmarks/shim.py` (as root) measures ahead of all other work.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "unit"), str(ROOT)]

from measure import Sample, alternate, run  # noqa: E402

FURTHER = 20
JOB_BAR_S = 0.150
TASK_BAR_S = 0.020
SHELLS = ("dash", "bash", "busybox")


def rows(tasks: int) -> str:
    """What HTCondor hands to the shim: tasks that run `true` and bring nothing back."""
    text = b"".join(b"row_%d() {\nrun true\n}\n" % index for index in range(tasks))
    return base64.b64encode(gzip.compress(text)).decode()


def environment(folder: Path) -> dict[str, str]:
    """An archive that has a `python` and nothing else; what the payload says of it."""
    program = folder / "python"
    program.write_text('#!/bin/sh\n[ "$1" != -c ] || exit 0\n')
    program.chmod(0o755)
    with tarfile.open(folder / "env.tar.gz", "w:gz") as tar:
        tar.add(program, "bin/python")
        tar.add(program, "bin/python3")
    digest = hashlib.sha256((folder / "env.tar.gz").read_bytes()).hexdigest()
    return {"kind": "environment", "file": "env.tar.gz", "sha256": digest}


def job(interpreter: list[str], shim: Path, tasks: int, archive: Path | None) -> Sample:
    """Run one job; its wall time is given without unpacking and trying the environment."""
    scratch = shim.parent / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    if archive:
        shutil.copy(archive, scratch)
    names = f"0-{tasks - 1}" if tasks > 1 else "0"
    os.environ["_CONDOR_SCRATCH_DIR"] = str(scratch)
    sample = run([*interpreter, str(shim), "1", "0", names, rows(tasks)], shim.parent)
    record = subprocess.run(
        ["tar", "-xzOf", scratch / "osgbatch-out.tar.gz", "job"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    noted = dict(line.split("=", 1) for line in record.splitlines())
    assert noted["state"] == "finished" and noted["exit_code"] == "0", record
    unpacking = float(noted["unpack_s"]) + float(noted["env_s"]) if archive else 0.0
    return Sample(sample.wall_s - unpacking, sample.memory_mb, sample.stdout, sample.cpu_s)


def loop(interpreter: list[str], tasks: int, folder: Path) -> Sample:
    """As many times `sh -c true`, by the same shell."""
    script = f"i=0; while [ $i -lt {tasks} ]; do sh -c true; i=$((i + 1)); done"
    return run([*interpreter, "-c", script], folder)


def show(name: str, one: list[Sample], many: list[Sample], bars: bool) -> None:
    """Print what one costs and what a further one does: medians, and of further ones the range."""
    pairs = list(zip(one, many, strict=True))
    further = [(b.wall_s - a.wall_s) / FURTHER for a, b in pairs]
    further_cpu = [(b.cpu_s - a.cpu_s) / FURTHER for a, b in pairs]
    first = statistics.median(sample.wall_s for sample in one)
    first_cpu = statistics.median(sample.cpu_s for sample in one)
    middle = statistics.median(further)
    missed = " MISSED" if bars and (first > JOB_BAR_S or middle > TASK_BAR_S) else ""
    print(
        f"{name:<30} one {first * 1000:6.1f} ms (cpu {first_cpu * 1000:5.1f})   "
        f"a further one {middle * 1000:5.1f} ms (cpu {statistics.median(further_cpu) * 1000:4.1f}; "
        f"{min(further) * 1000:.1f} to {max(further) * 1000:.1f}){missed}"
    )


def main(runs: int = 9) -> None:
    """Measure and print."""
    from shim_harness import render

    print(
        f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {runs} runs; "
        f"bars: a job {JOB_BAR_S * 1000:.0f} ms, a further task {TASK_BAR_S * 1000:.0f} ms"
    )
    with tempfile.TemporaryDirectory(prefix="osgbatch-bench-") as name:
        folder = Path(name)
        small = environment(folder)
        plain, with_environment = folder / "plain.sh", folder / "with.sh"
        plain.write_text(render())
        with_environment.write_text(render(payload=[small], has_environment=True))
        kinds = {"none": (plain, None), "small": (with_environment, folder / "env.tar.gz")}
        for shell in SHELLS:
            program = shutil.which(shell)
            if program is None:
                print(f"{shell} is not here")
                continue
            interpreter = [program, *(["sh"] if shell == "busybox" else [])]
            actions: dict[str, Callable[[], Sample]] = {}
            for n in (1, 1 + FURTHER):
                actions[f"sh -c true {n}"] = lambda n=n, i=interpreter: loop(i, n, folder)
                for kind, (shim, archive) in kinds.items():
                    actions[f"environment {kind} {n}"] = (
                        lambda n=n, i=interpreter, s=shim, a=archive: job(i, s, n, a)
                    )
            samples = alternate(runs, actions)
            for what in ("sh -c true", *(f"environment {kind}" for kind in kinds)):
                one, many = samples[f"{what} 1"], samples[f"{what} {1 + FURTHER}"]
                show(f"{shell}: {what}", one, many, bars=what != "sh -c true")
    print(f"load of the machine at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))

"""What the shim costs: jobs of tasks that do nothing, beside a loop of `sh -c true`.

A job of one task and one of many; what a further task costs is the difference, divided. Without an
environment, and with a small one, whose unpacking and first start are not counted: the shim notes
them in the record of the job.
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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "unit"), str(ROOT)]

from measure import Sample, alternate, report, run  # noqa: E402

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


def main(runs: int = 9) -> None:
    """Measure and print."""
    from shim_harness import render

    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="osgbatch-bench-") as name:
        folder = Path(name)
        small = environment(folder)
        shims = {"none": folder / "plain.sh", "small": folder / "with.sh"}
        shims["none"].write_text(render())
        shims["small"].write_text(render(payload=[small], has_environment=True))
        setup: dict[tuple[str, str, int], list[float]] = {}

        def job(shell: str, kind: str, tasks: int) -> Sample:
            scratch = folder / "scratch"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            if kind == "small":
                shutil.copy(folder / "env.tar.gz", scratch)
            program = [shutil.which(shell) or shell, *(["sh"] if shell == "busybox" else [])]
            names = f"0-{tasks - 1}" if tasks > 1 else "0"
            command = [*program, str(shims[kind]), "1", "0", names, rows(tasks)]
            os.environ["_CONDOR_SCRATCH_DIR"] = str(scratch)
            sample = run(command, folder)
            record = subprocess.run(
                ["tar", "-xzOf", scratch / "osgbatch-out.tar.gz", "job"],
                check=True, capture_output=True, text=True,
            ).stdout  # fmt: skip
            noted = dict(line.split("=", 1) for line in record.splitlines())
            assert noted["state"] == "finished" and noted["exit_code"] == "0", record
            taken = float(noted["unpack_s"]) + float(noted["env_s"])
            setup.setdefault((shell, kind, tasks), []).append(taken if kind == "small" else 0)
            return sample

        def loop(tasks: int) -> Sample:
            script = f"i=0; while [ $i -lt {tasks} ]; do sh -c true; i=$((i + 1)); done"
            return run(["sh", "-c", script], folder)

        print("`sh -c true` in a loop of sh:")
        report(alternate(runs, {f"{n} times": lambda n=n: loop(n) for n in (1, 1 + FURTHER)}))
        for shell in SHELLS:
            if shutil.which(shell) is None:
                print(f"{shell} is not here")
                continue
            for kind in shims:
                label = f"{shell}, environment {kind}"
                counts = (1, 1 + FURTHER)
                actions = {
                    f"{label}, {n} tasks": lambda n=n: job(shell, kind, n)  # noqa: B023
                    for n in counts
                }
                medians = list(report(alternate(runs, actions)).values())
                without = [
                    median - statistics.median(setup[shell, kind, n])
                    for median, n in zip(medians, counts, strict=True)
                ]
                further = (without[1] - without[0]) / FURTHER
                missed = " MISSED" if without[0] > JOB_BAR_S or further > TASK_BAR_S else ""
                print(
                    f"    a job besides unpacking {without[0] * 1000:.0f} ms (bar: "
                    f"{JOB_BAR_S * 1000:.0f}), a further task {further * 1000:.1f} ms (bar: "
                    f"{TASK_BAR_S * 1000:.0f}){missed}"
                )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))

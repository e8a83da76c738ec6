"""`osgbatch submit` of 1,000 tasks beside condor_submit of the same file: the bar is 2 s more.

Run it inside a pool: `make bench` does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Sample, alternate, report, run

TASKS = 1000
RUNS = 7
OSGBATCH = Path(sys.executable).parent / "osgbatch"
SPEC = f"""\
command: python job.py {{x}}
sweep: {{x: [{", ".join(map(str, range(TASKS)))}]}}
files: [job.py]
environment: requirements.txt
resources: {{cpus: 64, memory: 60 GB, disk: 10 MB}}
"""


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        os.environ.setdefault("XDG_CACHE_HOME", str(folder / "cache"))
        (folder / "sweep.yaml").write_text(SPEC)
        (folder / "job.py").write_text("print(1)\n")
        (folder / "requirements.txt").write_text("iniconfig\n")
        print(f"{TASKS} tasks, environment cached, schedd on this machine")
        first = run([OSGBATCH, "submit", "--json", "sweep.yaml"], folder)  # packs the environment
        submit_file = Path(json.loads(first.stdout)["folder"]) / "rounds/001/job.submit"
        empty_queue()
        medians = report(
            alternate(
                RUNS,
                {
                    "condor_submit": lambda: emptied(
                        run(["condor_submit", "-terse", submit_file], folder)
                    ),
                    "osgbatch submit": lambda: emptied(
                        run([OSGBATCH, "submit", "--json", "sweep.yaml"], folder)
                    ),
                },
            )
        )
        beyond = medians["osgbatch submit"] - medians["condor_submit"]
        ratio = medians["osgbatch submit"] / medians["condor_submit"]
        print(f"osgbatch adds {beyond:.2f} s (bar: 2 s); {ratio:.2f} times condor_submit")


def emptied(sample: Sample) -> Sample:
    """Empty the queue after a run, outside of its time, so that every run meets the same schedd."""
    empty_queue()
    return sample


def empty_queue() -> None:
    """Remove all jobs and wait until they are gone."""
    subprocess.run(["condor_rm", "-all"], capture_output=True, check=False)
    while subprocess.run(
        ["condor_q", "-allusers", "-af", "ClusterId"], capture_output=True, check=True
    ).stdout:
        pass


if __name__ == "__main__":
    main()

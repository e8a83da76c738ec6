"""`osgbatch run -- echo hello` beside condor_submit and condor_wait: 1.5 s more at most.

Run it inside an idle personal pool: `make bench` does. `run.py 3` takes three rounds, not nine.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from measure import Sample, alternate, report, run

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 9
OSGBATCH = Path(sys.executable).parent / "osgbatch"
SUBMIT = """\
executable = /bin/echo
transfer_executable = false
arguments = hello
output = out
error = err
log = {log}
should_transfer_files = yes
when_to_transfer_output = on_exit
request_cpus = 1
request_memory = 100MB
request_disk = 100MB
queue
"""
ASKED = ("--memory", "100MB", "--disk", "100MB")


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        os.environ.setdefault("XDG_CACHE_HOME", str(folder / "cache"))
        run([OSGBATCH, "run", *ASKED, "--", "echo", "first"], folder)
        (shim,) = folder.glob("batches/*/rounds/001")
        print(f"echo on an idle pool; load {os.getloadavg()[0]:.1f}")
        medians = report(
            alternate(
                ROUNDS,
                {
                    "condor_submit, condor_wait": lambda: plain(folder),
                    "the same of a batch's job.submit": lambda: as_rendered(shim),
                    "osgbatch run": lambda: run(
                        [OSGBATCH, "run", *ASKED, "--", "echo", "hello"], folder
                    ),
                },
            )
        )
        beyond = medians["osgbatch run"] - medians["condor_submit, condor_wait"]
        print(f"osgbatch run takes {beyond:.2f} s more (bar: 1.5 s); load {os.getloadavg()[0]:.1f}")


def plain(folder: Path) -> Sample:
    """HTCondor's own commands with a plain submit file."""
    log = folder / "plain.log"
    log.unlink(missing_ok=True)
    (folder / "plain.submit").write_text(SUBMIT.format(log=log))
    return waited(folder / "plain.submit", log, folder)


def as_rendered(round_folder: Path) -> Sample:
    """The same with what osgbatch has made: the shim runs, its archive comes home."""
    log = round_folder / "events.log"
    log.unlink(missing_ok=True)
    return waited(round_folder / "job.submit", log, round_folder)


def waited(submit_file: Path, log: Path, folder: Path) -> Sample:
    """Submit, and wait for the end."""
    began = time.perf_counter()
    one = run(["condor_submit", "-terse", submit_file], folder)
    two = run(["condor_wait", log], folder)
    took = time.perf_counter() - began
    memory = max(one.memory_mb, two.memory_mb)
    return Sample(took, memory, one.stdout, one.cpu_s + two.cpu_s)


if __name__ == "__main__":
    main()

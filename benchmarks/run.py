"""`osgbatch run -- echo hello` beside condor_submit and condor_wait: 1.5 s more at most.

Run it inside an idle personal pool: `make bench` does. `run.py 3` takes three rounds, not nine;
`run.py 9 60` waits up to 60 s for a quiet machine before it begins. Rounds alternate, and what one
takes longer than another is compared within each round. How long a job waits for the negotiator
differs by seconds from one to the next: so osgbatch's own time is told besides, from its start to
condor_submit's and from the last event in the log to its end, which has no such chance in it.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measure import Sample, alternate, report, run

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 9
PATIENCE_S = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
BAR_S = 1.5
QUIET = 0.5
"""Processes that want a processor, of the last minute: what is more than that is not quiet."""
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
        wait_for_quiet()
        print(f"echo on an idle pool; load {os.getloadavg()[0]:.1f}")
        own: list[tuple[float, float]] = []
        taken = alternate(
            ROUNDS,
            {
                "condor_submit, condor_wait": lambda: plain(folder),
                "the same of a batch's job.submit": lambda: as_rendered(shim),
                "osgbatch run": lambda: by_osgbatch(folder, own),
            },
        )
        report(taken)
        ours = taken.pop("osgbatch run")
        for name, others in taken.items():
            more = [a.wall_s - b.wall_s for a, b in zip(ours, others, strict=True)]
            print(f"osgbatch run takes longer than {name}: {spread(more)} (bar: {BAR_S} s)")
        print(f"osgbatch's own time: {spread([sum(one) for one in own])} (bar: {BAR_S} s)")
        print(f"  before condor_submit: {spread([one[0] for one in own])}")
        print(f"  after the last event: {spread([one[1] for one in own])}")
        print(f"load {os.getloadavg()[0]:.1f}")


def wait_for_quiet() -> None:
    """Wait until nothing else runs, as long as was allowed."""
    until = time.monotonic() + PATIENCE_S
    while os.getloadavg()[0] > QUIET and time.monotonic() < until:
        time.sleep(1)


def spread(seconds: list[float]) -> str:
    """The median, the least and the most."""
    return f"median {statistics.median(seconds):.2f} s, {min(seconds):.2f} to {max(seconds):.2f}"


def by_osgbatch(folder: Path, own: list[tuple[float, float]]) -> Sample:
    """`osgbatch run`; own is given its seconds before condor_submit and after the last event."""
    known = set(folder.glob("batches/*/rounds/001"))
    began = time.time()
    sample = run([OSGBATCH, "run", *ASKED, "--", "echo", "hello"], folder)
    ended = time.time()
    (round_folder,) = set(folder.glob("batches/*/rounds/001")) - known
    written = ("job.submit", "jobs.items", "shim.sh")
    asked = max((round_folder / name).stat().st_mtime for name in written)
    last_event = (round_folder / "events.log").stat().st_mtime
    own.append((asked - began, ended - last_event))
    return sample


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

"""Reading the event log of a large cluster beside HTCondor's own readers; looks, `status`, `watch`.

`eventlog.py 100000` takes another number of jobs, `eventlog.py 100000 5` more rounds. Run it inside
a pool: `make bench` does. condor_watch_q takes time with the square of the jobs, so it is given a
log of a tenth as many.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which

from measure import Sample, alternate, report, run

JOBS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
CLUSTER = 123
NEWS = 1_000
SLOTS = 100
WATCHED_S = 60.0
OSGBATCH = Path(sys.executable).parent / "osgbatch"

SHARE, MEMORY_MB, LATER_S, STATUS_S, WATCH = 0.8, 150, 0.05, 0.25, 0.02
WHERE = "<127.0.0.1:9618?addrs=127.0.0.1-9618&alias=host.example.org&noUDP&sock=%s_1234_5678>"
USED = """\
\t(1) Normal termination (return value %d)
\t\tUsr 0 00:00:01, Sys 0 00:00:00  -  Run Remote Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Local Usage
\t\tUsr 0 00:00:01, Sys 0 00:00:00  -  Total Remote Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Total Local Usage
\t1842  -  Run Bytes Sent By Job
\t51412  -  Run Bytes Received By Job
\t1842  -  Total Bytes Sent By Job
\t51412  -  Total Bytes Received By Job
\tPartitionable Resources :    Usage  Request Allocated
\t   Cpus                 :     0.10        1         1
\t   Disk (KB)            :    20     51200     51712
\t   Memory (MB)          :     1        50       128

\tJob terminated of its own accord at 2026-11-20T10:00:00Z with exit-code %d.
"""
LOOK = """
import sys, time
from pathlib import Path
from shutil import which
from osgbatch.batches.folder import load
from osgbatch.life.following import Follower
follower = Follower(load(Path(sys.argv[1])))
began = time.perf_counter()
now = follower.status(most_wrong=200)
print(time.perf_counter() - began, sum(now.counts.values()))
"""
CLI = "import sys; from htcondor_cli.cli import main; sys.exit(main())"
"""What Debian's command `htcondor` does; its Python package is that of the bindings."""
PTY = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
READ = """
import sys, htcondor2
count = sum(1 for event in htcondor2.JobEventLog(sys.argv[1]).events(0))
print(count)
"""


def events(procs: range, start: int = 0) -> Iterator[str]:
    """The events of jobs as HTCondor 25.14 writes them: seven each."""
    for proc in procs:
        yield _event(0, proc, start, f"Job submitted from host: {WHERE % 'schedd'}\n")
    for first in range(procs.start, procs.stop, SLOTS):
        some = range(first, min(procs.stop, first + SLOTS))
        now = start + first // 10
        for proc in some:
            to = WHERE % f"slot1_{proc % SLOTS}"
            text = f"Started transferring input files\n\tTransferring to host: {to}\n"
            yield _event(40, proc, now, text)
        for proc in some:
            yield _event(40, proc, now + 1, "Finished transferring input files\n")
        for proc in some:
            slot = f"slot1_{proc % SLOTS}@host.example.org"
            yield _event(
                1, proc, now + 1,
                f"Job executing on host: {WHERE % 'startd'}\n\tSlotName: {slot}\n"
                f'\tCondorScratchDir = "/var/lib/condor/execute/dir_{proc}/scratch"\n'
                "\tCpus = 1\n\tDisk = 51712\n\tGPUs = 0\n\tMemory = 128\n",
            )  # fmt: skip
        for proc in some:
            yield _event(
                6, proc, now + 5,
                "Image size of job updated: 7500\n\t1  -  MemoryUsage of job (MB)\n"
                "\t820  -  ResidentSetSize of job (KB)\n",
            )  # fmt: skip
        for proc in some:
            yield _event(40, proc, now + 9, "Started transferring output files\n")
        for proc in some:
            yield _event(5, proc, now + 9, "Job terminated.\n" + USED % (0, 0))


def _event(kind: int, proc: int, second: int, text: str) -> str:
    clock = f"{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"
    return f"{kind:03} ({CLUSTER}.{proc:03}.000) 2026-11-20 {clock} {text}...\n"


def make_batch(folder: Path, jobs: int) -> Path:
    """A batch folder of so many jobs, one task each, and the log of what has become of them."""
    round_folder = folder / "rounds" / "001"
    (round_folder / "returned").mkdir(parents=True)
    with (round_folder / "jobs.items").open("w") as stream:
        stream.writelines(f"{proc} .{'x' * 60}\n" for proc in range(jobs))
    submitted = {"backend": "condor", "cluster": CLUSTER, "jobs": jobs, "time": 0, "host": "-"}
    (round_folder / "submitted.json").write_text(json.dumps(submitted))
    data = {
        "version": 1, "batch_id": "4a8012345678", "name": "bench", "folder": str(folder),
        "spec_folder": str(folder.parent), "initialdir": str(folder.parent), "tasks": jobs,
        "jobs": jobs, "payload": [], "columns": [], "file_columns": [], "outputs": [],
        "gather": "",
    }  # fmt: skip
    (folder / "resolved.json").write_text(json.dumps(data))
    (folder / "tasks.csv").write_text("index\n" + "".join(f"{n}\n" for n in range(jobs)))
    with log_of(folder).open("w") as stream:
        stream.writelines(events(range(jobs)))
    return folder


def log_of(folder: Path) -> Path:
    """The event log of a batch."""
    return folder / "rounds" / "001" / "events.log"


def look(folder: Path) -> Sample:
    """A look in a process of its own: its time is that of the look, without Python's start."""
    taken = run([sys.executable, "-c", LOOK, folder])
    seconds, tasks = taken.stdout.split()
    assert int(tasks) > 0
    return Sample(float(seconds), taken.memory_mb, taken.stdout, taken.cpu_s)


def first_look(folder: Path) -> Sample:
    """The first one, of the whole process: nothing is known yet."""
    (folder / "state.db").unlink(missing_ok=True)
    return run([sys.executable, "-c", LOOK, folder])


def readers(folder: Path) -> None:
    """All who read the whole log, in turn."""
    log = log_of(folder)
    print(f"{JOBS:,} jobs, 7 events each: {log.stat().st_size / 1e6:.0f} MB")
    taken = alternate(
        ROUNDS,
        {
            "osgbatch, state.db included": lambda: first_look(folder),
            "condor_wait": lambda: run(["condor_wait", log, str(CLUSTER)]),
        },
    )
    medians = report(taken)
    slow = {
        "htcondor2.JobEventLog": lambda: run([sys.executable, "-c", READ, log]),
        "htcondor eventlog read": lambda: run([sys.executable, "-c", CLI, "eventlog", "read", log]),
    }
    report(alternate(1, slow))
    ratio = medians["osgbatch, state.db included"] / medians["condor_wait"]
    memory = max(sample.memory_mb for sample in taken["osgbatch, state.db included"])
    told("first look / condor_wait", ratio, SHARE)
    told("peak memory of it, MiB", memory, MEMORY_MB)


def later(folder: Path) -> None:
    """A look at what is new: events of jobs that had not ended, in the same log."""
    looks = []
    for round_ in range(ROUNDS):
        with log_of(folder).open("a") as stream:
            some = range(JOBS, JOBS + NEWS // 7 + 1)
            stream.writelines(events(some, start=80_000 + round_))
        looks.append(look(folder))
    medians = report({f"look at {NEWS:,} new events": looks})
    told("later look, s", *medians.values(), LATER_S)


def status(folder: Path) -> None:
    """`osgbatch status` of a smaller batch, the whole process, as a user has it."""
    batch = make_batch(folder, 10_000)
    run([sys.executable, "-c", LOOK, batch])
    command = [sys.executable, "-m", "osgbatch", "status", batch]

    def once() -> Sample:
        began = time.perf_counter()
        done = subprocess.run([str(w) for w in command], stdout=subprocess.PIPE, check=False)
        return Sample(time.perf_counter() - began, 0, done.stdout.decode())

    medians = report({"osgbatch status, 10,000 tasks": [once() for _ in range(2 * ROUNDS + 1)]})
    told("status, s", *medians.values(), STATUS_S)


def watching(folder: Path) -> None:
    """The share of a core that `osgbatch watch` takes while nothing, then something happens."""
    log = log_of(folder)
    # The last jobs have not ended.
    with log.open("r+") as stream:
        text = stream.read()
        cut = text.rfind(f"005 ({CLUSTER}.{10_000 - SLOTS}.")
        stream.truncate(cut)
    (folder / "state.db").unlink(missing_ok=True)
    process = subprocess.Popen([str(OSGBATCH), "watch", str(folder)], stdout=subprocess.DEVNULL)
    time.sleep(5)
    before, began = _cpu(process.pid), time.monotonic()
    while time.monotonic() - began < WATCHED_S:
        time.sleep(1)
        with log.open("a") as stream:
            proc = 10_000 - SLOTS + int(time.monotonic() - began)
            stream.write(_event(6, proc, 0, "Image size of job updated: 1\n\t1  -  MemoryUsage\n"))
    share = (_cpu(process.pid) - before) / (time.monotonic() - began)
    process.terminate()
    process.wait()
    told("watch, share of a core", share, WATCH)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch_q(folder: Path) -> None:
    """condor_watch_q at a tenth of the jobs."""
    batch = make_batch(folder, JOBS // 10)
    files = ["-files", str(log_of(batch))]
    command = [
        *(sys.executable, "-c", PTY),  # it wants a terminal
        sys.executable,
        which("condor_watch_q") or "",
        *files,
        "-exit",
        "any,done",
        "-no-progress",
        "-no-color",
    ]
    report({f"condor_watch_q, {JOBS // 10:,} jobs": [run(command)]})
    report({f"osgbatch, {JOBS // 10:,} jobs": [first_look(batch)]})


def told(what: str, found: float, bar: float) -> None:
    """One figure beside its bar."""
    print(f"{what:<34} {found:8.3f}   bar {bar:g}   {'ok' if found <= bar else 'MISSED'}")


def main() -> None:
    """All of it."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_STATE_HOME"] = f"{name}/state"
        os.environ.pop("CONDOR_CONFIG_ROOT", None)
        large = make_batch(Path(name) / "large", JOBS)
        readers(large)
        later(large)
        status(Path(name) / "status")
        watching(Path(name) / "status")
        watch_q(Path(name) / "tenth")
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

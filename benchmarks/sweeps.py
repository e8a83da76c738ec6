"""Large sweeps: a million rows to files ready for condor_submit, beside condor_submit itself.

Run it inside a pool: `make bench` does. `sweeps.py 3` makes three runs of each instead of five.
"""

from __future__ import annotations

import csv
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from measure import Sample, alternate, report, run

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
SIZES = (10_000, 100_000, 1_000_000)
OSGBATCH = Path(sys.executable).parent / "osgbatch"
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "find_peaks"
CONDOR_SUBMIT = "condor_submit" if shutil.which("condor_submit") else ""

RENDER_S, RENDER_MB = 5.0, 250
GRID_S, INLINE_S, CHECK_S = 0.8, 2.0, 0.3
FILES = 20

COMMAND = "command: python3 job.py {a} {b} {c} {d}\nfiles: [job.py]\n"
# No slot is like that: the jobs wait, so that what is measured is the submission alone.
WAITING = 'requirements: {expr: "TARGET.Cpus > 100000"}\nresources: {memory: 1 GB, disk: 1 GB}\n'
BY_HAND = """\
executable     = job.sh
arguments      = "$(a) $(b) $(c) $(d)"
request_memory = 1GB
request_disk   = 1GB
requirements   = TARGET.Cpus > 100000
log            = events.log
max_idle       = 2000
queue a, b, c, d from rows.csv
"""
READ_CSV = """\
import csv, sys
with open(sys.argv[1], newline="") as stream:
    for row in csv.reader(stream):
        pass
"""


def main() -> None:
    """Measure and print."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {RUNS} runs of each in turn")
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for variable in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            os.environ[variable] = str(folder / variable)
        os.environ.setdefault("XDG_CACHE_HOME", str(folder / "cache"))
        missed += table(folder)
        missed += others(folder)
    print(f"load {os.getloadavg()[0]:.1f} at the end")
    print("all bars met" if not missed else "MISSED: " + "; ".join(missed))


# --- a table of a million rows -------------------------------------------------------------------


def table(folder: Path) -> list[str]:
    """A CSV of 10,000, 100,000 and 1,000,000 rows; returns the bars that were missed."""
    sweeps = {size: write_table(folder / str(size), size) for size in SIZES}
    largest = sweeps[SIZES[-1]]
    actions: dict[str, Callable[[], Sample]] = {
        f"render {size:,} rows": partial(render, sweep) for size, sweep in sweeps.items()
    }
    actions["csv.reader, the largest"] = lambda: run(
        [sys.executable, "-c", READ_CSV, largest / "p.csv"]
    )
    if CONDOR_SUBMIT:
        actions["condor_submit, written by hand"] = lambda: submitted(largest, "hand.submit")
        actions["condor_submit, osgbatch's files"] = lambda: submitted(
            largest, "out/rounds/001/job.submit"
        )
    samples = alternate(RUNS, actions)
    medians = report(samples)
    names = [f"render {size:,} rows" for size in SIZES]
    for size, title in zip(SIZES, names, strict=True):
        print(f"  {size:>9,} rows: {medians[title] / size * 1e6:6.2f} us per row")
    start = medians[names[0]]
    step = (medians[names[2]] - start) / (SIZES[2] - SIZES[0])
    first = (medians[names[1]] - start) / (SIZES[1] - SIZES[0])
    print(
        f"  a row more takes {first * 1e6:.2f} us below 100,000 and {step * 1e6:.2f} us on average"
    )
    files = sum(path.is_file() for path in (largest / "out").rglob("*"))
    memory = max(sample.memory_mb for sample in samples[names[2]])
    print(f"  {files} files in the batch folder (bar: {FILES})")
    print(
        f"  render: {medians[names[2]]:.2f} s, {memory:.0f} MiB (bars: {RENDER_S} s, {RENDER_MB})"
    )
    print(f"  {medians[names[2]] / medians['csv.reader, the largest']:.1f} times csv.reader")
    if CONDOR_SUBMIT:
        hand = medians["condor_submit, written by hand"]
        ours = medians["condor_submit, osgbatch's files"]
        print(f"  condor_submit of our files takes {ours / hand:.2f} times the one by hand")
        print(f"  render is {medians[names[2]] / hand:.2f} times condor_submit by hand")
        whole = medians[names[2]] + ours
        print(f"  render and condor_submit: {whole:.2f} s, {whole / hand:.2f} times by hand")
    return missing(
        {
            "1,000,000 rows": (medians[names[2]], RENDER_S),
            "its memory": (memory, RENDER_MB),
            "files": (files, FILES),
            "growth": (step, 1.5 * first),
        }
    )


def write_table(folder: Path, size: int) -> Path:
    """A sweep over a CSV of two floats, a word and an integer, and the same by hand."""
    folder.mkdir()
    draw = random.Random(size)
    words = ["alpha", "beta", "gamma", "delta"]
    with (folder / "p.csv").open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow("abcd")
        for i in range(size):
            row = (f"{draw.random():.6f}", f"{draw.uniform(-5, 5):.3f}", words[i % 4], i)
            writer.writerow(row)
    with (folder / "p.csv").open("rb") as stream, (folder / "rows.csv").open("wb") as rows:
        next(stream)  # condor_submit knows no header
        shutil.copyfileobj(stream, rows)
    (folder / "job.py").write_text("print(1)\n")
    (folder / "job.sh").write_text("#!/bin/sh\n")
    (folder / "job.sh").chmod(0o755)
    (folder / "sweep.yaml").write_text(COMMAND + WAITING + "sweep: {table: p.csv}\n")
    (folder / "hand.submit").write_text(BY_HAND)
    return folder


def render(folder: Path) -> Sample:
    """One rendering into a folder that is not there yet."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    return run([OSGBATCH, "render", "sweep.yaml", "--out", "out"], folder)


def submitted(folder: Path, submit_file: str) -> Sample:
    """One condor_submit; the jobs are gone before the next measurement."""
    sample = run([CONDOR_SUBMIT, "-terse", submit_file], folder)
    subprocess.run(["condor_rm", "-all"], capture_output=True, check=False)
    while subprocess.run(
        ["condor_q", "-allusers", "-factory", "-af", "ClusterId"], capture_output=True, check=True
    ).stdout.strip():
        pass
    return sample


# --- a grid, a table in the spec, an ordinary sweep -----------------------------------------------


def others(folder: Path) -> list[str]:
    """The other forms; returns the bars that were missed."""
    grid, inline, settled = folder / "grid", folder / "inline", folder / "config"
    for path in (grid, inline):
        path.mkdir()
        (path / "job.py").write_text("print(1)\n")
    lists = (range(50), range(50), range(40))
    columns = ", ".join(f"{n}: {list(values)}" for n, values in zip("abc", lists, strict=True))
    (grid / "sweep.yaml").write_text(f"{COMMAND.replace(' {d}', '')}sweep: {{{columns}}}\n")
    draw = random.Random(2)
    rows = [
        f"    - {{a: {draw.random():.6f}, b: {draw.uniform(-5, 5):.3f}, c: word, d: {i}}}\n"
        for i in range(20_000)
    ]
    (inline / "sweep.yaml").write_text(f"{COMMAND}sweep:\n  table:\n{''.join(rows)}")
    (settled / "osgbatch").mkdir(parents=True)
    (settled / "osgbatch" / "config.yaml").write_text("resources: {memory: 2 GB}\n")
    example = folder / "find_peaks"
    shutil.copytree(EXAMPLE, example, ignore=shutil.ignore_patterns("batches"))
    check: Sequence[str | Path] = [OSGBATCH, "check", "sweep.yaml"]
    medians = report(
        alternate(
            max(RUNS, 5),
            {
                "render a grid of 100,000": lambda: render(grid),
                "check 20,000 rows in the spec": lambda: run(check, inline),
                "the same, with a config.yaml": lambda: run(
                    ["env", f"XDG_CONFIG_HOME={settled}", *check], inline
                ),
                "check find_peaks": lambda: run(check, example),
                "python -c pass": lambda: run([sys.executable, "-c", "pass"]),
            },
        )
    )
    return missing(
        {
            "the grid": (medians["render a grid of 100,000"], GRID_S),
            "the table in the spec": (medians["check 20,000 rows in the spec"], INLINE_S),
            "with a config.yaml": (medians["the same, with a config.yaml"], INLINE_S),
            "find_peaks": (medians["check find_peaks"], CHECK_S),
        }
    )


def missing(bars: Mapping[str, tuple[float, float]]) -> list[str]:
    """The bars that were missed, as text."""
    return [f"{name} {got:.3g} > {bar:.3g}" for name, (got, bar) in bars.items() if got > bar]


if __name__ == "__main__":
    main()

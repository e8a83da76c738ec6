"""Repeats every fault on the real pool, at random moments, and says which runs went wrong.

Inside a pool: `repeat.py --times N [--only WORDS]... [--seed S] [--report FILE.json]`. Exit code 1
when something that must hold did not. Folders of such runs are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import cases  # noqa: F401 (enters its faults)
import surroundings  # noqa: F401
from daemons_of import Daemons, json_of
from registry import CASES, run, run_together

AT_ONCE = 8
"""Runs at a time; a fault of the whole pool strikes so many batches. They mostly wait."""


@dataclass
class Report:
    """What became of one fault. seconds: of all its runs (of the pool's, of all its strikes)."""

    fault: str
    runs: int = 0
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="osgf-"))
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
    os.environ["OSGBATCH_PROFILE"] = "generic"
    daemons = Daemons(Path(os.environ["OSGBATCH_POOL"]))
    chosen = [n for n in CASES if not options.only or any(w in n for w in options.only)]
    seed = options.seed or random.randrange(10**6)
    print(f"{options.times} times each of {len(chosen)} faults, --seed {seed}", flush=True)
    reports = []
    with ThreadPoolExecutor(AT_ONCE) as several:
        runs = Runs(folder, daemons, seed, several)
        for report in runs.all(chosen, options.times):
            reports.append(report)
            print(line(report), flush=True)
            for text in report.violations:
                print(f"    {text}", flush=True)
            if options.report:
                write(options.report, reports, options.times, seed)
    if any(report.violations for report in reports):
        print(f"their folders are kept: {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="repeat.py", description=__doc__)
    made.add_argument("--times", type=int, default=1, help="runs of each fault")
    made.add_argument("--only", action="append", default=[], help="faults whose names hold this")
    made.add_argument("--seed", type=int, default=0, help="for the same moments again")
    made.add_argument("--report", type=Path, help="a JSON file; a .md is written beside it")
    return made


@dataclass(frozen=True)
class Runs:
    """The runs of faults. several: does what may be done at the same time."""

    folder: Path
    daemons: Daemons
    seed: int
    several: ThreadPoolExecutor

    def all(self, names: Sequence[str], times: int) -> Iterator[Report]:
        """Each fault so many times; of each run that went wrong the report has the seed and why.

        Those that strike the whole pool come last, when nothing else uses it.
        """
        begun = {
            name: [self.several.submit(self._run, name, [n]) for n in self._numbers(name, times)]
            for name in names
            if not CASES[name].hit
        }
        for name, waiting in begun.items():
            yield _sum(name, [one.result() for one in waiting])
        for name in names:
            if CASES[name].hit:
                numbers = self._numbers(name, times)
                groups = [numbers[n : n + AT_ONCE] for n in range(0, len(numbers), AT_ONCE)]
                yield _sum(name, [self._run(name, group) for group in groups])

    def _numbers(self, name: str, times: int) -> range:
        return range(min(times, CASES[name].most or times))

    def _run(self, name: str, numbers: Sequence[int]) -> Report:
        """One run, or one strike at the whole pool, which meets several batches."""
        order = list(CASES).index(name)
        places = [self.folder / f"{order}-{number}" for number in numbers]
        seeds = [(self.seed * 100 + order) * 1000 + number for number in numbers]
        began = time.monotonic()
        try:
            if CASES[name].hit:
                found = run_together(name, places, self.daemons, seeds)
            else:
                found = [run(name, places[0], self.daemons, seeds[0])]
        except Exception as error:
            found = [[f"the test itself failed: {type(error).__name__}: {error}"]]
        report = Report(name, len(numbers), seconds=time.monotonic() - began)
        for number, place, wrong in zip(numbers, places, found, strict=False):
            report.violations += [f"run {number}: {text}" for text in wrong]
            if not wrong:
                shutil.rmtree(place, ignore_errors=True)
        return report


def _sum(name: str, parts: Sequence[Report]) -> Report:
    return Report(
        name,
        sum(part.runs for part in parts),
        [text for part in parts for text in part.violations],
        sum(part.seconds for part in parts),
    )


def line(report: Report) -> str:
    """One line of the table."""
    each = report.seconds / max(report.runs, 1)
    return f"{report.fault:36} {report.runs:4} {len(report.violations):4} {each:7.1f} s"


def write(path: Path, reports: Sequence[Report], times: int, seed: int) -> None:
    """The report as JSON, and as a page."""
    version = json_of("condor_version").split()[1]
    told = {"htcondor": version, "times": times, "seed": seed}
    path.write_text(json.dumps({**told, "faults": [asdict(r) for r in reports]}, indent=1) + "\n")
    rows = [
        f"| {r.fault} | {r.runs} | {len(r.violations)} | {r.seconds / max(r.runs, 1):.1f} |"
        for r in reports
    ]
    found = [f"* {r.fault}, {text}" for r in reports for text in r.violations]
    cores = os.cpu_count()
    page = [
        "# Faults that a batch survives",
        "",
        f"Last run of `make faults N={times}`: HTCondor {version}, {cores} cores, seed {seed}.",
        "Each run is a batch of 6 tasks in 3 jobs on a real pool, struck at a random moment. What",
        f"must hold afterwards is said in `tests/faults/scene.py`. {AT_ONCE} run at the same time;",
        "what strikes the whole pool meets several at once, which share its moment and seconds.",
        "",
        "| fault | runs | violations | seconds a run |",
        "|---|---|---|---|",
        *rows,
        "",
        *(found or ["Nothing that must hold was violated."]),
    ]
    path.with_suffix(".md").write_text("\n".join(page) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())

"""Repeats every fault on the real pool, at random moments, and says which runs went wrong.

Inside a pool: `repeat.py --times N [--only WORDS]... [--seed S] [--report FILE.json]`. Exit code 1
when something that must hold did not. Folders of such runs are kept.
"""

from __future__ import annotations

import argparse
import compileall
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cases  # noqa: F401 (enters its faults)
import later_steps  # noqa: F401
import started
import surroundings  # noqa: F401
import workflow_faults  # noqa: F401
from daemons_of import Daemons, json_of
from registry import CASES, run, run_together
from report import Report, write

AT_ONCE = 8
"""Runs at a time; a fault of the whole pool strikes so many batches. They mostly wait."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="osgf-"))
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
    os.environ["OSGBATCH_PROFILE"] = "generic"
    # Else every command would compile it: a struck one must write nothing but what it is asked to.
    compileall.compile_dir(started.CHECKOUT / "osgbatch", quiet=1)
    daemons = Daemons(Path(os.environ["OSGBATCH_POOL"]))
    chosen = [n for n in CASES if not options.only or any(w in n for w in options.only)]
    seed = options.seed or random.randrange(10**6)
    print(f"{options.times} times each of {len(chosen)} faults, --seed {seed}", flush=True)
    version = json_of("condor_version").split()[1]
    told = {"htcondor": version, "seed": seed, "at_once": AT_ONCE}
    reports = []
    with ThreadPoolExecutor(AT_ONCE) as several:
        runs = Runs(folder, daemons, seed, several)
        for report in runs.all(chosen, options.times):
            reports.append(report)
            print(report.line(), flush=True)
            for text in report.violations:
                print(f"    {text}", flush=True)
            if options.report:
                write(options.report, reports, list(CASES), told)
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
    made.add_argument(
        "--report", type=Path, help="a JSON file, whose other rows stay; a .md is written beside it"
    )
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


if __name__ == "__main__":
    raise SystemExit(main())

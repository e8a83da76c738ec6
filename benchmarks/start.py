"""What a first day begins with: `osgbatch init` and `osgbatch explain`; the bar is 300 ms each."""

from __future__ import annotations

import sys
import tempfile
from itertools import count
from pathlib import Path

from measure import Sample, alternate, report, run

OSGBATCH = Path(sys.executable).parent / "osgbatch"
RUNS = 11
BAR_S = 0.3


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="osgbatch-start-") as name:
        folder = Path(name)
        numbers = count()
        run([OSGBATCH, "init", "sweep"], folder)

        def init() -> Sample:
            return run([OSGBATCH, "init", "files", f"made-{next(numbers)}"], folder)

        medians = report(
            alternate(
                RUNS,
                {
                    "python -c pass": lambda: run([sys.executable, "-c", "pass"]),
                    "osgbatch init files": init,
                    "osgbatch explain sweep.yaml": lambda: run(
                        [OSGBATCH, "explain", "sweep.yaml"], folder / "sweep"
                    ),
                    "osgbatch explain request_memory": lambda: run(
                        [OSGBATCH, "explain", "request_memory"], folder
                    ),
                },
            )
        )
    for what, taken in medians.items():
        if what.startswith("osgbatch"):
            missed = "" if taken <= BAR_S else ", MISSED"
            print(f"{what}: {taken * 1000:.0f} ms (bar: {BAR_S * 1000:.0f}{missed})")


if __name__ == "__main__":
    main()

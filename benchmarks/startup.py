"""`osgbatch --version` beside `python -c pass`: the bar is 12 times."""

from __future__ import annotations

import sys
from pathlib import Path

from measure import alternate, report, run

OSGBATCH = Path(sys.executable).parent / "osgbatch"


def main() -> None:
    """Measure and print."""
    medians = report(
        alternate(
            21,
            {
                "python -c pass": lambda: run([sys.executable, "-c", "pass"]),
                "osgbatch --version": lambda: run([OSGBATCH, "--version"]),
                "osgbatch --help": lambda: run([OSGBATCH, "--help"]),
            },
        )
    )
    ratio = medians["osgbatch --version"] / medians["python -c pass"]
    print(f"--version takes {ratio:.1f} times `python -c pass` (bar: 12)")


if __name__ == "__main__":
    main()

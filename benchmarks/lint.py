"""`osgbatch lint` of 1,000 ordinary submit files in one call: the bar is 5 s."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from measure import alternate, report, run

OSGBATCH = Path(sys.executable).parent / "osgbatch"
SUBMIT_FILES = Path(__file__).resolve().parents[1] / "tests" / "unit" / "submit_files"
COUNT = 1000


def main() -> None:
    """Measure and print."""
    texts = [path.read_text() for path in sorted(SUBMIT_FILES.glob("*.submit"))]
    with tempfile.TemporaryDirectory(prefix="osgbatch-lint-") as folder:
        files = []
        for number in range(COUNT):
            path = Path(folder) / f"job{number}.submit"
            path.write_text(texts[number % len(texts)])
            files.append(str(path))
        medians = report(
            alternate(
                3, {f"osgbatch lint, {COUNT:,} files": lambda: run([OSGBATCH, "lint", *files])}
            )
        )
    (taken,) = medians.values()
    print(f"{taken:.1f} s (bar: 5)")


if __name__ == "__main__":
    main()

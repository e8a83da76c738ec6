"""The report of repeated faults: a row for each, of its last runs, as JSON and as a page."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

HEAD = """\
# Faults that a batch survives

The last runs of `make faults`, on {cores} cores; ONLY="words of a name" repeats some faults, whose
rows are then written anew. Each run is a batch of 6 tasks in 3 jobs on a real pool, struck at a
random moment. What must hold afterwards is said in `tests/faults/scene.py`. {at_once} run at the
same time; what strikes the whole pool meets several at once, which share its moment and seconds.

| fault | runs | violations | seconds a run | HTCondor | commit | day | seed |
|---|---|---|---|---|---|---|---|
"""


@dataclass
class Report:
    """What became of one fault. seconds: of all its runs (of the pool's, of all its strikes)."""

    fault: str
    runs: int = 0
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def each(self) -> float:
        """Seconds of a run."""
        return self.seconds / max(self.runs, 1)

    def line(self) -> str:
        """One line of the table on the terminal."""
        return f"{self.fault:36} {self.runs:4} {len(self.violations):4} {self.each:7.1f} s"


def write(
    path: Path, reports: Sequence[Report], known: Sequence[str], told: Mapping[str, object]
) -> None:
    """Write the report, and a page beside it; rows of faults that did not run now stay.

    known: all faults, in their order; rows of others are dropped. told: what is the same for all
    reports (HTCondor's version, the seed, how many run at once).
    """
    rows = {row["fault"]: row for row in _before(path)}
    today = {"commit": _commit(), "day": date.today().isoformat()}
    rows |= {report.fault: {**asdict(report), **told, **today} for report in reports}
    kept = [rows[name] for name in known if name in rows]
    path.write_text(json.dumps({"faults": kept}, indent=1) + "\n")
    path.with_suffix(".md").write_text(_page(kept, str(told["at_once"])))


def _before(path: Path) -> list[dict[str, object]]:
    if not path.exists():
        return []
    found = json.loads(path.read_text())["faults"]
    return [row for row in found if "commit" in row]


def _page(rows: Sequence[Mapping[str, object]], at_once: str) -> str:
    lines, found = [], []
    for row in rows:
        report = Report(**{name: row[name] for name in Report.__dataclass_fields__})  # type: ignore[arg-type]
        cells = (
            report.fault, report.runs, len(report.violations), f"{report.each:.1f}",
            row["htcondor"], row["commit"], row["day"], row["seed"],
        )  # fmt: skip
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |\n")
        found += [f"* {report.fault}, {text}\n" for text in report.violations]
    head = HEAD.format(cores=os.cpu_count(), at_once=at_once)
    end = found or ["Nothing that must hold was violated.\n"]
    return "".join([head, *lines, "\n", *end])


def _commit() -> str:
    """The commit that ran, with a + when files differ from it."""
    done = subprocess.run(
        ["git", "describe", "--always", "--exclude=*", "--dirty=+", "--abbrev=7"],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parent,
    )  # fmt: skip
    return done.stdout.strip() or "unknown"

"""All figures of a report, each with a name that a file can have."""

from __future__ import annotations

import re
from collections.abc import Iterator

from osgbatch.reporting import charts, timelines
from osgbatch.reporting.data import Grid, Report
from osgbatch.reporting.scene import Drawing

WIDTH = 720.0


def all_figures(report: Report) -> Iterator[tuple[str, Drawing]]:
    """Name and drawing, in the order of the page."""
    taken: set[str] = set()
    for name, draw in timelines.figures(report).items():
        yield _free(name, taken), draw(WIDTH)
    for spread in report.spreads:
        yield _free(f"used {spread.name}", taken), charts.spread(spread, WIDTH / 1.6)
    for one in report.charts:
        if isinstance(one, Grid):
            yield _free(f"{one.metric} over {one.x} {one.y}", taken), charts.heat_map(one, WIDTH)
        else:
            yield _free(f"{one.metric} over {one.x}", taken), charts.chart(one, WIDTH)


def _free(text: str, taken: set[str]) -> str:
    """A name of letters, digits and hyphens, that no figure before has."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()[:60] or "figure"
    number = 2
    found = name
    while found in taken:
        found = f"{name}-{number}"
        number += 1
    taken.add(found)
    return found

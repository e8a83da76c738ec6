"""The report as one HTML page that needs nothing else: no network, no fonts, no scripts of others.

All that comes from tasks is escaped, and beside it the page's own policy lets a browser run no
script but the one that it was made with, and load nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path

import jinja2
from markupsafe import Markup

from osgbatch.reporting import charts, timelines, words
from osgbatch.reporting.data import Chart, Grid, Report
from osgbatch.reporting.quantities import (
    core_time,
    count,
    duration,
    moment,
    numbered,
    percent,
    rate,
)
from osgbatch.reporting.scene import INKS, Drawing, clean, line, svg

WIDE, NARROW, SMALL = 880.0, 343.0, 290.0
"""Pixels: of figures on a page as wide as a text, on a phone, and beside each other."""
MOST_PLACES = 20
CELLS = 6
"""A table of causes and places has no more columns than these."""


@dataclass(frozen=True)
class Tile:
    """A number of the summary."""

    name: str
    number: str
    more: str = ""


def page(report: Report, templates: Path) -> str:
    """The whole page. templates: the folder with report.html.j2, report.css and report.js."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    environment.filters["clean"] = clean
    environment.filters["count"] = count
    environment.filters["line"] = line
    environment.filters["coded"] = coded
    environment.filters["is_number"] = _is_number
    style = _colours() + (templates / "report.css").read_text(encoding="utf-8")
    script = (templates / "report.js").read_text(encoding="utf-8")
    head, rows = words.table(report.sized)
    return environment.get_template("report.html.j2").render(
        report=report,
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
        made=moment(report.made),
        tiles=list(_tiles(report)),
        **{name: _both(draw) for name, draw in timelines.figures(report).items()},
        spreads=[Markup(svg(charts.spread(one, SMALL))) for one in report.spreads],
        charts=list(_charts(report.charts)),
        sizing_head=head,
        sizing_rows=rows,
        sizing_words=list(words.of_report(report)),
        matrix=_matrix(report),
        places=list(_places(report)),
        held=core_time(report.cost.total),
    )


_CODE = re.compile("`([^`]+)`")
_NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?", re.IGNORECASE)


def coded(text: str) -> Markup:
    """A sentence of ours as HTML: what stands between backticks is code."""
    return Markup(_CODE.sub(r"<code>\1</code>", escape(clean(text), quote=True)))


def _is_number(text: str) -> bool:
    """Whether a cell is a number, which no line may break."""
    return bool(_NUMBER.fullmatch(text))


def _policy(style: str, script: str) -> str:
    """Content-Security-Policy: nothing is loaded, and only what we wrote ourselves is obeyed."""
    told = " ".join(
        f"{kind} 'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}';"
        for kind, text in (("style-src", style), ("script-src", script))
    )
    return f"default-src 'none'; img-src data:; {told} base-uri 'none'; form-action 'none'"


def _colours() -> str:
    """The inks of the drawings, for light and dark; what is printed is light."""
    light = "".join(f"--{name}:{pair[0]};" for name, pair in INKS.items())
    dark = "".join(f"--{name}:{pair[1]};" for name, pair in INKS.items())
    uses = "".join(f".f-{n}{{fill:var(--{n})}}.s-{n}{{stroke:var(--{n});fill:none}}" for n in INKS)
    # fmt: off
    return (
        f":root{{{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
        f"{uses}\n"
    )
    # fmt: on


def _both(draw: Callable[[float], Drawing]) -> Markup:
    """A figure for a screen and one for a phone; the style sheet shows one of them."""
    return Markup(svg(draw(WIDE), "wide") + svg(draw(NARROW), "narrow"))


def _charts(found: Sequence[Chart | Grid]) -> Iterator[tuple[str, Markup]]:
    """The name in the select, and the figure."""
    several = len({(one.x, getattr(one, "y", "")) for one in found}) > 1
    for one in found:
        name = f"{one.metric} over {one.x}" if several else one.metric
        if isinstance(one, Grid):
            yield name, _both(partial(charts.heat_map, one))
        else:
            yield name, _both(partial(charts.chart, one))


def _tiles(report: Report) -> Iterator[Tile]:
    yield Tile("tasks", count(report.tasks), f"{count(report.succeeded)} succeeded")
    if report.levels is not None and report.starts:
        since = "so far" if not report.ended else ""
        yield Tile("wall time", duration(report.end - report.begin), since or _days(report))
    if report.cost.total:
        number, _, unit = core_time(report.cost.total).partition(" ")
        lost = report.cost.wasted
        part = f"{percent(lost, report.cost.total)} of them wasted" if lost else "none wasted"
        yield Tile(unit, number, part)
    if report.rate:
        number, _, unit = rate(report.rate).partition(" ")
        best = f"at best {rate(report.best_rate)}" if report.best_rate > report.rate else ""
        if report.endings and any(
            sum(n) for k, n in report.endings.counts.items() if k != "succeeded"
        ):
            best = "that succeeded" + (f"; {best}" if best else "")
        yield Tile(unit.replace("/", " per "), number, best)
    if report.most_at_once:
        places = len([place for place in report.places if place.ended])
        where = f"on {numbered(places, report.place_kind)}" if places else ""
        yield Tile("jobs at once, at most", count(report.most_at_once), where)


def _days(report: Report) -> str:
    """`2026-11-20 10:00 to 12:30`."""
    first, last = moment(report.begin, zone=False), moment(report.end, zone=False)
    if first == last:
        return first
    same = first[:10] == last[:10]
    return f"{first} to {last[11:]}" if same else f"{first} to {last}"


def _matrix(report: Report) -> tuple[tuple[str, ...], list[tuple[str, list[int]]]]:
    """How many tasks failed of each cause at each place; nothing where there is one of each."""
    totals: dict[str, int] = {}
    for cause in report.causes:
        for place, many in cause.places.items():
            totals[place] = totals.get(place, 0) + many
    if len(totals) < 2:
        return (), []
    shown = sorted(totals, key=lambda place: (-totals[place], place))[:CELLS]
    more = len(totals) > CELLS
    rows = []
    for cause in report.causes:
        if not cause.places:
            continue
        numbers = [cause.places.get(place, 0) for place in shown]
        if more:
            numbers.append(sum(cause.places.values()) - sum(numbers))
        rows.append((cause.code or cause.cause, numbers))
    return (*shown, *(("others",) if more else ())), rows


def _places(report: Report) -> Iterator[tuple[str, str, str, str, bool]]:
    """Name, tasks that ended, of them not well, core hours; whether some went wrong."""
    shown, rest = report.places[:MOST_PLACES], report.places[MOST_PLACES:]
    for place in shown:
        bad = f"{count(place.bad)} ({percent(place.bad, place.ended)})" if place.bad else "0"
        yield place.name, count(place.ended), bad, core_time(place.core_s, ""), place.bad > 0
    if rest:
        ended, wrong = sum(p.ended for p in rest), sum(p.bad for p in rest)
        bad = f"{count(wrong)} ({percent(wrong, ended)})" if wrong else "0"
        core = core_time(sum(p.core_s for p in rest), "")
        yield (
            "1 other" if len(rest) == 1 else f"{len(rest):,} others",
            count(ended),
            bad,
            core,
            wrong > 0,
        )

"""The report as a text for a lab notebook: Markdown, that is read as it stands, too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from osgbatch.reporting import words
from osgbatch.reporting.data import COSTS, STATES, Metric, Report
from osgbatch.reporting.quantities import TEXTS, core_time, count, duration, moment, percent, rate
from osgbatch.reporting.scene import clean, line
from osgbatch.reporting.timelines import COST_WORDS

MARK = "<!-- a report by osgbatch -->"
"""The first line: by it a file is known as one that may be written anew."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$!])")


def literal(text: str) -> str:
    """Text from anywhere, of which Markdown makes nothing."""
    return _SPECIAL.sub(r"\\\1", clean(text))


def fenced(text: str) -> str:
    """Lines as they are, in a fence longer than any in them."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text.rstrip()}\n{fence}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; cells are taken literally."""
    lines = [head, *rows]
    text = ["| " + " | ".join(literal(cell) for cell in line) + " |" for line in lines]
    return "\n".join([text[0], "|" + " --- |" * len(head), *text[1:]])


def notebook(report: Report) -> str:
    """The whole text."""
    return "\n\n".join([MARK, *_parts(report)]) + "\n"


def _parts(report: Report) -> Iterator[str]:
    yield f"# {literal(report.name)}"
    yield f"**{report.verdict}**"
    if not report.ended:
        yield f"The batch had not ended on {moment(report.made)}: all of this is as of then."
    for note in report.notes:
        yield f"Note: {literal(note)}"
    yield "\n".join(f"- {line}" for line in _summary(report))
    if report.causes:
        yield "## What went wrong"
        for text in report.suspects:
            yield literal(text)
        rows = [
            (count(c.count), c.state, c.code, c.cause, f"{c.tasks}", _places(c.places))
            for c in report.causes
        ]
        yield table(("tasks", "state", "code", "cause", "which", "where"), rows)
        for cause in report.causes:
            if cause.output:
                what = f"The last lines of {cause.stream} of task {cause.example}"
                lines = "\n".join(map(line, cause.output))
                yield f"{what} ({literal(cause.code or cause.state)}):\n\n{fenced(lines)}"
    if report.metrics:
        yield "## Results"
        yield table(("metric", "least", "median", "most"), list(_metrics(report.metrics)))
    if report.sized:
        yield "## Requested and used"
        yield table(*words.table(report.sized))
        yield from words.of_report(report)
        if report.resources:
            yield f"For `sweep.yaml`:\n\n{fenced(report.resources)}"
    if report.extremes:
        yield f"## {report.extremes_title}"
        for extreme in report.extremes:
            yield f"{extreme.title}:\n\n{table(extreme.columns, extreme.rows)}"
    yield "## About"
    facts = [*report.facts, ("report", f"made on {moment(report.made)}, osgbatch {report.version}")]
    yield "\n".join(f"- {name}: {literal(text)}" for name, text in facts)


def _summary(report: Report) -> Iterator[str]:
    states = [f"{count(report.counts[s])} {s}" for s in STATES if report.counts.get(s)]
    yield f"tasks: {', '.join(states)}"
    if report.starts:
        first, last = moment(report.begin), moment(report.end)
        yield f"wall time: {duration(report.end - report.begin)} ({first} to {last})"
    if report.cost.total:
        lost = percent(report.cost.wasted, report.cost.total)
        parts = [
            f"{COST_WORDS[name]}: {core_time(report.cost.of(name), '')}"
            for name in COSTS
            if report.cost.of(name)
        ]
        held = f"cores were held for {core_time(report.cost.total)}, of them {lost} wasted"
        yield f"{held} ({'; '.join(parts)})"
    if report.rate:
        yield f"throughput: {rate(report.rate)}, at best {rate(report.best_rate)}"
    yield (
        f"starts of jobs: {count(report.starts)}, {count(report.evictions)} evicted, "
        f"{count(report.holds)} holds, {count(report.most_at_once)} at once at most"
    )
    if report.places:
        shown = [f"{literal(p.name)} {count(p.ended)}" for p in report.places[:8] if p.ended]
        more = f" and {len(report.places) - 8:,} more" if len(report.places) > 8 else ""
        yield f"tasks ended at: {', '.join(shown)}{more}"


def _places(places: object) -> str:
    found = dict(places) if isinstance(places, dict) else {}
    shown = [f"{name} ({many:,})" for name, many in list(found.items())[:4]]
    more = f" and {len(found) - 4:,} more" if len(found) > 4 else ""
    return ", ".join(shown) + more


def _metrics(metrics: Sequence[Metric]) -> Iterator[tuple[str, ...]]:
    for one in metrics:
        text = TEXTS[one.unit]
        yield one.name, text(one.least), text(one.median), text(one.most)

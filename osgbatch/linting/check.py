"""Lints a submit file: every rule is asked, and HTCondor's own parser, where there is one."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from osgbatch.linting import lines
from osgbatch.linting.job import Job, Look, NoFiles
from osgbatch.linting.rules import ERROR, SEVERITIES, WARNING, Edit, Found
from osgbatch.linting.rules_syntax import SYNTAX
from osgbatch.linting.table import RULES

REFUSED = "refused"
"""The id of what HTCondor's parser refuses though no rule here found why."""


@dataclass(frozen=True)
class Finding:
    """One thing to tell. line, column: 1-based; width: of the caret; source: the line."""

    rule: str
    severity: str
    line: int
    column: int
    width: int
    source: str
    what: str
    why: str
    fix: str
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True)
class Judge:
    """HTCondor's own parser. parses: its words when it refuses a text, empty when it takes it,
    None when it is not here. refuses: whether it refuses an expression; refuses_queue: what stands
    behind `queue`; None when not here."""

    parses: Callable[[str], str | None] = lambda text: None
    refuses: Callable[[str], bool | None] = lambda text: None
    refuses_queue: Callable[[str], bool | None] = lambda text: None


def lint(
    text: str,
    look: Look | None = None,
    judge: Judge | None = None,
    ignore: Collection[str] = (),
) -> list[Finding]:
    """What is to be said of a submit file, in the order of its lines.

    text: as it is on disk, line ends and byte order mark included. look: the files around it;
    judge: HTCondor; ignore: ids of rules that are not asked.
    """
    judge = judge or Judge()
    parsed = lines.read(text)
    job = Job(parsed, look or NoFiles(), judge.refuses, judge.refuses_queue)
    found = [
        _finding(parsed, rule.id, one.severity or rule.severity, one, rule.why)
        for rule in RULES.values()
        if rule.id not in ignore
        for one in rule.check(job)
    ]
    found = [_of_template(parsed, f) for f in _judged(parsed, found, judge)]
    kept = [f for f in found if not _off(parsed, f) and f.rule not in ignore]
    kept.sort(key=lambda f: (f.line, SEVERITIES.index(f.severity), f.column))
    return kept


def _finding(parsed: lines.SubmitText, name: str, severity: str, one: Found, why: str) -> Finding:
    at = one.at
    source = parsed.lines[at.line - 1] if at.line <= len(parsed.lines) else ""
    return Finding(
        name, severity, at.line, at.column, at.width, source, one.what, why, one.fix, one.edits
    )


_PLACEHOLDER = re.compile(
    r"\{\{.*?\}\}|\{%.*?%\}|%\(\w+\)[sdif]|(?<![$,(])(?<![,(] )\{[A-Za-z_]\w*\}|@@\w+(?:@@)?"
    r"|(?<![\w.@])@[A-Za-z_]\w*@"
    r"|\?[A-Za-z_]\w*\?|<{1,2}[A-Za-z_][\w .-]*>{1,2}|\b__[A-Za-z]\w*?__\b|\*\*[A-Za-z_]\w*"
)
"""What template engines, and people with sed, put where a value is to come."""


def _of_template(parsed: lines.SubmitText, finding: Finding) -> Finding:
    """An error over a placeholder: HTCondor refuses it, but what helps is to fill it in."""
    if finding.severity != ERROR:
        return finding
    for statement in parsed.statements:
        if statement.where.line == finding.line and statement.kind != "odd":
            found = _PLACEHOLDER.search(parsed.text, *statement.whole)
            if found:
                fix = f"{found[0]} looks like a template's: lint the file that is made of it."
                return replace(finding, fix=fix, edits=())
    return finding


def _off(parsed: lines.SubmitText, finding: Finding) -> bool:
    """Whether a comment in the file switches this off."""
    named = parsed.ignored.get(0, frozenset()) | parsed.ignored.get(finding.line, frozenset())
    return finding.rule in named or "all" in named


def _judged(parsed: lines.SubmitText, found: list[Finding], judge: Judge) -> list[Finding]:
    """The findings as HTCondor's parser bears them out: what it takes is no error of syntax."""
    words = judge.parses(harmless(parsed))
    if words is None:
        return found
    if not words:
        return [
            replace(f, severity=WARNING) if f.rule in SYNTAX and f.severity == ERROR else f
            for f in found
        ]
    if any(f.severity == ERROR for f in found):
        return found
    line = re.search(r"line:? (\d+)", words, re.IGNORECASE)
    number = min(int(line[1]), len(parsed.lines)) if line else 1
    source = parsed.lines[number - 1] if parsed.lines else ""
    return [*found, Finding(
        REFUSED, ERROR, number, 1, max(1, len(source)), source,
        "HTCondor cannot read this file", f"It says: {words}",
        "Take lines out until it can, to find the one that it cannot read.",
    )]  # fmt: skip


def harmless(parsed: lines.SubmitText) -> str:
    """The text with a comment for each line that would read other files or run a program."""
    text = parsed.text
    for statement in reversed(parsed.statements):
        if statement.kind in ("include", "use"):
            start, end = statement.whole
            text = text[:start] + "#\n" * text[start:end].count("\n") + text[end:]
    return text


def mended(text: str, findings: Collection[Finding]) -> tuple[str, int]:
    """The text with all safe fixes made, and how many; what overlaps is left for the next time."""
    done = 0
    taken: list[Edit] = []
    for finding in findings:
        edits = list(finding.edits)
        if not edits or any(
            (e.start < t.end and t.start < e.end) or (e.start, e.end) == (t.start, t.end)
            for e in edits for t in taken
        ):  # fmt: skip
            continue
        taken += edits
        done += 1
    for edit in sorted(taken, key=lambda e: (e.start, e.end), reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text, done

"""How `osgbatch lint` prints what it found: for people, for programs, and for GitHub."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from osgbatch import ui
from osgbatch.errors import OsgbatchError
from osgbatch.linting.check import REFUSED, Finding
from osgbatch.linting.rules import SEVERITIES
from osgbatch.linting.table import RULES
from osgbatch.submission import linted as linting

WIDTH = 80
_GITHUB = {"error": "error", "warning": "warning", "advice": "notice"}


@dataclass(frozen=True)
class Linted:
    """One file. fixed: how many findings were mended; backup: the file as it was; unread: why it
    could not be read."""

    name: str
    findings: tuple[Finding, ...] = ()
    fixed: int = 0
    backup: str = ""
    unread: str = ""


def check_words(fail_on: str, form: str, ignore: Sequence[str]) -> None:
    """Raise OsgbatchError for a word that an option does not know."""
    for word, known, option in (
        (fail_on, SEVERITIES, "--fail-on"),
        (form, ("text", "json", "github"), "--format"),
        *((name, (*RULES, REFUSED), "--ignore") for name in ignore),
    ):
        if word not in known:
            near = get_close_matches(word, known, n=1)
            fix = f"Did you mean {near[0]}?" if near else f"Write one of {', '.join(known)}."
            raise OsgbatchError(f'{option} does not know "{word}"', fix=fix)


def linted(name: str, ignore: Sequence[str], fix: bool) -> Linted:
    """Lint one file; `-` is stdin."""
    try:
        if name == "-":
            text = linting.decoded(sys.stdin.buffer.read(), "stdin")
            return Linted("stdin", tuple(linting.lint_text(text, Path.cwd(), ignore)))
        path = Path(name)
        text = linting.read_text(path)
        count, backup = linting.fix_file(path, text, ignore) if fix else (0, None)
        if count:
            text = linting.read_text(path)
        found = tuple(linting.lint_text(text, path.parent, ignore))
        return Linted(name, found, count, str(backup or ""))
    except OsgbatchError as error:
        return Linted(name, unread=error.what)


def fails(files: Sequence[Linted], least: str) -> bool:
    """Whether something of this severity, or a worse one, was found."""
    worst = SEVERITIES[: SEVERITIES.index(least) + 1]
    return any(found.severity in worst for one in files for found in one.findings)


def show(files: Sequence[Linted], form: str, short: bool) -> None:
    """Print what was found."""
    for one in files:
        if one.unread:
            ui.error(f"{one.name}: {one.unread}")
    if form == "json":
        ui.out_json([_data(one) for one in files])
        return
    told: set[str] = set()
    for one in files:
        if one.fixed:
            mended = ui.number_of(one.fixed, "finding")
            ui.say(f"{one.name}: mended {mended}; {one.backup} is the file as it was")
        for found in one.findings:
            if form == "github":
                ui.out(github(one.name, found))
            elif short:
                ui.out(_short(one.name, found))
            else:
                ui.out(paragraph(one.name, found, found.rule not in told) + "\n")
                told.add(found.rule)
    if form == "text":
        ui.out(summary(files))


def _short(name: str, found: Finding) -> str:
    """A finding in one line; folded between words where a terminal has no room for it."""
    line = _head(name, found)
    if not sys.stdout.isatty():
        return line
    return textwrap.fill(
        line, shutil.get_terminal_size().columns, subsequent_indent="  ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _head(name: str, found: Finding) -> str:
    place = f"{name}:{found.line}:{found.column}"
    return ui.one_line(f"{place}: {found.severity}: {found.what} [{found.rule}]")


def paragraph(name: str, found: Finding, first: bool) -> str:
    """A finding with its line, a caret, and what to do. first: with the reason of the rule."""
    lines = textwrap.wrap(
        _head(name, found), WIDTH, subsequent_indent="  ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    number = str(found.line)
    room = WIDTH - len(number) - 7
    source = "".join(c if c.isprintable() else " " for c in found.source)
    start = 0
    if len(source) > room and found.column + min(found.width, 20) > room:
        start = max(0, min(found.column - 1 - 8, len(source) - room))
    shown = source[start : start + room]
    if start:  # cut on the left, and on the right: marked, as a name would be read otherwise
        shown = "…" + shown[1:]
    if start + room < len(source):
        shown = shown[:-1] + "…"
    column = found.column - 1 - start
    width = max(1, min(found.width, len(shown) - column))
    lines.append(f"    {number} | {shown}".rstrip())
    lines.append(f"    {' ' * len(number)} | {' ' * column}{'^' * width}")
    if first:
        lines += _wrapped(found.why)
    lines += _wrapped(found.fix + (" (--fix does it.)" if found.edits else ""))
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    text = ui.one_line(text)
    return textwrap.wrap(
        text, WIDTH, initial_indent="  ", subsequent_indent="  ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def summary(files: Sequence[Linted]) -> str:
    """`2 errors, 1 warning in 1 of 3 files`: of those that could be read."""
    files = [one for one in files if not one.unread]
    if not files:
        return "no file was read"
    found = [f for one in files for f in one.findings]
    where = f"in {sum(bool(one.findings) for one in files)} of " if len(files) > 1 else "in "
    where += ui.number_of(len(files), "file")
    if not found:
        return f"nothing to say of {ui.number_of(len(files), 'file')}"
    counts = [(sum(f.severity == s for f in found), s) for s in SEVERITIES]
    words = [f"{n:,} {s if s == 'advice' or n == 1 else s + 's'}" for n, s in counts if n]
    return f"{', '.join(words)} {where}"


def github(name: str, found: Finding) -> str:
    """A workflow command of GitHub's, which marks the line in a pull request."""
    kind = _GITHUB[found.severity]
    end = found.column + found.width - 1
    place = f"file={_escaped(name, ':,')},line={found.line},col={found.column},endColumn={end}"
    text = f"{found.what}. {found.fix}"
    return f"::{kind} {place},title={found.rule}::{_escaped(text, '')}"


def _escaped(text: str, more: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _data(one: Linted) -> dict[str, Any]:
    return {
        "file": one.name,
        "unread": one.unread,
        "fixed": one.fixed,
        "backup": one.backup,
        "findings": [
            {
                "rule": f.rule, "severity": f.severity, "line": f.line, "column": f.column,
                "width": f.width, "what": f.what, "why": f.why, "fix": f.fix,
                "mends": bool(f.edits),
            }
            for f in one.findings
        ],
    }  # fmt: skip


def rules_table() -> str:
    """All rules as a table of Markdown, for the documentation."""
    rows = ["| rule | | what it finds | why | `--fix` |", "|---|---|---|---|---|"]
    for one in RULES.values():
        why = one.why.replace("|", "\\|")
        title = one.title.replace("|", "\\|")
        rows.append(
            f"| `{one.id}` | {one.severity} | {title} | {why} | {'yes' if one.mends else ''} |"
        )
    return "\n".join(rows) + "\n"

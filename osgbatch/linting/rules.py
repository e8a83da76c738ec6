"""What a rule of the linter is, what it finds, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from osgbatch.linting.lines import Spot, Statement

if TYPE_CHECKING:
    from osgbatch.linting.job import Job

ERROR, WARNING, ADVICE = "error", "warning", "advice"
SEVERITIES = (ERROR, WARNING, ADVICE)
"""error: HTCondor refuses the file, or the job cannot work; warning: it hardly does what was
meant; advice: it works, and could do better."""


@dataclass(frozen=True)
class Edit:
    """A change of the text that keeps what the file means, or makes it what was surely meant."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Found:
    """What a rule found. what: one sentence; fix: what to write; severity: when not the rule's."""

    at: Spot
    what: str
    fix: str
    edits: tuple[Edit, ...] = ()
    severity: str = ""


@dataclass(frozen=True)
class Rule:
    """One rule: `check` looks at a submit file. why: what happens when nothing is done.

    mends: whether `--fix` can mend what it finds.
    """

    id: str
    severity: str
    title: str
    why: str
    check: Callable[[Job], Iterator[Found]]
    mends: bool = False


RULES: dict[str, Rule] = {}
"""All rules by id, as their modules were loaded; `osgbatch.linting.table` loads and orders them."""


def rule(
    name: str, severity: str, title: str, why: str, *, mends: bool = False
) -> Callable[[Callable[[Job], Iterator[Found]]], Callable[[Job], Iterator[Found]]]:
    """Enter a function into the table of rules."""

    def enter(check: Callable[[Job], Iterator[Found]]) -> Callable[[Job], Iterator[Found]]:
        assert name not in RULES, name
        RULES[name] = Rule(name, severity, title, why, check, mends)
        return check

    return enter


def replaced(statement: Statement, text: str) -> tuple[Edit, ...]:
    """The edit that gives a statement another value; none when it takes several lines."""
    if not statement.one_line or statement.at.start < 0:
        return ()
    return (Edit(statement.at.start, statement.at.start + len(statement.value), text),)


def renamed(statement: Statement, key: str) -> tuple[Edit, ...]:
    """The edit that gives a statement another key."""
    start = statement.where.start
    return (Edit(start, start + len(statement.key), key),)


def moved_up(statement: Statement, value: str, comment: str) -> tuple[Edit, ...]:
    """The edits that put a comment behind a value on a line of its own, above."""
    if not statement.one_line:
        return ()
    start = statement.whole[0]
    return (Edit(start, start, comment.rstrip() + "\n"), *replaced(statement, value))

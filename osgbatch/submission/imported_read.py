"""Reads a submit file: what holds at each of its queue statements."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from osgbatch.condor import dry_run
from osgbatch.errors import OsgbatchError
from osgbatch.importing.macros import Macros, NotImported
from osgbatch.importing.made import Setting
from osgbatch.importing.queueing import Files, Queue
from osgbatch.linting.check import harmless
from osgbatch.linting.job import canonical, queue_of
from osgbatch.linting.lines import Statement, SubmitText
from osgbatch.linting.rules import ERROR
from osgbatch.submission.linted import lint_text
from osgbatch.submit_language import one_name

NEWEST = (25, 14, 1)
"""The version that `if version` is compared with where HTCondor's bindings are not installed."""


@dataclass(frozen=True)
class Stage:
    """A queue statement, and what is set where it stands."""

    settings: list[Setting]
    queue: Queue
    macros: Macros


def stages_of(parsed: SubmitText, path: Path) -> list[Stage]:
    """The file, queue by queue. Raises NotImported, and OsgbatchError for what HTCondor refuses."""
    from osgbatch.condor.submit_parser import refused_text

    for one in parsed.statements:
        if one.kind in ("include", "use"):
            raise NotImported(
                f"line {one.where.line}: {one.key}: what it includes is not read (it may be a "
                "program): write its lines into this file"
            )
    refused = refused_text(harmless(parsed))
    if refused:
        said = "" if "parse_up_to_q_line" in refused else refused
        found_first = first_fault(parsed, path) or said
        raise OsgbatchError(
            f"HTCondor cannot read this file{': ' if found_first else ''}{found_first}",
            where=str(path), fix=f"`osgbatch lint {path}` tells more, and what to write.",
        )  # fmt: skip
    found = [
        _stage(parsed, number, queue, statements)
        for number, (queue, statements) in enumerate(_chosen(parsed.statements))
    ]
    if not found:
        raise NotImported(
            "no queue statement: condor_submit 25.14 queues one job then, 23.9 refuses the file (a "
            "node of a DAG may do without); add `queue`"
        )
    return found


def first_fault(parsed: SubmitText, path: Path) -> str:
    """The first error that the linter finds, with its line; empty where it finds none."""
    for one in lint_text(parsed.text, path.parent):
        if one.severity == ERROR:
            return f"line {one.line}: {one.what}"
    return ""


def _stage(
    parsed: SubmitText, number: int, statement: Statement, found: Sequence[Statement]
) -> Stage:
    @cache
    def asked() -> dry_run.Evaluate:
        return dry_run.evaluator(_up_to(parsed, number))

    def evaluate(text: str, variables: Mapping[str, str]) -> str | None:
        return asked()(text, variables)

    settings = [Setting(canonical(one.key), one.key, one.value, one.where.line) for one in found]
    queue = queue_of(statement)
    values = {re.sub(r"^my\.", "+", one.key.lower()): one.value for one in found}
    macros = Macros(values, frozenset(name.lower() for name in queue.variables), evaluate)
    items = tuple(text for _, text in queue.statement.items) if queue.statement.items else None
    made = Queue(queue.count, queue.variables, queue.verb, queue.what, items)
    return Stage(_with_variables(settings, queue.variables), made, macros)


def _up_to(parsed: SubmitText, number: int) -> str:
    """The text without the queue statements before one: HTCondor's parser stops at the first."""
    before = [one for one in parsed.statements if one.kind == "queue"][:number]
    text = parsed.text
    for one in reversed([*before, *(s for s in parsed.statements if s.kind in ("include", "use"))]):
        start, end = one.whole
        text = text[:start] + "#\n" * text[start:end].count("\n") + text[end:]
    return text


def _with_variables(settings: list[Setting], variables: Sequence[str]) -> list[Setting]:
    """A variable of the queue may be a command itself: `queue arguments from list.txt`.

    By another of its names, as `args`, it is one only where the file does not set the command.
    """
    there = {one.name for one in settings}
    own = [
        Setting(canonical(name), name, f"$({name})", 0)
        for name in variables
        if canonical(name) == one_name(name) or canonical(name) not in there
    ]
    taken = {one.name for one in own}
    return [one for one in settings if one.name not in taken] + own


def _chosen(statements: Sequence[Statement]) -> Iterator[tuple[Statement, list[Statement]]]:
    """Each queue statement with the settings that hold there: those of an `if` whose condition is
    true. Raises NotImported."""
    found: dict[str, Statement] = {}
    branches: list[list[bool]] = []  # of each open `if`: whether it is taken, whether one was
    for one in statements:
        if one.kind == "if":
            outside = all(taken for taken, _ in branches)
            taken = outside and _is_true(one, found)
            branches.append([taken, taken or not outside])
        elif one.kind in ("elif", "else") and branches:
            branch = branches[-1]
            branch[0] = not branch[1] and (one.kind == "else" or _is_true(one, found))
            branch[1] = branch[1] or branch[0]
        elif one.kind == "endif" and branches:
            branches.pop()
        elif one.kind == "set" and all(taken for taken, _ in branches):
            found.pop(one.key.lower(), None)
            found[one.key.lower()] = one
        elif one.kind == "queue" and all(taken for taken, _ in branches):
            yield one, list(found.values())


def _is_true(statement: Statement, before: Mapping[str, Statement]) -> bool:
    text = statement.value.strip()
    if text.startswith("!"):
        inner = Statement(
            statement.kind, statement.key, text[1:], statement.where, statement.at, statement.whole
        )
        return not _is_true(inner, before)
    known = {key: one.value for key, one in before.items()}
    defined = re.fullmatch(r"defined\s+(\S+)", text, re.IGNORECASE)
    if defined:
        return bool(known.get(defined[1].lower(), "").strip())
    version = re.fullmatch(r"version\s*(>=|<=|==|!=|>|<)\s*([\d.]+)", text, re.IGNORECASE)
    if version:
        return _compared(_version(), version[1], version[2])
    macro = re.fullmatch(r"\$\((\w+)(?::(.*))?\)", text)
    if macro:
        text = known.get(macro[1].lower(), macro[2] or "").strip()
    if text.lower() in ("true", "yes", "false", "no"):
        return text.lower() in ("true", "yes")
    if macro and not text:  # not set
        return False
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        return float(text) != 0
    raise NotImported(f"line {statement.where.line}: `if {text}` cannot be decided here")


def _version() -> tuple[int, ...]:
    from osgbatch.condor.submit_parser import bindings

    modules = bindings()
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", modules[0].version()) if modules else None
    return tuple(map(int, found.groups())) if found else NEWEST


def _compared(have: tuple[int, ...], how: str, text: str) -> bool:
    wanted = tuple(int(part) for part in text.split(".") if part)
    mine = have[: len(wanted)]
    return {
        ">=": mine >= wanted, "<=": mine <= wanted, "==": mine == wanted,
        "!=": mine != wanted, ">": mine > wanted, "<": mine < wanted,
    }[how]  # fmt: skip


def files_of(folder: Path) -> Files:
    """What `queue` may ask of the folder of the submit file."""

    def lines(name: str) -> list[str] | None:
        try:
            text = (folder / name).read_bytes().decode("utf-8", "surrogateescape")
        except OSError:
            return None
        found = text.split("\n")
        return found[:-1] if found and not found[-1] else found

    def matching(pattern: str) -> list[tuple[str, bool]]:
        found = sorted(glob.glob(pattern, root_dir=folder))
        return [(name, (folder / name).is_dir()) for name in found]

    return Files(lines, matching)

"""A submit file written by hand to a sweep.yaml that gives the same jobs, and the proof of that."""

from __future__ import annotations

import csv
import glob
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from osgbatch import names
from osgbatch.condor import dry_run
from osgbatch.errors import OsgbatchError
from osgbatch.importing.convert import convert
from osgbatch.importing.jobs import Sweep, rows_as_lines, sweep_of, variables_of
from osgbatch.importing.macros import Macros, NotImported
from osgbatch.importing.made import Setting
from osgbatch.importing.queueing import Files, Queue, rows_of
from osgbatch.importing.text import INLINE, copied, spec_text
from osgbatch.linting.check import harmless
from osgbatch.linting.job import canonical, queue_of
from osgbatch.linting.lines import Statement, SubmitText, read
from osgbatch.linting.rules_names import meant
from osgbatch.submission.linted import Folder, read_text
from osgbatch.submit_language import known_command

NEWEST = (25, 14, 1)
"""The version that `if version` is compared with where HTCondor's bindings are not installed."""


@dataclass(frozen=True)
class Imported:
    """What a submit file became.

    text: of the sweep.yaml; table: of the file of its rows, by its name, when there is one. tasks:
    how many. notes: what osgbatch does otherwise. lost: what a sweep cannot say; then there is no
    text, unless it was asked for. checked: how the jobs were compared; differences: what was found
    to differ, for the better.
    """

    text: str = ""
    table: tuple[str, str] | None = None
    tasks: int = 0
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    checked: str = ""
    differences: tuple[str, ...] = ()


def import_file(path: Path, out: Path, *, inline: bool = False, partly: bool = False) -> Imported:
    """What the sweep.yaml says that gives the jobs of a submit file; nothing is written.

    out: where it is to lie, in the submit file's folder, where its paths start. inline: rows stand
    in the spec however many they are. partly: also a spec that says less than the file.
    Raises OsgbatchError when the file cannot be read, or is refused by HTCondor.
    """
    from osgbatch.submission.imported_check import compare

    parsed = read(read_text(path))
    folder = path.parent
    look = Folder(folder)
    try:
        settings, queue, macros = _read(parsed)
        rows = rows_of(queue, macros, _files(folder))
        made = convert(settings, macros, list(variables_of(rows)))
        sweep = sweep_of(made, rows, macros.evaluate)
    except NotImported as error:
        return Imported(lost=(str(error),))
    if made.lost and not partly:
        return Imported(tasks=sweep.count, notes=tuple(made.notes), lost=tuple(made.lost))
    made.notes += _misspelt(settings, parsed)
    if copied(made):
        made.notes.append(
            "inputs of its own: a task gets copies, since what it changes comes back; on the "
            "machine's disk they take their room twice"
        )
    table = None
    long = len(sweep.columns) > 0 and len(sweep.columns[0].cells) > INLINE
    if long and not inline and not sweep.source:
        table = (f"{out.stem}.csv", _csv(sweep))
    head = [
        f"Made of {path.name} by `osgbatch import`; `osgbatch explain` tells what becomes of it."
    ]
    head += [f"NOT TAKEN OVER: {one}" for one in made.lost]
    head += [f"* {note}" for note in made.notes]
    executable = not made.executable or look.executable(made.executable)
    name = names.slug(_batch_name(settings, macros) or path.stem)
    text = spec_text(head, name, made, sweep, table[0] if table else "", executable)
    if made.lost:
        return Imported(text, table, sweep.count, tuple(made.notes), tuple(made.lost))
    checked, wrong, better = compare(parsed, path, text, table, out, made, sweep)
    if wrong:
        told = tuple(f"the jobs would differ: {one}" for one in wrong)
        return Imported(tasks=sweep.count, notes=tuple(made.notes), lost=told)
    return Imported(text, table, sweep.count, tuple(made.notes), (), checked, tuple(better))


def write(made: Imported, out: Path) -> list[Path]:
    """Write the spec, after the file of its rows. Raises OsgbatchError when one is there."""
    wanted = [(out.with_name(made.table[0]), made.table[1])] if made.table else []
    wanted.append((out, made.text))
    for path, _ in wanted:
        if os.path.lexists(path):
            raise OsgbatchError(
                "this file is there, and is not overwritten", where=str(path),
                fix="Name another one with --out, or print it with --stdout.",
            )  # fmt: skip
    for path, text in wanted:
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with open(part, "xb") as file:
                file.write(text.encode("utf-8", "surrogateescape"))
            os.link(part, path)  # which fails where a file has come meanwhile
        except OSError as error:
            what = f"cannot be written: {error.strerror}"
            raise OsgbatchError(what, where=str(path)) from error
        finally:
            part.unlink(missing_ok=True)
    return [path for path, _ in wanted]


def _csv(sweep: Sweep) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.name for column in sweep.columns])
    writer.writerows(rows_as_lines(sweep.columns))
    return out.getvalue()


def _misspelt(settings: Sequence[Setting], parsed: SubmitText) -> list[str]:
    """Names that are neither commands nor used, and are near to a command."""
    used = parsed.text.lower()
    found = []
    for one in settings:
        key = one.key.lower()
        known = known_command(one.name) or known_command(key) or key.startswith(("+", "my."))
        wanted = "" if known or re.search(rf"[$(\s,]{re.escape(key)}[:),]", used) else meant(key)[0]
        if wanted:
            found.append(
                f"line {one.line}: {one.key} is no submit command, and is ignored; did you mean "
                f"{wanted}?"
            )
    return found


def _batch_name(settings: Sequence[Setting], macros: Macros) -> str:
    for one in settings:
        if one.name == "batchname":
            try:
                return macros.constant(one.value)
            except NotImported:
                return ""
    return ""


# --- the file ------------------------------------------------------------------------------------


def _read(parsed: SubmitText) -> tuple[list[Setting], Queue, Macros]:
    """Its settings, its queue statement and its macros. Raises NotImported, OsgbatchError."""
    from osgbatch.condor.submit_parser import refused_text

    for one in parsed.statements:
        if one.kind in ("include", "use"):
            raise NotImported(
                f"line {one.where.line}: {one.key}: what it includes is not read (it may be a "
                "program): write its lines into this file"
            )
    refused = refused_text(harmless(parsed))
    if refused:
        raise OsgbatchError(
            f"HTCondor refuses this file: {refused}", fix="`osgbatch lint` tells more."
        )
    queues = [one for one in parsed.statements if one.kind == "queue"]
    if not queues:
        raise NotImported(
            "no queue statement: it queues no jobs by itself (a node of a DAG may do without); add "
            "`queue`"
        )
    if len(queues) > 1:
        raise NotImported(
            f"line {queues[1].where.line}: more than one queue statement: make one of them, "
            "`queue x, y from (…)`, with what differs as its variables"
        )
    evaluate = dry_run.evaluator(harmless(parsed))
    found = _chosen(parsed.statements, evaluate)
    settings = [Setting(canonical(one.key), one.key, one.value, one.where.line) for one in found]
    queue = queue_of(queues[0])
    values = {re.sub(r"^my\.", "+", one.key.lower()): one.value for one in found}
    macros = Macros(values, frozenset(name.lower() for name in queue.variables), evaluate)
    items = tuple(text for _, text in queue.statement.items) if queue.statement.items else None
    made = Queue(queue.count, queue.variables, queue.verb, queue.what, items)
    return _with_variables(settings, macros, queue.variables), made, macros


def _with_variables(
    settings: list[Setting], macros: Macros, variables: Sequence[str]
) -> list[Setting]:
    """A variable of the queue may be a command itself: `queue arguments from list.txt`."""
    own = [Setting(canonical(name), name, f"$({name})", 0) for name in variables]
    taken = {one.name for one in own}
    return [one for one in settings if one.name not in taken] + own


def _chosen(statements: Sequence[Statement], evaluate: dry_run.Evaluate) -> list[Statement]:
    """The settings that hold: those of an `if` whose condition is true. Raises NotImported."""
    found: list[Statement] = []
    branches: list[list[bool]] = []  # of each open `if`: whether it is taken, whether one was
    for one in statements:
        if one.kind == "if":
            outside = all(taken for taken, _ in branches)
            taken = outside and _is_true(one, found, evaluate)
            branches.append([taken, taken or not outside])
        elif one.kind in ("elif", "else") and branches:
            branch = branches[-1]
            branch[0] = not branch[1] and (one.kind == "else" or _is_true(one, found, evaluate))
            branch[1] = branch[1] or branch[0]
        elif one.kind == "endif" and branches:
            branches.pop()
        elif one.kind == "set" and all(taken for taken, _ in branches):
            found.append(one)
        elif one.kind == "queue":
            break
    return found


def _is_true(statement: Statement, before: Sequence[Statement], evaluate: dry_run.Evaluate) -> bool:
    text = statement.value.strip()
    if text.startswith("!"):
        inner = Statement(
            statement.kind, statement.key, text[1:], statement.where, statement.at, statement.whole
        )
        return not _is_true(inner, before, evaluate)
    known = {one.key.lower(): one.value for one in before}
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


def _files(folder: Path) -> Files:
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

"""A submit file written by hand to a sweep.yaml that gives the same jobs, and the proof of that."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from osgbatch import names
from osgbatch.errors import OsgbatchError
from osgbatch.importing.convert import convert
from osgbatch.importing.jobs import Sweep, rows_as_lines, sweep_of, variables_of
from osgbatch.importing.macros import Macros, NotImported
from osgbatch.importing.made import Setting
from osgbatch.importing.queueing import Files, Rows, rows_of
from osgbatch.importing.several import as_one
from osgbatch.importing.text import INLINE, copied, printable, spec_text
from osgbatch.linting.lines import SubmitText, read
from osgbatch.linting.rules_names import meant
from osgbatch.submission.imported_read import Stage, files_of, stages_of
from osgbatch.submission.linted import Folder, read_text
from osgbatch.submit_language import known_command


@dataclass(frozen=True)
class Imported:
    """What a submit file became.

    text: of the sweep.yaml; table: of the file of its rows, by its name, when there is one. tasks:
    how many. notes: what osgbatch does otherwise. lost: what a sweep cannot say; then there is no
    text, unless it was asked for. checked: how the jobs were compared; differences: what was found
    to differ, and matters little; more: whether something is left to write when what is lost is
    left out.
    """

    text: str = ""
    table: tuple[str, str] | None = None
    tasks: int = 0
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    checked: str = ""
    differences: tuple[str, ...] = ()
    more: bool = False


def import_file(path: Path, out: Path, *, inline: bool = False, partly: bool = False) -> Imported:
    """What the sweep.yaml says that gives the jobs of a submit file; nothing is written.

    out: where it is to lie, in the submit file's folder, where its paths start. inline: rows stand
    in the spec however many they are. partly: also a spec that says less than the file.
    Raises OsgbatchError when the file cannot be read, or is refused by HTCondor.
    """
    from osgbatch.submission.imported_check import compare, without

    parsed = read(read_text(path))
    folder = path.parent
    look = Folder(folder)
    try:
        settings, rows, macros = _jobs(stages_of(parsed, path), files_of(folder))
        made = convert(settings, macros, list(variables_of(rows)))
        sweep = sweep_of(made, rows, macros.evaluate)
    except NotImported as error:
        return Imported(lost=_shown((str(error),)))
    made.lost = [_with_names(one, look, made.executable) for one in made.lost]
    if made.lost and not partly:
        return Imported(
            tasks=sweep.count, notes=_shown(made.notes), lost=_shown(made.lost), more=True
        )
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
    head = [f"Made of {path.name} by `osgbatch import`; see also `osgbatch explain`."]
    told = [f"DIFFERS: {one}" for one in made.differs]
    told += [f"* {note}" for note in made.notes]
    executable = not made.executable or look.executable(made.executable)
    name = names.slug(_batch_name(settings, macros) or path.stem)

    def text_of(lost: Sequence[str]) -> str:
        told_first = [*head, *(f"NOT TAKEN OVER: {one}" for one in lost), *told]
        return spec_text(told_first, name, made, sweep, table[0] if table else "", executable)

    rest = without(parsed, lambda one: one.where.line in made.lost_lines)
    try:
        text = text_of(made.lost)
        checked, wrong, better = compare(rest, path, text, table, out, made, sweep)
        if wrong and made.lost:  # beside what was lost
            checked, text = "", text_of((*made.lost, *wrong))
    except NotImported as error:
        lost = (*made.lost, str(error))
        return Imported(tasks=sweep.count, notes=_shown(made.notes), lost=_shown(lost))
    if wrong and not made.lost:
        return Imported(tasks=sweep.count, notes=_shown(made.notes), lost=_shown(wrong))
    if made.lost and checked:
        checked += ", but for what was not taken over"
    lost, different = _shown((*made.lost, *wrong)), _shown((*made.differs, *better))
    return Imported(text, table, sweep.count, _shown(made.notes), lost, checked, different)


def _shown(found: Sequence[str]) -> tuple[str, ...]:
    """Lines for a terminal, which takes some characters of a file for commands."""
    return tuple(map(printable, found))


_ASKED = re.compile(rb"""(?:\$\{?|environ(?:\.get\(|\[)['"]|getenv\(['"])([A-Za-z_]\w*)""")
_USUAL = frozenset((
    "HOME", "PATH", "PWD", "OLDPWD", "USER", "LOGNAME", "SHELL", "TMPDIR", "HOSTNAME", "LANG",
    "TERM", "_",
))  # fmt: skip


def _with_names(lost: str, look: Folder, program: str) -> str:
    """Of `getenv`: with the variables of this shell that the program's file names."""
    if ": getenv:" not in lost.lower():
        return lost
    asked = {name.decode() for name in _ASKED.findall(look.head(program) if program else b"")}
    found = sorted((asked & set(os.environ)) - _USUAL)
    return f"{lost} ({program} names {', '.join(found)})" if found else lost


def _jobs(stages: Sequence[Stage], files: Files) -> tuple[list[Setting], Rows, Macros]:
    """The settings, the rows and the macros; of several queue statements, as if there were one."""
    found = [(one.settings, rows_of(one.queue, one.macros, files), one.macros) for one in stages]
    return found[0] if len(found) == 1 else as_one(found)


def write(made: Imported, out: Path) -> list[Path]:
    """Write the spec, after the file of its rows: both or none.

    Raises OsgbatchError when one is there, or cannot be written.
    """
    from osgbatch.life.archiving import place

    wanted = [(out.with_name(made.table[0]), made.table[1])] if made.table else []
    wanted.append((out, made.text))
    for path, _ in wanted:
        if os.path.lexists(path):
            raise _is_there(path)
    written: list[Path] = []
    for path, text in wanted:
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with open(part, "xb") as file:
                file.write(text.encode("utf-8", "surrogateescape"))
            place(part, path)  # which fails where a file has come meanwhile
            written.append(path)
        except BaseException as error:
            for before in written:
                before.unlink(missing_ok=True)
            if isinstance(error, FileExistsError):
                raise _is_there(path) from error
            if isinstance(error, OSError):
                what = f"cannot be written: {error.strerror}"
                raise OsgbatchError(what, where=str(path)) from error
            raise
        finally:
            part.unlink(missing_ok=True)
    return written


def _is_there(path: Path) -> OsgbatchError:
    return OsgbatchError(
        "this file is there, and is not overwritten", where=str(path),
        fix="Name another one with --out, or print it with --stdout.",
    )  # fmt: skip


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
        if one.name in ("batchname", "+jobbatchname"):
            try:
                return macros.constant(one.value).strip('" ')
            except NotImported:
                return ""
    return ""

"""The jobs of a file one by one, and the table of a sweep that makes the same tasks."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from osgbatch.importing.macros import (
    CLUSTER,
    ITEM_INDEX,
    PROC,
    STEP,
    Call,
    Evaluate,
    Part,
    Variable,
)
from osgbatch.importing.made import Converted, Input, PerTask
from osgbatch.importing.parts import filled
from osgbatch.importing.queueing import Rows
from osgbatch.importing.words import Word
from osgbatch.names import RESERVED_COLUMNS, other_column

SHELL_CLUSTER = "$cluster"
"""What stands in a script for the number of the job's cluster."""
DRY_CLUSTER = "1"
"""The number of the cluster in a dry run of condor_submit."""


@dataclass(frozen=True)
class Column:
    """name: in the sweep; cells: a text for each row."""

    name: str
    cells: tuple[str, ...]


@dataclass
class Sweep:
    """columns: of the table; repeat: how often each row; source: a file of lines that the one
    column is; names: what each part of a value that differs is called in a template."""

    count: int
    columns: list[Column] = field(default_factory=list)
    repeat: int = 1
    source: str = ""
    names: dict[Part, str] = field(default_factory=dict)

    def template(self, word: Word) -> tuple[str, ...]:
        """A word as texts and names in turn: text, name, text, …"""
        found = [""]
        for part in word:
            if isinstance(part, str):
                found[-1] += part
            elif (name := self.names[part]).startswith("="):
                found[-1] += name[1:]
            else:
                found += [name, ""]
        return tuple(found)

    def filled(self, word: Word, row: Mapping[str, object]) -> str:
        """A word for a task. row: its values by column, `index` too."""
        known = {SHELL_CLUSTER: DRY_CLUSTER, **row}
        parts = enumerate(self.template(word))
        return "".join(str(known[part]) if number % 2 else part for number, part in parts)


def variables_of(rows: Rows) -> Iterator[dict[str, str]]:
    """The variables of each job, in the order of their numbers."""
    proc = 0
    for number, row in zip(rows.numbers, rows.rows, strict=True):
        for step in range(rows.each):
            found = dict(zip(rows.variables, row, strict=True))
            found |= dict.fromkeys(PROC, str(proc)) | dict.fromkeys(ITEM_INDEX, str(number))
            yield found | {STEP: str(step), CLUSTER: DRY_CLUSTER}
            proc += 1


def sweep_of(made: Converted, rows: Rows, evaluate: Evaluate) -> Sweep:
    """The table of the tasks. Raises NotImported. Inputs whose names hold folders get a column."""
    used = list(dict.fromkeys(part for word in _words(made) for part in word
                              if not isinstance(part, str)))  # fmt: skip
    # What the file names its jobs by, say in `output`, are the task's parameters here.
    named = (Variable(name) for name in rows.variables if name not in rows.unnamed | made.told)
    used += [one for one in named if one not in used]
    order: dict[Part, int] = {Variable(name): place for place, name in enumerate(rows.variables)}
    used.sort(key=lambda part: order.get(part, len(order)))
    jobs = list(variables_of(rows))
    for variable, own in made.cells.items():
        for job, cell in zip(jobs, own, strict=True):
            job[variable.name] = cell
    sweep = Sweep(len(jobs))
    simple = rows.numbers == tuple(range(len(rows.rows)))
    indexed = any(isinstance(p, Variable) and p.name in ITEM_INDEX for p in used)
    called = any(isinstance(p, Call) or p in made.cells for p in used)
    fully = rows.each > 1 and (called or indexed)
    taken: set[str] = set()
    spelled = dict(zip(rows.variables, rows.spelled, strict=False)) | {"item": "item"}
    for part in used:
        name = part.name if isinstance(part, Variable) else ""
        if name == CLUSTER:
            sweep.names[part] = SHELL_CLUSTER
        elif name in PROC or (name in ITEM_INDEX and simple and rows.each == 1):
            sweep.names[part] = "index"
        elif name == STEP and rows.each == 1:
            sweep.names[part] = "=0"
        elif name == STEP and not fully and rows.has_items:
            sweep.names[part] = "repeat"
        elif name == STEP and not rows.has_items:
            sweep.names[part] = "index"
        elif name in ITEM_INDEX and not rows.has_items:
            sweep.names[part] = "=0"
        else:
            chosen = jobs if fully else jobs[:: rows.each]
            cells = tuple(filled(part, job, evaluate) for job in chosen)
            column = Column(_free(spelled.get(name, name) or _named(part), taken), cells)
            sweep.columns.append(column)
            sweep.names[part] = column.name
    _base_names(made, sweep, taken)
    sweep.repeat = 1 if fully or not rows.has_items or not sweep.columns else rows.each
    if any(name == "repeat" for name in sweep.names.values()) and not sweep.columns:
        sweep.repeat = rows.each
        sweep.columns.append(Column("item", tuple(str(number) for number in rows.numbers)))
    if len(sweep.columns) == 1 and sweep.repeat == 1 and rows.source:
        (column,) = sweep.columns
        known = rows.variables[0]
        sweep.source = rows.source if column.name.lower() in (known, f"my_{known}") \
            and column.cells == tuple(row[0] for row in rows.rows) else ""  # fmt: skip
    return sweep


def _words(made: Converted) -> Iterator[Word]:
    yield from made.program
    yield from (word for _, word in made.environment)
    for one in made.inputs:
        yield one.source
        yield one.name
    for path, to in made.outputs or ():
        yield path
        yield to or ()
    yield made.stdin or ()
    resources = made.settings.get("resources")
    for value in resources.values() if isinstance(resources, dict) else ():
        yield (value.variable,) if isinstance(value, PerTask) else ()


def _named(part: Part) -> str:
    assert isinstance(part, Call)
    return re.sub(r"\W+", "_", part.text.lower()).strip("_")[:40] or "value"


def _free(name: str, taken: set[str]) -> str:
    name = re.sub(r"\W", "_", name)
    name = name if re.match(r"[A-Za-z_]", name) else f"x_{name}"
    name = other_column(name) or name if name in RESERVED_COLUMNS else name
    while name in taken or name in RESERVED_COLUMNS:
        name += "_"
    taken.add(name)
    return name


def _base_names(made: Converted, sweep: Sweep, taken: set[str]) -> None:
    """HTCondor gives an input its last name: where a variable holds folders, a column has that."""
    by_name = {column.name: column for column in sweep.columns}
    for place, one in enumerate(made.inputs):
        changed: list[Part] = []
        for part in one.name:
            column = by_name.get(sweep.names.get(part, "")) if not isinstance(part, str) else None
            if column is None or not any("/" in _looked_at(cell, one) for cell in column.cells):
                changed.append(part)
                continue
            based = Variable(f"{column.name}/")
            if based not in sweep.names:
                cells = tuple(posixpath.basename(cell.rstrip("/")) for cell in column.cells)
                new = Column(_free(f"{column.name}_name", taken), cells)
                sweep.columns.append(new)
                sweep.names[based] = new.name
            changed.append(based)
        made.inputs[place] = Input(one.source, tuple(changed), one.whole, one.contents)
        if made.program and made.program[0] == ("./", *one.name):  # a program of each job's own
            made.program[0] = ("./", *changed)


def _looked_at(cell: str, one: Input) -> str:
    """A cell without the / behind it, where that says nothing: what is in a folder is brought."""
    return cell.rstrip("/") if one.contents else cell


def rows_as_lines(columns: Sequence[Column]) -> list[tuple[str, ...]]:
    """The rows of a table."""
    return list(zip(*(column.cells for column in columns), strict=True))

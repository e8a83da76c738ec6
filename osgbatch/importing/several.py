"""Several queue statements as one: what is set anew between them becomes a variable of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from osgbatch.importing.jobs import variables_of
from osgbatch.importing.macros import (
    CLUSTER,
    ITEM_INDEX,
    PROC,
    STEP,
    TOO_LATE,
    Macros,
    NotImported,
    Variable,
)
from osgbatch.importing.made import Setting
from osgbatch.importing.parts import filled
from osgbatch.importing.queueing import MOST, Rows
from osgbatch.importing.settings import DROPPED, PRINTED
from osgbatch.submit_language import known_command

Stage = tuple[list[Setting], Rows, Macros]
_COUNTED = re.compile(rf"\$\((?:{STEP}|{'|'.join(sorted(ITEM_INDEX))})\)", re.IGNORECASE)


def as_one(stages: Sequence[Stage]) -> Stage:
    """The jobs of all stages. Their numbers go on from one to the next: all are in one cluster
    (seen on 25.14.1, which asks for one queue statement, and takes several when it is told to).

    Raises NotImported.
    """
    macros = stages[-1][2]
    differing = _differing(stages)
    items = dict.fromkeys(name for _, rows, _ in stages for name in rows.variables)
    spelled = {name: own for _, rows, _ in stages
               for name, own in zip(rows.variables, rows.spelled, strict=True)}  # fmt: skip
    variables = (*(name for name in items if name not in differing), *differing)
    cells: list[tuple[str, ...]] = []
    for settings, rows, own in stages:
        if any(_COUNTED.search(one.value) for one in settings if one.name not in PRINTED):
            raise NotImported("with several queue statements, $(Step) and $(ItemIndex) are not "
                              "taken over")  # fmt: skip
        values = {_name(one): one.value for one in settings}
        for job in variables_of(rows):
            job |= dict.fromkeys(PROC, str(len(cells)))
            found = {name: job.get(name, "") for name in items}
            found |= {name: _text(values.get(name, ""), own, job) for name in differing}
            cells.append(tuple(found[name] for name in variables))
    if len(cells) > MOST:
        raise NotImported(f"it makes more than {MOST:,} jobs")
    made = Rows(
        variables, tuple(cells), tuple(range(len(cells))), 1, has_items=True,
        spelled=tuple(spelled.get(name) or differing.get(name, name) for name in variables),
        unnamed=frozenset(name for name in differing if _is_command(name)),
    )  # fmt: skip
    changed = {_name(one): one for settings, _, _ in stages for one in settings}
    merged = [
        replace(one, value=f"$({name})", line=one.line) if name in differing else one
        for name, one in changed.items()
    ]
    kept = {name: value for name, value in macros.values.items() if name not in differing}
    return merged, made, Macros(kept, frozenset(variables), macros.evaluate)


def _is_command(name: str) -> bool:
    return name.startswith("+") or known_command(name)


def _name(one: Setting) -> str:
    """What a setting is called in the table: as it is written, in lower case."""
    return re.sub(r"^my\.", "+", one.key.lower())


def _differing(stages: Sequence[Stage]) -> dict[str, str]:
    """What has other values at some of the queue statements: its name, and as it is written."""
    spelled = {_name(one): one.key for settings, _, _ in stages for one in settings}
    canonical = {_name(one): one.name for settings, _, _ in stages for one in settings}
    found = {}
    for name, key in spelled.items():
        if canonical[name] in DROPPED or canonical[name] in PRINTED:
            continue
        values = {next(_values(settings, name), "") for settings, _, _ in stages}
        if len(values) > 1:
            found[name] = name if _is_command(name) else key
    return found


def _values(settings: Sequence[Setting], name: str) -> Iterator[str]:
    return (one.value for one in settings if _name(one) == name)


def _text(value: str, macros: Macros, job: dict[str, str]) -> str:
    parts = macros.parts(value.strip())
    if Variable(CLUSTER) in parts:
        raise NotImported(TOO_LATE.format("$(Cluster)"))
    return "".join(filled(part, job, macros.evaluate) for part in parts)

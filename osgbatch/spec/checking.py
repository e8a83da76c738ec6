"""A document against the schema: what pydantic says, in our words, at its place."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from osgbatch.spec.document import Loc
from osgbatch.spec.reading import Reading, dotted
from osgbatch.spec.schema import LATER, OutputsModel, SpecModel
from osgbatch.spec.sweeps import suggest
from osgbatch.spec.values import TAGS

_MESSAGES = {
    "dict_type": "should be keys and values",
    "model_type": "should be keys and values",
    "list_type": "should be a list",
    "bool_type": "should be true or false",
    "string_type": "should be text",
}
_MISSING = {
    "email": "Write notify: me@example.org.",
    "expr": 'Write {expr: "2 GB * n"}.',
    "path": "Write {path: …}.",
    "files": "Write checkpoint: {files: [state.npz]}.",
}


_EXAMPLES = {
    "name": "find-peaks",
    "command": "python job.py {x}",
    "script": "|` and its lines below, indented; or `script: echo {x}",
    "function": "analysis:run",
    "sweep": "{x: [1, 2, 3]}",
    "files": "[job.py, util.py]",
    "libraries": "[mylib/]",
    "gather": "gather.py",
    "environment_variables": "{LEVEL: 3}",
    "resources": "{cpus: 2, memory: 4 GB}",
    "requirements": "{os: el9}",
    "requirements.sites": "{only: [UChicago, UNL]}",
    "submit": "{priority: 10}",
    "stash": "none`, `stash: s3://bucket/prefix` or `stash: {folder: DIR, url: URL}",
    "project": "My_Project",
    "tags": "[pilot, paper-2]",
    "notify": "me@example.org",
    "checkpoint": "state.npz",
}
"""What can be written where a value is of the wrong kind."""
_NO_TEXT = dict.fromkeys(("requirements", "stash", "checkpoint"), "Put it in quotes.")
"""Advice that leads nowhere: `requirements: "5"` is no better than 5."""


def check(reading: Reading) -> SpecModel:
    """The document as models; what is wrong is noted, and then left out of them."""
    for key, value in reading.document.data.items():
        if value is None and key in SpecModel.model_fields and key != "environment":
            fix = "Give it one, or leave the key out."
            reading.fail(f"{key}: has no value", reading.place((key,)), fix)
            reading.dropped.add((key,))
    while True:
        dropped = frozenset(reading.dropped)
        left = _without(reading.document.data, (), dropped, _around(dropped))
        try:
            return SpecModel.model_validate(left)
        except ValidationError as error:
            for detail in error.errors():
                loc = _in_document(reading.document.data, dropped, detail["loc"])
                _tell(reading, detail, loc, dropped)


def _around(locs: frozenset[Loc]) -> set[Loc]:
    return {loc[:end] for loc in locs for end in range(len(loc))}


def _without(value: Any, loc: Loc, dropped: frozenset[Loc], around: set[Loc]) -> Any:
    """A copy of `value` without what is dropped; what holds nothing dropped is not copied."""
    if loc not in around:
        return value
    items = value.items() if isinstance(value, dict) else enumerate(value)
    kept = [
        (key, _without(item, (*loc, key), dropped, around))
        for key, item in items
        if (*loc, key) not in dropped
    ]
    return dict(kept) if isinstance(value, dict) else [item for _, item in kept]


def _tell(reading: Reading, detail: Any, loc: Loc, before: frozenset[Loc]) -> None:
    """Note one of pydantic's errors, and drop what it is about. before: what was dropped before."""
    document, dropped = reading.document, reading.dropped
    name = str(loc[-1])
    about = loc[:-1] if detail["type"] == "missing" else loc
    if any(gone[: len(about)] == about for gone in before):
        dropped.add(about)  # it is wrong only because of what was left out
        return
    if detail["type"] == "extra_forbidden":
        reading.fail(*_unknown_key(reading, loc))
        dropped.add(loc)
    elif detail["type"] == "missing":
        misplaced = any(_belongs_to_outputs(key, loc[:-1]) for key in detail["input"])
        if not misplaced and not get_close_matches(name, detail["input"], n=1):
            what = f'{dotted(loc[:-1])}: "{name}" is missing'
            reading.fail(what, document.place(loc[:-1]), _MISSING.get(name, ""))
        dropped.add(loc[:-1])
    else:
        problem = detail.get("ctx", {}).get("error")
        message = _MESSAGES.get(detail["type"]) or str(problem or detail["msg"])
        fix = getattr(problem, "fix", "")
        value = document.texts.get(loc, "")
        if loc == ("sweep",) and value:
            fix = f"Write sweep: {{table: {value}}}."
        elif (example := _EXAMPLES.get(dotted(loc))) and fix in ("", _NO_TEXT.get(name)):
            fix = f"Write `{name}: {example}`."
        columns = document.data.get("sweep")
        set_here = document.place(loc).file == "--set"
        if set_here and len(loc) == 1 and isinstance(columns, dict) and name in columns:
            fix += f" For the column: `sweep.{name}=…`."
        reading.fail(f"{dotted(loc)}: {message}", document.place(loc), fix)
        dropped.add(loc)


def _in_document(value: Any, dropped: frozenset[Loc], loc: Loc) -> Loc:
    """Where pydantic's path leads: without the forms it names, and the lists it has made.

    What it has seen does not hold what was dropped before, so the numbers of entries move.
    """
    found: Loc = ()
    for part in loc:
        if part in TAGS:
            continue
        if isinstance(part, int):
            if not isinstance(value, list):
                continue
            kept = [i for i in range(len(value)) if (*found, i) not in dropped]
            part = kept[part]
        value = value.get(part) if isinstance(value, dict) else value[part] if value else None
        found = (*found, part)
    return found


def _unknown_key(reading: Reading, loc: Loc) -> tuple[str, Any, str]:
    name, around = str(loc[-1]), loc[:-1]
    place = reading.key(loc)
    plain = ".".join(str(part) for part in loc if not isinstance(part, int))
    if plain in LATER:
        what = f'"{dotted(loc)}" cannot stand here'
        fix = "It makes a file a workflow, which is submitted as such: docs/workflows.md."
        return what, place, fix
    if plain == "table":
        what = 'unknown key "table"'
        return what, place, "It belongs under sweep: `sweep: {table: params.csv}`."
    if _belongs_to_outputs(name, around):
        what = f'"{name}" is for all outputs, and cannot stand in one entry'
        return what, place, _OUTPUTS_FORM
    known = list(dict.fromkeys(_keys_at(around)))
    near = suggest(name, known)
    columns = reading.document.data.get("sweep")
    if not around and place.file == "--set" and isinstance(columns, dict):
        column = get_close_matches(name, columns, n=1)
        if column and (column[0] == name or not near):
            return f'unknown key "{name}"', place, _column_meant(name, column[0])
    home = "" if around or near else _section_of(name)
    if home:
        what = (
            f'unknown key "{name}"; {home.rpartition(".")[2]} stands under {home.partition(".")[0]}'
        )
        return what, place, f"Write {home.partition('.')[0]}: {{{home.partition('.')[2]}: ...}}."
    inside = f" in {dotted(around)}" if around else ""
    fix = "" if near else f"Known are {', '.join(known)}."
    return f'unknown key "{name}"{inside}{near}', place, fix


def _column_meant(name: str, column: str) -> str:
    """What to write for a setting whose key is a column's name, or nearly so."""
    home = _section_of(name)
    return f"Did you mean sweep.{column}{f', or {home}' if home else ''}?"


_OUTPUTS_FORM = (
    'Write outputs: {include: [a.txt, {path: b.txt, optional: true}], exclude: ["*.tmp"]}, with '
    "all entries under include."
)


def _belongs_to_outputs(name: str, around: Loc) -> bool:
    """Whether a key of `outputs:` itself stands in one of its entries."""
    in_entry = around[1:] == () or isinstance(around[-1], int)  # {path: ...} is one entry, too
    return around[:1] == ("outputs",) and in_entry and name in OutputsModel.model_fields


def _section_of(name: str) -> str:
    """Where a key that stands at the top most likely belongs: `resources.memory`; or nothing."""
    for section in ("resources", "requirements", "gpus", "retries"):
        keys = list(_keys_at((section,)))
        near = get_close_matches(name, keys, n=1, cutoff=0.75)
        if near:
            return f"{section}.{near[0]}"
    return ""


def _keys_at(loc: Loc) -> Iterator[str]:
    """The keys that the models know at `loc`."""
    models = [SpecModel]
    for part in loc:
        if isinstance(part, str):
            annotations = [
                field.annotation
                for model in models
                for name, field in model.model_fields.items()
                if (field.alias or name) == part
            ]
            models = [model for annotation in annotations for model in _models_in(annotation)]
    for model in models:
        yield from (field.alias or name for name, field in model.model_fields.items())


def _models_in(annotation: Any) -> Iterator[type[Any]]:
    """The models that an annotation speaks of: `Model | None`, `list[Model]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)

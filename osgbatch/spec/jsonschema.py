"""The JSON Schema of sweep.yaml, from which editors complete and check."""

from __future__ import annotations

from typing import Any

from osgbatch.spec import schema
from osgbatch.spec.series import DISTRIBUTIONS, SOURCES
from osgbatch.spec.values import SCALAR, TEXT

ID = "https://json-schema.org/draft/2020-12/schema"
_SIZE = r"^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*([KkMmGgTtPp]([Ii]?[Bb])?|[Bb])\s*$"
_TIME = (
    r"^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*"
    r"([Ss]([Ee][Cc]([Oo][Nn][Dd][Ss]?)?)?|[Mm]([Ii][Nn]([Uu][Tt][Ee][Ss]?)?)?"
    r"|[Hh]([Oo][Uu][Rr][Ss]?)?|[Dd]([Aa][Yy][Ss]?)?)\s*$"
)


def json_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12, of a sweep.yaml or of a file that one extends.

    It is looser than `osgbatch check`, which also reads what is named, and never stricter.
    """
    made = schema.SpecModel.model_json_schema()
    properties: dict[str, Any] = made["properties"]
    properties["extends"] = {
        "description": "Files whose settings hold where this one says nothing; later ones win.",
        "anyOf": [TEXT, _list(TEXT)],
    }
    properties["sweep"] = {**_sweep(), "description": properties["sweep"]["description"]}
    definitions: dict[str, Any] = made["$defs"]
    for holder, key, pattern in (
        ("ResourcesModel", "memory", _SIZE), ("ResourcesModel", "disk", _SIZE),
        ("ResourcesModel", "time", _TIME), ("GpusModel", "min_memory", _SIZE),
        ("GatherResourcesModel", "memory", _SIZE), ("GatherResourcesModel", "disk", _SIZE),
        ("GatherResourcesModel", "time", _TIME),
        ("CheckpointModel", "every", _TIME),
    ):  # fmt: skip
        _measured(definitions[holder]["properties"][key], pattern)
    for described in (made, *definitions.values()):
        _tidy(described, definitions)
    definitions["Step"] = _step(made)
    properties["steps"] = {
        "description": "Makes a workflow: sweeps that use each other's results.",
        **_list({"$ref": "#/$defs/Step"}),
    }
    return {
        "$schema": ID,
        "title": "osgbatch sweep",
        "description": "A sweep of tasks for HTCondor, and what they need: sweep.yaml.",
        **{key: value for key, value in made.items() if key not in ("title", "description")},
        # What is run can come from the file that this one extends; a container needs no command.
        "anyOf": [
            {"required": [key]} for key in ("command", "script", "function", "extends", "steps")
        ],
    }


def _step(made: dict[str, Any]) -> dict[str, Any]:
    """A step of a workflow: a sweep, and what it has beside that."""
    own = {
        "after": {
            "description": "The steps that end before this one begins.",
            "anyOf": [TEXT, _list(TEXT, 0)],
        },
        "here": {
            "description": "Run on this machine, in the foreground, not in the pool.",
            "type": "boolean",
        },
        "partial": {
            "description": "Later steps run also when some tasks of this one have failed.",
            "type": "boolean",
        },
    }
    spec = {key: value for key, value in made["properties"].items() if key != "extends"}
    return {
        "description": "A sweep, run here or in the pool; step:NAME/PATH is an earlier result.",
        "type": "object",
        "properties": {**spec, **own},
        "required": ["name"],
        "additionalProperties": False,
    }


def _tidy(model: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Leave out titles that only repeat the key, and let every key be removed by `null`."""
    model.pop("title", None)
    for key, value in model.get("properties", {}).items():
        value.pop("title", None)
        if key not in model.get("required", ()):
            model["properties"][key] = _or_null(value)
            if "$ref" in value:
                definitions[value["$ref"].rsplit("/", 1)[1]]["type"] = ["object", "null"]


def _or_null(value: dict[str, Any]) -> dict[str, Any]:
    """The same schema that also takes `null`, which removes what an extended file says.

    An editor's messages are best where there are no alternatives, so `type` is widened if it can.
    """
    if "$ref" in value or value.get("anyOf", [None])[-1] == _NULL:
        return value
    if isinstance(value.get("type"), str) and "enum" not in value:
        return {**value, "type": [value["type"], "null"]}
    shown = {k: v for k, v in value.items() if k in ("description", "examples", "default")}
    rest = {k: v for k, v in value.items() if k not in shown}
    return {**shown, "anyOf": [*(rest["anyOf"] if [*rest] == ["anyOf"] else [rest]), _NULL]}


def _measured(value: dict[str, Any], pattern: str) -> None:
    """Let the text of a value, or of one of its forms, be a number with a unit."""
    for form in (value, *value.get("oneOf", ())):
        if form.get("type") == "string":
            form["pattern"] = pattern
            form.pop("minLength", None)


# --- `sweep:`, which the checker reads by hand ----------------------------------------------------

_NULL = {"type": "null"}
_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "minimum": 1}
_CONDITION: dict[str, Any] = {"anyOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1}]}


def _list(items: dict[str, Any], least: int = 1, most: int | None = None) -> dict[str, Any]:
    limits = {"minItems": least, **({} if most is None else {"maxItems": most})}
    return {"type": "array", "items": items, **limits}


def _one_key(known: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": known,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


def _column() -> dict[str, Any]:
    """A column: a list of values, or one of the sources."""
    three = {"description": "From, to, how many.", **_list(_NUMBER, 3, 3)}
    sources: dict[str, Any] = {
        "range": {
            "description": "From, up to but without, step; or only how far.",
            "anyOf": [_NUMBER, _list(_NUMBER, 1, 3)],
        },
        "linspace": three,
        "logspace": {**three, "description": "Exponents of 10: from, to, how many."},
        "files": {"description": "A value for each matching file.", **_CONDITION},
        "lines": {"description": "A value for each line of a file.", **TEXT},
        "random": _random(),
    }
    assert sorted(sources) == sorted(SOURCES)
    return {
        "description": "A column: its values, or where they come from.",
        "anyOf": [_list(SCALAR), _one_key(sources)],
    }


def _random() -> dict[str, Any]:
    pair = _list(_NUMBER, 2, 2)
    kinds: dict[str, Any] = {kind: pair for kind in DISTRIBUTIONS if kind != "choice"}
    kinds["choice"] = _list(SCALAR)
    return {
        "description": "Drawn at random, the same values for the same seed.",
        "type": "object",
        "properties": {**kinds, "n": _COUNT, "seed": {"type": "integer"}},
        "required": ["n", "seed"],
        "additionalProperties": False,
        "minProperties": 3,
        "maxProperties": 3,
    }


def _sweep() -> dict[str, Any]:
    table = {
        "description": "Tables (CSV, TSV, JSON lines, Parquet) of columns, or rows.",
        "anyOf": [TEXT, _list(TEXT), _list({"type": "object", "minProperties": 1})],
    }
    column = _column()
    names = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}
    together = {
        "type": "object",
        "properties": {"table": table},
        "additionalProperties": column,
        "propertyNames": names,
        "minProperties": 1,
    }
    words = {
        "table": table,
        "zip": {
            "description": "Columns side by side, in place of all their combinations.",
            "anyOf": [together, _list(together)],
        },
        "where": {"description": "Only the rows for which this is true.", **_CONDITION},
        "exclude": {"description": "Not the rows for which this is true.", **_CONDITION},
        "sample": {
            "description": "So many rows at random.",
            "anyOf": [
                _COUNT,
                {
                    "type": "object",
                    "properties": {"n": _COUNT, "seed": {"type": "integer"}},
                    "required": ["n"],
                    "additionalProperties": False,
                },
            ],
        },
        "repeat": {"description": "Every row so many times.", **_COUNT},
        "count": {"description": "So many tasks without columns.", **_COUNT},
    }
    return {
        "type": "object",
        "properties": {key: _or_null(value) for key, value in words.items()},
        "additionalProperties": _or_null(column),
        "propertyNames": names,
    }

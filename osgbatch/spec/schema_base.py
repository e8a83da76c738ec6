"""What the models of a sweep.yaml are made of: their base, texts, sizes, times, lists of texts."""

# No `from __future__ import annotations` in the modules of the schema: pydantic would have to
# compile each annotation once more, in every command.

import os
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator

from osgbatch.spec import units, values
from osgbatch.spec.values import SCALAR, TEXT, Check, OneOrMore

BY_KEYS = Discriminator(values.keys_or_value)
BY_LIST = Discriminator(values.list_or_value)

Text = Annotated[str, Check(values.nonempty, TEXT)]
Scalar = Annotated[Any, Check(values.scalar(), SCALAR)]
Memory = Annotated[int, Check(values.size(units.memory_mb), {**TEXT, "examples": ["2 GB"]})]
Disk = Annotated[int, Check(values.size(units.disk_kb), {**TEXT, "examples": ["4 GB"]})]
Seconds = Annotated[int, Check(values.time, {**TEXT, "examples": ["20 min", "1.5 h"]})]
Gpus = Annotated[int, Check(values.whole(0, 64), values.number_json(0, 64))]
Cpus = Annotated[int, Check(values.whole(1, 4096), values.number_json(1, 4096))]
Texts = Annotated[list[Text], OneOrMore()]


def none() -> list[Any]:
    """The default of a list. pydantic looks at the signature of what makes a default, and takes
    ten times as long for `list` itself, which is not written in Python."""
    return []


def empty() -> dict[str, Any]:
    """The default of a mapping; see `none`."""
    return {}


def _without_empty_defaults(schema: dict[str, Any]) -> None:
    """Leave out of the JSON Schema the defaults that could not be written in a spec."""
    for described in schema.get("properties", {}).values():
        if described.get("default") in (None, "", 0):
            described.pop("default", None)


if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)
_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"


class _Unwatched(ModelMetaclass):
    """Builds models without a look for plugins of pydantic, which watch the models of others.

    That look reads the entry points of all packages that are installed, in every command; typer
    (0.29) leaves it out likewise.
    """

    def __new__(cls, *given: Any, **named: Any) -> Any:
        before = os.environ.get(_PLUGINS)
        os.environ[_PLUGINS] = "__all__"
        try:
            return super().__new__(cls, *given, **named)
        finally:
            if before is None:
                del os.environ[_PLUGINS]
            else:
                os.environ[_PLUGINS] = before


class Model(BaseModel, metaclass=_Unwatched):
    """A group of keys; others than those it names are errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra=_without_empty_defaults
    )

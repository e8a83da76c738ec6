"""What the models of a sweep.yaml are made of: their base, texts, sizes, times, lists of texts."""

from __future__ import annotations

from typing import Annotated, Any

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


def _without_empty_defaults(schema: dict[str, Any]) -> None:
    """Leave out of the JSON Schema the defaults that could not be written in a spec."""
    for described in schema.get("properties", {}).values():
        if described.get("default") in (None, "", 0):
            described.pop("default", None)


class Model(BaseModel):
    """A group of keys; others than those it names are errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra=_without_empty_defaults
    )

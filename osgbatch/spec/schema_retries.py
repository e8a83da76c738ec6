"""The models of `retries:` and `checkpoint:`."""

from typing import Annotated, Any

from pydantic import Field, Tag

from osgbatch.spec import units, values
from osgbatch.spec.ladders import ladder
from osgbatch.spec.schema_base import BY_LIST, Model, Seconds, Texts
from osgbatch.spec.values import TEXT, Check

_LADDER: dict[str, Any] = {
    "anyOf": [
        {**TEXT, "examples": ["x2 up to 16 GB"]},
        {"type": "array", "items": TEXT, "minItems": 1},
    ]
}
_Code = Annotated[int, Check(values.whole(1, 255), values.number_json(1, 255))]
_When = {"enum": ["infrastructure", "any"]}


class RetriesModel(Model):
    """How often and when a failure is tried again."""

    times: Annotated[int, Check(values.whole(0, 100), values.number_json(0, 100))] = Field(
        default=2, description="At most so many times."
    )
    on: Annotated[
        Annotated[str, Check(values.retries_on, _When), Tag("[value]")]
        | Annotated[list[_Code], Tag("[list]")],
        BY_LIST,
    ] = Field(
        default="infrastructure", description="Which failures: infrastructure, any, or exit codes."
    )
    memory: Annotated[Any, Check(ladder("memory", units.memory_mb), _LADDER)] = Field(
        default=None, description="What to ask for after a job was stopped for its memory."
    )
    disk: Annotated[Any, Check(ladder("disk", units.disk_kb), _LADDER)] = Field(
        default=None, description="What to ask for after a job was stopped for its disk."
    )


class CheckpointModel(Model):
    """What a program that saves its state needs to go on after the job was moved."""

    files: Texts = Field(description="Files, patterns or folders in the task's folder.")
    every: Seconds = Field(
        default=0, description="Stop the program so often, for its state to be brought home."
    )

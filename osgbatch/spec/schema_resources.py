"""`resources:` and `gpus:` of a spec: numbers with units, or expressions over the columns."""

from typing import Annotated, Any

from pydantic import Field, Tag, model_validator

from osgbatch.spec import values
from osgbatch.spec.schema_base import BY_KEYS, Cpus, Disk, Gpus, Memory, Model, Seconds, Text
from osgbatch.spec.values import Check


class ExpressionModel(Model):
    """A value that is computed for each row: `{expr: "2 GB * n_cells"}`."""

    @model_validator(mode="before")
    @classmethod
    def _not_braces(cls, value: Any) -> Any:
        """`cpus: {n}` is, for YAML, a mapping whose key n has no value."""
        if isinstance(value, dict) and len(value) == 1 and None in value.values():
            (name, *_) = value
            if name != "expr":
                fix = f'Write {{expr: "{name}"}}.'
                raise values.Advice("placeholders are not known here", fix)
        return value

    expr: Text = Field(
        description="An expression over the columns, with units.", examples=["2 GB * n_cells"]
    )


_Expr = Annotated[ExpressionModel, Tag("[keys]")]
CpusOrExpr = Annotated[Annotated[Cpus, Tag("[value]")] | _Expr, BY_KEYS]
MemoryOrExpr = Annotated[Annotated[Memory, Tag("[value]")] | _Expr, BY_KEYS]
DiskOrExpr = Annotated[Annotated[Disk, Tag("[value]")] | _Expr, BY_KEYS]
GpusOrExpr = Annotated[Annotated[Gpus, Tag("[value]")] | _Expr, BY_KEYS]
TimeOrExpr = Annotated[Annotated[Seconds, Tag("[value]")] | _Expr, BY_KEYS]


class ResourcesModel(Model):
    """What one task needs. Sizes and times have units."""

    cpus: CpusOrExpr = Field(default=1, description="CPU cores.")
    memory: MemoryOrExpr = Field(
        default=1024, description="Memory.", json_schema_extra={"default": "1 GB"}
    )
    disk: DiskOrExpr = Field(
        default=2 * 1024 * 1024,
        description="Disk for what a task writes.",
        json_schema_extra={"default": "2 GB"},
    )
    gpus: GpusOrExpr = Field(default=0, description="How many GPUs.")
    time: TimeOrExpr = Field(default=0, description="A task that takes longer is stopped.")


class GpusModel(Model):
    """How many GPUs, and which will do."""

    count: GpusOrExpr = Field(default=1, description="How many.")
    min_memory: Memory = Field(default=0, description="The least memory of each.")
    min_capability: Annotated[
        Any, Check(values.capability, {"type": ["number", "string"], "examples": [7.0, 8.6]})
    ] = Field(default="", description="The least compute capability.")


class GatherResourcesModel(Model):
    """What the job needs that gathers. Sizes and times have units."""

    cpus: Cpus = Field(default=1, description="CPU cores.")
    memory: Memory = Field(
        default=1024, description="Memory.", json_schema_extra={"default": "1 GB"}
    )
    disk: Disk | None = Field(
        default=None, description="Disk; default: 2 GB, and room for the results."
    )
    gpus: Gpus = Field(default=0, description="How many GPUs.")
    time: Seconds = Field(default=0, description="If it takes longer it is stopped.")

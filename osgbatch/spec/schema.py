"""What a sweep.yaml may hold: the pydantic models that check it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from osgbatch.spec import units


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str):
        raise ValueError("should be text")
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    return value


def _nonempty(value: Any) -> str:
    text = _text(value)
    if not text.strip():
        raise ValueError("is empty")
    return text


def _size(parse: Any) -> Any:
    def read(value: Any) -> int:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            raise ValueError(f"a size needs a unit: write {value} GB or {value} MB")
        return int(parse(_nonempty(value)))

    return read


def _time(value: Any) -> int:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError(f"a time needs a unit: write {value} min or {value} h")
    return units.seconds(_nonempty(value))


def _number(low: int, high: int) -> Any:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("should be a whole number")
        if not low <= value <= high:
            raise ValueError(f"should be between {low} and {high}")
        return value

    return BeforeValidator(read)


Text = Annotated[str, BeforeValidator(_text)]
NonEmpty = Annotated[str, BeforeValidator(_nonempty)]
Memory = Annotated[int, BeforeValidator(_size(units.memory_mb))]
Disk = Annotated[int, BeforeValidator(_size(units.disk_kb))]
Seconds = Annotated[int, BeforeValidator(_time)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ResourcesModel(_Model):
    """What a job asks for."""

    cpus: Annotated[int, _number(1, 4096)] = 1
    memory: Memory = 1024
    disk: Disk = 2 * 1024 * 1024
    gpus: Annotated[int, _number(0, 64)] = 0
    time: Seconds = 0


class RetriesModel(_Model):
    """How often and when a failure is tried again; `retries: 3` says only how often."""

    @model_validator(mode="before")
    @classmethod
    def _times(cls, value: Any) -> Any:
        return {"times": value} if isinstance(value, int) else value

    times: Annotated[int, _number(0, 100)] = 2
    on: Literal["infrastructure", "any"] | list[Annotated[int, _number(1, 255)]] = "infrastructure"


class OutputModel(_Model):
    """`{path: outputs/debug.log, optional: true}`."""

    path: NonEmpty
    optional: bool = False


class EnvironmentModel(_Model):
    """`{requirements: requirements.txt}`."""

    requirements: NonEmpty


class SpecModel(_Model):
    """The whole of a sweep.yaml."""

    name: NonEmpty | None = None
    command: Any
    sweep: dict[str, Any] = Field(default_factory=dict)
    files: list[NonEmpty] = Field(default_factory=list)
    libraries: list[NonEmpty] = Field(default_factory=list)
    environment: Any = "none"
    inputs: list[NonEmpty] = Field(default_factory=list)
    outputs: list[Any] = Field(default_factory=list)
    environment_variables: dict[str, Any] = Field(default_factory=dict)
    resources: ResourcesModel = Field(default_factory=ResourcesModel)
    retries: RetriesModel = Field(default_factory=RetriesModel)
    tasks_per_job: Annotated[int, _number(1, 1_000_000)] = 1
    gather: NonEmpty | None = None

    @field_validator("command", mode="before")
    @classmethod
    def _command(cls, value: Any) -> Any:
        if isinstance(value, str):
            return _nonempty(value)
        if isinstance(value, list):
            if not value:
                raise ValueError("is empty; write the program and its arguments")
            return value
        raise ValueError("should be text, or a list of the program and its arguments")

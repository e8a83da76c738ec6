"""`sweep.yaml` to Spec: every error with its place, all of them at once."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from osgbatch.errors import SpecError, SpecErrors
from osgbatch.model import (
    Environment,
    Input,
    Output,
    Place,
    Resources,
    Retries,
    Spec,
    Template,
    UserPath,
)
from osgbatch.names import TAKEN_OUTPUTS, slug
from osgbatch.spec import schema
from osgbatch.spec.document import Document, Loc, read_document
from osgbatch.spec.sweeps import read_sources, suggest
from osgbatch.spec.templates import parse_template

_SHELL_WORDS = {"|", "||", "&&", "&", ";", ">", ">>", "<", "2>", "2>&1", "&>"}
_LATER = {
    "script", "function", "related", "project", "max_running", "requirements", "stash",
    "outputs_to", "checkpoint", "tags", "notify", "steps", "extends", "submit",
}  # fmt: skip


def load_spec(path: Path) -> Spec:
    """Read and check a spec.

    Raises SpecErrors with every mistake that can be told without reading other files,
    OsgbatchError when the file cannot be read.
    """
    # The real folder: a `..` in a path must lead where the file system says, not where it looks.
    whole = path.absolute()
    return _Loader(whole.parent.resolve() / whole.name, read_document(path)).load()


class _Loader:
    def __init__(self, path: Path, document: Document) -> None:
        self.path = path
        self.document = document
        self.errors: list[SpecError] = []

    def load(self) -> Spec:
        model = self._validate()
        templates = self._command(self._raw("command", (str, list)))
        sources = tuple(read_sources(self.document, self._raw("sweep", dict) or {}, self._fail))
        outputs = tuple(self._outputs(self._raw("outputs", list) or []))
        environment = self._environment(self.document.data.get("environment"))
        variables = tuple(self._variables(self._raw("environment_variables", dict) or {}))
        inputs = tuple(
            Input(template)
            for i, text in enumerate(self._raw("inputs", list) or [])
            if isinstance(text, str) and (template := self._template(text, ("inputs", i)))
        )
        if self.errors or model is None:
            ordered = sorted(self.errors, key=lambda e: (e.place.line, e.place.column))
            raise SpecErrors(ordered)
        return Spec(
            path=self.path,
            text=self.document.raw,
            name=slug(model.name or self._default_name()),
            command=templates,
            sources=sources,
            files=self._paths("files", model.files),
            libraries=self._paths("libraries", model.libraries),
            inputs=inputs,
            outputs=outputs,
            environment=environment,
            environment_variables=variables,
            resources=_resources(model.resources),
            retries=_retries(model.retries),
            tasks_per_job=model.tasks_per_job,
            gather=self._path(("gather",), model.gather) if model.gather else None,
        )

    def _raw(self, key: str, kind: Any) -> Any:
        """The value of a key if it is of the right kind; else pydantic has said so already."""
        value = self.document.data.get(key)
        return value if isinstance(value, kind) else None

    def _default_name(self) -> str:
        stem = self.path.stem
        return self.path.parent.name if stem == "sweep" and self.path.parent.name else stem

    def _fail(self, what: str, place: Place, fix: str = "") -> None:
        self.errors.append(SpecError(what, place, fix=fix))

    # --- what pydantic says, in our words -------------------------------------------------

    def _validate(self) -> schema.SpecModel | None:
        try:
            return schema.SpecModel.model_validate(self.document.data)
        except ValidationError as error:
            for detail in error.errors():
                self._translate(detail)
            return None

    def _translate(self, detail: Any) -> None:
        loc: Loc = tuple(part for part in detail["loc"] if not _is_union_tag(part))
        name = str(loc[-1]) if loc else ""
        kind = detail["type"]
        if kind == "extra_forbidden":
            what, fix = _unknown_key(name, loc[:-1])
            self._fail(what, self.document.place(loc, key=True), fix)
        elif kind == "missing":
            self._fail(
                f'"{name}" is missing',
                self.document.place(loc[:-1]),
                "Every sweep needs a command: `command: python job.py {x}`."
                if len(loc) == 1
                else "",
            )
        else:
            if loc[:2] == ("retries", "on"):
                loc = ("retries", "on")
                message = 'should be "infrastructure", "any" or a list of exit codes'
                if any(error.place == self.document.place(loc) for error in self.errors):
                    return
            else:
                message = _plain_message(detail)
            value = self.document.texts.get(loc, "")
            fix = ""
            if detail["type"] == "list_type" and value:
                fix = f"Write {_dotted(loc)}: [{value}]."
            elif loc == ("sweep",) and value:
                fix = f"Write sweep: {{table: {value}}}."
            self._fail(f"{_dotted(loc)}: {message}", self.document.place(loc), fix)

    # --- the parts that need more than a type ----------------------------------------------

    def _template(self, text: str, loc: Loc) -> Template | None:
        try:
            return parse_template(text, self.document.place(loc))
        except SpecError as error:
            self.errors.append(error)
            return None

    def _command(self, command: Any) -> tuple[Template, ...]:
        if command is None:
            return ()
        words: list[tuple[str, Loc]] = []
        if isinstance(command, str):
            place = self.document.place(("command",))
            try:
                words = [(word, ("command",)) for word in shlex.split(command)]
            except ValueError as error:
                self._fail(f"the command cannot be split: {error}", place, "Close the quotes.")
            for word, _ in words:
                if word in _SHELL_WORDS:
                    self._fail(
                        f'no shell runs the command: "{word}" would reach the program as text',
                        place.at(word),
                        "Put shell code in a script, files: [job.sh], and run `sh job.sh`; "
                        "stdout and stderr are kept anyway.",
                    )
                    break
        else:
            for i, word in enumerate(command):
                loc: Loc = ("command", i)
                if isinstance(word, (dict, list)) or word is None:
                    self._fail("an argument should be text or a number", self.document.place(loc))
                else:
                    words.append((self.document.texts.get(loc, str(word)), loc))
        for word, loc in words:
            if "\0" in word:
                self._fail("an argument cannot hold a NUL character", self.document.place(loc))
        templates = tuple(
            template for word, loc in words if (template := self._template(word, loc))
        )
        if words and not words[0][0]:
            self._fail("the program's name is empty", self.document.place(("command",)))
        return templates

    def _outputs(self, outputs: list[Any]) -> Iterator[Output]:
        for i, value in enumerate(outputs):
            loc: Loc = ("outputs", i)
            optional = False
            if isinstance(value, dict):
                try:
                    entry = schema.OutputModel.model_validate(value)
                except ValidationError as error:
                    for detail in error.errors():
                        self._translate({**detail, "loc": (*loc, *detail["loc"])})
                    continue
                text, optional, loc = entry.path, entry.optional, (*loc, "path")
            else:
                text = value
            place = self.document.place(loc)
            if not isinstance(text, str) or not text.strip():
                self._fail("an output should be a path, or {path: …, optional: true}", place)
                continue
            if text.startswith("/") or ".." in text.split("/"):
                self._fail(
                    "an output must lie in the task's own folder",
                    place,
                    "Write it relative to the task's folder, such as outputs/result.csv.",
                )
                continue
            if text.split("/")[0] in TAKEN_OUTPUTS:
                self._fail(
                    f'"{text}" would meet what osgbatch itself keeps of a task',
                    place,
                    "Write it into outputs/, such as outputs/status.json.",
                )
                continue
            if "**" in text:
                self._fail('"**" is not known in outputs', place, "Name the folder instead.")
                continue
            template = self._template(text, loc)
            if template:
                yield Output(template, optional)

    def _environment(self, value: Any) -> Environment:
        loc: Loc = ("environment",)
        place = self.document.place(loc)
        if isinstance(value, dict):
            try:
                text = schema.EnvironmentModel.model_validate(value).requirements
            except ValidationError as error:
                for detail in error.errors():
                    self._translate({**detail, "loc": (*loc, *detail["loc"])})
                return Environment()
            return Environment("requirements", UserPath(text, place))
        if value == "none" or value is None:
            return Environment()
        if isinstance(value, str) and value.endswith((".txt", ".in")):
            return Environment("requirements", UserPath(value, place))
        self._fail(
            "environment: should be a requirements file, or none",
            place,
            "Write `environment: requirements.txt`, or `environment: none` for what the "
            "execution point has.",
        )
        return Environment()

    def _variables(self, values: dict[str, Any]) -> Iterator[tuple[str, Template]]:
        for name, value in values.items():
            loc: Loc = ("environment_variables", name)
            if not name.isidentifier() or not name.isascii():
                self._fail(
                    f'"{name}" cannot name an environment variable',
                    self.document.place(loc, key=True),
                )
            elif isinstance(value, (dict, list)) or value is None or "\0" in str(value):
                self._fail("should be text or a number", self.document.place(loc))
            elif template := self._template(self.document.texts[loc], loc):
                yield name, template

    def _path(self, loc: Loc, text: str) -> UserPath:
        return UserPath(text, self.document.place(loc))

    def _paths(self, key: str, texts: list[str]) -> tuple[UserPath, ...]:
        return tuple(self._path((key, i), text) for i, text in enumerate(texts))


def _is_union_tag(part: str | int) -> bool:
    """Pydantic puts the tried type of a union into the path; our keys hold no brackets."""
    return isinstance(part, str) and ("[" in part or part.startswith("function-"))


def _keys_at(loc: Loc) -> list[str]:
    models: dict[Loc, type[BaseModel]] = {
        (): schema.SpecModel,
        ("resources",): schema.ResourcesModel,
        ("retries",): schema.RetriesModel,
        ("environment",): schema.EnvironmentModel,
    }
    model = models.get(loc, schema.OutputModel)
    return list(model.model_fields)


def _unknown_key(name: str, loc: Loc) -> tuple[str, str]:
    known = _keys_at(loc)
    inside = f" in {_dotted(loc)}" if loc else ""
    if not loc and name in _LATER:
        return f'"{name}" is not supported by this version of osgbatch', "Leave it out."
    if not loc and name == "table":
        return 'unknown key "table"', "It belongs under sweep: `sweep: {table: params.csv}`."
    near = suggest(name, known)
    fix = "" if near else f"Known are {', '.join(known)}."
    return f'unknown key "{name}"{inside}{near}', fix


def _dotted(loc: Loc) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


_TYPE_MESSAGES = {
    "dict_type": "should be keys and values",
    "model_type": "should be keys and values",
    "list_type": "should be a list",
    "bool_type": "should be true or false",
    "int_type": "should be a whole number",
    "string_type": "should be text",
}


def _plain_message(detail: Any) -> str:
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    return _TYPE_MESSAGES.get(detail["type"], str(detail["msg"]))


def _resources(model: schema.ResourcesModel) -> Resources:
    return Resources(model.cpus, model.memory, model.disk, model.time, model.gpus)


def _retries(model: schema.RetriesModel) -> Retries:
    if isinstance(model.on, list):
        return Retries(model.times, "codes", tuple(sorted(set(model.on))))
    return Retries(model.times, model.on)

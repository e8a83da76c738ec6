"""The settings of a sweep, each with where it comes from: the text of `osgbatch config`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from osgbatch import ui
from osgbatch.model import Spec
from osgbatch.spec.document import Document, Loc
from osgbatch.spec.layers import SET, Layered, short_path
from osgbatch.spec.merging import SHORT, is_whole
from osgbatch.spec.schema import SpecModel

DEFAULT = "default"
_SOURCE = 36
"""Characters for where a setting comes from: `~/.config/osgbatch/config.yaml:12` fits."""
_ALWAYS = ("resources", "retries")
"""Groups of which every default is shown; of the others, only where something in it is set."""
_EMPTY: dict[Loc, str] = {
    ("environment",): "none",
    ("resources", "gpus"): "0",
    ("resources", "time"): "none",
}
"""Defaults that are worth a line although there is nothing in them."""


@dataclass(frozen=True)
class Setting:
    """One setting. value: as it was given; text: the same on one line; line: 0 for none."""

    name: str
    value: Any
    text: str
    file: str
    line: int = 0

    @property
    def source(self) -> str:
        """`base.yaml:3`, `--set`, `default`."""
        return f"{self.file}:{self.line}" if self.line else self.file


def effective_settings(layered: Layered, spec: Spec | None) -> list[Setting]:
    """Every setting that holds, in the order in which docs/spec.md explains them.

    spec: what the settings come to; None when there are mistakes in them.
    """
    document = layered.document
    fields = SpecModel.model_fields
    found: list[Setting] = []
    for key in [*fields, *(key for key in document.data if key not in fields)]:
        if key in document.data and document.data[key] is not None:
            found += _given(document, (key,), document.data[key], fields.get(key))
        elif key == "name" and spec:
            found.append(Setting(key, spec.name, spec.name, DEFAULT))
        elif key == "profile":
            found.append(_profile(layered))
        elif key in fields:
            found += _defaults((key,), fields[key], key in _ALWAYS)
    return found


def settings_text(settings: list[Setting], width: int = 0) -> str:
    """Aligned columns; values are cut where the terminal is too narrow for them.

    width: of the terminal in characters; 0 asks it.
    """
    width = width or shutil.get_terminal_size().columns
    given = [_short_source(setting.source) for setting in settings]
    names = max(len(setting.name) for setting in settings)
    sources = max(map(len, given))
    room = max(16, width - names - sources - 4)
    rows = [(s.name, _cut(s.text, room), f) for s, f in zip(settings, given, strict=True)]
    return ui.table(("setting", "value", "from"), rows, max(width, names + room + sources + 4))


def settings_data(settings: list[Setting], layered: Layered) -> dict[str, Any]:
    """The same for other programs."""
    return {
        "settings": [
            {"setting": s.name, "value": s.value, "from": s.file, "line": s.line or None}
            for s in settings
        ],
        "layers": [{"kind": layer.kind, "file": layer.file} for layer in layered.layers],
    }


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 3] + "..."


def _short_source(source: str) -> str:
    """A source that leaves room for values: from here, when that is shorter; its end, else."""
    if source.startswith("/"):
        source = min(source, os.path.relpath(source), short_path(source), key=len)
    return source if len(source) <= _SOURCE else f"...{source[3 - _SOURCE :]}"


# --- what is given --------------------------------------------------------------------------------


def _given(document: Document, loc: Loc, value: Any, field: FieldInfo | None) -> Iterator[Setting]:
    model = _model(field)
    if loc in SHORT and not isinstance(value, (dict, list)) and model:
        yield _setting(document, (*loc, SHORT[loc]), value, loc)
        yield from _rest(loc, model, {SHORT[loc]})
    elif isinstance(value, dict) and value and not is_whole(loc) and (model or len(loc) == 1):
        for key, item in value.items():
            inner = model.model_fields.get(key) if model else None
            yield from _given(document, (*loc, key), item, inner)
        if model:
            yield from _rest(loc, model, set(value))
    else:
        yield _setting(document, loc, value, loc)


def _setting(document: Document, loc: Loc, value: Any, at: Loc) -> Setting:
    place = document.place(at)
    nowhere = place.file == SET or place.file.startswith("profile ")
    text = _text(document, at, value, 400)
    return Setting(_dotted(loc), value, text, place.file, 0 if nowhere else place.line)


def _text(document: Document, loc: Loc, value: Any, room: int) -> str:
    """A value as YAML in one line, as far as there is room for it."""
    if isinstance(value, dict):
        parts = ((f"{key}: ", (*loc, key), item) for key, item in value.items())
        return f"{{{_texts(document, parts, room)}}}"
    if isinstance(value, list):
        parts = (("", (*loc, i), item) for i, item in enumerate(value))
        return f"[{_texts(document, parts, room)}]"
    first, *more = document.texts.get(loc, "").strip().splitlines() or [""]
    return "null" if value is None else f"{first} ..." if more else first


def _texts(document: Document, parts: Iterator[tuple[str, Loc, Any]], room: int) -> str:
    found: list[str] = []
    for name, loc, item in parts:
        if room <= 0:
            found.append("...")
            break
        found.append(name + _text(document, loc, item, room))
        room -= len(found[-1]) + 2
    return ", ".join(found)


def _dotted(loc: Loc) -> str:
    return ".".join(str(part) for part in loc)


def _profile(layered: Layered) -> Setting:
    name = layered.profile.name
    if os.environ.get("OSGBATCH_PROFILE"):
        return Setting("profile", name, name, "$OSGBATCH_PROFILE")
    return Setting("profile", name, name, DEFAULT if name == "generic" else "host name")


# --- defaults, as the models have them --------------------------------------------------------


def _defaults(loc: Loc, field: FieldInfo, always: bool) -> Iterator[Setting]:
    """The default of a setting that nobody gave; nothing when there is nothing in it."""
    model = _model(field)
    if model and always:
        yield from _short(loc, field)
        yield from _rest(loc, model, {SHORT[loc]} if loc in SHORT else set())
        return
    value = _default(field)
    if value or loc in _EMPTY:
        text = str(value) if value else _EMPTY[loc]
        yield Setting(_dotted(loc), value or _EMPTY[loc], text, DEFAULT)


def _short(loc: Loc, field: FieldInfo) -> Iterator[Setting]:
    """The part of a group that its short form gives: two times, of `retries`."""
    value = field.get_default(call_default_factory=True)
    if loc in SHORT and not isinstance(value, BaseModel):
        yield Setting(_dotted((*loc, SHORT[loc])), value, str(value), DEFAULT)


def _rest(loc: Loc, model: type[BaseModel], given: set[str]) -> Iterator[Setting]:
    for key, field in model.model_fields.items():
        if key not in given:
            yield from _defaults((*loc, key), field, False)


def _default(field: FieldInfo) -> Any:
    """A default as one would write it: "1 GB", where the checked value is a number."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "default" in extra:
        return extra["default"]
    value = field.get_default(call_default_factory=True)
    return None if field.is_required() or isinstance(value, BaseModel) else value


def _model(field: FieldInfo | None) -> type[BaseModel] | None:
    """The model of a group of settings, also where it is one of several forms."""
    return _inside(field.annotation) if field else None


def _inside(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_inside(part) for part in get_args(annotation))
    return next((model for model in found if model), None)


def read_settings(path: Path, settings: list[str]) -> tuple[Layered, Spec | None, Exception | None]:
    """A sweep's layers and what they come to, or what is wrong with them.

    Raises OsgbatchError when the layers themselves cannot be read.
    """
    from osgbatch.errors import SpecErrors
    from osgbatch.spec.layers import read_layers
    from osgbatch.spec.load import load_spec

    layered = read_layers(path, settings)
    try:
        return layered, load_spec(path, settings), None
    except SpecErrors as error:
        return layered, None, error

"""The settings of a sweep, each with where it comes from: the text of `osgbatch config`."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from osgbatch import ui
from osgbatch.spec.document import Document, Loc
from osgbatch.spec.layers import SET, Layered, short_path
from osgbatch.spec.merging import SHORT, STASH, is_whole
from osgbatch.spec.schema import SpecModel
from osgbatch.spec_model import Spec
from osgbatch.urls import without_login

DEFAULT = "default"
_MAX_LINES = 8
"""Lines of a value that are shown; `--json` has all of it."""
_WITH_URLS = (("environment",), ("stash",), ("outputs_to",))
"""Keys whose values are shown without logins, also of a spec that is refused for one."""
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
    """Aligned columns; what is long goes on below, no line is wider than the terminal.

    width: of the terminal in characters; 0 asks it.
    """
    width = max(30, width or shutil.get_terminal_size().columns)
    head = ("setting", "value", "from")
    given = [(s.name, s.text, _short_source(s.source)) for s in settings]
    rows = [tuple(map(ui.one_line, row)) for row in (head, *given)]
    longest = [max(map(len, column)) for column in zip(*rows, strict=True)]
    fits = sum(longest) + 4 <= width
    names = longest[0] if fits else min(longest[0], width * 3 // 10)
    room = width - names - 4
    sources = min(longest[2], max(room - longest[1], room * 3 // 5))
    values = min(longest[1], room - sources)
    lines: list[str] = []
    for name, text, source in rows:
        wrapped = textwrap.wrap(text, values, break_on_hyphens=False) or [""]
        if len(wrapped) > _MAX_LINES:
            wrapped[_MAX_LINES - 1 :] = textwrap.wrap(f"... ({len(text):,} characters)", values)
        beside = _wrapped_path(source, sources)
        if len(name) > names:  # a line of its own, so that it stays in one piece
            lines += _pieces(name, width)
            name = ""
        for start, value, end in zip_longest([name], wrapped, beside, fillvalue=""):
            lines.append(f"{start:<{names}}  {value:<{values}}  {end}".rstrip())
    return "\n".join(lines)


def settings_data(settings: list[Setting], layered: Layered) -> dict[str, Any]:
    """The same for other programs."""
    return {
        "settings": [
            {"setting": s.name, "value": s.value, "from": s.file, "line": s.line or None}
            for s in settings
        ],
        "layers": [{"kind": layer.kind, "file": layer.file} for layer in layered.layers],
    }


def _short_source(source: str) -> str:
    """A file below this folder as one would type it from here, another by its whole path."""
    if not source.startswith("/"):
        return source
    relative = os.path.relpath(source)
    return short_path(source) if relative.startswith("../") else relative


def _wrapped_path(path: str, width: int) -> list[str]:
    """A path in lines that end with a folder, where one fits."""
    lines: list[str] = []
    while len(path) > width:
        end = path.rfind("/", 0, width) + 1 or width
        lines.append(path[:end])
        path = path[end:]
    return [*lines, path]


def _pieces(text: str, width: int) -> list[str]:
    return [text[i : i + width] for i in range(0, len(text), width)]


# --- what is given --------------------------------------------------------------------------------


def _given(document: Document, loc: Loc, value: Any, field: FieldInfo | None) -> Iterator[Setting]:
    model = _model(field)
    if loc in SHORT and not isinstance(value, (dict, list)) and model:
        yield _setting(document, (*loc, SHORT[loc]), value, loc)
        yield from _rest(loc, model, {SHORT[loc]})
    elif isinstance(value, dict) and value and _has_parts(loc) and (model or len(loc) == 1):
        for key, item in value.items():
            inner = model.model_fields.get(key) if model else None
            yield from _given(document, (*loc, key), item, inner)
        if model:
            yield from _rest(loc, model, set(value))
    else:
        yield _setting(document, loc, value, loc)


def _has_parts(loc: Loc) -> bool:
    """Whether the keys of a mapping are shown one by one: each may come from somewhere else."""
    return not is_whole(loc) or loc == STASH  # of a stash, `--set` changes single keys


def _setting(document: Document, loc: Loc, value: Any, at: Loc) -> Setting:
    place = document.place(at)
    if isinstance(value, dict) and is_whole(loc):  # `--set` of a part of it has replaced all of it
        parts = [document.place((*loc, key)) for key in value]
        place = next((part for part in parts if part.file == SET), place)
    nowhere = place.file == SET or place.file.startswith("profile ")
    text = _text(document, at, value, 400)
    shown = _without_logins(value) if loc[:1] in _WITH_URLS else value
    return Setting(_dotted(loc), shown, text, place.file, 0 if nowhere else place.line)


def _without_logins(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_logins(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_logins(item) for item in value]
    return without_login(value) if isinstance(value, str) else value


def _text(document: Document, loc: Loc, value: Any, room: int) -> str:
    """A value as YAML in one line, as far as there is room for it."""
    if isinstance(value, dict):
        parts = ((f"{key}: ", (*loc, key), item) for key, item in value.items())
        return f"{{{_texts(document, parts, room)}}}"
    if isinstance(value, list):
        parts = (("", (*loc, i), item) for i, item in enumerate(value))
        return f"[{_texts(document, parts, room)}]"
    first, *more = document.texts.get(loc, "").strip().splitlines() or [""]
    if loc[:1] in _WITH_URLS:
        first = without_login(first)
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
    known = {"generic": DEFAULT, "personal": "your personal pool"}
    return Setting("profile", name, name, known.get(name, "host name"))


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
    from osgbatch.spec.steps import STEPS, read_steps

    layered = read_layers(path, settings)
    try:
        if STEPS in layered.document.data:
            read_steps(path, settings)
            return layered, None, None
        return layered, load_spec(path, settings), None
    except SpecErrors as error:
        return layered, None, error

"""A YAML document as plain values, with the place of every key and value."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from osgbatch.errors import OsgbatchError, SpecError
from osgbatch.names import SPEC
from osgbatch.spec.yaml_errors import character_error, syntax_error
from osgbatch.spec_model import Place

Loc = tuple[str | int, ...]

SUBMIT_FILES = (".submit", ".sub", ".jdl", ".condor")
"""What the names of submit files end with."""
MAX_DEPTH = 1_000
_SCRIPTS = (".sh", ".bash", ".py", ".R", ".r")
MAX_VALUES = 5_000_000
"""Values of a spec, aliases written out: a few nested aliases can stand for billions."""

# The C loader is seven times as fast; PyYAML without libyaml lacks it.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """Makes nodes without guessing types: `plain_value` does, by other rules."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        return "tag:yaml.org,2002:str"

    def descend_resolver(self, current: Any, index: Any) -> None: ...

    def ascend_resolver(self) -> None: ...


@dataclass(frozen=True)
class Block(Place):
    """The place of a text of several lines. following: its lines after the first."""

    following: tuple[str, ...] = ()

    def at(self, token: str) -> Place:
        """The place of `token` in the first line that has it."""
        found = super().at(token)
        for number in range(1, len(self.following) + 1):
            if found is not self:
                break
            found = at_line(self, number, token)
        return found


def at_line(place: Place, number: int, token: str) -> Place:
    """The place of `token` in line `number` (1-based) of a text, where it is seen; else `place`.

    place: of the text; the lines of a block begin below it.
    """
    if not isinstance(place, Block):
        return place.at(token)
    source = place.following[number - 1] if 0 < number <= len(place.following) else ""
    if token not in source:
        return place
    return Place(place.file, place.line + number, source.index(token) + 1, source, len(token))


@dataclass(frozen=True)
class Document:
    """Plain values and, by their path (`("resources", "memory")`), where they stand.

    texts: the text of every scalar as it was written, without its quotes.
    """

    file: str
    raw: bytes
    data: Any
    keys: dict[Loc, Place]
    values: dict[Loc, Place]
    texts: dict[Loc, str]

    def place(self, loc: Loc, *, key: bool = False) -> Place:
        """The place of the value at `loc` (or of its key), else of the nearest thing around it."""
        while loc:
            found = self.keys.get(loc) if key else self.values.get(loc)
            if found is not None:
                return found
            loc, key = loc[:-1], False
        return self.values[()]


def read_document(path: Path) -> Document:
    """Read a YAML file whose top level is a mapping.

    Raises OsgbatchError when the file cannot be read, SpecError (with the place) when it is not
    UTF-8, not YAML, has a key twice, or is no mapping.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise OsgbatchError(
            f"cannot read the spec: {error.strerror}",
            where=str(path),
            fix=_there_instead(path)
            or "Name a sweep.yaml that exists, or begin with `osgbatch init`.",
        ) from None
    try:
        return parse_document(raw, str(path))
    except SpecError:
        if path.suffix in _SCRIPTS:
            raise OsgbatchError(
                "this is a script, and no sweep.yaml",
                where=str(path),
                fix="A sweep.yaml names it, as `command:` and in `files:`; `osgbatch init` makes "
                "one to change.",
            ) from None
        if path.suffix not in SUBMIT_FILES:
            raise
        raise OsgbatchError(
            "this is a submit file, and no sweep.yaml",
            where=str(path),
            fix="`osgbatch import` makes a sweep of it; `osgbatch lint` looks what may go wrong.",
        ) from None


def _there_instead(path: Path) -> str:
    """What to write for a file that is not there, when its name only ends otherwise."""
    other = {".yml": ".yaml", ".yaml": ".yml"}.get(path.suffix)
    if other and not path.exists() and path.with_suffix(other).is_file():
        return f"Did you mean {path.with_suffix(other)}, which is there?"
    if (path / SPEC).is_file():
        return f"Write {shlex.quote(str(path / SPEC))}."
    if path.name != SPEC or path.exists():
        return ""
    below = sorted(found for found in path.parent.glob(f"[!.]*/{SPEC}") if found.is_file())
    if len(below) == 1:
        return f"{below[0]} is there: cd {shlex.quote(str(below[0].parent))}"
    if below:
        shown = ", ".join(map(str, below[:3])) + (", ..." if below[3:] else "")
        return f"Below this folder are {shown}: cd to the folder of the one that you mean."
    return ""


def parse_document(raw: bytes, file: str, *, may_be_empty: bool = False) -> Document:
    """Parse the bytes of a YAML document; `file` is its name in errors.

    may_be_empty: a file without anything in it holds no settings, instead of being an error.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        seen = error.object  # without the byte order mark
        line = seen.count(b"\n", 0, error.start) + 1
        start = seen.rfind(b"\n", 0, error.start) + 1
        source = seen[start:].split(b"\n", 1)[0].decode("utf-8", "replace").rstrip("\r")
        column = len(seen[start : error.start].decode()) + 1
        raise SpecError(
            f"byte 0x{seen[error.start]:02x} is not UTF-8", Place(file, line, column, source),
            fix="Save the file as UTF-8.",
        ) from None  # fmt: skip
    read = _read(text, _Builder(file, text.splitlines()), ())
    if read is None:
        if not may_be_empty:
            raise SpecError("the file is empty", Place(file, 1, 1), fix='It needs "command".')
        return Document(file, raw, {}, {}, {(): Place(file, 1, 1)}, {})
    data, builder = read
    if not isinstance(data, dict):
        raise SpecError(
            "the file should be keys and values, such as `command: python job.py`",
            builder.values[()],
        )
    return Document(file, raw, data, builder.keys, builder.values, builder.texts)


def parse_setting(text: str, start: int, path: tuple[str, ...], file: str) -> Document:
    """Parse one setting of the command line, `a.b=value`, as the document {a: {b: value}}.

    text: the whole setting, start: where in it the value begins; path: the keys in front of it.
    Raises SpecError, with the place in the setting, when the value is not YAML, or none.
    """
    builder = _Builder(file, text.splitlines())
    try:
        # Blanks in place of the keys, so that columns are those of the setting as it was typed.
        read = _read(" " * start + text[start:], builder, path)
    except SpecError as error:
        if error.place.source:
            raise
        end = Place(file, 1, len(text), text)  # the value stops too early
        raise SpecError(error.what, end, fix=error.fix) from None
    if read is None:
        what = f"no value for {'.'.join(path)}, only a comment"
        raise SpecError(what, Place(file, 1, start + 1, text), fix="Put it in quotes.")
    data: Any = read[0]
    column = 0
    for i, key in enumerate(path, 1):
        column = max(column, text.find(key, column, start))
        place = Place(file, 1, column + 1, text, max(1, len(key)))
        builder.keys[path[:i]] = place
        builder.values.setdefault(path[:i], place)
        column += len(key)
    builder.values[()] = Place(file, 1, 1, text, max(1, len(text)))
    for key in reversed(path):
        data = {key: data}
    return Document(file, text.encode(), data, builder.keys, builder.values, builder.texts)


def _read(text: str, builder: _Builder, loc: Loc) -> tuple[Any, _Builder] | None:
    """The values of a YAML text, noted by `builder` below `loc`; None when there are none."""
    file, lines = builder.file, builder.lines
    loader: Any = None
    try:
        if _is_deep(text):
            raise RecursionError
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else (builder.build(node, loc), builder)
    except yaml.MarkedYAMLError as error:
        raise syntax_error(error, file, lines) from None
    except RecursionError:
        raise SpecError("nested too deeply", Place(file, 1, 1)) from None
    except yaml.reader.ReaderError:
        raise character_error(text, file, lines) from None
    finally:
        if loader is not None:
            loader.dispose()


def _is_deep(text: str) -> bool:
    """Whether a text is nested so deeply that libyaml, which recurses, would end the process."""
    steps = (1 if one in "[{" else -1 for one in re.findall(r"[\[\]{}]", text))
    return max(accumulate(steps), default=0) > MAX_DEPTH or "- " * MAX_DEPTH in text


_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,300})")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")


def plain_value(text: str) -> Any:
    """What a scalar without quotes stands for, by the plain rules of YAML 1.2.

    PyYAML follows 1.1, where `no` is false, `010` is 8 and `1:30` is 90: none is what a researcher
    meant.
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


class _Builder:
    """Turns nodes into plain values and notes where each stood."""

    def __init__(self, file: str, lines: list[str]) -> None:
        self.file = file
        self.lines = lines
        self.keys: dict[Loc, Place] = {}
        self.values: dict[Loc, Place] = {}
        self.texts: dict[Loc, str] = {}
        self.inside: set[int] = set()

    def place(self, node: yaml.Node) -> Place:
        start, end = node.start_mark, node.end_mark
        source = self.lines[start.line] if start.line < len(self.lines) else ""
        one_line = end.line == start.line
        width = (end.column if one_line else len(source)) - start.column
        given = (self.file, start.line + 1, start.column + 1, source, max(1, width))
        if one_line or not isinstance(node, yaml.ScalarNode):
            return Place(*given)
        return Block(*given, tuple(self.lines[start.line + 1 : end.line + 1]))

    def build(self, node: yaml.Node, loc: Loc) -> Any:
        self.values[loc] = self.place(node)
        if isinstance(node, yaml.CollectionNode):
            return self._collection(node, loc)
        assert isinstance(node, yaml.ScalarNode)
        self.texts[loc] = node.value
        return node.value if node.style else plain_value(node.value)

    def _collection(self, node: yaml.CollectionNode, loc: Loc) -> Any:
        if id(node) in self.inside:
            raise SpecError("an alias (*) leads back into itself", self.place(node))
        if len(self.values) > MAX_VALUES:
            raise SpecError(
                f"more than {MAX_VALUES} values", self.place(node), fix="Put them in a CSV table."
            )
        self.inside.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, loc)
            return [self.build(child, (*loc, i)) for i, child in enumerate(node.value)]
        finally:
            self.inside.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = self.place(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                raise SpecError("a key must be a plain word", place)
            key = str(key_node.value)
            here = (*loc, key)
            if key in result:
                first = self.keys[here].line
                raise SpecError(f'"{key}" is given twice, first in line {first}', place)
            self.keys[here] = place
            result[key] = self.build(value_node, here)
        return result

"""Reads environment.yml as conda does, with the place of every mistake."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from osgbatch.errors import PackingError, SpecError, SpecErrors
from osgbatch.packing.archive import printable
from osgbatch.packing.environment.conda_access import ChannelNames, channel_names
from osgbatch.packing.environment.requirements import Line, check_lines, logical_lines
from osgbatch.spec_model import Environment, Place
from osgbatch.urls import without_login

KNOWN = ("name", "channels", "dependencies", "prefix", "variables", "platforms")
USUAL_CHANNEL = "conda-forge"
_ANY = Environment("conda")
_USUAL = ChannelNames()
_NAME = re.compile(r"^(?:[^\s]*::)?\s*([A-Za-z0-9_][\w.-]*)")


@dataclass(frozen=True)
class CondaSpec:
    """What an environment.yml asks for.

    file: its path. channels: names or addresses, best first. specs: what conda understands,
    `numpy >=1.26`. places: of the specs, in their order. pip: lines for pip, run in the folder of
    the file. notes: what will not be as the file says.
    """

    file: Path
    channels: tuple[str, ...]
    specs: tuple[str, ...]
    places: tuple[Place, ...] = ()
    pip: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The packages named in it, in lower case."""
        found = (_NAME.match(spec) for spec in self.specs)
        return tuple(match[1].lower() for match in found if match)

    @property
    def named(self) -> tuple[tuple[str, Place], ...]:
        """The packages named in it, and where."""
        return tuple(zip(self.names, self.places, strict=True))


def read_conda_spec(file: Path, wanted: Environment = _ANY) -> CondaSpec:
    """Read an environment.yml.

    wanted: its channels go before those of the file, its Python joins the dependencies.
    Names of channels mean what the user's conda settings say.
    Raises PackingError when it cannot be read, SpecErrors with every mistake in it.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PackingError(
            f"the environment cannot be read: {reason}",
            where=printable(str(file)),
            fix="Check the path, which is relative to the spec.",
        ) from error
    return parse_conda_spec(text, file, wanted, channel_names())


def parse_conda_spec(
    text: str, file: Path, wanted: Environment = _ANY, named: ChannelNames = _USUAL
) -> CondaSpec:
    """`read_conda_spec` for a text. named: what names of channels mean. Pure."""
    reader = _Reader(text, file, named)
    spec = reader.read(wanted)
    if reader.errors:
        raise SpecErrors(sorted(reader.errors, key=lambda one: (one.place.line, one.place.column)))
    return spec


class _Reader:
    """One reading of one file; collects its mistakes."""

    def __init__(self, text: str, file: Path, named: ChannelNames) -> None:
        self.named = named
        self.text = text
        self.lines = text.splitlines()
        self.file = file
        self.errors: list[SpecError] = []
        self.notes: list[str] = []

    def place(self, node: yaml.Node) -> Place:
        mark = node.start_mark
        source = self.lines[mark.line] if mark.line < len(self.lines) else ""
        one_line = mark.line == node.end_mark.line
        width = node.end_mark.column - mark.column if one_line else 1
        return Place(
            printable(str(self.file)), mark.line + 1, mark.column + 1, source, max(1, width)
        )

    def wrong(self, what: str, node: yaml.Node, fix: str = "") -> None:
        self.errors.append(SpecError(what, self.place(node), fix=fix))

    def read(self, wanted: Environment) -> CondaSpec:
        channels: list[str] = []
        specs: list[tuple[str, Place]] = []
        pip: list[Line] = []
        top = self._top()
        for key, value in top:
            name = key.value
            if name == "channels":
                channels = list(self._texts(value, "a channel"))
            elif name == "dependencies":
                self._dependencies(value, specs, pip)
            elif name == "variables":
                self.notes.append(
                    f"{self.file.name}: variables are not set in a job; name them under "
                    "environment_variables: of the spec"
                )
            elif name not in KNOWN:
                self._unknown_key(key)
        if top and not any(key.value == "dependencies" for key, _ in top):
            self.wrong("there are no dependencies", top[0][0], "List them under dependencies:.")
        named = [(spec, place) for spec, place in specs if not self._is_python(spec)]
        if wanted.python and len(named) == len(specs) and not self.errors:
            first = Place(printable(str(self.file)), 1, 1)
            specs.append((f"python {wanted.python}.*", first))
        return CondaSpec(
            self.file,
            self._all_channels(list(wanted.channels), channels),
            tuple(spec for spec, _ in specs),
            tuple(place for _, place in specs),
            tuple(pip),
            tuple(self.notes),
        )

    @staticmethod
    def _is_python(spec: str) -> bool:
        match = _NAME.match(spec)
        return match is not None and match[1].lower() == "python"

    def _top(self) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        place = Place(printable(str(self.file)), 1, 1)
        try:
            node = yaml.compose(self.text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            if mark is not None and mark.line < len(self.lines):
                place = Place(place.file, mark.line + 1, mark.column + 1, self.lines[mark.line])
            self.errors.append(SpecError(f"this is no YAML: {error.problem}", place))
            return []
        except yaml.YAMLError as error:
            self.errors.append(SpecError(f"this is no YAML: {error}", place))
            return []
        if not isinstance(node, yaml.MappingNode):
            self.errors.append(
                SpecError("this is no environment file", place, fix="It needs dependencies:.")
            )
            return []
        return [(key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]

    def _unknown_key(self, key: yaml.ScalarNode) -> None:
        close = difflib.get_close_matches(key.value, KNOWN, 1)
        if close:
            self.wrong(f'unknown key "{key.value}"', key, f'Did you mean "{close[0]}"?')
        else:
            self.notes.append(f'{self.file.name}: "{key.value}" is ignored')

    def _texts(self, node: yaml.Node, what: str) -> Iterator[str]:
        if not isinstance(node, yaml.SequenceNode):
            if not (isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")):
                self.wrong("this has to be a list", node, "Start each line with `- `.")
            return
        for item in node.value:
            if isinstance(item, yaml.ScalarNode) and item.value.strip():
                yield item.value.strip()
            else:
                self.wrong(f"{what} is a text", item)

    def _dependencies(
        self, node: yaml.Node, specs: list[tuple[str, Place]], pip: list[Line]
    ) -> None:
        if not isinstance(node, yaml.SequenceNode):
            self.wrong("dependencies is a list", node, "Start each line with `- `.")
            return
        for item in node.value:
            if isinstance(item, yaml.MappingNode):
                for key, value in item.value:
                    if getattr(key, "value", "") == "pip":
                        self._pip(value, pip)
                    else:
                        self.wrong(
                            "only `pip:` has packages below it",
                            key,
                            "A version is written behind the name: `- numpy >=1.26`.",
                        )
            elif isinstance(item, yaml.ScalarNode) and item.value.strip():
                self._spec(item, specs)
            else:
                self.wrong("a dependency is a text", item)

    def _spec(self, node: yaml.ScalarNode, specs: list[tuple[str, Place]]) -> None:
        text = node.value.strip()
        problem = bad_match_spec(text)
        if problem:
            self.wrong(
                f"conda does not understand {text!r}: {problem}",
                node,
                "Write a name and a version: `numpy >=1.26`, `python =3.11`.",
            )
        specs.append((self._from_channel(text), self.place(node)))

    def _from_channel(self, text: str) -> str:
        """`lab::numpy` with the address that `lab` means, which is what the solver compares."""
        name, colons, package = text.partition("::")
        found = self.named.channels(name) if colons else ()
        if len(found) != 1 or found[0] == name:
            return text
        return f"{without_login(found[0])}::{package}"

    def _pip(self, node: yaml.Node, pip: list[Line]) -> None:
        if not isinstance(node, yaml.SequenceNode):
            self.wrong("what pip installs is a list", node, "Start each line with `- `.")
            return
        for item in node.value:
            if not isinstance(item, yaml.ScalarNode):
                self.wrong("a requirement is a text", item)
                continue
            lines = [
                Line(self.file, item.start_mark.line + 1, line.text)
                for line in logical_lines(item.value, self.file)
            ]
            try:
                check_lines(lines)
            except PackingError as error:
                self.wrong(error.what, item, error.fix)
            pip += lines

    def _all_channels(self, first: list[str], own: list[str]) -> tuple[str, ...]:
        listed = [channel for channel in (*first, *own) if channel != "nodefaults"]
        if not listed:
            listed = [USUAL_CHANNEL]
        found: list[str] = []
        for channel in listed:
            found += self.named.channels(self._absolute(channel))
        return tuple(dict.fromkeys(found))

    def _absolute(self, channel: str) -> str:
        """A folder as its file:// address; anything else stays."""
        if "://" in channel or not channel.startswith((".", "/", "~")):
            return channel
        path = (self.file.parent / Path(channel).expanduser()).resolve()
        return path.as_uri()


def bad_match_spec(text: str) -> str:
    """What is wrong with a dependency; empty when conda understands it."""
    from rattler import MatchSpec
    from rattler.exceptions import InvalidMatchSpecError

    if not _NAME.match(text):
        return "a name is missing"
    try:
        spec = MatchSpec(text, strict=False)
        version = spec.version
    except (InvalidMatchSpecError, ValueError) as error:
        return str(error).strip().splitlines()[0]
    if version is not None and re.search(r"[<>=!~]\s*$", version):
        return "a version is missing"
    return ""

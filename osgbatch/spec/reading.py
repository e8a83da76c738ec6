"""A document while it is read: where things stand in it, and what was wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from osgbatch.errors import SpecError, SpecErrors
from osgbatch.spec.document import Block, Document, Loc
from osgbatch.spec.templates import parse_template
from osgbatch.spec_model import Place, Template, UserPath

T = TypeVar("T")


@dataclass
class Reading:
    """errors: so far; dropped: what the schema has refused, and is not looked at again."""

    document: Document
    errors: list[SpecError] = field(default_factory=list)
    dropped: set[Loc] = field(default_factory=set)

    def fail(self, what: str, place: Place, fix: str = "") -> None:
        """Note a mistake, and go on."""
        self.errors.append(SpecError(what, place, fix=fix))

    def add(self, error: SpecError | SpecErrors) -> None:
        """Note the mistakes that another has found."""
        self.errors += error.errors if isinstance(error, SpecErrors) else [error]

    def given(self, key: str) -> bool:
        """Whether the spec has this key at its top level, right or wrong."""
        return key in self.document.data

    def place(self, loc: Loc) -> Place:
        """The place of the value at `loc`."""
        return self.document.place(loc)

    def key(self, loc: Loc) -> Place:
        """The place of the key at `loc`."""
        return self.document.place(loc, key=True)

    def block(self, loc: Loc) -> Place:
        """The place of the key at `loc`; what is searched for in it is found in its text too."""
        key, value = self.key(loc), self.place(loc)
        if key.line != value.line or not isinstance(value, Block):
            return key
        return Block(key.file, key.line, key.column, key.source, key.width, value.following)

    def text(self, loc: Loc, value: Any = "") -> str:
        """The text of the scalar at `loc`, as it was written."""
        return self.document.texts.get(loc, str(value))

    def inside(self, loc: Loc, text: str, offset: int, width: int) -> Place:
        """The place of a part of the text at `loc`, where its line shows it as it is."""
        place = self.place(loc)
        found = place.source.find(text, place.column - 1)
        if found < 0:
            return place
        return Place(place.file, place.line, found + offset + 1, place.source, max(1, width))

    def entries(self, key: str, entries: Sequence[T], below: str = "") -> Iterator[tuple[Loc, T]]:
        """What is left of a list, or its only entry, with the places in the document.

        below: the key of the list where it stands below `key`.
        """
        raw: Any = self.document.data.get(key)
        loc: Loc = (key,)
        if below:
            raw, loc = raw.get(below), (key, below)
        if not isinstance(raw, list):
            yield from ((loc, entry) for entry in entries)
            return
        if loc in self.dropped:
            return
        locs = [(*loc, i) for i in range(len(raw)) if (*loc, i) not in self.dropped]
        yield from zip(locs, entries, strict=True)

    def template(self, text: str, place: Place) -> Template | None:
        """Text with placeholders, or None (noted)."""
        try:
            return parse_template(text, place)
        except SpecError as error:
            self.add(error)
            return None

    def paths(self, key: str, texts: Sequence[str]) -> tuple[UserPath, ...]:
        """The paths of a list, or the only one."""
        return tuple(UserPath(text, self.place(loc)) for loc, text in self.entries(key, texts))


def dotted(loc: Loc) -> str:
    """`loc` as messages name it: `outputs[1].path`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text

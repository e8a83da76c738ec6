"""Settings that come from several files as one YAML text, which reads as the same settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from osgbatch.spec.document import Document, Loc, plain_value

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_TAG = "tag:yaml.org,2002:str"
_ENDLESS = 1_000_000
"""Columns of a line: one that is never broken."""
_SHORT = 16
"""Entries of a list or mapping that is written in one go, `[1, 2]`."""


class _Writer(_Dumper):  # type: ignore[misc]
    """Writes scalars as they were, without tags: what is text is decided by the quotes alone."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        del kind, value, implicit
        return _TAG


def effective_text(document: Document, layers: Sequence[str]) -> bytes:
    """The settings of a document as YAML, with a comment that names the layers they come from.

    Numbers stand as they were written (2.50), text is quoted only where it would be read as
    something else.
    """
    names = [f"#   {_one_line(name)}\n" for name in dict.fromkeys(layers)]
    head = "# Merged by osgbatch, later ones over earlier ones:\n" + "".join(names)
    text: str = yaml.serialize(
        _node(document.data, (), document.texts),
        Dumper=_Writer,
        allow_unicode=True,
        width=100,
    )
    return (head + text).encode("utf-8", "surrogateescape")


def spec_text(data: Any, texts: dict[Loc, str], head: str) -> bytes:
    """Settings as YAML that reads as the same, after a comment.

    texts: of numbers, as they were written. Raises UnicodeEncodeError for what is no Unicode.
    """
    text: str = yaml.serialize(
        _node(data, (), texts), Dumper=_Writer, allow_unicode=True, width=_ENDLESS
    )
    return f"# {_one_line(head)}\n{text}".encode()


def _node(value: Any, loc: Loc, texts: dict[Loc, str]) -> Any:
    if isinstance(value, dict):
        pairs = [(_key(key), _node(item, (*loc, key), texts)) for key, item in value.items()]
        flow = bool(loc) and _is_short([item for _, item in pairs])
        return yaml.MappingNode(_TAG, pairs, flow_style=flow)
    if isinstance(value, list):
        items = [_node(item, (*loc, i), texts) for i, item in enumerate(value)]
        return yaml.SequenceNode(_TAG, items, flow_style=_is_short(items))
    if isinstance(value, str):
        return _text(value)
    written = "null" if value is None else texts.get(loc, str(value))
    return yaml.ScalarNode(_TAG, written)


def _key(text: str) -> Any:
    return yaml.ScalarNode(_TAG, text, style=None if text.isprintable() else '"')


def _text(text: str) -> Any:
    if not text.replace("\n", "").isprintable():
        return yaml.ScalarNode(_TAG, text, style='"')
    if "\n" in text:
        return yaml.ScalarNode(_TAG, text, style="|")
    plain = isinstance(plain_value(text), str)
    return yaml.ScalarNode(_TAG, text, style=None if plain else "'")


def _is_short(items: list[Any]) -> bool:
    return len(items) <= _SHORT and all(
        isinstance(item, yaml.ScalarNode) and item.style != "|" for item in items
    )


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)

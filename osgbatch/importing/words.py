"""The two syntaxes of arguments and environment, over values with macros in them.

Source: the manual of the submit commands, arguments and environment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from osgbatch.importing.macros import NotImported, Part

Word = tuple[Part, ...]
_BLANKS = " \t\n\r"
Token = tuple[str, Part]
"""`text` and a character or a part; or `blank`; or `quote`: the word is there though empty."""


def arguments(parts: Sequence[Part]) -> list[Word]:
    """The words that a program is given."""
    if not parts:
        return []
    return list(_split(_new(parts) if is_new(parts) else _old(parts)))


def environment(parts: Sequence[Part]) -> list[tuple[str, Word]]:
    """Environment variables with their values. Raises NotImported for what is none."""
    if not parts:
        return []
    if is_new(parts):
        words = list(_split(_new(parts)))
    else:
        words = [tuple(_stripped(word)) for word in _at_semicolons(parts)]
    found = []
    for word in words:
        if not word:
            continue
        first = word[0]
        if not isinstance(first, str) or "=" not in first:
            raise NotImported("an entry is no NAME=value")
        name, _, rest = first.partition("=")
        found.append((name.strip(), tuple(part for part in (rest, *word[1:]) if part != "")))
    return found


def is_new(parts: Sequence[Part]) -> bool:
    """Whether the whole stands in double quotes."""
    first, last = parts[0], parts[-1]
    return (
        isinstance(first, str) and first.lstrip(_BLANKS).startswith('"')
        and isinstance(last, str) and last.rstrip(_BLANKS).endswith('"')
    )  # fmt: skip


def _characters(parts: Sequence[Part]) -> list[Part]:
    found: list[Part] = []
    for part in parts:
        if isinstance(part, str):
            found += part
        else:
            found.append(part)
    return found


def _new(parts: Sequence[Part]) -> Iterator[Token]:
    """The new syntax: "…" around the whole, '…' around blanks, both doubled to stand for one."""
    found = _characters(parts)
    while found[0] != '"':
        found.pop(0)
    while found[-1] != '"':
        found.pop()
    found = found[1:-1]
    quoted = False
    at = 0
    while at < len(found):
        one = found[at]
        after = found[at + 1] if at + 1 < len(found) else None
        if one == '"':
            if after != '"':
                raise NotImported('a " inside is not doubled')
            yield "text", '"'
            at += 1
        elif one == "'":
            if quoted and after == "'":
                yield "text", "'"
                at += 1
            else:
                quoted = not quoted
                yield "quote", ""
        elif isinstance(one, str) and one in _BLANKS and not quoted:
            yield "blank", one
        else:
            yield "text", one
        at += 1
    if quoted:
        raise NotImported("a ' is not closed")


def _old(parts: Sequence[Part]) -> Iterator[Token]:
    r"""The old syntax: words are split at blanks, \" stands for a quote, nothing else quotes."""
    found = _characters(parts)
    at = 0
    while at < len(found):
        one = found[at]
        if one == "\\" and at + 1 < len(found) and found[at + 1] == '"':
            yield "text", '"'
            at += 1
        elif isinstance(one, str) and one in _BLANKS:
            yield "blank", one
        else:
            yield "text", one
        at += 1


def _split(tokens: Iterator[Token]) -> Iterator[Word]:
    word: list[Part] = []
    there = False
    for kind, one in tokens:
        if kind == "blank":
            if there:
                yield tuple(merged(word))
            word, there = [], False
            continue
        there = True
        if kind == "text":
            word.append(one)
    if there:
        yield tuple(merged(word))


def merged(parts: Sequence[Part]) -> Iterator[Part]:
    """Characters and texts that follow each other as one."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
        else:
            if text:
                yield text
            text = ""
            yield part
    if text:
        yield text


def _at_semicolons(parts: Sequence[Part]) -> Iterator[list[Part]]:
    word: list[Part] = []
    for one in _characters(parts):
        if one == ";":
            yield list(merged(word))
            word = []
        else:
            word.append(one)
    yield list(merged(word))


def _stripped(word: Sequence[Part]) -> list[Part]:
    found = list(word)
    if found and isinstance(found[0], str):
        found[0] = found[0].lstrip(_BLANKS)
    return [part for part in found if part != ""]


def comma_list(parts: Sequence[Part]) -> list[Word]:
    """A list at commas, as of files; blanks around the entries mean nothing."""
    found: list[Word] = []
    word: list[Part] = []
    for one in [*_characters(parts), ","]:
        if one == ",":
            whole = list(merged(word))
            if whole and isinstance(whole[0], str):
                whole[0] = whole[0].lstrip(_BLANKS)
            if whole and isinstance(whole[-1], str):
                whole[-1] = whole[-1].rstrip(_BLANKS)
            entry = tuple(part for part in whole if part != "")
            found += [entry] if entry else []
            word = []
        else:
            word.append(one)
    return found

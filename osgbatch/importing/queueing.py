"""The queue statement: how many jobs there are, and the variables of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from osgbatch.importing.macros import Macros, NotImported

MOST = 200_000
"""Jobs that are taken over, at most."""
_SLICE = re.compile(r"\s*\[([^\]]*)\]\s*")


@dataclass(frozen=True)
class Queue:
    """A queue statement, taken apart. count: as written; verb: in, from, matching or empty; what:
    behind it; items: the lines of a list in brackets, None where there is none."""

    count: str
    variables: tuple[str, ...]
    verb: str
    what: str
    items: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Files:
    """What queue may ask of the folder. lines: of a file, None when it is not there; matching:
    names that a pattern finds, and whether each is a folder."""

    lines: Callable[[str], list[str] | None]
    matching: Callable[[str], list[tuple[str, bool]]]


@dataclass(frozen=True)
class Rows:
    """The items. variables: their names in lower case; rows: the values of each; numbers: the
    ItemIndex of each, which a slice lets skip; each: how many jobs an item has; source: a file that
    they were read from, one item a line, if that is all there is to say; spelled: the variables as
    they are written; unnamed: those that are no names that the file gives."""

    variables: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...]
    each: int
    source: str = ""
    has_items: bool = False
    spelled: tuple[str, ...] = ()
    unnamed: frozenset[str] = frozenset()


def rows_of(queue: Queue, macros: Macros, files: Files) -> Rows:
    """The jobs of a queue statement. Raises NotImported."""
    each = _count(queue.count, macros)
    if not queue.verb:
        return Rows((), ((),), (0,), each)
    what = macros.constant(queue.what)
    variables = tuple(name.lower() for name in queue.variables)
    kinds: frozenset[str] = frozenset()
    if queue.verb == "matching":
        found = re.match(r"(files|dirs|any)\b\s*", what, re.IGNORECASE)
        if found:
            kinds, what = frozenset([found[1].lower()]), what[found.end() :]
    table = re.match(r"table\s", what, re.IGNORECASE) if queue.verb == "from" else None
    if table:
        raise NotImported(
            "`queue from TABLE` reads a CSV file: write `sweep: {table: FILE}` yourself"
        )
    sliced = _SLICE.match(what)
    chosen = sliced[1] if sliced else ""
    what = what[sliced.end() :].strip() if sliced else what.strip()
    source = ""
    if queue.verb == "from":
        lines, source = _from(queue, what, files)
        rows = [_fields(line, len(variables)) for line in lines]
    else:
        words = _words(queue, what)
        if queue.verb == "matching":
            words = _matched(words, kinds, files)
        rows = [(word, *[""] * (len(variables) - 1)) for word in words]
    indices = list(range(len(rows)))[_slice(chosen)] if sliced else list(range(len(rows)))
    if len(indices) * each > MOST:
        raise NotImported(f"it makes more than {MOST:,} jobs")
    whole = len(indices) == len(rows) and len(variables) == 1 and each == 1
    return Rows(
        variables, tuple(rows[index] for index in indices), tuple(indices), each,
        source if whole else "", True, queue.variables,
    )  # fmt: skip


def _count(text: str, macros: Macros) -> int:
    if not text.strip():
        return 1
    filled = macros.constant(text).strip()
    told: str | None = filled
    if not re.fullmatch(r"\d+", filled):
        told = macros.evaluate(f"$INT({filled})", {})
        if told is None or not re.fullmatch(r"\d+", told.strip()):
            raise NotImported(f'"queue {text}" is no number that is known here')
    number = int(told or "0")
    if number > MOST:
        raise NotImported(f"it makes more than {MOST:,} jobs")
    if not number:
        raise NotImported("`queue 0` makes no job")
    return number


def _slice(text: str) -> slice:
    try:
        parts = [int(part) if part.strip() else None for part in text.split(":")]
        if not 1 <= len(parts) <= 3 or (len(parts) == 3 and (parts[2] or 1) < 1):
            raise ValueError
    except ValueError:
        raise NotImported(f"[{text}] is no slice") from None
    if len(parts) == 1:
        first = parts[0] or 0
        return slice(first, first + 1 or None)
    return slice(*parts)


def _words(queue: Queue, what: str) -> list[str]:
    text = "\n".join(queue.items) if queue.items is not None else what
    text = text.strip()
    if text.startswith("("):
        text = text[1:]
        if queue.items is None:  # of range(10) the bracket is a part of the word
            text = text.removesuffix(")")
    return [word for word in re.split(r"[\s,]+", text) if word]


def _from(queue: Queue, what: str, files: Files) -> tuple[list[str], str]:
    if queue.items is not None:
        return list(queue.items), ""
    if what.endswith("|"):
        raise NotImported(
            "its items are made by a program: let it write them into a file, and read that"
        )
    if what.startswith("("):
        return [what[1:].removesuffix(")").strip()], ""
    if not what:
        raise NotImported("`queue … from` names no file, and no list in brackets")
    if what in ("-", "<"):
        raise NotImported("its items are read from stdin: put them into a file")
    lines = files.lines(what)
    if lines is None:
        raise NotImported(f"the file of its items, {what}, is not there")
    plain = all(line.strip() and line.strip() == line for line in lines)
    return lines, what if plain else ""


def _fields(line: str, count: int) -> tuple[str, ...]:
    """A line at commas and blanks; the last variable takes the rest.

    As condor_submit 25 splits it: at 0x1F, where the line has one.
    """
    line = line.strip(" \t\r\n")
    if "\x1f" in line:
        found = [field.strip(" \t") for field in line.split("\x1f")][:count]
        return (*found, *[""] * (count - len(found)))
    found = []
    rest = line
    for _ in range(count - 1):
        field = re.match(r"[^,\s]*", rest)
        found.append(field[0] if field else "")
        rest = re.sub(r"^[ \t]*,?[ \t]*", "", rest[len(found[-1]) :])
    return (*found, rest.strip(" \t"))


def _matched(words: Sequence[str], kinds: frozenset[str], files: Files) -> list[str]:
    found: dict[str, None] = {}
    for word in words:
        for name, is_folder in files.matching(word):
            if ("dirs" in kinds and not is_folder) or ("files" in kinds and is_folder):
                continue
            found[f"{name}/" if is_folder else name] = None
    if not found:
        raise NotImported("nothing matches the patterns of queue here")
    return list(found)

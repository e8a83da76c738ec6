"""A submit file as a list of statements that keep their lines, columns, comments and order.

Source: the parser of condor_submit, asked on 25.14.1 what it makes of each form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Spot:
    """Some characters. line, column: 1-based; width: of the caret; start: offset in the file."""

    line: int
    column: int
    width: int = 1
    start: int = -1


@dataclass(frozen=True)
class Statement:
    """What one line of the file, with its continuation lines, says.

    kind: set, queue, if, elif, else, endif, include, use, word (error: and warning:), or odd, which
    is nothing that HTCondor knows. key: as written; value: continuation lines joined, without
    blanks around. where: of the key, or of the line's first word; at: of the value. whole: the
    offsets of the statement's lines, line end included. one_line: whether it stands on one line.
    items: of a queue statement, the lines of its list in brackets; closed: whether that list, or
    the block of a `@=`, has its end.
    """

    kind: str
    key: str
    value: str
    where: Spot
    at: Spot
    whole: tuple[int, int]
    one_line: bool = True
    items: tuple[tuple[int, str], ...] = ()
    closed: bool = True
    depth: int = 0


@dataclass(frozen=True)
class SubmitText:
    """A whole file. lines: without their ends; ignored: line → ids of rules, 0: all lines."""

    text: str
    lines: tuple[str, ...]
    statements: tuple[Statement, ...]
    ignored: dict[int, frozenset[str]] = field(default_factory=dict)


BLANKS = " \t\r\v\f\n"
"""What HTCondor takes for blanks; Python's own strip would take a no-break blank for one, too."""
_SET = re.compile(
    r"((?:\+[^\s=]+|[-\w./](?:[\w./]|\$\([^()=\s]*\))*|(?:\$\([^()=\s]*\))[\w./]*))"
    r"(?:\s*(=)|\s+(@=))\s*(.*)\Z",
    re.DOTALL | re.ASCII,
)
"""What may stand before = was asked of 25.14.1, character by character; behind + anything may."""
_WORD = re.compile(r"(if|elif|else|endif|ifdef)(?![\w.])(.*)\Z", re.IGNORECASE | re.DOTALL)
_COLON = re.compile(
    r"(include|@include|use|error|warning)\b([^:=]*):(.*)\Z", re.IGNORECASE | re.DOTALL
)
_QUEUE = re.compile(r"queue(?:\s+(.*))?\Z", re.IGNORECASE | re.DOTALL)
_IGNORE = re.compile(r"#\s*osgbatch:\s*ignore\s*(?:=\s*([\w,\s-]*))?", re.IGNORECASE)


def read(text: str) -> SubmitText:
    """The statements of a submit file; nothing in it is refused here."""
    reader = _Reader(text)
    statements = tuple(reader.statements())
    return SubmitText(text, tuple(reader.lines), statements, reader.ignored)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.starts: list[int] = []
        self.lines: list[str] = []
        self.ignored: dict[int, frozenset[str]] = {}
        at = 0
        for raw in text.split("\n"):
            self.starts.append(at)
            self.lines.append(raw.removesuffix("\r"))
            at += len(raw) + 1
        self.starts.append(at)
        self.depth = 0

    def statements(self) -> Iterator[Statement]:
        at = 0
        pending: frozenset[str] = frozenset()
        while at < len(self.lines):
            line = self.lines[at]
            bare = line.strip(BLANKS)
            if at == 0:
                bare = bare.removeprefix("\ufeff").strip(BLANKS)
            if not bare or bare.startswith("#"):
                pending |= self._comment(at, bare)
                at += 1
                continue
            first = at
            value, at = self._joined(at)
            if not value.strip(BLANKS):
                continue
            statement, at = self._statement(first, at, value)
            if pending:
                for number in range(first + 1, at + 1):
                    self.ignored[number] = self.ignored.get(number, frozenset()) | pending
                pending = frozenset()
            yield statement

    def _comment(self, at: int, bare: str) -> frozenset[str]:
        """The rules that a comment switches off: on the statement below it, or everywhere.

        A comment above the first statement, with a blank line or the end of the file below it,
        speaks of the whole file.
        """
        found = _IGNORE.match(bare)
        if not found:
            return frozenset()
        named = frozenset((found[1] or "all").replace(",", " ").split())
        below = self.lines[at + 1].strip(BLANKS) if at + 1 < len(self.lines) else ""
        if not below:
            self.ignored[0] = self.ignored.get(0, frozenset()) | named
            return frozenset()
        return named

    def _joined(self, at: int) -> tuple[str, int]:
        """A line with those that continue it, and the number of the first line behind."""
        text = self.lines[at].strip(BLANKS)
        if at == 0:
            text = text.removeprefix("\ufeff").strip(BLANKS)
        while text.endswith("\\") and at + 1 < len(self.lines):
            text = text[:-1]
            at += 1
            more = self.lines[at].strip(BLANKS)
            if more.startswith("#"):  # left out but for its last character (23.9, 25.14)
                more = more[-1]
            text += more
        return text.removesuffix("\\"), at + 1

    def _spot(self, line: int, found: str, after: int = 0) -> Spot:
        """Where `found` stands on a line, looked for behind a column."""
        column = (
            self.lines[line].find(found, after) if found else len(self.lines[line].rstrip(BLANKS))
        )
        column = max(column, 0)
        return Spot(line + 1, column + 1, max(1, len(found)), self.starts[line] + column)

    def _statement(self, first: int, end: int, text: str) -> tuple[Statement, int]:
        one_line = end == first + 1
        word = _WORD.match(text)
        if word and not (word[2].lstrip()[:1] == "=" and word[1].lower() not in ("if",)):
            return self._make(word[1].lower(), word[1], word[2].strip(BLANKS), first, end), end
        queue = _QUEUE.match(text)
        if queue:
            return self._queue((queue[1] or "").strip(BLANKS), text[:5], first, end)
        colon = _COLON.match(text)
        if colon:
            kind = {"error": "word", "warning": "word"}.get(colon[1].lower(), colon[1].lower())
            kind = kind.removeprefix("@")
            key = f"{colon[1]} {colon[2].strip(BLANKS)}".strip(BLANKS)
            return self._make(kind, key, colon[3].strip(BLANKS), first, end), end
        setting = _SET.match(text)
        if not setting:
            return self._make("odd", (text.split() or [text])[0], text, first, end), end
        if setting[2]:
            key, value = setting[1], setting[4].strip(BLANKS)
            return self._make("set", key, value, first, end, one_line), end
        return self._block(setting[1], setting[4].strip(BLANKS), first, end)

    def _make(
        self, kind: str, key: str, value: str, first: int, end: int, one_line: bool = True
    ) -> Statement:
        if kind in ("endif",):
            self.depth -= 1
        word = (key.split() or [key])[0]
        where = self._spot(first, word)
        after = where.column - 1 + len(word)
        if kind == "set" and self.lines[first].find("=", after) >= 0:
            after = self.lines[first].find("=", after) + 1
        line, shown = first, value
        if not one_line or (value and self.lines[first].find(value, after) < 0):
            # Of a value over several lines its part on the first line is pointed at.
            shown = self.lines[first][after:].strip(BLANKS).removesuffix("\\").strip(BLANKS)
        if kind == "odd":
            at = where
        else:
            at = self._spot(line, shown, after)
        made = Statement(
            kind, key, value, where, at, (self.starts[first], self.starts[end]),
            end == first + 1, depth=max(0, self.depth),
        )  # fmt: skip
        if kind == "if":
            self.depth += 1
        return made

    def _block(self, key: str, tag: str, first: int, end: int) -> tuple[Statement, int]:
        """`key @=tag` up to a line with `@tag`."""
        inside: list[str] = []
        at = end
        while at < len(self.lines) and self.lines[at].strip(BLANKS) != f"@{tag}":
            bare = self.lines[at].strip(BLANKS)
            if not bare.startswith("#"):
                inside.append(bare)
            at += 1
        closed = at < len(self.lines)
        if not closed:
            at, inside = end, []
        made = self._make("set", key, "\n".join(inside), first, at + closed, False)
        where, at_value = made.where, self._spot(first, tag or "=")
        whole = (self.starts[first], self.starts[at + closed])
        return Statement(
            "set", key, made.value, where, at_value, whole, False, (), closed, made.depth
        ), at + closed  # fmt: skip

    def _queue(self, rest: str, key: str, first: int, end: int) -> tuple[Statement, int]:
        made = self._make("queue", key, rest, first, end)
        opened = re.search(r"(?:^|\s)(?:in|from|matching)\b[^(]*\(", rest, re.IGNORECASE)
        if not opened or rest.endswith(")"):
            return made, end
        items: list[tuple[int, str]] = []
        at = end
        inside = rest[opened.end() :].strip(BLANKS)
        if inside:
            items.append((first + 1, inside))
        while at < len(self.lines) and not self.lines[at].strip(BLANKS).startswith(")"):
            bare = self.lines[at].strip(BLANKS)
            if bare and not bare.startswith("#"):
                items.append((at + 1, bare))
            at += 1
        closed = at < len(self.lines)
        if not closed:
            at, items = end - 1, []
        whole = (self.starts[first], self.starts[at + 1])
        return Statement(
            "queue", key, rest, made.where, made.at, whole, False, tuple(items), closed, made.depth
        ), at + 1  # fmt: skip

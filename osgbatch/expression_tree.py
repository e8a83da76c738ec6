"""The text of an expression to a tree: tokens, a parser, and errors that point at the place."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, NamedTuple, NoReturn

MAX_LENGTH = 10_000
MAX_NESTING = 50
_KEYWORDS = ("and", "or", "not", "in", "true", "false", "True", "False")
ARITY = {
    "min": (2, 99), "max": (2, 99), "abs": (1, 1), "round": (1, 2), "floor": (1, 1), "ceil": (1, 1),
    "sqrt": (1, 1), "log": (1, 2), "exp": (1, 1), "len": (1, 1), "int": (1, 1), "float": (1, 1),
    "str": (1, 1), "startswith": (2, 2), "endswith": (2, 2),
}  # fmt: skip
"""The functions, with the least and the most values that each takes."""


class ExpressionError(ValueError):
    """A mistake in an expression, or in what it met in a row.

    offset, width: the part of the text that is meant, 0-based, in characters; inside the text.
    fix: one sentence that says what to do; may be empty.
    """

    def __init__(self, message: str, offset: int, width: int = 1, fix: str = "") -> None:
        super().__init__(f"{message}\n  {fix}" if fix else message)
        self.message = message
        self.offset = offset
        self.width = width
        self.fix = fix


@dataclass(frozen=True)
class Node:
    """A piece of an expression, text[start:end].

    kind: constant, name, list, call, minus, not, and, or, arithmetic, comparison; value: the
    constant, or the name of a column or function; operators: those between the parts.
    """

    kind: str
    start: int
    end: int
    value: Any = None
    parts: tuple[Node, ...] = ()
    operators: tuple[str, ...] = ()


class Tree(NamedTuple):
    """What parsing gives: the tree, the names it uses in order, and what its units measure."""

    root: Node
    names: tuple[str, ...]
    units: frozenset[str]


def parse_tree(text: str, names: Collection[str] | None, units: bool) -> Tree:
    """Parse an expression. Raises ExpressionError, and nothing else, for any other text."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters", MAX_LENGTH)
    parser = _Parser(text, names, units)
    root = parser.whole()
    return Tree(root, tuple(dict.fromkeys(parser.used)), frozenset(parser.measures))


class _Token(NamedTuple):
    kind: str  # number, name, text, operator or end
    text: str
    start: int
    end: int


_TOKEN = re.compile(
    r"""(?P<blank>\s+)
    | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<name>[^\W\d]\w*)
    | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<wrong>===|=>|=<|<>|=(?!=))
    | (?P<operator>\*\*|//|==|!=|<=|>=|&&|\|\||[-+*/%<>!()\[\],])
    | (?P<other>.)""",
    re.X | re.S,
)
_SYNONYMS = {"&&": "and", "||": "or", "!": "not"}
_FIXES = {
    "=": "Write == to compare.", "===": "Write == to compare.", "is": "Write == to compare.",
    "<>": "Write !=.", "=>": "Write >=.", "=<": "Write <=.", "&": "Write and.", "|": "Write or.",
    "^": "Write ** for a power.", "{": "Write a column's name without braces.",
    "“": 'Write straight quotes, ".', "”": 'Write straight quotes, ".', "[": "Write x in [..].",
    "‘": "Write straight quotes, '.", "’": "Write straight quotes, '.", "contains": "Write y in x.",
    "'": "Close it with another '.", '"': 'Close it with another ".', "not": "Write (not ...).",
    "AND": "Write and.", "OR": "Write or.", "NOT": "Write not.", "IN": "Write in.",
}  # fmt: skip
_ESCAPES = {"n": "\n", "t": "\t", "'": "'", '"': '"', "\\": "\\"}


def _tokens(text: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text):
        kind, word, start = match.lastgroup or "", match[0], match.start()
        if kind in ("wrong", "other"):
            what, end = f"unexpected {word!r}", match.end()
            if word == "=":
                what = "a single = does not compare"
            elif word in "'\"":
                what, end = "the text is not closed", len(text)
            raise ExpressionError(what, start, end - start, _FIXES.get(word, ""))
        if kind != "blank":
            yield _Token(kind, _SYNONYMS.get(word, word), start, match.end())


def _unquoted(token: _Token) -> str:
    def replaced(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            where = token.start + 1 + match.start()
            fix = "Write \\\\ for a backslash."
            raise ExpressionError("unknown escape after a backslash", where, 2, fix)
        return _ESCAPES[match[1]]

    return re.sub(r"\\(.)", replaced, token.text[1:-1], flags=re.S)


def _unit(word: str) -> tuple[str, int] | None:
    """What a unit measures, and how many bytes or seconds it is. A bare `m` could be either."""
    if re.fullmatch(r"[kgtp]|([kmgtp]i?)?b", word, re.I):
        return "size", 1024 ** "bkmgtp".index(word[0].lower())
    time = re.fullmatch(r"(s|sec|seconds?)|(min|minutes?)|(h|hours?)|(d|days?)", word, re.I)
    return ("time", (1, 60, 3600, 86400)[(time.lastindex or 1) - 1]) if time else None


_NAMED = 50
"""So many names that are known are told."""


def unknown_name(name: str, start: int, known: Collection[str]) -> ExpressionError:
    near = get_close_matches(name, known, n=1)
    shown = list(known)[:_NAMED]
    more = f" and {len(known) - _NAMED:,} more" if len(known) > _NAMED else ""
    some = "" if near or not known else f"Known are {', '.join(shown)}{more}. "
    message = f'unknown name "{short(name)}"' + (f'; did you mean "{near[0]}"?' if near else "")
    fix = f'{some}Text stands in quotes: "{short(name)}".'
    return ExpressionError(message, start, len(name), fix)


_LEVELS = {
    "or": 1, "and": 2, "in": 4, "not": 4, "==": 4, "!=": 4, "<": 4, "<=": 4, ">": 4, ">=": 4,
    "+": 5, "-": 5, "*": 6, "/": 6, "//": 6, "%": 6, "**": 8,
}  # fmt: skip
_NOT, _MINUS, _POWER = 3, 7, 8
_KINDS = {1: "or", 2: "and", 4: "comparison", 5: "arithmetic", 6: "arithmetic", 8: "arithmetic"}


class _Parser:
    """Precedence climbing. Operators of one level make one node, so that long sums stay flat."""

    def __init__(self, text: str, names: Collection[str] | None, units: bool) -> None:
        self.text = text
        self.known = None if names is None else [*names, "index"]
        self.units = units
        self.used: list[str] = []
        self.measures: set[str] = set()
        self.tokens = [*_tokens(text), _Token("end", "", len(text), len(text))]
        self.position = self.nesting = 0

    def whole(self) -> Node:
        if len(self.tokens) == 1:
            raise ExpressionError("the expression is empty", 0)
        tree = self.nested(1)
        if self.token.kind != "end":
            self.unexpected()
        return tree

    @property
    def token(self) -> _Token:
        return self.tokens[self.position]

    def accept(self, *words: str) -> bool:
        found = self.token.kind in ("operator", "name") and self.token.text in words
        self.position += found
        return found

    def unexpected(self) -> NoReturn:
        if self.token.kind == "end":
            last = self.tokens[self.position - 1]
            self.fail(f"something is missing after {short(last.text)}", last.start, last.end)
        token = self.token
        if token.text == "if":
            self.fail("if is not known here", token.start, token.end, _without_if(self.text))
        if token.text == "," and self.tokens[self.position - 1].text not in ("[", "(", ","):
            fix = "" if self.units else ", or a list: [first, second]"
            number = re.match(r",\d{3}(?!\w)", self.text[token.start :])
            fix = f"Write and between the two{fix}."
            if number and self.text[token.start - 1 : token.start].isdigit():
                fix = "Write numbers without commas."
            self.fail("a comma joins nothing here", token.start, token.end, fix)
        message = f"unexpected {short(token.text)}"
        self.fail(message, token.start, token.end, _FIXES.get(token.text, ""))

    def fail(self, message: str, start: int, end: int, fix: str = "") -> NoReturn:
        raise ExpressionError(message, start, end - start, fix)

    def node(self, kind: str, start: int, *parts: Node, value: Any = None) -> Node:
        return Node(kind, start, self.tokens[self.position - 1].end, value, parts)

    def nested(self, level: int) -> Node:
        """An expression inside brackets or behind a prefix: what makes the tree deep."""
        self.nesting += 1
        if self.nesting > MAX_NESTING + 1:
            last = self.tokens[self.position - 1]
            self.fail(f"nested more than {MAX_NESTING} deep", last.start, last.end)
        inner = self.expression(level)
        self.nesting -= 1
        return inner

    def expression(self, level: int, list_allowed: bool = False) -> Node:
        """What binds at least as strongly as `level`."""
        left = self.operand(level, list_allowed)
        while left.kind != "list" and (here := self.level()) >= level:
            parts, operators = [left], []
            while self.level() == here:
                word = self.token.text
                self.position += 1
                operators.append("not in" if word == "not" and self.accept("in") else word)
                if here == _POWER:
                    parts.append(self.nested(_MINUS))
                else:
                    parts.append(self.expression(here + 1, operators[-1].endswith("in")))
                if word == "or":
                    self.check_or(*parts[-2:])
            left = replace(self.node(_KINDS[here], left.start, *parts), operators=tuple(operators))
        return left

    def level(self) -> int:
        """The level of the operator that comes next; 0 when none does."""
        kind, word, *_ = self.token
        if word == "not" and self.tokens[self.position + 1].text != "in":
            return 0
        return _LEVELS.get(word, 0) if kind in ("operator", "name") else 0

    def check_or(self, left: Node, right: Node) -> None:
        """Refuse `a == 1 or 2`, which is always true."""
        if (left.kind, right.kind) == ("comparison", "constant") and not isinstance(
            right.value, bool
        ):
            first, other = source(self.text, left.parts[0]), source(self.text, right)
            fix = f"Write {first} {left.operators[0]} {other}, or {first} in [..]."
            self.fail(f"{other} stands alone beside or", right.start, right.end, fix)

    def operand(self, level: int, list_allowed: bool) -> Node:
        kind, word, start, end = self.token
        if kind == "number":
            return self.number()
        if kind == "text":
            self.position += 1
            return self.node("constant", start, value=_unquoted(self.tokens[self.position - 1]))
        if self.accept("(", "[") if list_allowed else self.accept("("):
            items = self.items(")" if word == "(" else "]")
            if word == "(" and len(items) == 1 and self.tokens[self.position - 2].text != ",":
                return replace(items[0], start=start, end=self.tokens[self.position - 1].end)
            made = self.node("list", start, *items)
            if not list_allowed:
                self.fail("a list can only follow in", start, made.end, "Write x in (1, 2).")
            return made
        if self.accept("-"):
            inner = self.nested(_POWER)
            if inner.kind == "constant" and isinstance(inner.value, (int, float)):
                return replace(inner, start=start, value=-inner.value)
            return self.node("minus", start, inner)
        if level <= _NOT and self.accept("not"):
            return self.node("not", start, self.nested(_NOT))
        if kind != "name" or word in _KEYWORDS[:4]:
            self.unexpected()
        self.position += 1
        if word in _KEYWORDS:
            return self.node("constant", start, value=word.lower() == "true")
        if self.accept("("):
            return self.call(word, start, end)
        if self.known is not None and word not in self.known:
            raise unknown_name(word, start, self.known)
        self.used.append(word)
        return self.node("name", start, value=word)

    def items(self, close: str) -> list[Node]:
        """What stands between brackets, up to and with the closing one."""
        items: list[Node] = []
        opening = self.tokens[self.position - 1]
        while not self.accept(close):
            if self.token.kind != "end":
                items.append(self.nested(1))
            if self.token.kind == "end":
                message = f"{opening.text} is not closed"
                self.fail(message, opening.start, opening.end, f"Close it with {close}.")
            if self.token.text != close and not self.accept(","):
                self.unexpected()
        return items

    def call(self, name: str, start: int, end: int) -> Node:
        if name not in ARITY:
            near = get_close_matches(name, ARITY, n=1)
            did_you = f'; did you mean "{near[0]}"?' if near else ""
            fix = _FIXES.get(name, "" if near else f"Known are {', '.join(ARITY)}.")
            self.fail(f'unknown function "{short(name)}"{did_you}', start, end, fix)
        call = self.node("call", start, *self.items(")"), value=name)
        least, most = ARITY[name]
        if not least <= len(call.parts) <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            self.fail(f"{name} takes {wanted} values, not {len(call.parts)}", start, call.end)
        return call

    def number(self) -> Node:
        _, digits, start, end = self.token
        self.position += 1
        if re.match(r"0[0-9]", digits):
            fix = f'Write "{short(digits)}" for text.'
            self.fail("a number cannot start with 0", start, end, fix)
        value = float(digits)
        if digits.isdigit() and math.isfinite(value):
            value = int(digits)
        kind, word, _, end = self.token
        if kind == "name" and word not in (*_KEYWORDS, *_FIXES, "if"):
            unit = _unit(word)
            if unit is None or not self.units:
                fix = "Units stand only in resources." if unit else ""
                if word in (self.known or ()):
                    fix = f"Write {digits} * {word}."
                elif self.units and word in "mM":
                    fix = "Write min or MB."
                elif self.units:
                    fix = "Units are KB, MB, GB, TB, s, min, h and days."
                elif not unit and self.text[end - len(word) - 1] in digits:
                    fix = f'Write "{digits}{word}" for text.'
                self.fail(f'"{short(word)}" cannot follow a number', start, end, fix)
            self.position += 1
            self.measures.add(unit[0])
            value *= unit[1]
            if isinstance(value, float) and value.is_integer():
                value = int(value)
        if value > sys.float_info.max:
            self.fail("the number is too large", start, self.tokens[self.position - 1].end)
        return self.node("constant", start, value=value)


_IF = re.compile(r"\s*([\d.]+)\s*(\w*)\s+if\s+(.+?)\s+else\s+([\d.]+)\s*(\w*)\s*")
_A_COLUMN = "a column of the sweep that holds the value"


def _without_if(text: str) -> str:
    """What to write for `4 if n > 100 else 1`: a condition counts as 1 or 0."""
    found = _IF.fullmatch(text)
    if found is None:
        return f"Make {_A_COLUMN}."
    yes, unit, condition, no, other = found.groups()
    if unit != other or not (yes.isdigit() and no.isdigit()):
        return f"Make {_A_COLUMN}."
    behind = f" {unit}" if unit else ""
    more = int(yes) - int(no)
    return (
        f"Write {no}{behind} {'-' if more < 0 else '+'} {abs(more)}{behind} * ({condition}), "
        f"or make {_A_COLUMN}."
    )


def short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def source(text: str, node: Node) -> str:
    return short(text[node.start : node.end])

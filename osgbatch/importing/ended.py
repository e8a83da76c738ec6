"""What an expression of ClassAds says of a job: what it is compared with may not be known here.

HTCondor's operators over whole numbers, with their precedence and their third value, undefined; a
fourth one stands for what cannot be told before the job has run. Seen on 25.14.1.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum


class Odd(Enum):
    """A value that is no number: not set in the job's ad, or not known here."""

    UNDEFINED = 1
    UNKNOWN = 2


UNDEFINED, UNKNOWN = Odd.UNDEFINED, Odd.UNKNOWN
Value = int | Odd
Ad = Mapping[str, Value]
_Run = Callable[[Ad], Value]

_TOKEN = re.compile(
    r'\s*(?:(&&|\|\||=\?=|=!=|==|!=|<=|>=|[<>!()*+,{}-])|(\d+)(?![\w.])|([A-Za-z_][\w.]*)'
    r'|("(?:[^"\\]|\\.)*"))', re.ASCII,
)  # fmt: skip
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("||",), ("&&",), ("==", "!=", "=?=", "=!=", "is", "isnt"), ("<", "<=", ">", ">="), ("+", "-"),
    ("*",),
)  # fmt: skip
"""Operators from the one that binds least."""
_NUMBERS: dict[str, Callable[[int, int], int]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge, "+": operator.add, "-": operator.sub, "*": operator.mul,
}  # fmt: skip
_NESTED = 30
_LONGEST = 500


class Unread(Exception):
    """A text is no expression that can be read here."""


@dataclass(frozen=True)
class Condition:
    """An expression that was read. names: the attributes it uses, and its functions, as `time()`,
    in lower case; text: what it was read of."""

    text: str
    names: frozenset[str]
    run: _Run

    def value(self, ad: Ad) -> bool | Odd:
        """Whether it is true of a job. ad: the attributes that are known; functions, too."""
        return _truth(self.run(ad))


def condition(text: str) -> Condition:
    """Read an expression. Raises Unread for what is none, or has operators that are not known."""
    parser = _Parser(text)
    run = parser.level(0)
    if parser.at < len(parser.tokens):
        raise Unread(text)
    return Condition(text, frozenset(parser.names), run)


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        self.names: set[str] = set()
        self.at = 0
        self.depth = 0
        at, text = 0, text.rstrip()
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None:
                raise Unread(text)
            self.tokens.append(token[0].strip().lower())
            at = token.end()
        if len(self.tokens) > _LONGEST:
            raise Unread(text)

    def next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        found = self.next()
        self.at += 1
        return found

    def expect(self, wanted: str) -> None:
        if self.take() != wanted:
            raise Unread

    def level(self, number: int) -> _Run:
        if number == len(_LEVELS):
            return self.one()
        left = self.level(number + 1)
        while self.next() in _LEVELS[number]:
            left = _both(self.take(), left, self.level(number + 1))
        return left

    def one(self) -> _Run:
        """A value, with what stands before it."""
        self.depth += 1
        if self.depth > _NESTED:
            raise Unread
        token = self.take()
        if token == "!":
            found = _negated(self.one())
        elif token == "-":
            found = _both("-", _always(0), self.one())
        elif token == "(":
            found = self.level(0)
            self.expect(")")
        elif token.isdigit():
            found = _always(int(token))
        elif token[:1] == '"':
            found = _always(UNKNOWN)
        elif re.match("[a-z_]", token):
            found = self.named(re.sub(r"^(my|target)\.", "", token))
        else:
            raise Unread
        self.depth -= 1
        return found

    def named(self, name: str) -> _Run:
        """An attribute, a constant or a function."""
        if self.next() == "(":
            return self.called(name)
        fixed: dict[str, Value] = {"true": True, "false": False, "undefined": UNDEFINED}
        if name in fixed:
            return lambda ad: fixed[name]
        self.names.add(name)
        return lambda ad: ad.get(name, UNKNOWN)

    def called(self, name: str) -> _Run:
        self.expect("(")
        if name == "member":
            item = self.level(0)
            self.expect(",")
            self.expect("{")
            tests = [_both("==", item, one) for one in self.several("}")]
            self.expect(")")
            found = _always(False)
            for test in tests:
                found = _both("||", found, test)
            return found
        self.several(")")
        self.names.add(f"{name}()")
        return lambda ad: ad.get(f"{name}()", UNKNOWN)

    def several(self, end: str) -> list[_Run]:
        """What stands between commas, up to a bracket."""
        found: list[_Run] = []
        while self.next() != end:
            if found:
                self.expect(",")
            found.append(self.level(0))
        self.expect(end)
        return found


def _truth(value: Value) -> bool | Odd:
    return value if isinstance(value, Odd) else bool(value)


def _not(value: bool | Odd) -> bool | Odd:
    return value if isinstance(value, Odd) else not value


def _always(value: Value) -> _Run:
    return lambda ad: value


def _negated(inner: _Run) -> _Run:
    return lambda ad: _not(_truth(inner(ad)))


def _both(sign: str, left: _Run, right: _Run) -> _Run:
    if sign in ("&&", "||"):
        decides = sign == "||"
        return lambda ad: _logic(decides, _truth(left(ad)), _truth(right(ad)))
    if sign in ("=?=", "is"):
        return lambda ad: _same(left(ad), right(ad))
    if sign in ("=!=", "isnt"):
        return lambda ad: _not(_same(left(ad), right(ad)))
    compute = _NUMBERS[sign]

    def computed(ad: Ad) -> Value:
        one, other = left(ad), right(ad)
        if isinstance(one, Odd) or isinstance(other, Odd):
            return UNKNOWN if UNKNOWN in (one, other) else UNDEFINED
        return compute(one, other)

    return computed


def _logic(decides: bool, one: bool | Odd, other: bool | Odd) -> bool | Odd:
    """&& and ||. decides: what decides, whatever the other side is."""
    if one is decides or other is decides:
        return decides
    if UNKNOWN in (one, other):
        return UNKNOWN
    return UNDEFINED if UNDEFINED in (one, other) else not decides


def _same(one: Value, other: Value) -> bool | Odd:
    """=?=, which is never undefined, and tells a number from what is true or false."""
    if UNKNOWN in (one, other):
        return UNKNOWN
    return one is other or (type(one) is type(other) and one == other)

"""Small safe expressions over the columns of a sweep: parsed by hand, never given to Python.

They mean what they mean in Python, with exceptions that catch mistakes: text and a number are an
error also for == and in (an empty cell is not, it equals no number), text is never repeated by *,
lists stand only behind in, and whole numbers end at 1024 bits.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from osgbatch.expression_tree import (
    MAX_LENGTH,
    MAX_NESTING,
    ExpressionError,
    Node,
    parse_tree,
    short,
    source,
    unknown_name,
)

__all__ = [
    "MAX_LENGTH",
    "MAX_NESTING",
    "Expression",
    "ExpressionError",
    "build",
    "parse_expression",
]

_MAX_BITS = 1024
_MAX_TEXT = 1_000_000
_NUMBERS = (int, float)
_FAULTS = (TypeError, ValueError, ArithmeticError)

Run = Callable[[Sequence[Any]], Any]
"""An expression as a function of one row."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression.

    names: the columns it uses (and `index`), in order of appearance.
    units: which units it uses, of "size" (its numbers are bytes) and "time" (seconds).
    """

    text: str
    names: tuple[str, ...]
    units: frozenset[str]
    tree: Node = field(repr=False, compare=False)

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """The value for one row, by name. Raises ExpressionError, naming what cannot be done."""
        columns = tuple(name for name in self.names if name in values)
        return _compiled(self, columns)([values[name] for name in columns])

    def compile(self, columns: Sequence[str]) -> Run:
        """A function of one row, its values in the order of `columns`: for many rows.

        Raises ExpressionError when a column is missing; so does the function, as `evaluate` does.
        """
        return _compiled(self, tuple(columns))


def parse_expression(
    text: str, names: Collection[str] | None = None, units: bool = False
) -> Expression:
    """Parse an expression.

    names: the known columns; `index` is always known, and None knows any name.
    units: a number followed by a unit is bytes (`2 GB`, powers of 1024) or seconds (`20 min`).
    Raises ExpressionError, and nothing else, for any text that is not an expression.
    """
    root, used, measures = parse_tree(text, names, units)
    return Expression(text, used, measures, root)


def _show(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return "a huge number"
    return short(repr(value))


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text" if value else "empty"
    if value is None:
        return "empty"
    return "a number" if isinstance(value, _NUMBERS) else f"a {type(value).__name__}"


def _fault(
    text: str, node: Node, parts: Sequence[Node], values: Sequence[Any], error: Exception
) -> ExpressionError:
    """What could not be done in a row: the sub-expression, its values, and what to write."""
    message = f"cannot evaluate {source(text, node)}: "
    fix = ""
    if isinstance(error, ZeroDivisionError):
        message += "division by zero"
    elif isinstance(error, OverflowError):
        message += "the result is too large"
    elif isinstance(error, TypeError):
        message += " and ".join(
            f"{source(text, part)} is {_described(value)}"
            for part, value in zip(parts, values, strict=True)
        )
        fix = _conversion(text, node, parts, values)
    else:
        message += "it is not defined for this value"
    seen = [
        f"{source(text, part)} = {_show(value)}"
        for part, value in zip(parts, values, strict=True)
        if part.kind not in ("constant", "list")
    ]
    message += f" ({', '.join(seen)})" if seen else ""
    return ExpressionError(message, node.start, node.end - node.start, fix)


def _described(value: Any) -> str:
    if isinstance(value, list):
        return "a list of " + " and ".join(
            sorted({_kind(v).replace("a number", "numbers") for v in value})
        )
    return "true or false" if isinstance(value, bool) else _kind(value)


def _conversion(text: str, node: Node, parts: Sequence[Node], values: Sequence[Any]) -> str:
    """How to make one kind of two values; empty when there is nothing to say."""
    pairs = [
        (part.parts[0], value[0]) if part.kind == "list" and value else (part, value)
        for part, value in zip(parts, values, strict=True)
    ]
    found = {_kind(value): (part, source(text, part), value) for part, value in pairs}
    if "empty" in found:
        return f'Test for empty cells first: {found["empty"][1]} != "" and ...'
    if node.operators[-1:] in (("in",), ("not in",)) and set(found) == {"a number"}:
        return f"Write {' '.join((source(text, parts[0]), *node.operators[-1:]))} [..]."
    if len(parts) != 2 or set(found) != {"a number", "text"}:
        return ""
    (number_part, number, value), (text_part, words, _) = found["a number"], found["text"]
    as_text = f'"{number}"' if number_part.kind == "constant" else f"str({number})"
    ways = []
    if node.kind != "arithmetic" or "+" in node.operators:
        ways.append(f"{as_text} for text")
    if text_part.kind != "constant" and not isinstance(value, bool):
        ways.append(f"float({words}) for a number")
    return f"Write {', or '.join(ways)}." if ways else ""


def _bounded(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise OverflowError
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        raise OverflowError
    if isinstance(value, complex):
        raise ValueError  # (-8) ** 0.5
    return value


def _numeric(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """An operator for numbers alone: no "a" * 10**9, no "%999999999d" % 1."""

    def computed(left: Any, right: Any) -> Any:
        if not (isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS)):
            raise TypeError
        return _bounded(compute(left, right))

    return computed


_add_numbers = _numeric(operator.add)


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        return _bounded(left + right)
    return _add_numbers(left, right)


def _power(base: Any, exponent: Any) -> Any:
    whole = isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1
    if whole and base.bit_length() * exponent > 2 * _MAX_BITS:
        raise OverflowError  # before it is computed: 9 ** 9 ** 9 would never end
    return base**exponent


def _comparable(left: Any, right: Any) -> bool:
    """Is "equal" a question at all? Text and numbers are not; empty cells are, with anything."""
    kinds = {_kind(left), _kind(right)}
    return len(kinds) == 1 or "empty" in kinds


def _equal(left: Any, right: Any) -> bool:
    if left == right:
        return True
    if left.__class__ is not right.__class__ and not _comparable(left, right):
        raise TypeError
    return False


def _contains(value: Any, items: Any) -> bool:
    if isinstance(items, str) and not isinstance(value, str):
        raise TypeError
    if value in items:
        return True
    if isinstance(items, str):
        return False
    for item in items:
        if value.__class__ is item.__class__ or _comparable(value, item):
            return False
    if items:
        raise TypeError
    return False


def _round(value: Any, digits: Any = None) -> Any:
    if isinstance(digits, int) and abs(digits) > _MAX_BITS:
        raise OverflowError  # round(1, -10 ** 9) would compute that power
    return round(value, digits)


def _int(value: Any) -> int:
    if isinstance(value, str) and len(value) > _MAX_BITS:
        raise OverflowError  # the time to read digits grows with their square
    return int(value)


def _minus(value: Any) -> Any:
    if not isinstance(value, _NUMBERS):
        raise TypeError
    return -value


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min, "max": max, "abs": abs, "round": _round, "floor": math.floor, "ceil": math.ceil,
    "sqrt": math.sqrt, "log": math.log, "exp": math.exp, "len": len, "int": _int, "float": float,
    "str": str, "startswith": str.startswith, "endswith": str.endswith,
}  # fmt: skip
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "==": _equal, "!=": lambda left, right: not _equal(left, right),
    "in": _contains, "not in": lambda value, items: not _contains(value, items),
    "+": _add, "-": _numeric(operator.sub), "*": _numeric(operator.mul),
    "/": _numeric(operator.truediv), "//": _numeric(operator.floordiv),
    "%": _numeric(operator.mod), "**": _numeric(_power),
}  # fmt: skip


@lru_cache(maxsize=64)
def _compiled(expression: Expression, columns: tuple[str, ...]) -> Run:
    return build(expression.text, columns, expression.tree)


def build(text: str, columns: Sequence[str], node: Node) -> Run:
    """A tree of nodes to a tree of closures; columns: the names of a row's values."""
    value = node.value
    if node.kind == "constant":
        return lambda row: value
    if node.kind == "name":
        if value not in columns:
            raise unknown_name(value, node.start, columns)
        return operator.itemgetter(columns.index(value))
    runs: list[Run] = []
    for part in node.parts:
        runs.append(build(text, columns, part))
    if node.kind in ("and", "or"):
        return _logic(node.kind, runs)
    if node.kind == "not":
        only = runs[0]
        return lambda row: not only(row)
    if node.kind == "list":
        return lambda row: [run(row) for run in runs]
    if node.kind in ("call", "minus"):
        return _call(text, node, runs)
    if node.kind == "arithmetic":
        return _arithmetic(text, node, runs)
    return _comparison(text, node, runs)


def _logic(kind: str, runs: Sequence[Run]) -> Run:
    first, second, *others = runs
    if others:
        second = _logic_of_many(kind, runs[1:])
    if kind == "and":
        return lambda row: first(row) and second(row)
    return lambda row: first(row) or second(row)


def _logic_of_many(kind: str, runs: Sequence[Run]) -> Run:
    ends = kind == "or"

    def decided(row: Sequence[Any]) -> Any:
        value: Any = None
        for run in runs:
            value = run(row)
            if bool(value) is ends:
                break
        return value

    return decided


def _call(text: str, node: Node, runs: Sequence[Run]) -> Run:
    function = _minus if node.kind == "minus" else _FUNCTIONS[node.value]

    def called(row: Sequence[Any]) -> Any:
        values = [run(row) for run in runs]
        try:
            return _bounded(function(*values))
        except _FAULTS as error:
            raise _fault(text, node, node.parts, values, error) from None

    return called


def _arithmetic(text: str, node: Node, runs: Sequence[Run]) -> Run:
    first = runs[0]
    steps = [(_OPERATORS[word], run) for word, run in zip(node.operators, runs[1:], strict=True)]

    def computed(row: Sequence[Any]) -> Any:
        total = first(row)
        for position, (apply, run) in enumerate(steps):
            other = run(row)
            try:
                total = apply(total, other)
            except _FAULTS as error:
                done, part = node.parts[position : position + 2]
                if position:
                    done = replace(node, end=done.end)
                here = replace(node, end=part.end)
                raise _fault(text, here, (done, part), (total, other), error) from None
        return total

    return computed


def _comparison(text: str, node: Node, runs: Sequence[Run]) -> Run:
    first = runs[0]
    tests = [_OPERATORS[word] for word in node.operators]
    last = node.parts[-1]
    items = last.parts if last.kind == "list" else (last,)

    def fault(position: int, values: Sequence[Any], error: Exception) -> ExpressionError:
        pair = node.parts[position : position + 2]
        here = replace(node, start=pair[0].start, end=pair[1].end)
        return _fault(text, here, pair, values, error)

    if len(tests) == 1 and all(item.kind == "constant" for item in items):
        # By far the most frequent form: what need not be done again for each row is done here.
        test = tests[0]
        constants = [item.value for item in items]
        constant = frozenset(constants) if last.kind == "list" else constants[0]

        def tested(row: Sequence[Any]) -> bool:
            value = first(row)
            try:
                return test(value, constant)  # type: ignore[no-any-return]
            except _FAULTS as error:
                right = constants if last.kind == "list" else constant
                raise fault(0, (value, right), error) from None

        return tested

    def compared(row: Sequence[Any]) -> bool:
        left = first(row)
        for position, test in enumerate(tests):
            right = runs[position + 1](row)
            try:
                found = test(left, right)
            except _FAULTS as error:
                raise fault(position, (left, right), error) from None
            if not found:
                return False
            left = right
        return True

    return compared

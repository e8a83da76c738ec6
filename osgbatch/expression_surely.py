"""Whether an expression surely holds of a row of which something is not known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from osgbatch.expression_tree import Node
from osgbatch.expressions import Expression, Run, build

Sure = Callable[[Sequence[Any], Collection[str]], bool]
"""Of a row, and the names of what is not known of it: see surely."""


def surely(expression: Expression, columns: Sequence[str]) -> Sure:
    """A function of a row, its values in the order of `columns`: does it hold whatever is lacking?

    As in SQL: a comparison (or function) of what is lacking is neither true nor false, and so is
    its `not`; `or` holds by its other side, and `and` fails by it. `x == ""` and `x != ""` ask
    whether something is there, and are answered. Raises what `Expression.compile` does.
    """
    decide = _decided(expression.text, columns, expression.tree)
    return lambda row, lacking: decide(row, lacking) is True


def _decided(
    text: str, columns: Sequence[str], node: Node
) -> Callable[[Sequence[Any], Collection[str]], bool | None]:
    """Says None where it cannot be told."""
    if node.kind == "not":
        inner = _decided(text, columns, node.parts[0])

        def negated(row: Sequence[Any], lacking: Collection[str]) -> bool | None:
            found = inner(row, lacking)
            return None if found is None else not found

        return negated
    if node.kind in ("and", "or"):
        parts = [_decided(text, columns, part) for part in node.parts]
        ends = node.kind == "or"

        def logic(row: Sequence[Any], lacking: Collection[str]) -> bool | None:
            found: bool | None = not ends
            for part in parts:
                value = part(row, lacking)
                if value is ends:
                    return ends
                found = None if value is None else found
            return found

        return logic
    run: Run = build(text, columns, node)
    needed = frozenset() if _asks_whether_there(node) else _names(node)
    return lambda row, lacking: None if needed.intersection(lacking) else bool(run(row))


def _asks_whether_there(node: Node) -> bool:
    return (
        node.kind == "comparison"
        and node.operators in (("==",), ("!=",))
        and sorted(part.kind for part in node.parts) == ["constant", "name"]
        and any(part.kind == "constant" and part.value == "" for part in node.parts)
    )


def _names(node: Node) -> frozenset[str]:
    """The names that a piece of an expression uses."""
    own = {node.value} if node.kind == "name" else set()
    return frozenset(own).union(*(_names(part) for part in node.parts))

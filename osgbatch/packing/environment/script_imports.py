"""Finds the import statements of Python scripts, without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_FORGIVING = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_PERHAPS = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.If, ast.For, ast.While, ast.Match, ast.ExceptHandler,
)  # fmt: skip
"""What may never be run, though the script is."""


@dataclass(frozen=True)
class Import:
    """An import of one module. statement: as it could be run by itself.

    always: it is run whenever the script is. script, line: where it stands.
    """

    module: str
    statement: str
    always: bool
    script: Path
    line: int

    @property
    def top(self) -> str:
        """The first part of the module's name."""
        return self.module.partition(".")[0]


def found_imports(script: Path) -> list[Import]:
    """The imports of a script that it cannot do without.

    Left out: relative ones, those for type checkers, and those that it can do without
    (`try: … except ImportError`). A file that cannot be read or is no Python has none.
    """
    try:
        tree = ast.parse(script.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []
    return list(_imports(tree.body, script, True))


def _imports(body: Iterable[ast.AST], script: Path, always: bool) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                text = f"import {alias.name}"
                yield Import(alias.name, text, always, script, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0 and node.module:
                names = ", ".join(sorted(alias.name for alias in node.names))
                text = f"from {node.module} import {names}"
                yield Import(node.module, text, always, script, node.lineno)
        elif isinstance(node, ast.Try) and any(map(_forgives, node.handlers)):
            yield from _imports([*node.orelse, *node.finalbody], script, always)
        elif isinstance(node, ast.If) and _is_for_types(node.test):
            yield from _imports(node.orelse, script, always)
        else:
            sure = always and (not isinstance(node, _PERHAPS) or _is_main(node))
            yield from _imports(ast.iter_child_nodes(node), script, sure)


def _forgives(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or ast.unparse(kind) in _FORGIVING for kind in kinds)


def _is_for_types(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _is_main(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"

"""Finds the import statements of Python scripts, without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

_FORGIVING = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_TRIES = (ast.Try, getattr(ast, "TryStar", ast.Try))  # Python 3.11 has both
_PERHAPS = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.If, ast.For, ast.While, ast.Match, ast.ExceptHandler,
    ast.With, ast.AsyncWith,
)  # fmt: skip
"""What may never be run, or may fail without harm, though the script is run."""


@dataclass(frozen=True)
class Import:
    """An import of one module. statement: as it could be run by itself.

    always: it is run whenever the script is, and as by itself: the script has not changed its
    environment variables or where Python looks before. script, line: where it stands.
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
    (`try: … except ImportError`, `with suppress(ImportError)`). A file that cannot be read or is
    no Python has none.
    """
    try:
        tree = ast.parse(script.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []
    changed = min((node.lineno for node in ast.walk(tree) if _changes(node)), default=0)
    return [
        replace(one, always=one.always and not 0 < changed < one.line)
        for one in _imports(tree.body, script, True)
    ]


def _changes(node: ast.AST) -> TypeGuard[ast.expr]:
    """Whether it could change what later imports find: os.environ, sys.path and the like."""
    if isinstance(node, ast.Name):
        return node.id in ("environ", "putenv")
    if not isinstance(node, ast.Attribute):
        return False
    of_sys = isinstance(node.value, ast.Name) and node.value.id == "sys"
    return node.attr in ("environ", "putenv") or (of_sys and node.attr in ("path", "modules"))


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
        elif isinstance(node, _TRIES) and node.handlers:
            if not any(map(_forgives, node.handlers)):
                yield from _imports([*node.body, *node.handlers], script, False)
            yield from _imports(node.orelse, script, False)
            yield from _imports(node.finalbody, script, always)
        elif isinstance(node, ast.With) and any(map(_suppresses, node.items)):
            continue
        elif isinstance(node, ast.If) and _is_for_types(node.test):
            yield from _imports(node.orelse, script, always)
        else:
            sure = always and (not isinstance(node, _PERHAPS) or _is_main(node))
            yield from _imports(ast.iter_child_nodes(node), script, sure)


def _forgives(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or ast.unparse(kind) in _FORGIVING for kind in kinds)


def _suppresses(item: ast.withitem) -> bool:
    """Whether it is `contextlib.suppress(ImportError)` or the like."""
    call = item.context_expr
    if not isinstance(call, ast.Call) or not ast.unparse(call.func).endswith("suppress"):
        return False
    return any(ast.unparse(kind) in _FORGIVING for kind in call.args)


def _is_for_types(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _is_main(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"

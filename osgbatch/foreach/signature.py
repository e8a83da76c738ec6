"""How many words a script's scatter function takes, read from its text; nothing is run."""

from __future__ import annotations

import ast
import os
import shlex

from osgbatch.errors import OsgbatchError
from osgbatch.foreach.asked import PHASES, Asked


def check_words(asked: Asked) -> None:
    """Raises OsgbatchError when the words cannot be those that the scatter function takes.

    Only for what is certain: one plain `def` of this name, in Python. asked: has been checked.
    """
    function = None if asked.of_r or asked.start_at != PHASES[0] else _only_def(asked)
    if function is None:
        return
    given, found = len(asked.args), function.args
    names = [one.arg for one in (*found.posonlyargs, *found.args)]
    needed = len(names) - len(found.defaults)
    if given >= needed and (found.vararg or given <= len(names)):
        return
    wants = str(needed) if needed == len(names) else f"{needed} to {len(names)}"
    wants = f"at least {needed}" if found.vararg else wants if names else "none"
    shown = [name.upper() for name in names[:needed]]
    shown += [f"[{name.upper()}]" for name in names[needed:]]
    shown += [f"[{found.vararg.arg.upper()}...]"] if found.vararg else []
    typed = " ".join([shlex.quote(os.fspath(asked.script)), *shown])
    raise OsgbatchError(
        f"its {function.name} is given the words behind the script; it wants {wants}, "
        f"and there {'is' if given == 1 else 'are'} {given or 'none'}",
        where=f"{asked.script}:{function.lineno}",
        fix=f"Write `osgbatch foreach {typed}`.",
    )


def _only_def(asked: Asked) -> ast.FunctionDef | None:
    """The one definition of the scatter function; None where something else may be called."""
    name = asked.functions.scatter
    try:
        tree = ast.parse(asked.script.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    found = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == name]
    bound = sum(_binds(node, name) for node in ast.walk(tree))
    plain = len(found) == 1 and not found[0].decorator_list
    return found[0] if plain and bound == 1 else None


def _binds(node: ast.AST, name: str) -> bool:
    """Whether a node may give this name a meaning."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name == name
    if isinstance(node, ast.Name):
        stored = node.id == name and not isinstance(node.ctx, ast.Load)
        return stored or node.id in ("globals", "exec", "setattr")
    if isinstance(node, ast.alias):
        return node.name == "*" or (node.asname or node.name) == name
    return False

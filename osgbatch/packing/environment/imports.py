"""What a user's scripts import, and whether an environment has it."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.model import Spec
from osgbatch.packing.libraries import libraries_members

_FORGIVING = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_TOP = re.compile(
    r"lib/python3\.\d+/(?:(?:site|dist)-packages/)?([A-Za-z_]\w*)(?:/|\.(?:py|(?:.+\.)?so)$)"
)


def script_imports(paths: Iterable[Path]) -> set[str]:
    """The modules that Python scripts import and that an environment must have, by top-level name.

    The standard library is left out, and so are the scripts themselves and what lies beside them,
    imports that a script can do without (`try: … except ImportError`) and those for type checkers.
    A file that cannot be read or is no Python gives none. Nothing is run.
    """
    scripts = [path for path in paths if path.suffix == ".py"]
    found: set[str] = set()
    for path in scripts:
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        beside = path.parent
        for name in _imports(tree.body):
            if not (beside / f"{name}.py").exists() and not (beside / name).is_dir():
                found.add(name)
    return found - set(sys.stdlib_module_names) - {path.stem for path in scripts}


def _imports(body: Sequence[ast.AST]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0 and node.module:
                yield node.module.partition(".")[0]
        elif isinstance(node, ast.Try) and any(map(_forgives, node.handlers)):
            yield from _imports([*node.orelse, *node.finalbody])
        elif isinstance(node, ast.If) and _is_for_types(node.test):
            yield from _imports(node.orelse)
        else:
            yield from _imports(list(ast.iter_child_nodes(node)))


def _forgives(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or ast.unparse(kind) in _FORGIVING for kind in kinds)


def _is_for_types(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def importable(names: Iterable[str]) -> tuple[str, ...]:
    """The top-level modules among the members of an environment, its standard library aside.

    names: of the members, `lib/python3.12/site-packages/numpy/__init__.py`.
    """
    found = {match[1] for name in names if (match := _TOP.match(name))}
    return tuple(sorted(found - set(sys.stdlib_module_names)))


def missing(wanted: Iterable[str], modules: Iterable[str], local: Iterable[str] = ()) -> list[str]:
    """What of the wanted modules is neither in the environment nor among the user's own.

    modules: of the environment; when it is empty nobody knows, and nothing is missing.
    local: files and libraries of the spec, `util.py`, `waveshape/`, by their names.
    """
    known = set(modules)
    own = {Path(name).name.partition(".")[0] for name in local}
    return sorted(set(wanted) - known - own) if known else []


def import_warnings(spec: Spec, modules: Iterable[str]) -> list[str]:
    """A line for each module that the sweep's own scripts import and that is nowhere.

    modules: of the environment. Only the scripts among `files` and in the command are read.
    """
    named = [path.text for path in spec.files]
    words = [word.parts[0] for word in spec.command if len(word.parts) == 1]
    scripts = {spec.folder / name for name in (*named, *words) if name.endswith(".py")}
    wanted = script_imports(sorted(path for path in scripts if path.is_file()))
    local = (*named, *(path.text.rstrip("/") for path in spec.libraries), *_inside(spec))
    return [
        f"{name} is imported by your scripts, and is neither in the environment nor among files "
        "and libraries"
        for name in missing(wanted, modules, local)
    ]


def _inside(spec: Spec) -> list[str]:
    """What the folders and projects among the libraries make importable."""
    try:
        members = libraries_members((path.text for path in spec.libraries), spec.folder)
    except PackingError:  # told where they are packed
        return []
    return sorted({member.name.partition("/")[0] for member in members})

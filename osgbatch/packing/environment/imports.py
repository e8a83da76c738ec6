"""What a user's scripts import, and whether an environment has it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.archive import printable
from osgbatch.packing.environment.r_scripts import r_packages, r_warnings
from osgbatch.packing.environment.script_imports import Import, found_imports
from osgbatch.packing.libraries import libraries_members
from osgbatch.spec_model import Spec

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
        beside = path.parent
        for name in (one.top for one in found_imports(path)):
            if not (beside / f"{name}.py").exists() and not (beside / name).is_dir():
                found.add(name)
    return found - set(sys.stdlib_module_names) - {path.stem for path in scripts}


def importable(names: Iterable[str]) -> tuple[str, ...]:
    """The top-level modules among the members of an environment, its standard library aside.

    names: of the members, `lib/python3.12/site-packages/numpy/__init__.py`. R packages are
    among them as `R:jsonlite`, R's own too.
    """
    listed = list(names)
    found = {match[1] for name in listed if (match := _TOP.match(name))}
    return (*sorted(found - set(sys.stdlib_module_names)), *r_packages(listed))


def missing(
    wanted: Iterable[str], modules: Iterable[str] | None, local: Iterable[str] = ()
) -> list[str]:
    """What of the wanted modules is neither in the environment nor among the user's own.

    modules: of the environment; None when nobody knows them, and nothing is missing.
    local: files and libraries of the spec, `util.py`, `waveshape/`, by their names.
    """
    if modules is None:
        return []
    own = {Path(name).name.partition(".")[0] for name in local}
    return sorted(set(wanted) - set(modules) - own)


def import_warnings(spec: Spec, modules: Iterable[str] | None) -> list[str]:
    """A line for each module that the sweep's own scripts import and that is nowhere.

    modules: of the environment; None when they are not known. Only the scripts among `files` and
    in the command are read.
    """
    scripts, local = _scripts(spec), _local(spec)
    lacking = missing(script_imports(scripts), modules, local)
    by_python = []
    for name in lacking:
        there = (one for path in scripts if path.suffix == ".py" for one in found_imports(path))
        first = next(one for one in there if one.top == name)
        where = printable(os.path.relpath(first.script, spec.folder))
        near = get_close_matches(name, [*(modules or ())], 1, 0.75)
        by_python.append(
            f"{where}:{first.line}: {name} is imported, and is neither in the environment nor "
            "among files and libraries" + (f"; did you mean {near[0]}?" if near else "")
        )
    return [*by_python, *r_warnings(scripts, modules, local)]


def needed_imports(spec: Spec) -> list[Import]:
    """The import statements of the sweep's own scripts that nothing of the user's own answers."""
    scripts = [path for path in _scripts(spec) if path.suffix == ".py"]
    own = {Path(name).name.partition(".")[0] for name in _local(spec)}
    own |= {path.stem for path in scripts} | set(sys.stdlib_module_names)
    return [
        one
        for script in scripts
        for one in found_imports(script)
        if one.top not in own
        and not (script.parent / f"{one.top}.py").exists()
        and not (script.parent / one.top).is_dir()
    ]


def _scripts(spec: Spec) -> list[Path]:
    named = {path.text for path in spec.files}
    words = {word.parts[0] for word in spec.command if len(word.parts) == 1}
    return sorted(path for name in named | words if (path := spec.folder / name).is_file())


def _local(spec: Spec) -> tuple[str, ...]:
    """Files, libraries and what is in these, by their names."""
    named = (path.target or path.text for path in spec.files)
    return (*named, *(path.text.rstrip("/") for path in spec.libraries), *_inside(spec))


def _inside(spec: Spec) -> list[str]:
    """What the folders and projects among the libraries make importable."""
    try:
        members = libraries_members((path.text for path in spec.libraries), spec.folder)
    except PackingError:  # told where they are packed
        return []
    return sorted({member.name.partition("/")[0] for member in members})

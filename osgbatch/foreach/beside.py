"""The files beside a script that it needs: modules that it imports, R files that it sources."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from osgbatch.packing.environment.script_imports import found_imports

_SOURCE = re.compile(
    r"""^[^#\n]*?\b(?:sys\.)?source\s*\(\s*(?:file\s*=\s*)?["']([^"'\n]+)["']""", re.M
)


def beside(script: Path, here: Path) -> list[Path]:
    """The script's helpers, and theirs, in the order in which they are found.

    Of Python: modules and packages that lie where the script lies. Of R: what `source("…")` names
    from the working folder, here. Nothing is run; names that are worked out are not seen.
    """
    found: list[Path] = []
    waiting = [script]
    seen = {script.resolve()}
    while waiting:
        one = waiting.pop(0)
        for path in _sourced(one, here) if one.suffix in (".R", ".r") else _imported(one, script):
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            found.append(path)
            waiting += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return found


def _imported(path: Path, script: Path) -> Iterator[Path]:
    for name in dict.fromkeys(one.top for one in found_imports(path)):
        folder, module = script.parent / name, script.parent / f"{name}.py"
        # as Python prefers them: a folder of results may be called as the module that made them
        for place in (folder, module) if (folder / "__init__.py").is_file() else (module, folder):
            if place.is_file() or any(place.glob("*.py")):
                yield place
                break


def _sourced(path: Path, here: Path) -> Iterator[Path]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for name in _SOURCE.findall(text):
        if (here / name).is_file():
            yield here / name

"""Packs `libraries:`, the user's private packages, so that a task can import them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Archive, Member, arrange, printable, write_archive
from osgbatch.packing.tree import absolute, is_clutter, named_paths, tree_members

KIND = "library"
PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
MODULE_SUFFIXES = (".py", ".so")
NOT_LIBRARY = frozenset(
    {"setup", "conftest", "noxfile", "tasks", "test", "tests", "testing", "doc", "docs", "example"}
    | {
        "examples",
        "benchmark",
        "benchmarks",
        "build",
        "dist",
        "bin",
        "scripts",
        "tools",
        "notebooks",
    }
    | {"data", "batches", "node_modules", "venv", "env", "src"}
)
"""Names at the top of a project that it does not install, as setuptools' discovery has them."""


def libraries_archive(entries: Iterable[str], base: Path, cache: Path) -> Archive | None:
    """Pack private packages into one archive whose top folder goes on PYTHONPATH.

    entries: paths or patterns, relative to base, the folder of the spec.
    cache: the folder that the archive is written to.
    Returns None when there is nothing to pack. Raises PackingError.
    """
    members = libraries_members(entries, base)
    return write_archive(members, cache, KIND) if members else None


def libraries_members(entries: Iterable[str], base: Path) -> list[Member]:
    """What would be packed, sorted. What an entry gives:

    * a folder with `__init__.py`: the package of that name;
    * a folder with pyproject.toml, setup.py or setup.cfg: what is in its `src/`, else the packages
      and modules at its top, tests, docs and the like aside (nothing is built or installed);
    * another folder with modules in it: a namespace package of its name, `import lib.util`;
    * `util.py`, or a compiled module: that module;
    * a wheel: its content.

    Of what a pattern fits, only what could be a library is taken. Raises PackingError for anything
    else, and for a folder of nothing but packages, which could be meant either way (`libs/*` says
    that each is a library).
    """
    base = absolute(base)
    members: dict[tuple[str, Path | None, str | None], Member] = {}
    for path in named_paths(entries, base, "libraries", _could_be_library):
        for member in _entry_members(path):
            members[(member.name, member.source, member.link)] = member
    return arrange(members.values())


def _could_be_library(path: Path) -> bool:
    if path.is_dir():
        return _has_modules(path)
    return path.suffix == ".whl" or path.name.endswith(MODULE_SUFFIXES)


def _entry_members(path: Path) -> Iterator[Member]:
    if path.is_dir():
        return _folder_members(path)
    if path.suffix == ".whl":
        return _wheel_members(path)
    if path.suffix in MODULE_SUFFIXES:
        return tree_members(path, path.name)
    raise PackingError(
        "this is neither a package folder nor a Python module",
        where=f"libraries: {printable(str(path))}",
        fix="Put it under files: when the task only reads it.",
    )


def _folder_members(path: Path) -> Iterator[Member]:
    if (path / "__init__.py").exists():
        return tree_members(path, path.name, _skip)
    if any((path / name).exists() for name in PROJECT_FILES):
        return _project_members(path)
    names = sorted(item.name for item in path.iterdir())
    if any(name.endswith(MODULE_SUFFIXES) for name in names):
        return tree_members(path, path.name, _skip)
    packages = [name for name in names if (path / name / "__init__.py").exists()]
    if packages:
        raise PackingError(
            f"this folder holds packages ({', '.join(packages[:5])}) and is none itself",
            where=f"libraries: {printable(str(path))}",
            fix=f"Write {path.name}/* for `import {packages[0]}`; for `import {path.name}."
            f"{packages[0]}` give {path.name}/ an empty __init__.py.",
        )
    raise PackingError(
        "there is no Python module in this folder",
        where=f"libraries: {printable(str(path))}",
        fix="Name the folder that has the package's __init__.py.",
    )


def _project_members(project: Path) -> Iterator[Member]:
    """What a project would install, found by its layout: src/ or flat."""
    source = project / "src"
    if source.is_dir() and (found := _importable(source, every_folder=True)):
        top = source
    else:
        top = project
        found = _importable(project, every_folder=False) or _importable(project, every_folder=True)
    if not found:
        raise PackingError(
            "no package and no module was found in this project, in src/ or at its top",
            where=f"libraries: {printable(str(project))}",
            fix="Name the folder that has the package's __init__.py.",
        )
    for name in found:
        yield from tree_members(top / name, name, _skip)


def _importable(folder: Path, every_folder: bool) -> list[str]:
    """Names in a folder that can be imported. every_folder: namespace packages, too."""
    found = []
    for name in sorted(item.name for item in folder.iterdir()):
        path = folder / name
        stem = name.split(".")[0]
        flat = folder.name != "src"
        if _skip(name, path.is_dir()) or (flat and stem in NOT_LIBRARY) or not stem.isidentifier():
            continue
        if path.is_dir():
            wanted = (path / "__init__.py").exists() or (every_folder and _has_modules(path))
        else:
            wanted = name.endswith(MODULE_SUFFIXES)
        if wanted:
            found.append(name)
    return found


def _has_modules(folder: Path) -> bool:
    return any(name.endswith(MODULE_SUFFIXES) for _, _, names in os.walk(folder) for name in names)


def _skip(name: str, is_folder: bool) -> bool:
    return is_clutter(name, is_folder) or (is_folder and name.endswith(".egg-info"))


def _wheel_members(path: Path) -> Iterator[Member]:
    """The files of a wheel, which is a zip file that unpacks to what is imported."""
    try:
        with zipfile.ZipFile(path) as wheel:
            for item in wheel.infolist():
                if not item.is_dir():
                    yield Member(item.filename, data=wheel.read(item))
    except (OSError, zipfile.BadZipFile) as error:
        raise PackingError(
            f"the wheel cannot be read: {error}", where=f"libraries: {printable(str(path))}"
        ) from error

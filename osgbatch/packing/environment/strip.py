"""Leaves out what a job never needs: tests, headers, static libraries, bytecode."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from osgbatch.packing.archive import Member

HEADERS = (".h", ".hh", ".hpp", ".hxx", ".cuh", ".pxd")
STATIC = (".a", ".la")
TESTS = frozenset({"test", "tests"})
COMPILING = frozenset({"triton", "cupy", "cupyx", "numba", "tcc", "pyopencl", "pycuda"})
"""Packages that compile while they run, with headers of their own."""
_PACKAGE = re.compile(r"(?:.*/)?(?:site|dist)-packages/([^/]+)")


@dataclass(frozen=True)
class Stripped:
    """What is left, and what was left out: how many files, and their bytes."""

    members: list[Member]
    files: int
    bytes: int


def strip(members: Iterable[Member], keep: Collection[str] = ()) -> Stripped:
    """Members without what a job never needs.

    keep: packages, by the names of their folders, that need their tests or headers after all.
    """
    left: list[Member] = []
    files = size = 0
    for member in members:
        if not is_needless(member.name, member.is_folder, keep):
            left.append(member)
            continue
        if member.source is not None:
            files += 1
            size += member.source.lstat().st_size
        elif member.data is not None:
            files += 1
            size += len(member.data)
    return Stripped(left, files, size)


def is_needless(name: str, is_folder: bool, keep: Collection[str] = ()) -> bool:
    """Whether a member of an environment is a test, a header, a static library or bytecode."""
    inside = _PACKAGE.match(name)
    package = inside[1] if inside else ""
    if package in keep:
        return False
    parts = name.split("/")
    folders = parts if is_folder else parts[:-1]
    if "__pycache__" in folders or name.endswith((".pyc", ".pyo")):
        return True
    if not is_folder and name.endswith(STATIC):
        return True
    if not TESTS.isdisjoint(folders) and (inside or parts[0] == "lib"):
        return True
    if package in COMPILING:
        return False
    if not is_folder and name.endswith(HEADERS):
        return True
    return "include" in folders and not name.endswith((".py", ".so"))


def needed(failed: Mapping[str, str]) -> set[str]:
    """The packages that fail, and those whose parts they miss: to be kept whole.

    failed: module → why it cannot be imported.
    """
    found = {module.partition(".")[0] for module in failed}
    for said in failed.values():
        found |= set(re.findall(r"No module named '(\w+)\.", said))
    return found


def note(stripped_files: int, stripped_bytes: int) -> str:
    """What was saved, for people."""
    if not stripped_files:
        return "stripped: there was nothing to leave out"
    size = f"{stripped_bytes / 1e6:.1f} MB" if stripped_bytes >= 1e5 else f"{stripped_bytes} bytes"
    return f"stripped: {stripped_files} files of tests, headers and the like, {size}"

"""Leaves out what a job never needs: tests, headers, static libraries, bytecode."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from osgbatch.packing.archive import Member

HEADERS = (".h", ".hh", ".hpp", ".hxx", ".cuh", ".pxd")
STATIC = (".a", ".la")
TESTS = frozenset({"test", "tests"})
# fmt: off
COMPILING = frozenset({
    "triton", "torch", "cupy", "cupyx", "numba", "tcc", "pyopencl", "pycuda", "pytensor", "theano",
    "aesara", "cffi", "Cython", "pyximport", "pythran", "pybind11", "nanobind", "cppyy", "brian2",
    "weave", "devito", "dace", "ffcx", "jitcxde_common", "deepspeed", "pystan",
})
# fmt: on
"""Packages, by their folders, that compile while they run, with Python's headers and others'."""
_COMPILER = re.compile(
    r"bin/([\w.]+-)*(gcc|g\+\+|cc|c\+\+|clang|clang\+\+|nvcc|gfortran)(-?[\d.]+)?"
)
_R_COMPILING = re.compile(r"lib/R/library/(Rcpp|cpp11|inline|rstan|TMB)/DESCRIPTION")
_PACKAGE = re.compile(r"(?:.*/)?(?:site|dist)-packages/([^/]+)")


@dataclass(frozen=True)
class Stripped:
    """What is left, and what was left out: how many files, and their bytes.

    compiling: what is there that compiles while it runs, so that headers were kept.
    """

    members: list[Member]
    files: int
    bytes: int
    compiling: tuple[str, ...] = ()


def strip(members: Iterable[Member], keep: Collection[str] = ()) -> Stripped:
    """Members without what a job never needs.

    keep: packages, by the names of their folders, that need their tests or headers after all.
    Headers and static libraries stay, all of them, where a compiler is among the members, or a
    package that calls one while it runs: whose headers it takes is not known.
    """
    members = list(members)
    compiling = compilers(member.name for member in members)
    left: list[Member] = []
    files = size = 0
    for member in members:
        if not is_needless(member.name, member.is_folder, keep, bool(compiling)):
            left.append(member)
            continue
        if member.source is not None:
            files += 1
            size += member.source.lstat().st_size
        elif member.data is not None:
            files += 1
            size += len(member.data)
    return Stripped(left, files, size, compiling)


def compilers(names: Iterable[str]) -> tuple[str, ...]:
    """What compiles while it runs: packages of Python's and R's, compilers. names: of members."""
    found: set[str] = set()
    for name in names:
        inside = _PACKAGE.match(name)
        if inside and inside[1] in COMPILING:
            found.add(inside[1])
        elif not inside:
            other = _COMPILER.fullmatch(name) or _R_COMPILING.fullmatch(name)
            if other:
                found.add(other[1] if other.re is _R_COMPILING else name)
    return tuple(sorted(found))


def is_needless(
    name: str, is_folder: bool, keep: Collection[str] = (), compiles: bool = False
) -> bool:
    """Whether a member of an environment is a test, a header, a static library or bytecode.

    compiles: something is compiled while a task runs, so that headers and static libraries stay.
    """
    inside = _PACKAGE.match(name)
    package = inside[1] if inside else ""
    if package in keep:
        return False
    parts = name.split("/")
    folders = parts if is_folder else parts[:-1]
    if "__pycache__" in folders or name.endswith((".pyc", ".pyo")):
        return True
    if not TESTS.isdisjoint(folders) and (inside or parts[0] == "lib"):
        return True
    if compiles:
        return False
    if not is_folder and name.endswith((*STATIC, *HEADERS)):
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


def note(stripped_files: int, stripped_bytes: int, compiling: Collection[str] = ()) -> str:
    """What was saved, for people. compiling: what headers were kept for."""
    kept = ""
    if compiling:
        more = f" and {len(compiling) - 3} more" if len(compiling) > 3 else ""
        kept = f"; headers stay, for {', '.join(list(compiling)[:3])}{more} may compile"
    if not stripped_files:
        return f"stripped: there was nothing to leave out but bytecode{kept}"
    big = stripped_bytes >= 1e5
    size = f"{stripped_bytes / 2**20:.1f} MB" if big else f"{stripped_bytes} bytes"
    what = "tests and the like" if compiling else "tests, headers and the like"
    count = f"{stripped_files} file{'s' * (stripped_files != 1)} of {what}"
    return f"stripped: {count}, {size}; and bytecode, which Python makes anew{kept}"

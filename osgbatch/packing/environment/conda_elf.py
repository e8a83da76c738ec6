"""What the binaries of a conda environment need of the execution point: glibc, CPU, libraries."""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from osgbatch.packing.environment import elf

GLIBC = re.compile(
    r"(ld-linux.*|libc|libm|libpthread|libdl|librt|libutil|libresolv|libnsl|libanl|libmvec|"
    r"libcrypt|libBrokenLocale|libnss_\w+|libthread_db)\.so\.\d+$"
)
"""Parts of glibc: conda's packages always use the execution point's."""
TEXTS = (".py", ".pyi", ".pyx", ".h", ".hpp", ".txt", ".json", ".html", ".js", ".css", ".md")
"""How files end that are no binaries, and need not be opened to see it."""
_VERSION = re.compile(r"GLIBC_(\d+(?:\.\d+)+)$")
DT_STRTAB, DT_VERNEED, DT_VERNEEDNUM = 5, 0x6FFFFFFE, 0x6FFFFFFF


@dataclass(frozen=True)
class Needs:
    """What an environment needs of an execution point.

    glibc: the least version, `2.17`; empty when there is no binary. level: of x86-64, 0 when no
    file says one. outside: libraries of the system, other than glibc's. missing: library → a file
    that asks for it, where neither the environment nor this machine has it.
    """

    glibc: str = ""
    level: int = 0
    outside: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()


def needs(prefix: Path, files: Iterable[str]) -> Needs:
    """Read what the binaries among some files of an environment need. Nothing is run.

    files: names below the prefix.
    """
    binaries = [prefix / name for name in files if _is_elf(str(prefix), name)]
    newest: tuple[int, ...] = ()
    level = 0
    for path in binaries:
        header = elf.read(path)
        level = max(level, header.level if header is not None else 0)
        for version in needed_versions(path):
            match = _VERSION.match(version)
            if match:
                newest = max(newest, tuple(int(part) for part in match[1].split(".")))
    found = elf.closure(binaries, [prefix], elf.this_system(), [prefix / "lib"])
    outside = sorted(name for name in found.found if not GLIBC.match(name))
    missing = sorted(
        (name, os.path.relpath(path, prefix))
        for name, path in found.missing.items()
        if not GLIBC.match(name)
    )
    return Needs(".".join(map(str, newest)), level, tuple(outside), tuple(missing))


def _is_elf(top: str, name: str) -> bool:
    """Whether a file is a binary for the execution point; a cross compiler's sysroot is not."""
    if name.endswith(TEXTS) or "/sysroot/" in name:
        return False
    try:
        with open(f"{top}/{name}", "rb", buffering=0) as file:
            return file.read(4) == elf.MAGIC
    except OSError:
        return False


def needed_versions(path: Path) -> set[str]:
    """The versions of other libraries' symbols that a file needs, `GLIBC_2.17`.

    Source: the Linux Standard Base, symbol versioning (elf.h: Elf64_Verneed, Elf64_Vernaux).
    """
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            return set(_versions(data))
    except (OSError, ValueError, struct.error, IndexError):
        return set()


def _versions(data: mmap.mmap) -> Iterator[str]:
    wide, order = data[4] == 2, "<" if data[5] == 1 else ">"
    start = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)[0]
    size, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
    loads: list[tuple[int, int, int]] = []
    dynamic = (0, 0)
    for at in range(start, start + size * count, size):
        if wide:
            kind, _, offset, address, _, length = struct.unpack_from(order + "IIQQQQ", data, at)
        else:
            kind, offset, address, _, length = struct.unpack_from(order + "IIIII", data, at)
        if kind == elf.PT_LOAD:
            loads.append((address, offset, length))
        elif kind == elf.PT_DYNAMIC:
            dynamic = (offset, length)

    def place(address: int) -> int:
        for first, offset, length in loads:
            if first <= address < first + length:
                return address - first + offset
        raise ValueError("an address outside of the file")

    tags: dict[int, int] = {}
    step = 16 if wide else 8
    for at in range(dynamic[0], sum(dynamic), step):
        tag, value = struct.unpack_from(order + ("qQ" if wide else "iI"), data, at)
        if tag == elf.DT_NULL:
            break
        tags[tag] = value
    if DT_VERNEED not in tags:
        return
    strings, at = place(tags[DT_STRTAB]), place(tags[DT_VERNEED])
    for _ in range(tags.get(DT_VERNEEDNUM, 0)):
        _, entries, _, first, following = struct.unpack_from(order + "HHIII", data, at)
        entry = at + first
        for _ in range(entries):
            _, _, _, name, after = struct.unpack_from(order + "IHHII", data, entry)
            end = data.find(b"\0", strings + name)
            yield os.fsdecode(data[strings + name : end])
            entry += after
        at += following

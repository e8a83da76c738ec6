"""Reads ELF files and finds the shared libraries that they need, without running anything."""

from __future__ import annotations

import mmap
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

MAGIC = b"\x7fELF"
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_GNU_PROPERTY = 1, 2, 3, 0x6474E553
ISA_NEEDED = 0xC0008002
DT_NULL, DT_NEEDED, DT_STRTAB, DT_SONAME, DT_RPATH, DT_RUNPATH = 0, 1, 5, 14, 15, 29
DRIVERS = re.compile(r"lib(cuda|nvidia|nvcuvid|nvoptix|GLX?_nvidia|EGL_nvidia)[.-]")
"""Parts of a GPU's driver: they must be the execution point's own."""
DEFAULT_FOLDERS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")


@dataclass(frozen=True)
class Elf:
    """What the dynamic loader reads of a file. Source: elf(5).

    kind: class, byte order and machine; files of different kinds do not load each other.
    interpreter: the loader, in an executable. level: the x86-64 level (1 to 4) that the file says
    it needs, 0 when it says nothing; glibc refuses to load it on a lesser CPU.
    """

    kind: tuple[int, int, int]
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    soname: str = ""
    search: tuple[str, ...] = ()
    level: int = 0


def parse(data: bytes | mmap.mmap) -> Elf | None:
    """Read the headers of an ELF file; None for anything else, a damaged one included."""
    try:
        return _parse(data)
    except (struct.error, IndexError, ValueError, UnicodeDecodeError):
        return None


def read(path: Path) -> Elf | None:
    """`parse` for a file on disk, of which only the pages with headers are read."""
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                return None
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return parse(data)
    except (OSError, ValueError):
        return None


def _parse(data: bytes | mmap.mmap) -> Elf | None:
    if data[:4] != MAGIC:
        return None
    bits, order = data[4], "<" if data[5] == 1 else ">"
    wide = bits == 2
    machine = struct.unpack_from(order + "H", data, 18)[0]
    kind = (bits, data[5], machine)
    table = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)[0]
    entry_size, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
    loads: list[tuple[int, int, int]] = []
    dynamic: tuple[int, int] | None = None
    interpreter = ""
    level = 0
    for index in range(count):
        at = table + index * entry_size
        if wide:
            what, _, offset, address, _, size = struct.unpack_from(order + "IIQQQQ", data, at)
        else:
            what, offset, address, _, size = struct.unpack_from(order + "IIIII", data, at)
        if what == PT_LOAD:
            loads.append((address, offset, size))
        elif what == PT_DYNAMIC:
            dynamic = (offset, size)
        elif what == PT_INTERP:
            interpreter = data[offset : offset + size].rstrip(b"\0").decode()
        elif what == PT_GNU_PROPERTY:
            level = isa_level(data[offset : offset + size], 8 if wide else 4)
    if dynamic is None:
        return Elf(kind, interpreter, level=level)
    step = 16 if wide else 8
    tags: list[tuple[int, int]] = []
    for at in range(dynamic[0], dynamic[0] + dynamic[1], step):
        tag, value = struct.unpack_from(order + ("qQ" if wide else "iI"), data, at)
        if tag == DT_NULL:
            break
        tags.append((tag, value))
    strings = _offset(next((value for tag, value in tags if tag == DT_STRTAB), 0), loads)

    def texts(wanted: int) -> list[str]:
        return [_text(data, strings + value) for tag, value in tags if tag == wanted]

    search = texts(DT_RUNPATH) or texts(DT_RPATH)
    folders = tuple(folder for text in search for folder in text.split(":") if folder)
    soname = texts(DT_SONAME)
    return Elf(
        kind, interpreter, tuple(texts(DT_NEEDED)), soname[0] if soname else "", folders, level
    )


def isa_level(note: bytes, align: int) -> int:
    """The x86-64 level in a GNU property note. Source: x86-64 psABI, program property.

    note: name size, size, type and name, 16 bytes; then properties (type, size, data, padding).
    """
    at = 16
    while at + 8 <= len(note):
        kind, size = struct.unpack_from("<II", note, at)
        if kind == ISA_NEEDED and size >= 4:
            bits: int = struct.unpack_from("<I", note, at + 8)[0]
            return bits.bit_length()
        at += 8 + size + -size % align
    return 0


def _offset(address: int, loads: Sequence[tuple[int, int, int]]) -> int:
    for start, offset, size in loads:
        if start <= address < start + size:
            return address - start + offset
    raise ValueError("an address outside of the file")


def _text(data: bytes | mmap.mmap, at: int) -> str:
    return os.fsdecode(data[at : data.find(b"\0", at)])


@dataclass(frozen=True)
class Closure:
    """The shared libraries that some files need.

    found: name as it is asked for → file, of those that do not travel with the files themselves.
    missing: name → the first file that asks for it.
    """

    found: dict[str, Path] = field(default_factory=dict)
    missing: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class System:
    """Where this machine's loader looks for libraries."""

    known: dict[str, tuple[Path, ...]]
    folders: tuple[Path, ...]

    @cached_property
    def _kinds(self) -> dict[Path, Elf | None]:
        return {}

    def find(self, name: str, kind: tuple[int, int, int], extra: Iterable[Path]) -> Path | None:
        """The file that a name stands for, of the same kind, in the order of ld.so(8)."""
        candidates = [folder / name for folder in extra]
        candidates += self.known.get(name, ())
        candidates += [folder / name for folder in self.folders]
        for path in candidates:
            if path not in self._kinds:
                self._kinds[path] = read(path)
            elf = self._kinds[path]
            if elf is not None and elf.kind == kind:
                return path
        return None


def this_system() -> System:
    """What ldconfig knows, and the loader's own folders. LD_LIBRARY_PATH counts: modules set it."""
    named = [Path(part) for part in os.environ.get("LD_LIBRARY_PATH", "").split(":") if part]
    command = shutil.which("ldconfig") or shutil.which("ldconfig", path="/sbin:/usr/sbin")
    text = ""
    if command:
        done = subprocess.run([command, "-p"], capture_output=True, text=True, check=False)
        text = done.stdout
    known: dict[str, tuple[Path, ...]] = {}
    for folder in named:
        if folder.is_dir():
            for path in folder.glob("*.so*"):
                known[path.name] = (*known.get(path.name, ()), path)
    for name, path in parse_ldconfig(text):
        known[name] = (*known.get(name, ()), path)
    return System(known, tuple(Path(folder) for folder in DEFAULT_FOLDERS))


def parse_ldconfig(text: str) -> list[tuple[str, Path]]:
    """Names and files in what `ldconfig -p` prints.

    Variants for newer CPUs (glibc-hwcaps) are left out: the execution point's CPU may be older.
    """
    pairs = re.findall(r"^\s+(\S+) \(.*\) => (.+)$", text, re.MULTILINE)
    return [(name, Path(path)) for name, path in pairs if "/glibc-hwcaps/" not in path]


def closure(
    files: Iterable[Path],
    travelling: Sequence[Path],
    system: System,
    fallback: Sequence[Path] = (),
    packages: Path | None = None,
) -> Closure:
    """Every shared library that files need, and what those need, and so on.

    travelling: folders that are packed anyway: what is found in them is followed and not listed.
    fallback: folders to look in where a file's own search path does not help (the interpreter's).
    packages: where wheels are installed: their libraries often find each other only because one was
    loaded before, and must not be covered by this machine's of the same name. Drivers never travel.
    """
    result = Closure()
    inside = [Path(os.path.realpath(folder)) for folder in travelling]
    waiting = list(files)
    among = {path.name: path for path in waiting if packages and path.is_relative_to(packages)}
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        real = Path(os.path.realpath(path))
        if real in seen:
            continue
        seen.add(real)
        elf = read(real)
        if elf is None:
            continue
        own = [expand(folder, path) for folder in elf.search]
        for name in elf.needed:
            if "/" in name or name in result.found or DRIVERS.match(name):
                continue
            near = [among[name].parent] if path.name in among and name in among else []
            found = system.find(name, elf.kind, [*own, *near, *fallback])
            if found is None:
                result.missing.setdefault(name, path)
                continue
            waiting.append(found)
            if not any(Path(os.path.realpath(found)).is_relative_to(top) for top in inside):
                result.found[name] = found
    return result


def names(path: Path) -> set[str]:
    """What a library on this machine may be asked for as: its file, its soname, `libfoo.so`."""
    header = read(path)
    known = {path.name, header.soname if header is not None else ""}
    short = f"{path.name.partition('.so')[0]}.so"
    if (path.parent / short).resolve() == path.resolve():
        known.add(short)
    return known - {""}


def library_notes(
    outside: Sequence[str], missing: Sequence[tuple[str, str]], shown: int = 5
) -> list[str]:
    """Notes on libraries that do not travel: those of the execution point, and those of nobody.

    outside: their names. missing: name and the file that asks for it. shown: how many are named.
    """
    notes = []
    if outside:
        more = f" and {len(outside) - shown} more" if len(outside) > shown else ""
        notes.append(f"uses the execution point's own {', '.join(outside[:shown])}{more}")
    notes += [f"{name} is nowhere; {asking} asks for it" for name, asking in missing[:shown]]
    if len(missing) > shown:
        notes.append(f"{len(missing) - shown} more libraries are nowhere")
    return notes


def expand(folder: str, path: Path) -> Path:
    origin = str(path.parent)
    return Path(folder.replace("${ORIGIN}", origin).replace("$ORIGIN", origin))

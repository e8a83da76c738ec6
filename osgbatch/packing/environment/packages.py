"""What of a virtual environment travels, rewritten so that it starts from anywhere."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Member, printable
from osgbatch.packing.environment.interpreter import Interpreter
from osgbatch.packing.environment.venv_files import OWN, belonging, is_private
from osgbatch.packing.tree import tree_members

UNSTABLE = ("direct_url.json", "uv_cache.json", "uv_build.json")
"""Files of a dist-info folder that say where on this machine a package came from, and when."""

Amend = Callable[[dict[str, Member]], dict[str, Member]]


@dataclass(frozen=True)
class Distribution:
    """An installed package. modules: what of it can be imported. requested: named by the user."""

    name: str
    version: str
    requested: bool
    modules: tuple[str, ...]


def package_members(venv: Path, python: Interpreter, amend: Amend = dict) -> list[Member]:
    """Everything that was installed: packages, entry points, data files. What may hold a password
    of its user does not travel.

    amend: adds members, by their names, or leaves some out. Entry points start with a relative
    path; RECORD files are brought in line; links and .pth files that lead out of the environment
    are followed or refused. Raises PackingError that names what cannot be moved.
    """
    site = site_folder(venv, python)
    members = {m.name: m for m in tree_members(site, python.packages_name, _skip)}
    for script in sorted(path for path in (venv / "bin").iterdir() if is_entry_point(path)):
        data = relocate_script(script.read_bytes(), venv)
        executable = bool(script.stat().st_mode & 0o111)
        members[f"bin/{script.name}"] = Member(
            f"bin/{script.name}", data=data, executable=executable
        )
    for member in _data_members(venv, site):
        members.setdefault(member.name, member)
    members = amend(members)
    for name, member in list(members.items()):
        at_top = name.rpartition("/")[0] == python.packages_name  # only there Python reads them
        if at_top and name.endswith(".pth") and member.link is None:
            source = member.source or site / PurePosixPath(name).name
            raw = member.data if member.data is not None else source.read_bytes()
            data = relocate_pth(raw, source, site, venv)
            members[name] = Member(name, data=data, executable=False)
    for name, member in list(members.items()):
        if name.endswith(".dist-info/RECORD") and member.source is not None:
            record = rewrite_record(member.source.read_text(encoding="utf-8"), name, members)
            members[name] = Member(name, data=record.encode(), executable=False)
    if not python.packages_name.endswith("/site-packages"):
        folder = PurePosixPath(python.packages_name)
        usual = str(folder.with_name("site-packages"))
        members[usual] = Member(usual, link=folder.name)
    return list(members.values())


def site_folder(venv: Path, python: Interpreter) -> Path:
    """Where a virtual environment has its packages."""
    return venv / "lib" / f"python{python.minor}" / "site-packages"


def _skip(name: str, is_folder: bool) -> bool:
    """Bytecode has this machine's paths in it; editors' backups may be a package's data."""
    base = name.rpartition("/")[2]
    if is_folder:
        return base == "__pycache__"
    return (
        base.endswith((".pyc", ".pyo"))
        or (base in UNSTABLE and PurePosixPath(name).parent.suffix == ".dist-info")
        or is_private(f"lib/{name}")
    )


def _data_members(venv: Path, site: Path) -> Iterator[Member]:
    """share/, etc/ and the like, where some packages install data."""
    packages = site.relative_to(venv).as_posix()
    belongs = belonging(venv)

    def skip(name: str, is_folder: bool) -> bool:
        if name in OWN or name == packages or not belongs(name, is_folder):
            return True
        return _skip(name, is_folder)

    for member in tree_members(venv, "", skip):
        if not member.is_folder:
            yield member


_OF_VENV = re.compile(r"python[\d.]*t?|(de)?[Aa]ctivate(\..*|_this\.py)?|pydoc\.bat")


def is_entry_point(path: Path) -> bool:
    """Whether a file in bin/ was installed by a package, not by the venv module."""
    name = path.name
    return path.is_file() and not _OF_VENV.fullmatch(name)


_PYTHON_LINE = re.compile(rb"^#![^\n]*python[^\n/]*\n")
_SHELL_LINES = re.compile(rb"^#!/bin/sh\n'''exec' [^\n]*\n' '''\n")
_INTERPRETER = re.compile(rb"(/[^\n\"']*/bin/python[\d.]*)(?=[\s\"'])")
RELATIVE_START = (
    b"#!/bin/sh\n"
    b'\'\'\'exec\' "$(dirname -- "$(readlink -f -- "$0")")/python" "$0" "$@"\n'
    b"' '''\n"
)
"""For sh a command, for Python a string: it takes paths with blanks, and of any length."""


def relocate_script(data: bytes, venv: Path) -> bytes:
    """Let a script start with the python beside it; anything but a Python script stays as it is.

    One whose python is nowhere is taken for one of an environment that was moved.
    """
    prefixes = (os.fsencode(venv), os.fsencode(os.path.realpath(venv)))
    for pattern in (_SHELL_LINES, _PYTHON_LINE):
        match = pattern.match(data)
        if not match:
            continue
        named = _INTERPRETER.search(match[0])
        is_gone = named is not None and not os.path.exists(named[1])
        if is_gone or any(prefix in match[0] for prefix in prefixes):
            return RELATIVE_START + data[match.end() :]
    return data


def relocate_pth(data: bytes, source: Path, site: Path, venv: Path) -> bytes:
    """Make the folders that a .pth file adds relative to it.

    Raises PackingError when one lies outside of the environment. Source: the site module's manual.
    """
    lines = []
    for raw in data.split(b"\n"):
        line = os.fsdecode(raw).rstrip()
        is_path = line and not line.startswith(("#", "import ", "import\t"))
        if not is_path:
            lines.append(raw)
            continue
        target = Path(os.path.normpath(site / line))
        if not target.is_relative_to(venv):
            raise PackingError(
                f"{source.name} adds {printable(str(target))}, which would stay on this machine",
                where=printable(str(source)),
                fix="Name that folder under libraries:, and leave its package out.",
            )
        lines.append(os.fsencode(os.path.relpath(target, site)))
    return b"\n".join(lines)


def rewrite_record(text: str, name: str, members: dict[str, Member]) -> str:
    """Bring a RECORD in line with what travels: no line for what does not, new hashes for the rest.

    name: the member's. members: everything that travels. Source: the core metadata specification,
    "Recording installed projects".
    """
    site = str(PurePosixPath(name).parent.parent)
    rows = []
    for row in csv.reader(text.splitlines()):
        if not row:
            continue
        place = os.path.normpath(f"{site}/{row[0]}")
        member = members.get(place)
        if place == name:
            rows.append([row[0], "", ""])
        elif member is None:
            continue
        elif member.data is not None:
            digest = base64.urlsafe_b64encode(hashlib.sha256(member.data).digest())
            rows.append([row[0], f"sha256={digest.decode().rstrip('=')}", str(len(member.data))])
        else:
            rows.append(row)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(sorted(rows))
    return out.getvalue()


def distributions(site: Path) -> list[Distribution]:
    """The packages that are installed in a folder, by name."""
    found = []
    for folder in sorted(site.glob("*.dist-info")):
        try:
            metadata = (folder / "METADATA").read_text(encoding="utf-8", errors="replace")
        except OSError:  # what an interrupted installation left
            continue
        name = re.search(r"^Name: *(.+)$", metadata, re.MULTILINE)
        version = re.search(r"^Version: *(.+)$", metadata, re.MULTILINE)
        record = folder / "RECORD"
        listed = record.read_text(encoding="utf-8") if record.is_file() else ""
        files = [row[0] for row in csv.reader(listed.splitlines()) if row]
        found.append(
            Distribution(
                name=name[1].strip() if name else folder.name.split("-")[0],
                version=version[1].strip() if version else "",
                requested=(folder / "REQUESTED").exists(),
                modules=top_modules(files),
            )
        )
    return found


NOT_IMPORTED = frozenset(
    {"test", "tests", "testing", "doc", "docs", "example", "examples", "benchmark", "benchmarks"}
    | {"setup", "conftest", "scripts", "tools"}
)


def top_modules(files: list[str]) -> tuple[str, ...]:
    """What a package's files can be imported as: `numpy`, or `google.cloud.storage` of a namespace.

    files: names of its RECORD. Names with a leading underscore are left out where there are others.
    """
    packages: set[str] = set()
    modules: set[str] = set()
    for file in files:
        path = PurePosixPath(file)
        if ".." in path.parts or not all(part.isidentifier() for part in path.parts[:-1]):
            continue
        stem = path.name.split(".")[0]
        if path.name == "__init__.py" or (stem == "__init__" and path.suffix == ".so"):
            packages.add(".".join(path.parts[:-1]))
        elif path.suffix in (".py", ".so") and len(path.parts) == 1 and stem.isidentifier():
            modules.add(stem)
    shallowest = {
        name
        for name in packages
        if not any(
            ".".join(name.split(".")[:depth]) in packages for depth in range(1, name.count(".") + 1)
        )
    }
    names = {
        name
        for name in (shallowest | modules) - {""}
        if not NOT_IMPORTED & set(name.split(".")[:1])
    }
    public = {name for name in names if not name.startswith("_")}
    return tuple(sorted(public or names))


def binaries(folders: list[Path]) -> Iterator[Path]:
    """Every file below some folders that could be a shared library or a program."""
    for top in folders:
        for folder, _, names in os.walk(top):
            for name in names:
                if ".so" in name or "." not in name or folder.endswith("/bin"):
                    yield Path(folder) / name

"""The interpreter of an environment archive: which one, what of it travels, how it is started."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Member, printable
from osgbatch.packing.environment import elf
from osgbatch.packing.tree import is_clutter, tree_members

SYSTEM = "lib/system"
"""Where the loader, glibc and the other shared libraries of this machine lie in the archive."""
BINARIES = "libexec"
"""Where the interpreter itself lies: one below the top, so that it finds `lib/python3.x/os.py`."""

ALWAYS = (
    *("libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1"),
    *("libresolv.so.2", "libnss_files.so.2", "libnss_dns.so.2", "libgcc_s.so.1"),
)
"""What glibc and Python load by name while they run, so that no file asks for it in its header."""
SKIPPED_STDLIB = frozenset(
    {"site-packages", "dist-packages", "test", "idlelib", "turtledemo", "tkinter", "ensurepip"}
    | {"sitecustomize.py", "usercustomize.py", "turtle.py", "EXTERNALLY-MANAGED", "tests"}
)
"""Test suites, what needs a display or an installation, and this machine's own sitecustomize."""

_PROBE = """
import json, os, site, sys, sysconfig
prefix = os.path.realpath(sys.base_prefix)
print(json.dumps({
    "version": "%d.%d.%d" % sys.version_info[:3],
    "build": sys.version,
    "prefix": sys.base_prefix,
    "exec_prefix": sys.base_exec_prefix,
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "stdlib": sysconfig.get_path("stdlib"),
    "platstdlib": sysconfig.get_config_var("DESTSHARED") or "",
    "sites": site.getsitepackages(["/prefix"]),
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python on this machine.

    stdlib, dynload: its modules, written in Python and compiled.
    stdlib_name, dynload_name: where they belong below a prefix. packages_name: likewise, for what
    is installed; Debian's Python looks into dist-packages.
    """

    executable: Path
    version: str
    build: str
    stdlib: Path
    stdlib_name: str
    dynload: Path
    dynload_name: str
    packages_name: str

    @property
    def minor(self) -> str:
        """`3.11`."""
        return ".".join(self.version.split(".")[:2])


def running_interpreter() -> Path:
    """The interpreter that runs osgbatch, not the link to it in a virtual environment."""
    return Path(os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable))


def describe(python: Path) -> Interpreter:
    """Ask an interpreter what it is made of. Raises PackingError when it does not answer."""
    done = subprocess.run(
        [str(python), "-I", "-B", "-c", _PROBE], capture_output=True, text=True, check=False
    )
    try:
        facts = json.loads(done.stdout)
    except ValueError:
        raise PackingError(
            "this Python does not start",
            where=str(python),
            fix=done.stderr.strip().rpartition("\n")[2] or "Use another one to run osgbatch.",
        ) from None
    prefix, exec_prefix = facts["prefix"], facts["exec_prefix"]
    stdlib = Path(facts["stdlib"])
    dynload = Path(facts["platstdlib"] or stdlib / "lib-dynload")
    if not dynload.is_dir():
        dynload = stdlib / "lib-dynload"
    if not (stdlib / "os.py").is_file():
        raise PackingError(
            "this Python's standard library is not where it says",
            where=printable(str(stdlib)),
            fix="Run osgbatch with another Python.",
        )
    minor = ".".join(facts["version"].split(".")[:2])
    return Interpreter(
        executable=Path(facts["executable"]),
        version=facts["version"],
        build=facts["build"],
        stdlib=stdlib,
        stdlib_name=_below(stdlib, prefix, f"lib/python{minor}"),
        dynload=dynload,
        dynload_name=_below(dynload, exec_prefix, f"lib/python{minor}/lib-dynload"),
        packages_name=packages_folder(facts["sites"], minor),
    )


def _below(path: Path, prefix: str, usual: str) -> str:
    """The place of a folder below its prefix; the usual one where it lies elsewhere."""
    for top in (Path(prefix), Path(os.path.realpath(prefix))):
        if path.is_relative_to(top):
            return path.relative_to(top).as_posix()
    return usual


def packages_folder(sites: Iterable[str], minor: str) -> str:
    """Which of the folders that site.py looks into takes what is installed.

    sites: what site.getsitepackages(["/prefix"]) says. The folder has to be of one version, and not
    Debian's /usr/local.
    """
    names = [site.removeprefix("/prefix/") for site in sites]
    fitting = [name for name in names if name.split("/")[1:2] == [f"python{minor}"]]
    fitting.sort(key=lambda name: not name.endswith("site-packages"))
    return fitting[0] if fitting else f"lib/python{minor}/site-packages"


def identity(executable: Path, version: str) -> dict[str, str]:
    """What makes one interpreter's archive differ from another's: its binary, and glibc."""
    digest = hashlib.sha256()
    files = [executable, *_own_libraries(executable)]
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return {
        "python": version,
        "binary": digest.hexdigest(),
        "glibc": glibc(),
        "machine": platform.machine(),
    }


def _own_libraries(executable: Path) -> list[Path]:
    """libpython, where the interpreter is but a small program that loads it."""
    header = elf.read(executable)
    if header is None:
        return []
    folders = [elf.expand(folder, executable) for folder in header.search]
    folders.append(executable.parent.parent / "lib")
    names = [name for name in header.needed if name.startswith("libpython")]
    paths = [folder / name for name in names for folder in folders]
    return [path for path in paths if path.is_file()][:1]


def glibc() -> str:
    """The version of this machine's glibc, `2.36`; empty where there is none."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").rpartition(" ")[2]
    except (ValueError, OSError):
        return ""


def stdlib_members(python: Interpreter) -> Iterator[Member]:
    """The standard library, test suites aside."""
    yield from tree_members(python.stdlib, python.stdlib_name, _skip_stdlib)
    if not python.dynload.is_relative_to(python.stdlib):
        yield from tree_members(python.dynload, python.dynload_name, _skip_stdlib)


def _skip_stdlib(name: str, is_folder: bool) -> bool:
    parts = name.split("/")
    if is_clutter(name, is_folder) or parts[0] in SKIPPED_STDLIB:
        return True
    if is_folder:
        return parts[-1] in ("test", "tests") or parts[0].startswith("config-")
    # compiled tests; _xxsubinterpreters is no test
    return parts[-1].startswith(("_test", "_ctypes_test", "_xxtestfuzz", "xxlimited", "_tkinter"))


def header_of(executable: Path) -> elf.Elf:
    """Read the headers of an interpreter. Raises PackingError where they name no loader.

    A Python of macOS has none: it could not run on an execution point.
    """
    header = elf.read(executable)
    if header is not None and header.interpreter:
        return header
    if sys.platform == "darwin":
        raise PackingError(
            "on macOS no Python environment can be packed: execution points run Linux",
            where=str(executable),
            fix="`osgbatch --host HOST submit` packs it on an access point. Without `environment:` "
            "tasks use the python3 that is here.",
        )
    raise PackingError(
        "this Python is no dynamically linked program, so its libraries cannot be found",
        where=str(executable),
        fix="Run osgbatch with another Python, or use a container.",
    )


def system_members(python: Interpreter, closure: elf.Closure, system: elf.System) -> list[Member]:
    """The interpreter, the loader, and the shared libraries of this machine.

    Raises PackingError where the interpreter is not a program with glibc's loader.
    """
    header = header_of(python.executable)
    libraries = dict(closure.found)
    for name in ALWAYS:
        found = libraries.get(name) or system.find(name, header.kind, [])
        if found is not None:
            libraries[name] = found
    loader = Path(header.interpreter)
    libraries.pop(loader.name, None)
    members = [
        Member(f"{SYSTEM}/{name}", source=Path(os.path.realpath(path)), executable=False)
        for name, path in libraries.items()
    ]
    members.append(
        Member(f"{SYSTEM}/{loader.name}", source=Path(os.path.realpath(loader)), executable=True)
    )
    binary = f"{BINARIES}/python{python.minor}"
    members.append(Member(binary, source=python.executable, executable=True))
    start = wrapper(loader.name, binary, knows_argv0(loader)).encode()
    for name in ("python", "python3", f"python{python.minor}"):
        members.append(Member(f"bin/{name}", data=start, executable=True))
    if not knows_argv0(loader):
        members.append(
            Member(f"{python.packages_name}/_osgbatch.pth", data=_EXECUTABLE_HOOK.encode())
        )
    return members


def knows_argv0(loader: Path) -> bool:
    """Whether a loader takes --argv0: glibc 2.33 and newer."""
    done = subprocess.run([str(loader), "--help"], capture_output=True, text=True, check=False)
    return "--argv0" in done.stdout


_EXECUTABLE_HOOK = (
    "import sys, os; p = os.path.join(sys.base_prefix, 'bin', 'python'); "
    "sys._base_executable = p; sys.executable = p if sys.prefix == sys.base_prefix else "
    "os.path.join(sys.prefix, 'bin', 'python')\n"
)
"""Where the loader cannot tell Python its name, Python is told by a .pth file."""


def wrapper(loader: str, binary: str, argv0: bool) -> str:
    """The script that is `bin/python`: it starts the interpreter with its own loader and libraries.

    The kernel wants the path of a loader absolute and written in the program, so a shell script
    names it instead. LD_LIBRARY_PATH is not set: the programs that a task starts would inherit it.
    One that is set counts, after our own: apptainer --nv brings the GPU's driver that way.
    ld.so splits the list of folders at colons and semicolons, for which it has no escape.
    """
    name = '--argv0 "$self" ' if argv0 else ""
    return f"""#!/bin/sh
# Starts this environment's Python with the shared libraries that came with it.
self=$0
case $self in
*/*) ;;
*) self=$(command -v "$self") ;;
esac
case $self in
/*) ;;
*) self=$(pwd)/$self ;;
esac
real=$self
[ -L "$real" ] && real=$(readlink -f "$real")
top=${{real%/*}}/..
case $top in
*[:\\;]*)
    echo "$self: a path with a colon or a semicolon cannot be used" >&2
    exit 126
    ;;
esac
unset PYTHONHOME
export PYTHONNOUSERSITE=1
libraries=$top/{SYSTEM}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}
exec "$top/{SYSTEM}/{loader}" {name}--library-path "$libraries" "$top/{binary}" "$@"
"""

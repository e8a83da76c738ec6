"""Makes conda packages, wheels and virtual environments of what is installed here."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, distribution
from pathlib import Path

import conda_channel
from conda_channel import MINOR, VERSION, Package, write_package
from packaging.requirements import Requirement

from osgbatch.packing.environment import conda_elf, elf, environment_archive
from osgbatch.packing.environment.trial import unpack

SCIENTIFIC = ("numpy", "scipy", "matplotlib")
SHARED = re.compile(r"\.so(\.\d+)*$")
NOT_TAKEN = ("direct_url.json", "REQUESTED")
"""Of a dist-info folder: what pip wrote of how it came here."""


def canonical(name: str) -> str:
    """A distribution's name as conda has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(names: Sequence[str]) -> dict[str, Distribution]:
    """The distributions of these names and all that they depend on here, by name."""
    found: dict[str, Distribution] = {}
    rest = [*names]
    while rest:
        name = canonical(rest.pop())
        if name not in found:
            found[name] = distribution(name)
            rest += requirements(found[name])
    return dict(sorted(found.items()))


def requirements(one: Distribution) -> list[str]:
    """The names of what a distribution depends on, on this machine and without extras."""
    wanted = [Requirement(text) for text in one.requires or ()]
    return [
        canonical(requirement.name)
        for requirement in wanted
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    ]


def library_files(one: Distribution) -> Iterator[tuple[str, Path]]:
    """Name below site-packages and path of a distribution's files.

    Without programs, bytecode and tests: conda-forge's packages come without tests, too, and these
    are a sixth of the bytes.
    """
    for file in one.files or ():
        parts = file.parts
        if ".." in parts or file.suffix == ".pyc" or "tests" in parts or parts[-1] in NOT_TAKEN:
            continue
        yield file.as_posix(), Path(str(file.locate()))


def conda_package(one: Distribution) -> Package:
    """A distribution as a conda package: noarch when it has no compiled code."""
    files: dict[str, bytes | str | Path] = dict(library_files(one))
    compiled = any(SHARED.search(name) for name in files)
    for name in files:
        if name.endswith(".dist-info/INSTALLER"):
            files[name] = b"conda\n"
    folder = f"lib/python{MINOR}/site-packages" if compiled else "site-packages"
    programs = [] if compiled else one.entry_points.select(group="console_scripts")
    return Package(
        canonical(one.name),
        one.version,
        [f"python {MINOR}.*", *requirements(one)],
        {f"{folder}/{name}": source for name, source in files.items()},
        noarch="" if compiled else "python",
        entry_points=[f"{program.name} = {program.value}" for program in programs],
    )


def python_with_its_libraries(scratch: Path) -> Package:
    """The local interpreter as a conda package that starts on a system with an older glibc.

    conda-forge's are built for glibc 2.17; the local one may need more than the execution point
    has, and so brings what osgbatch packs of it for requirements: its libraries, and glibc.
    """
    empty = scratch / "requirements.txt"
    empty.write_text("# Python alone\n")
    made = environment_archive(empty, scratch / "cache", lambda line: None)
    root = unpack(made.path, scratch / "python")
    files: dict[str, bytes | str | Path] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            files[name] = os.readlink(path)
        elif path.is_file():
            files[name] = path
    return Package("python", VERSION, ["system-libraries"], files=files)


def system_libraries(names: Sequence[str], python: Package) -> Package:
    """What these distributions use of the system besides what the package of Python brings.

    conda-forge has packages of it, `libstdcxx` for one.
    """
    compiled = [
        path
        for one in needed(names).values()
        for name, path in library_files(one)
        if SHARED.search(name)
    ]
    site = Path(str(distribution(names[0]).locate_file("")))
    found = elf.closure(compiled, [site], elf.this_system(), packages=site).found
    files: dict[str, bytes | str | Path] = {
        f"lib/system/{name}": path
        for name, path in found.items()
        if not conda_elf.GLIBC.match(name)
    }
    return Package("system-libraries", files=files)


def make_channel(channel: Path, scratch: Path, names: Sequence[str] = SCIENTIFIC) -> Path:
    """A channel with the local Python, these distributions and what they depend on."""
    python = python_with_its_libraries(scratch)
    for package in (python, system_libraries(names, python)):
        write_package(channel, package)
    for one in needed(names).values():
        write_package(channel, conda_package(one))
    conda_channel.index_channel(channel)
    return channel


def make_venv(folder: Path, names: Sequence[str] = SCIENTIFIC) -> Path:
    """A virtual environment with these distributions and what they depend on, copied from here."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = folder / "lib" / f"python{MINOR}" / "site-packages"
    for one in needed(names).values():
        for name, source in library_files(one):
            target = site / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
            kept = Path(importlib.util.cache_from_source(str(source)))
            if name.endswith(".py") and kept.is_file():  # as pip leaves it
                (target.parent / "__pycache__").mkdir(exist_ok=True)
                shutil.copy2(kept, target.parent / "__pycache__")
    return folder


def write_wheels(folder: Path, names: Sequence[str] = SCIENTIFIC) -> list[str]:
    """Write wheels of these distributions and what they depend on; returns `name==version` of each.

    pip installs from the folder without a network.
    """
    folder.mkdir()
    found = needed(names)
    for one in found.values():
        files = dict(library_files(one))
        told = next(path for name, path in files.items() if name.endswith(".dist-info/WHEEL"))
        tags = re.findall(r"^Tag: (\S+)$", told.read_text(), flags=re.MULTILINE)
        columns = zip(*(tag.split("-") for tag in tags), strict=True)
        parts = [".".join(dict.fromkeys(column)) for column in columns]
        stem = "-".join([one.name.replace("-", "_"), one.version, *parts])
        with zipfile.ZipFile(folder / f"{stem}.whl", "w") as archive:
            for name, source in files.items():
                archive.write(source, name)
    return [f"{name}=={one.version}" for name, one in found.items()]

"""An installed environment → an archive that holds Python and all that it needs, tried."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Archive, Member, printable, write_archive
from osgbatch.packing.environment import cache as kept
from osgbatch.packing.environment import elf, interpreter, projects, standalone
from osgbatch.packing.environment import strip as stripping
from osgbatch.packing.environment.bytecode import bytecode_or_note
from osgbatch.packing.environment.cache import EnvironmentArchive
from osgbatch.packing.environment.imports import importable
from osgbatch.packing.environment.install import make_venv
from osgbatch.packing.environment.packages import (
    Distribution,
    binaries,
    distributions,
    package_members,
    site_folder,
)
from osgbatch.packing.environment.trial import Trial, run_python, try_environment, unpack
from osgbatch.packing.tree import absolute
from osgbatch.spec_model import Environment

KIND = "environment"
PACKER = "4"
"""Part of every fingerprint: raise it when the same requirements give another archive."""

TOOLS = ("pip", "setuptools", "wheel")
"""What a virtual environment has in it from the start."""

Say = Callable[[str], None]
_USUAL = Environment("requirements")


@dataclass(frozen=True)
class Installed:
    """A virtual environment with packages in it, and how it is to be packed.

    ours: it was made for packing only, so that what is wrong with it is wrong with what the user
    asked for, and it may be moved out of the way while its archive is tried.
    added: members from elsewhere, below the folder of installed packages; sources: the folders
    that these lie in. dropped, rewritten: files of that folder that do not travel as they are.
    """

    venv: Path
    python: interpreter.Interpreter
    packages: tuple[Distribution, ...]
    wanted: Environment = _USUAL
    ours: bool = True
    added: tuple[Member, ...] = ()
    sources: tuple[Path, ...] = ()
    dropped: frozenset[str] = frozenset()
    rewritten: tuple[tuple[str, bytes], ...] = ()

    @property
    def site(self) -> Path:
        """The folder of installed packages."""
        return site_folder(self.venv, self.python)


def environment_fingerprint(file: Path, wanted: Environment = _USUAL) -> str:
    """A name for what a requirements file would be packed to on this machine, without building it.

    From the text of the file and of those it includes, the content of local packages, the
    interpreter, glibc and the packer's version; comments do not count. file: may also be a
    pyproject.toml or a lock file. wanted: which Python, and how it is packed.
    Raises PackingError when the file cannot be read, or has editable packages.
    """
    python = standalone.chosen_python(wanted.python, place=wanted.python_place)
    return _fingerprint(absolute(file), python, wanted)


def cached_environment(fingerprint: str, cache: Path) -> EnvironmentArchive | None:
    """The environment of a fingerprint that was packed before; None when there is none."""
    return kept.read_entry(cache, fingerprint)


def environment_archive(
    file: Path, cache: Path, say: Say, refresh: bool = False, wanted: Environment = _USUAL
) -> EnvironmentArchive:
    """Pack the environment that a requirements file describes, or take the one packed before.

    file: requirements.txt, or what stands for it. cache: osgbatch's cache folder
    (`$XDG_CACHE_HOME/osgbatch`). say: called with one line per thing that takes time. refresh:
    build even when there is one, for newer versions of what is not pinned. wanted: which Python,
    and how it is packed.
    Raises PackingError with what is wrong and what to do; the cache is then as it was.
    """
    file = absolute(file)
    python = standalone.chosen_python(wanted.python, say, wanted.python_place)
    fingerprint = _fingerprint(file, python, wanted)
    found = None if refresh else kept.read_entry(cache, fingerprint)
    if found is not None:
        return found
    minor = wanted.python or standalone.own_minor()
    if shutil.which("uv") and standalone.installed_standalone(minor) is None:
        if standalone.install_standalone(minor) is None:
            say(f"uv cannot get a standalone Python {minor}; packing {python}")
        else:
            python = standalone.chosen_python(wanted.python)
            fingerprint = _fingerprint(file, python, wanted)
    with kept.locked(cache, fingerprint) as waited:
        found = kept.read_entry(cache, fingerprint) if waited or not refresh else None
        return found or _build(file, cache, fingerprint, python, wanted, say)


def how(wanted: Environment) -> dict[str, Any]:
    """How an environment is packed, for its fingerprint; empty where it is as usual."""
    facts = {"imports": list(wanted.imports), "strip": wanted.strip, "untested": not wanted.test}
    return {"how": facts} if any(facts.values()) else {}


def fingerprint_of(facts: dict[str, Any]) -> str:
    """A name made of facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _fingerprint(file: Path, python: Path, wanted: Environment) -> str:
    if python == interpreter.running_interpreter():
        version = platform.python_version()
    else:
        version = interpreter.describe(python).version
    return fingerprint_of(
        {
            "packer": PACKER,
            "interpreter": interpreter.identity(python, version),
            "requirements": projects.fingerprint_lines(file),
            **how(wanted),
        }
    )


def _build(
    file: Path, cache: Path, fingerprint: str, base: Path, wanted: Environment, say: Say
) -> EnvironmentArchive:
    with kept.workshop(cache) as shop:
        python = interpreter.describe(base)
        interpreter.header_of(python.executable)  # before anything is installed
        venv = shop / "venv"
        venv_python = make_venv(python, venv)
        projects.install(file, venv_python, python, shop, say)
        found = tuple(distributions(site_folder(venv, python)))
        return built_entry(
            Installed(venv, python, found, wanted), shop, cache, fingerprint, file, say
        )


def built_entry(
    installed: Installed,
    shop: Path,
    cache: Path,
    fingerprint: str,
    file: Path,
    say: Say,
    notes: tuple[str, ...] = (),
    check: Callable[[], None] = lambda: None,
) -> EnvironmentArchive:
    """Pack what is installed, try it, and enter it into the cache.

    shop: a folder to build in. file: what the user named, for messages. notes: to add to its own.
    check: called before it is entered; may refuse it. Raises PackingError.
    """
    python = installed.python
    count = len(installed.packages)
    also = f"{count} package{'s' * (count != 1)}" if count else "no packages"
    say(f"packing Python {python.version} and {also}")
    archive, found = _pack_and_try(installed, shop, file, say)
    needs = _needs(installed, [], elf.this_system())
    entry = kept.entry_of(
        archive,
        python=python.version,
        packages=tuple(f"{one.name}=={one.version}" for one in installed.packages),
        glibc=interpreter.glibc(),
        microarch=_microarch(python, needs),
        fingerprint=fingerprint,
        notes=(*notes, *found, *_missing_notes(installed, needs)),
        modules=importable(member.name for member in _packages(installed)),
        kind=installed.wanted.kind,
        made_from=str(file),
    )
    check()
    return kept.write_entry(cache, archive.path.parent, entry)


def _pack_and_try(
    installed: Installed, shop: Path, file: Path, say: Say
) -> tuple[Archive, tuple[str, ...]]:
    """Pack and try; once more where a library turns out to be loaded from this machine by name, or
    where something needs what was stripped.
    """
    extra: list[Path] = []
    keep: set[str] = set()
    bytecode: list[Member] | None = None
    said: list[str] = []
    for turn in range(1, 5):
        members = _members(installed, extra)
        notes: tuple[str, ...] = ()
        if installed.wanted.strip:
            left = stripping.strip(members, keep)
            members, notes = left.members, (stripping.note(left.files, left.bytes, left.compiling),)
        else:
            if bytecode is None:
                python = installed.python.executable
                bytecode = bytecode_or_note(members, python, shop / "bytecode", said)
            members, notes = members + bytecode, tuple(said)
        archive = write_archive(members, shop / f"built-{turn}", KIND)
        if not installed.wanted.test:
            return archive, (*notes, "not tried before it was sent")
        trial = _try(installed, archive, shop / f"trial-{turn}")
        shutil.rmtree(shop / f"trial-{turn}", ignore_errors=True)
        needed = stripping.needed(trial.failed) - keep
        if needed and installed.wanted.strip and not trial.broken:
            say(f"not stripping {', '.join(sorted(needed))}, which then cannot be imported")
            keep |= needed
            continue
        notes += _judge(trial, installed, shop, file)
        outside = [path for path in trial.outside if not elf.DRIVERS.match(path.name)]
        if not outside or extra:
            break
        extra = outside
        say(f"adding {', '.join(path.name for path in outside[:5])}, loaded while it runs")
    return archive, (*notes, *(f"uses this machine's {path}" for path in outside))


def _members(installed: Installed, extra: list[Path]) -> list[Member]:
    """All members of the archive. extra: shared libraries that no file asks for in its header."""
    python = installed.python
    system = elf.this_system()
    needs = _needs(installed, extra, system)
    for path in extra:
        for name in elf.names(path):
            needs.found.setdefault(name, path)
    return [
        *interpreter.stdlib_members(python),
        *_packages(installed),
        *interpreter.system_members(python, needs, system),
    ]


def _packages(installed: Installed) -> list[Member]:
    """What is installed, and what was added to it."""
    top = installed.python.packages_name

    def amend(members: dict[str, Member]) -> dict[str, Member]:
        for name in installed.dropped:
            members.pop(f"{top}/{name}", None)
        for name, data in installed.rewritten:
            if f"{top}/{name}" in members:
                members[f"{top}/{name}"] = Member(f"{top}/{name}", data=data, executable=False)
        there = {name.removeprefix(f"{top}/").partition("/")[0] for name in members}
        for member in installed.added:
            if member.name.partition("/")[0] not in there:  # Python, too, takes the installed one
                members[f"{top}/{member.name}"] = replace(member, name=f"{top}/{member.name}")
        return members

    return package_members(installed.venv, installed.python, amend)


def _needs(installed: Installed, extra: list[Path], system: elf.System) -> elf.Closure:
    """The shared libraries of this machine that have to travel."""
    python = installed.python
    travelling = [installed.venv, python.stdlib, python.dynload, *installed.sources]
    places = [installed.site, python.dynload]
    added = [member.source for member in installed.added if member.source is not None]
    files = [*binaries(places), *(p for p in added if ".so" in p.name), *extra, python.executable]
    header = elf.read(python.executable)
    own = [elf.expand(folder, python.executable) for folder in (header.search if header else ())]
    return elf.closure(files, travelling, system, own, installed.site)


def _missing_notes(installed: Installed, needs: elf.Closure) -> list[str]:
    """Which libraries neither travel nor are here; what is for other processors may ask for any."""
    own = elf.read(installed.python.executable)
    missing = [
        (name, printable(os.path.relpath(path, installed.venv)))
        for name, path in sorted(needs.missing.items())
        if own is not None and (header := elf.read(path)) and header.kind == own.kind
    ]
    return elf.library_notes((), missing)


def _microarch(python: interpreter.Interpreter, needs: elf.Closure) -> str:
    """The CPU level that this machine's interpreter and libraries ask for."""
    headers = [elf.read(path) for path in (python.executable, *needs.found.values())]
    level = max((header.level for header in headers if header is not None), default=0)
    return f"x86_64-v{level}" if level > 1 else ""


def _try(installed: Installed, archive: Archive, folder: Path) -> Trial:
    """Unpack at another path and import, while the folder it was built in has another name."""
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    root = unpacked(archive.path, folder)
    if not installed.ours:
        return _imported(root, _wanted(installed), scratch)
    away = installed.venv.with_name("away")
    installed.venv.rename(away)
    try:
        return _imported(root, _wanted(installed), scratch)
    finally:
        away.rename(installed.venv)


def unpacked(archive: Path, folder: Path) -> Path:
    """Unpack an archive in order to try it. Raises PackingError where it cannot be."""
    try:
        return unpack(archive, folder)
    except (subprocess.CalledProcessError, OSError) as error:
        free = shutil.disk_usage(folder).free
        raise PackingError(
            f"the archive cannot be unpacked in order to try it; {free // 1024**2} MB are free",
            where=printable(str(folder)),
            fix="Make room there, or let XDG_CACHE_HOME name a folder with more.",
        ) from error


def _imported(root: Path, modules: list[str], scratch: Path) -> Trial:
    """Import modules, and what fails once more without the others: some do not get along."""
    trial = try_environment(root, modules, scratch)
    if trial.broken or not trial.failed or len(trial.failed) == len(modules):
        return trial
    again = try_environment(root, sorted(trial.failed), scratch)
    return replace(trial, failed=again.failed, broken=again.broken)


def _wanted(installed: Installed) -> list[str]:
    """The modules of what the user named, or of everything where pip does not say what that was."""
    named = [one for one in installed.packages if one.requested] or list(installed.packages)
    top = installed.python.packages_name
    added = importable(f"{top}/{member.name}" for member in installed.added)
    asked = {*installed.wanted.imports, *added}
    tools = () if installed.ours else TOOLS
    modules = {module for one in named if one.name not in tools for module in one.modules}
    return sorted(modules | asked)


def _judge(trial: Trial, installed: Installed, shop: Path, file: Path) -> tuple[str, ...]:
    """Raise PackingError for an environment that would fail on an execution point.

    A module that cannot be imported before packing either is forgiven where another one of the same
    package can: packages bring parts for other systems. In an environment that the user made, all
    of these are; notes tell of them.
    """
    where = printable(str(file))
    if trial.broken:
        raise PackingError(
            f"the packed environment does not work at another path: {trial.broken}",
            where=where,
            fix="Leave out what was added last, or use a container.",
        )
    if not trial.failed:
        return ()
    before = run_python(installed.venv / "bin" / "python", sorted(trial.failed), shop)
    broken_before = set() if isinstance(before, str) else set(before.failed)
    for module in installed.wanted.imports:
        if module in trial.failed and module in broken_before:
            raise PackingError(
                f"{module}, named under imports, cannot be imported: {trial.failed[module]}",
                where=where,
                fix="Add the package that has it, or take it out of imports.",
            )
    notes = []
    known = {module for one in installed.packages for module in one.modules}
    rest = Distribution("", "", False, tuple(sorted(set(trial.failed) - known)))
    for one in (*installed.packages, rest):
        failed = [module for module in one.modules if module in trial.failed]
        if not failed:
            continue
        only_packed = [module for module in failed if module not in broken_before]
        if only_packed:
            raise PackingError(
                f"{one.name or only_packed[0]} cannot be imported once packed: "
                f"{trial.failed[only_packed[0]]}",
                where=where,
                fix="It works before packing, so it depends on something of this machine; "
                "use a container for it.",
            )
        if len(failed) == len(one.modules) and not installed.ours:
            name = one.name or failed[0]
            notes.append(f"{name} cannot be imported, before packing neither")
        elif len(failed) == len(one.modules) and one.requested:
            raise PackingError(
                f"{one.name} cannot be imported: {trial.failed[failed[0]]}",
                where=where,
                fix="It cannot be before packing either: add what it lacks to the requirements.",
            )
    return tuple(notes)

"""`environment: requirements.txt` → an archive that holds Python and all that it needs."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Archive, Member, printable, write_archive
from osgbatch.packing.environment import cache as kept
from osgbatch.packing.environment import elf, interpreter, requirements, standalone
from osgbatch.packing.environment.cache import EnvironmentArchive
from osgbatch.packing.environment.install import install, make_venv
from osgbatch.packing.environment.packages import (
    Distribution,
    binaries,
    distributions,
    package_members,
    site_folder,
)
from osgbatch.packing.environment.trial import Trial, run_python, try_environment, unpack
from osgbatch.packing.tree import absolute

KIND = "environment"
PACKER = "1"
"""Part of every fingerprint: raise it when the same requirements give another archive."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Installed:
    """A virtual environment with the requirements in it."""

    venv: Path
    python: interpreter.Interpreter
    packages: tuple[Distribution, ...]

    @property
    def site(self) -> Path:
        return site_folder(self.venv, self.python)


def environment_fingerprint(file: Path) -> str:
    """A name for what a requirements file would be packed to on this machine, without building it.

    From the text of the file and of those it includes, the content of local packages, the
    interpreter, glibc and the packer's version; comments do not count.
    Raises PackingError when the file cannot be read, or has editable packages.
    """
    return _fingerprint(absolute(file), _chosen_python())


def cached_environment(fingerprint: str, cache: Path) -> EnvironmentArchive | None:
    """The environment of a fingerprint that was packed before; None when there is none."""
    return kept.read_entry(cache, fingerprint)


def environment_archive(
    file: Path, cache: Path, say: Say, refresh: bool = False
) -> EnvironmentArchive:
    """Pack the environment that a requirements file describes, or take the one packed before.

    file: requirements.txt. cache: osgbatch's cache folder (`$XDG_CACHE_HOME/osgbatch`).
    say: called with one line per thing that takes time. refresh: build even when there is one, for
    newer versions of what is not pinned.
    Raises PackingError with what is wrong and what to do; the cache is then as it was.
    """
    file = absolute(file)
    python = _chosen_python()
    fingerprint = _fingerprint(file, python)
    found = None if refresh else kept.read_entry(cache, fingerprint)
    if found is not None:
        return found
    if shutil.which("uv") and standalone.installed_standalone(_minor()) is None:
        if standalone.install_standalone(_minor()) is None:
            say(f"uv cannot get a standalone Python {_minor()}; packing {python}")
        else:
            python = _chosen_python()
            fingerprint = _fingerprint(file, python)
    with kept.locked(cache, fingerprint) as waited:
        found = kept.read_entry(cache, fingerprint) if waited or not refresh else None
        return found or _build(file, cache, fingerprint, python, say)


def _minor() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def _chosen_python() -> Path:
    return standalone.installed_standalone(_minor()) or interpreter.running_interpreter()


def _fingerprint(file: Path, python: Path) -> str:
    lines = requirements.read_lines(file)
    requirements.check_lines(lines)
    if python == interpreter.running_interpreter():
        version = platform.python_version()
    else:
        version = interpreter.describe(python).version
    facts = {
        "packer": PACKER,
        "interpreter": interpreter.identity(python, version),
        "requirements": list(requirements.fingerprint_lines(lines, file.parent)),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _build(file: Path, cache: Path, fingerprint: str, base: Path, say: Say) -> EnvironmentArchive:
    with kept.workshop(cache) as shop:
        python = interpreter.describe(base)
        venv = shop / "venv"
        venv_python = make_venv(python, venv)
        if requirements.installs_anything(requirements.read_lines(file)):
            install(file, venv_python, python, say)
        installed = _Installed(venv, python, tuple(distributions(site_folder(venv, python))))
        say(f"packing Python {python.version} and {len(installed.packages)} packages")
        archive, notes = _pack_and_try(installed, shop, file, say)
        entry = kept.entry_of(
            archive,
            python=python.version,
            packages=tuple(f"{one.name}=={one.version}" for one in installed.packages),
            glibc=interpreter.glibc(),
            microarch=_microarch(installed),
            fingerprint=fingerprint,
            notes=notes,
        )
        return kept.write_entry(cache, archive.path.parent, entry)


def _pack_and_try(
    installed: _Installed, shop: Path, file: Path, say: Say
) -> tuple[Archive, tuple[str, ...]]:
    """Pack and try; once more where a library turns out to be loaded from this machine by name."""
    extra: list[Path] = []
    for turn in (1, 2):
        archive = write_archive(_members(installed, extra), shop / f"built-{turn}", KIND)
        trial = _try(installed, archive, shop / f"trial-{turn}")
        _judge(trial, installed, shop, file)
        outside = [path for path in trial.outside if not elf.DRIVERS.match(path.name)]
        if not outside:
            break
        extra = outside
        if turn == 1:
            say(f"adding {', '.join(path.name for path in outside[:5])}, loaded while it runs")
    notes = tuple(f"uses this machine's {path}" for path in outside)
    return archive, notes


def _members(installed: _Installed, extra: list[Path]) -> list[Member]:
    """All members of the archive. extra: shared libraries that no file asks for in its header."""
    python = installed.python
    system = elf.this_system()
    needs = _needs(installed, extra, system)
    for path in extra:
        for name in elf.names(path):
            needs.found.setdefault(name, path)
    return [
        *interpreter.stdlib_members(python),
        *package_members(installed.venv, python),
        *interpreter.system_members(python, needs, system),
    ]


def _needs(installed: _Installed, extra: list[Path], system: elf.System) -> elf.Closure:
    """The shared libraries of this machine that have to travel."""
    python = installed.python
    travelling = [installed.venv, python.stdlib, python.dynload]
    files = [*binaries([installed.site, python.dynload]), *extra, python.executable]
    header = elf.read(python.executable)
    own = [elf.expand(folder, python.executable) for folder in (header.search if header else ())]
    return elf.closure(files, travelling, system, own, installed.site)


def _microarch(installed: _Installed) -> str:
    """The CPU level that this machine's interpreter and libraries ask for."""
    needs = _needs(installed, [], elf.this_system())
    headers = [elf.read(path) for path in (installed.python.executable, *needs.found.values())]
    level = max((header.level for header in headers if header is not None), default=0)
    return f"x86_64-v{level}" if level > 1 else ""


def _try(installed: _Installed, archive: Archive, folder: Path) -> Trial:
    """Unpack at another path and import, while the folder it was built in has another name."""
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    root = unpack(archive.path, folder)
    away = installed.venv.with_name("away")
    installed.venv.rename(away)
    try:
        return try_environment(root, _wanted(installed), scratch)
    finally:
        away.rename(installed.venv)


def _wanted(installed: _Installed) -> list[str]:
    """The modules of what the user named, or of everything where pip does not say what that was."""
    named = [one for one in installed.packages if one.requested] or list(installed.packages)
    return sorted({module for one in named for module in one.modules})


def _judge(trial: Trial, installed: _Installed, shop: Path, file: Path) -> None:
    """Raise PackingError for an environment that would fail on an execution point.

    A module that cannot be imported before packing either is forgiven where another one of the same
    package can: packages bring parts for other systems.
    """
    if trial.broken:
        raise PackingError(
            f"the packed environment does not work at another path: {trial.broken}",
            where=printable(str(file)),
            fix="Leave out what was added last, or use a container.",
        )
    if not trial.failed:
        return
    before = run_python(installed.venv / "bin" / "python", sorted(trial.failed), shop)
    broken_before = set() if isinstance(before, str) else set(before.failed)
    for one in installed.packages:
        failed = [module for module in one.modules if module in trial.failed]
        if not failed:
            continue
        only_packed = [module for module in failed if module not in broken_before]
        if only_packed:
            raise PackingError(
                f"{one.name} cannot be imported once packed: {trial.failed[only_packed[0]]}",
                where=printable(str(file)),
                fix="It works before packing, so it depends on something of this machine; "
                "use a container for it.",
            )
        if len(failed) == len(one.modules) and one.requested:
            raise PackingError(
                f"{one.name} cannot be imported: {trial.failed[failed[0]]}",
                where=printable(str(file)),
                fix="It cannot be before packing either: add what it lacks to the requirements.",
            )

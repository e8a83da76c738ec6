"""`environment: environment.yml` → an archive of conda's packages that starts anywhere."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Archive, Member, printable, write_archive
from osgbatch.packing.environment import cache as kept
from osgbatch.packing.environment import conda_elf, conda_install, elf, interpreter, strip
from osgbatch.packing.environment.build import unpacked
from osgbatch.packing.environment.bytecode import bytecode_or_note
from osgbatch.packing.environment.cache import EnvironmentArchive
from osgbatch.packing.environment.conda_files import META, pack_conda_prefix
from osgbatch.packing.environment.conda_lock import Lock, Package, incomplete, lock_text, read_lock
from osgbatch.packing.environment.conda_pip import install_with_pip, pip_facts
from osgbatch.packing.environment.conda_program import create_with_program, wished_program
from osgbatch.packing.environment.conda_spec import CondaSpec, read_conda_spec
from osgbatch.packing.environment.conda_unpack import UNPACK
from osgbatch.packing.environment.imports import importable
from osgbatch.packing.environment.packages import Distribution, distributions, top_modules
from osgbatch.packing.environment.r_scripts import r_packages
from osgbatch.packing.environment.trial import Trial, run_program
from osgbatch.packing.environment.trial_r import failing, try_languages
from osgbatch.packing.tree import absolute
from osgbatch.spec_model import Environment

KIND = "environment"
PACKER = "conda 4"
"""Part of every fingerprint: raise it when the same file gives another archive."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Built:
    """An installed environment. installed: its distributions; requested are those of the file."""

    prefix: Path
    python: Path
    packages: tuple[Package, ...]
    pip: tuple[Distribution, ...]
    installed: tuple[Distribution, ...]


def conda_fingerprint(wanted: Environment, file: Path) -> str:
    """A name for what an environment.yml would be packed to, without building it.

    From what the file says (not how), the channels, what lies in channels on disk, the platform
    and the packer's version. Raises PackingError and SpecErrors as reading the file does.
    """
    return _fingerprint(wanted, read_conda_spec(absolute(file), wanted))


def cached_conda(wanted: Environment, file: Path, cache: Path) -> EnvironmentArchive | None:
    """The environment that was packed before; None when there is none."""
    return kept.read_entry(cache, conda_fingerprint(wanted, file))


def conda_archive(
    wanted: Environment,
    file: Path,
    cache: Path,
    say: Say,
    refresh: bool = False,
    locked: Path | None = None,
) -> EnvironmentArchive:
    """Pack the environment that an environment.yml describes, or take the one packed before.

    cache: osgbatch's cache folder. say: called with a line per thing that takes time. refresh:
    build even when there is one, for newer versions of what is not pinned. locked: a lock file,
    from which the packages are taken instead.
    Raises PackingError and SpecErrors with what is wrong and what to do; the cache is then as it
    was.
    """
    spec = read_conda_spec(absolute(file), wanted)
    lock = read_lock(locked, conda_install.subdir()) if locked is not None else None
    if lock is not None:
        conda_install.check_lock(lock, spec)
    fingerprint = _fingerprint(wanted, spec, lock)
    found = None if refresh else kept.read_entry(cache, fingerprint)
    if found is not None:
        return found
    with kept.locked(cache, fingerprint) as waited:
        found = kept.read_entry(cache, fingerprint) if waited or not refresh else None
        return found or _build(wanted, spec, lock, cache, fingerprint, say)


def _fingerprint(wanted: Environment, spec: CondaSpec, lock: Lock | None = None) -> str:
    facts: dict[str, Any] = {
        "packer": PACKER,
        "platform": conda_install.subdir(),
        "channels": [[channel, _local_content(channel)] for channel in spec.channels],
        "specs": list(spec.specs),
        "pip": list(pip_facts(spec.pip, spec.file.parent)),
        "imports": sorted(wanted.imports),
        "strip": wanted.strip,
        "test": wanted.test,
        "overrides": {
            name: value for name, value in os.environ.items() if name.startswith("CONDA_OVERRIDE_")
        },
    }
    if wished_program():
        facts["program"] = Path(wished_program()).name
    if lock is not None:
        facts |= {"channels": [], "lock": [*lock.packages, *lock.pip]}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _local_content(channel: str) -> list[str]:
    """The sums of the lists of a channel on disk, where new packages come without a new name."""
    top = conda_install.local_path(channel)
    if top is None:
        return []
    lists = (top / subdir / "repodata.json" for subdir in ("noarch", conda_install.subdir()))
    return [kept.file_sha256(path) for path in lists if path.is_file()]


def _build(
    wanted: Environment,
    spec: CondaSpec,
    lock: Lock | None,
    cache: Path,
    fingerprint: str,
    say: Say,
) -> EnvironmentArchive:
    with kept.workshop(cache) as shop:
        prefix = shop / "env"
        if lock is not None:
            packages = conda_install.install_locked(lock, spec, prefix, cache, say)
            notes = [*spec.notes]
        elif wished_program():
            packages, notes = create_with_program(spec, prefix, shop, say)
        else:
            packages, notes = conda_install.solve_and_install(spec, prefix, cache, say)
        if spec.pip:
            pins = lock.pip if lock is not None else ()
            install_with_pip(spec.pip, pins, spec.file, prefix, shop, say)
        built = _described(spec, prefix, packages)
        also = f" and {len(built.pip)} of pip's" if built.pip else ""
        say(f"packing {len(packages)} conda package{'s' * (len(packages) != 1)}{also}")
        archive, members, found = _pack_and_try(wanted, built, shop, spec.file, say)
        needs = conda_elf.needs(prefix, [one.name for one in members if one.source])
        notes = [*notes, *found, *elf.library_notes(needs.outside, needs.missing)]
        notes += filter(None, [incomplete(packages)])
        by_pip = [f"{one.name}=={one.version}" for one in built.pip]
        by_conda = [f"{one.name}=={one.version}" for one in packages]
        entry = kept.entry_of(
            archive,
            python=interpreter.describe(built.python).version if built.python.exists() else "",
            packages=tuple(sorted((*by_conda, *by_pip))),
            glibc_needed=needs.glibc,
            microarch=_microarch(packages, needs.level),
            fingerprint=fingerprint,
            notes=tuple(notes),
            modules=importable(member.name for member in members),
            kind="conda",
            made_from=printable(str(spec.file)),
            lock=lock_text(packages, by_pip, conda_install.subdir()),
        )
        return kept.write_entry(cache, archive.path.parent, entry)


def _pack_and_try(
    wanted: Environment, built: _Built, shop: Path, file: Path, say: Say
) -> tuple[Archive, list[Member], list[str]]:
    """The archive, its members, and notes; once more where something needs what was stripped."""
    keep: set[str] = set()
    while True:
        notes: list[str] = []
        members = packed_members(wanted, built.prefix, keep, notes)
        bytecode: list[Member] = []
        if not wanted.strip:
            bytecode = bytecode_or_note(members, built.python, shop / "bytecode", notes)
        archive = write_archive([*members, *bytecode], shop / f"built-{len(keep)}", KIND)
        if not wanted.test:
            return archive, members, [*notes, "not tried before it was sent"]
        say("trying the environment at another path")
        trial = _tried(wanted, built, archive, shop / f"trial-{len(keep)}")
        needed = strip.needed(trial.failed) - keep if wanted.strip and not trial.broken else set()
        if not needed:
            _judge(trial, wanted, built, shop, file)
            return archive, members, notes
        say(f"not stripping {', '.join(sorted(needed))}, which then cannot be imported")
        keep |= needed


def packed_members(
    wanted: Environment, prefix: Path, keep: set[str], notes: list[str]
) -> list[Member]:
    """What travels of a conda environment.

    keep: packages that are not stripped. notes: gets what there is to say.
    """
    left = strip.Stripped([], 0, 0)

    def amend(members: list[Member]) -> list[Member]:
        nonlocal left
        left = strip.strip(members, keep) if wanted.strip else strip.Stripped(members, 0, 0)
        return left.members

    members = pack_conda_prefix(prefix, notes.append, amend)
    if wanted.strip:
        notes.append(strip.note(left.files, left.bytes, left.compiling))
    return members


def _described(spec: CondaSpec, prefix: Path, packages: list[Package]) -> _Built:
    """What is installed, by conda and by pip, and what of it can be imported."""
    site = next(iter(sorted(prefix.glob("lib/python3.*/site-packages"))), prefix)
    below = site.relative_to(prefix).as_posix() + "/"
    conda: list[Distribution] = []
    owned: set[str] = set()
    for record in sorted((prefix / META).glob("*.json")):
        noted = json.loads(record.read_text(encoding="utf-8"))
        files = [name.removeprefix(below) for name in noted["files"] if name.startswith(below)]
        owned.update(noted["files"])
        requested = noted["name"] in spec.names
        modules = () if noted["name"] == "python" else top_modules(files)
        modules += r_packages(noted["files"]) if noted["name"] != "r-base" else ()
        conda.append(Distribution(noted["name"], noted["version"], requested, modules))
    folders = {
        _plain(name[len(below) :].partition("/")[0]) for name in owned if ".dist-info/" in name
    }
    by_pip = [
        one
        for one in distributions(site)
        if _plain(f"{one.name}-{one.version}.dist-info") not in folders
    ]
    python = prefix / "bin" / "python"
    return _Built(prefix, python, tuple(packages), tuple(by_pip), (*conda, *by_pip))


def _plain(folder: str) -> str:
    """The name of a dist-info folder, as if all packagers spelt names in one way."""
    return re.sub(r"[-_.]+", "_", folder).lower()


def _microarch(packages: list[Package], level: int) -> str:
    """The CPU level that the packages were chosen for, or that their files ask for."""
    for one in packages:
        if one.name == "_x86_64-microarch-level" and one.version.split(".")[0].isdigit():
            level = max(level, int(one.version.split(".")[0]))
    return f"x86_64-v{level}" if level > 1 else ""


def _tried(wanted: Environment, built: _Built, archive: Archive, folder: Path) -> Trial:
    """Unpack at another path, put right and import, while the first path has another name."""
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    root = unpacked(archive.path, folder)
    named = [one for one in built.installed if one.requested] or list(built.installed)
    modules = {module for one in (*named, *built.pip) for module in one.modules}
    away = built.prefix.with_name("away")
    built.prefix.rename(away)
    try:
        broken = put_right(root)
        if broken:
            return Trial({}, (), broken)
        return try_languages(root, sorted(modules | set(wanted.imports)), scratch)
    finally:
        away.rename(built.prefix)


def put_right(root: Path) -> str:
    """Run conda-unpack in an unpacked environment, as the shim does; why it failed, or nothing."""
    # conda-pack's own starts with `env python`: as in the shim, that is the environment's
    done = run_program([str(root / UNPACK)], root, {"PATH": f"{root}/bin:/usr/bin:/bin"})
    return "" if done.code == 0 else f"conda-unpack: {done.said or done.code}"


def _judge(trial: Trial, wanted: Environment, built: _Built, shop: Path, file: Path) -> None:
    """Raise PackingError for an environment that would fail on an execution point."""
    where = printable(str(file))
    if trial.broken:
        raise PackingError(
            f"the packed environment does not work at another path: {trial.broken}",
            where=where,
            fix="Leave out what was added last, or use a container.",
        )
    if not trial.failed:
        return
    broken_before = failing(built.prefix, trial.failed, shop)
    for module in wanted.imports:
        if module in trial.failed:
            raise PackingError(
                f"{module} cannot be imported: {trial.failed[module]}",
                where=where,
                fix="Add the package that it is part of to the dependencies."
                if module in broken_before
                else "It works before packing, so it depends on something of this machine; use a "
                "container for it.",
            )
    for one in built.installed:
        failed = [module for module in one.modules if module in trial.failed]
        only_packed = [module for module in failed if module not in broken_before]
        if only_packed:
            raise PackingError(
                f"{one.name} cannot be imported once packed: {trial.failed[only_packed[0]]}",
                where=where,
                fix="It works before packing, so it depends on something of this machine; "
                "use a container for it.",
            )
        if failed and len(failed) == len(one.modules):
            raise PackingError(
                f"{one.name} cannot be imported: {trial.failed[failed[0]]}",
                where=where,
                fix="It cannot be before packing either: add what it lacks to the dependencies.",
            )

"""A conda environment that is there → an archive, tried at another path; nothing in it changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Archive, Member, printable, write_archive
from osgbatch.packing.environment import cache as kept
from osgbatch.packing.environment import conda_elf, elf, interpreter, strip
from osgbatch.packing.environment.build import unpacked
from osgbatch.packing.environment.bytecode import bytecode_or_note
from osgbatch.packing.environment.cache import EnvironmentArchive
from osgbatch.packing.environment.conda import KIND, packed_members, put_right
from osgbatch.packing.environment.conda_files import META
from osgbatch.packing.environment.imports import importable
from osgbatch.packing.environment.packages import top_modules
from osgbatch.packing.environment.r_scripts import r_packages
from osgbatch.packing.environment.trial import Trial
from osgbatch.packing.environment.trial_r import failing, try_languages
from osgbatch.spec_model import Environment

Say = Callable[[str], None]


def conda_entry(
    wanted: Environment,
    prefix: Path,
    shop: Path,
    cache: Path,
    fingerprint: str,
    say: Say,
    notes: tuple[str, ...],
    check: Callable[[], None],
) -> EnvironmentArchive:
    """Pack and try a conda environment, and enter it into the cache. Raises PackingError.

    check: called before it is entered; may refuse it.
    """
    packages, modules = _packages(prefix)
    say(f"packing {len(packages)} conda package{'s' * (len(packages) != 1)}")
    python = prefix / "bin" / "python"
    keep: set[str] = set()
    while True:
        found = list(notes)
        members = packed_members(wanted, prefix, keep, found)
        bytecode: list[Member] = []
        if not wanted.strip:
            bytecode = bytecode_or_note(members, python, shop / "bytecode", found)
        archive = write_archive([*members, *bytecode], shop / f"built-{len(keep)}", KIND)
        if not wanted.test:
            break
        say("trying the environment at another path")
        trial = _tried(wanted, archive, modules, shop / f"trial-{len(keep)}")
        needed = strip.needed(trial.failed) - keep if wanted.strip and not trial.broken else set()
        if not needed:
            found += _judge(trial, wanted, prefix, shop)
            break
        say(f"not stripping {', '.join(sorted(needed))}, which then cannot be imported")
        keep |= needed
    if not wanted.test:
        found.append("not tried before it was sent")
    needs = conda_elf.needs(prefix, [one.name for one in members if one.source])
    found += elf.library_notes(needs.outside, needs.missing)
    entry = kept.entry_of(
        archive,
        python=interpreter.describe(python).version if python.exists() else "",
        packages=packages,
        glibc_needed=needs.glibc,
        microarch=f"x86_64-v{needs.level}" if needs.level > 1 else "",
        fingerprint=fingerprint,
        notes=tuple(found),
        modules=importable(member.name for member in members),
        kind="prefix",
        made_from=printable(str(prefix)),
    )
    check()
    return kept.write_entry(cache, archive.path.parent, entry)


def _packages(prefix: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What conda says is installed, and the modules of it."""
    packages: list[str] = []
    modules: set[str] = set()
    sites = sorted(prefix.glob("lib/python3.*/site-packages"))
    below = f"{sites[0].relative_to(prefix).as_posix()}/" if sites else "/"
    for record in sorted((prefix / META).glob("*.json")):
        try:
            noted = json.loads(record.read_text(encoding="utf-8"))
            packages.append(f"{noted['name']}=={noted['version']}")
            files = [name.removeprefix(below) for name in noted["files"] if name.startswith(below)]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # what lists the files that travel says what is wrong with it
        if noted["name"] != "python":
            modules |= {*top_modules(files), *r_packages(noted["files"])}
    return tuple(packages), tuple(sorted(modules))


def _tried(wanted: Environment, archive: Archive, modules: tuple[str, ...], folder: Path) -> Trial:
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    root = unpacked(archive.path, folder)
    broken = put_right(root)
    if broken:
        return Trial({}, (), broken)
    return try_languages(root, sorted({*modules, *wanted.imports}), scratch)


def _judge(trial: Trial, wanted: Environment, prefix: Path, shop: Path) -> list[str]:
    """Raise PackingError where something works here and not once packed; tell of the rest."""
    where = printable(str(prefix))
    if trial.broken:
        raise PackingError(
            f"the packed environment does not work at another path: {trial.broken}",
            where=where,
            fix="Leave out what was added last, or use a container.",
        )
    if not trial.failed:
        return []
    broken_before = failing(prefix, trial.failed, shop)
    for module, said in trial.failed.items():
        if module not in broken_before:
            raise PackingError(
                f"{module} cannot be imported once packed: {said}",
                where=where,
                fix="It works before packing, so it depends on something of this machine; "
                "use a container for it.",
            )
        if module in wanted.imports:
            raise PackingError(
                f"{module}, named under imports, cannot be imported: {said}",
                where=where,
                fix="Add the package that has it, or take it out of imports.",
            )
    return [f"{module} cannot be imported, before packing neither" for module in trial.failed][:5]

"""`environment: {prefix: DIR}`: an environment that is there → an archive; it stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.archive import printable
from osgbatch.packing.environment import cache as kept
from osgbatch.packing.environment import interpreter
from osgbatch.packing.environment.build import (
    PACKER,
    Installed,
    built_entry,
    fingerprint_of,
    how,
)
from osgbatch.packing.environment.cache import EnvironmentArchive
from osgbatch.packing.environment.packages import distributions, site_folder
from osgbatch.packing.environment.prefix_check import Prefix, checked_prefix, module_system
from osgbatch.packing.environment.prefix_editable import Editables, editables
from osgbatch.packing.environment.prefix_scan import Scan, paths_digest, scan
from osgbatch.packing.environment.venv_files import belonging, left_out_note
from osgbatch.packing.tree import absolute
from osgbatch.spec_model import Environment

Say = Callable[[str], None]


def prefix_fingerprint(wanted: Environment, path: Path) -> str:
    """A name for what a folder's environment would be packed to; nothing is run, no file is read
    but those that lead elsewhere.

    Raises PackingError for a folder that is no environment that can be packed.
    """
    found = checked_prefix(absolute(path))
    return _fingerprint(wanted, found, _scanned(found), _editables(found))


def prefix_archive(wanted: Environment, path: Path, cache: Path, say: Say) -> EnvironmentArchive:
    """Pack the environment in a folder, or take the archive of when it was last packed like this.

    say: called with one line per thing that takes time. Raises PackingError; the cache is then as
    it was.
    """
    found = checked_prefix(absolute(path))
    seen, elsewhere = _scanned(found), _editables(found)
    fingerprint = _fingerprint(wanted, found, seen, elsewhere)
    known = kept.read_entry(cache, fingerprint)
    if known is not None:
        return known
    with kept.locked(cache, fingerprint):
        known = kept.read_entry(cache, fingerprint)
        if known is not None:
            return known

        def check() -> None:
            if _fingerprint(wanted, found, _scanned(found), _editables(found)) != fingerprint:
                raise PackingError(
                    "the environment was changed while it was packed",
                    where=printable(str(found.path)),
                    fix="Do the same again when nothing installs into it.",
                )

        with kept.workshop(cache) as shop:
            notes = _notes(found, seen, elsewhere)
            if found.is_conda:
                from osgbatch.packing.environment.prefix_conda import conda_entry

                return conda_entry(wanted, found.path, shop, cache, fingerprint, say, notes, check)
            installed = _installed(wanted, found, elsewhere)
            entry = built_entry(installed, shop, cache, fingerprint, found.path, say, notes, check)
    return entry


def _scanned(found: Prefix) -> Scan:
    return scan(found.path, None if found.is_conda else belonging(found.path))


def _editables(found: Prefix) -> Editables:
    sites = _sites(found.path)
    belongs = None if found.is_conda else belonging(found.path)
    return editables(sites[0], found.path, belongs) if sites else Editables()


def _sites(prefix: Path) -> list[Path]:
    return sorted(prefix.glob("lib/python3*/site-packages"))


def _fingerprint(wanted: Environment, found: Prefix, seen: Scan, elsewhere: Editables) -> str:
    facts = {
        "packer": PACKER,
        "prefix": str(found.path),
        "files": seen.digest,
        "editable": paths_digest(
            member.source for member in elsewhere.members if member.source is not None
        ),
        **how(wanted),
    }
    if not found.is_conda:
        if not found.home.is_file():
            raise PackingError(
                f"its Python, {printable(str(found.home))}, is gone",
                where=printable(str(found.path)),
                fix="Make the environment anew.",
            )
        facts["interpreter"] = interpreter.identity(found.home, found.version)
    return fingerprint_of(facts)


def _installed(wanted: Environment, found: Prefix, elsewhere: Editables) -> Installed:
    """The environment as the packer takes it. Raises PackingError where its Python is another."""
    first = interpreter.describe(found.python)
    python = interpreter.describe(first.executable)
    site = site_folder(found.path, python)
    if not site.is_dir():
        there = [folder.parent.name for folder in _sites(found.path)]
        raise PackingError(
            f"its Python is {python.minor} now, and its packages are for "
            f"{', '.join(there) or 'none'}",
            where=printable(str(found.path)),
            fix="Make the environment anew with this Python.",
        )
    finders = {name.removesuffix(".py") for name in elsewhere.dropped}
    packages = [
        replace(one, modules=tuple(name for name in one.modules if name not in finders))
        for one in distributions(site)
    ]
    return Installed(
        found.path,
        python,
        tuple(packages),
        wanted,
        ours=False,
        added=tuple(elsewhere.members),
        sources=tuple(elsewhere.sources),
        dropped=elsewhere.dropped,
        rewritten=tuple(sorted(elsewhere.rewritten.items())),
    )


def _notes(found: Prefix, seen: Scan, elsewhere: Editables) -> tuple[str, ...]:
    if found.is_conda:
        return ()  # told where its files are listed
    notes = []
    for package in elsewhere.packages:
        places = ", ".join(dict.fromkeys(printable(str(path)) for path in package.sources))
        notes.append(f"{package.name} is an editable install: packed as it is now in {places}")
    linked = [name for name in seen.leaving if not name.startswith("bin/python")]
    if linked:
        more = f" and {len(linked) - 3} more" if len(linked) > 3 else ""
        shown = ", ".join(printable(name) for name in linked[:3])
        notes.append(
            f"links that leave the environment, packed as what they lead to: {shown}{more}"
        )
    notes += left_out_note(found.path, belonging(found.path))
    provider = module_system(found.home)
    if provider:
        notes.append(f"its Python comes from {provider} ({printable(str(found.home))})")
    return tuple(notes)

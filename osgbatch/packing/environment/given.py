"""`environment: {archive: FILE}`: an archive made elsewhere, checked, tried and taken as it is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Archive, printable
from osgbatch.packing.disk_full import check_room, full_disk, is_full
from osgbatch.packing.environment import cache as kept
from osgbatch.packing.environment import conda_elf, elf
from osgbatch.packing.environment.build import KIND, PACKER, fingerprint_of, how, unpacked
from osgbatch.packing.environment.cache import EnvironmentArchive
from osgbatch.packing.environment.given_listing import Listing, read_listing
from osgbatch.packing.environment.imports import importable
from osgbatch.packing.environment.interpreter import BINARIES, SYSTEM
from osgbatch.packing.environment.prefix_scan import facts
from osgbatch.packing.environment.trial import Trial, run_program
from osgbatch.packing.environment.trial_r import try_languages
from osgbatch.packing.tree import absolute
from osgbatch.spec_model import Environment

Say = Callable[[str], None]

CODE = "3"
"""Part of the fingerprint: raise it when more is known of the same archive."""
SHOWN = 3
CHUNK = 1 << 20
_LOADER = re.compile(r"(^|/)ld-(linux|musl)[^/]*\.so\.\d+$")


def given_fingerprint(wanted: Environment, path: Path) -> str:
    """A name for an archive of the user's; only its size and times are looked at.

    Raises PackingError when it is not there.
    """
    path = absolute(path)
    try:
        status = path.stat()
    except OSError as error:
        raise PackingError(
            f"the archive cannot be read: {error.strerror}",
            where=printable(str(path)),
            fix="Check the path, which is relative to the spec.",
        ) from error
    return fingerprint_of(
        {
            "packer": f"{PACKER} {CODE}",
            "archive": str(path),
            "state": facts(status).decode(),
            **how(wanted),
        }
    )


def given_archive(wanted: Environment, path: Path, cache: Path, say: Say) -> EnvironmentArchive:
    """Check and try an archive, and keep a copy of it, or take the one kept before.

    A copy, not a link: whoever packs the environment again may write over the first one.
    Raises PackingError; the cache is then as it was.
    """
    path = absolute(path)
    fingerprint = given_fingerprint(wanted, path)
    known = kept.read_entry(cache, fingerprint)
    if known is not None:
        return known
    with kept.locked(cache, fingerprint):
        known = kept.read_entry(cache, fingerprint)
        if known is not None:
            return known
        with kept.workshop(cache) as shop:
            return _taken(wanted, path, shop, cache, fingerprint, say)


def _taken(
    wanted: Environment, path: Path, shop: Path, cache: Path, fingerprint: str, say: Say
) -> EnvironmentArchive:
    say(f"checking {path.name}")
    copy = _copied(path, shop)
    if given_fingerprint(wanted, path) != fingerprint:
        raise PackingError(
            "the archive changed while it was copied",
            where=printable(str(path)),
            fix="Wait until whatever writes it is done.",
        )
    listed = read_listing(copy.path, path)  # the copy: what was checked is what is sent
    check_room(shop, listed.unpacked_size)
    folder = shop / "trial"
    (folder / "scratch").mkdir(parents=True)
    root = unpacked(copy.path, folder)
    needs = _needs(root, listed)
    notes = elf.library_notes(needs.outside, needs.missing, SHOWN)
    version = ""
    if wanted.test:
        say("trying the environment at another path")
        version, outside = _tried(wanted, root, path, listed, folder / "scratch")
        rest = [one for one in outside if Path(one).name not in needs.outside]
        more = f" and {len(rest) - SHOWN} more" if len(rest) > SHOWN else ""
        notes += [f"uses this machine's {', '.join(rest[:SHOWN])}{more}"] if rest else []
    else:
        notes.append("not tried before it was sent")
    entry = kept.entry_of(
        Archive(copy.path, copy.sha256, copy.size, listed.unpacked_size, len(listed.names)),
        python=version,
        packages=listed.packages,
        glibc_needed=needs.glibc,
        microarch=f"x86_64-v{needs.level}" if needs.level > 1 else "",
        fingerprint=fingerprint,
        notes=tuple(notes),
        modules=importable(sorted(listed.names)),
        kind="archive",
        made_from=printable(str(path)),
    )
    return kept.write_entry(cache, copy.path.parent, entry)


def _needs(root: Path, listed: Listing) -> conda_elf.Needs:
    """What the archive needs of an execution point; of one that brings its own glibc, the CPU."""
    own = any(_LOADER.search(name) and "sysroot" not in name for name in listed.names)
    names = sorted(listed.names)
    if own and f"{SYSTEM}/libc.so.6" in listed.names:  # ours: wheels choose by CPU themselves
        names = [name for name in names if name.startswith((f"{SYSTEM}/", f"{BINARIES}/"))]
    found = conda_elf.needs(root, (name for name in names if (root / name).is_file()))
    return replace(found, glibc="", outside=(), missing=()) if own else found


def _copied(path: Path, shop: Path) -> Archive:
    """A copy under a name of ours, hashed while it is made."""
    folder = shop / "copy"
    folder.mkdir()
    temporary = folder / "part"
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as source, temporary.open("wb") as target:
            check_room(shop, path.stat().st_size)
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                size += target.write(chunk)
    except OSError as error:
        if is_full(error):
            raise full_disk(error, shop.parent.parent, needs=path.stat().st_size) from error
        raise PackingError(
            f"the archive cannot be copied: {error.strerror}",
            where=printable(str(path)),
            fix="Give yourself the right to read it, and look whether its disk is well.",
        ) from error
    temporary.chmod(0o644)
    target_path = folder / f"{KIND}-{digest.hexdigest()[:16]}.tar.gz"
    temporary.rename(target_path)
    return Archive(target_path, digest.hexdigest(), size, 0, 0)


def _tried(
    wanted: Environment, root: Path, path: Path, listed: Listing, scratch: Path
) -> tuple[str, list[str]]:
    """Start what was unpacked at another path; the version of its Python, and libraries of this
    machine that it has loaded.
    """
    where = printable(str(path))
    if (root / "bin" / "conda-unpack").exists():
        _run(root, [str(root / "bin" / "conda-unpack")], scratch, "conda-unpack", where)
    if "bin/python" not in listed.names:
        command = [str(root / "bin" / "Rscript"), "-e", "cat(R.version.string)"]
        _run(root, command, scratch, "bin/Rscript", where)
        if not wanted.imports:
            return "", []
    trial: Trial = try_languages(root, sorted(wanted.imports), scratch)
    if trial.broken:
        raise PackingError(
            f"the environment does not work at another path: {trial.broken}",
            where=where,
            fix="Pack it with conda-pack, or name its folder: {prefix: DIR}.",
        )
    for module, said in trial.failed.items():
        raise PackingError(
            f"{module}, named under imports, cannot be imported: {said}",
            where=where,
            fix="Add the package that has it and pack the environment again.",
        )
    outside = sorted(str(one) for one in trial.outside if not _is_glibc(one.name))
    if "bin/python" not in listed.names:
        return "", outside
    command = [
        str(root / "bin" / "python"),
        "-c",
        "import platform as p; print(p.python_version())",
    ]
    return _run(root, command, scratch, "bin/python", where).strip(), outside


def _is_glibc(name: str) -> bool:
    """The parts of glibc, which a conda environment takes from the execution point."""
    stem = name.partition(".so")[0].partition("-2.")[0]
    return stem in ("libc", "libm", "libdl", "libpthread", "librt", "libutil", "libresolv") or (
        stem.startswith(("ld", "libnss"))
    )


def _run(root: Path, command: list[str], scratch: Path, what: str, where: str) -> str:
    """Run a program of the unpacked environment as `env -i` would. Raises PackingError."""
    path = {"PATH": f"{root / 'bin'}:/usr/bin:/bin"}
    done = run_program(command, scratch, path)
    if done.code != 0:
        raise PackingError(
            f"{what} fails at another path: {done.said or f'it ended with {done.code}'}",
            where=where,
            fix="Pack the environment with conda-pack, or name its folder: {prefix: DIR}.",
        )
    return done.stdout

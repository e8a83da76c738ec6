"""`environment: {archive: FILE}`: an archive made elsewhere, checked, tried and taken as it is."""

from __future__ import annotations

import gzip
import importlib
import os
import posixpath
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osgbatch.errors import PackingError
from osgbatch.model import Environment
from osgbatch.packing.archive import DISK_BLOCK, Archive, printable
from osgbatch.packing.environment import cache as kept
from osgbatch.packing.environment import conda_elf
from osgbatch.packing.environment.build import KIND, PACKER, fingerprint_of, how, unpacked
from osgbatch.packing.environment.cache import EnvironmentArchive
from osgbatch.packing.environment.imports import importable
from osgbatch.packing.environment.prefix_scan import facts
from osgbatch.packing.environment.trial import PLACE, SECONDS, Trial, try_environment
from osgbatch.packing.tree import absolute

Say = Callable[[str], None]

_gzip: Any = gzip
_Error: type[Exception] = zlib.error
try:  # three times as fast
    _gzip = importlib.import_module("isal.igzip")
    _Error = importlib.import_module("isal.isal_zlib").error
except ImportError:
    pass

KINDS = {
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -dc"),
    b"\xfd7zXZ\0": ("xz", "xz -dc"),
    b"BZh": ("bzip2", "bzip2 -dc"),
}
"""The first bytes of what is packed otherwise, its name, and what unpacks it."""
PROGRAMS = ("bin/python", "bin/Rscript")
SHOWN = 3


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
        {"packer": PACKER, "archive": str(path), "state": facts(status).decode(), **how(wanted)}
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
    listed = read_listing(path)
    copy = _copied(path, shop)
    notes: list[str] = []
    version = ""
    needs = conda_elf.Needs()
    if wanted.test:
        say("trying the environment at another path")
        version = _tried(wanted, copy.path, path, listed, shop, notes)
        if "bin/conda-unpack" in listed.names:  # what else there is has a glibc of its own
            root = shop / "trial" / PLACE
            files = (root / name for name in sorted(listed.names))
            needs = conda_elf.needs(root, (path for path in files if path.is_file()))
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


def _copied(path: Path, shop: Path) -> Archive:
    """A copy under a name of ours."""
    folder = shop / "copy"
    folder.mkdir()
    temporary = folder / "part"
    try:
        shutil.copyfile(path, temporary)
    except OSError as error:
        raise PackingError(
            f"the archive cannot be copied: {error.strerror}",
            where=printable(str(path)),
            fix="Make room, or let XDG_CACHE_HOME name a folder with more.",
        ) from error
    temporary.chmod(0o644)
    digest = kept.file_sha256(temporary)
    target = folder / f"{KIND}-{digest[:16]}.tar.gz"
    temporary.rename(target)
    return Archive(target, digest, target.stat().st_size, 0, 0)


@dataclass
class Listing:
    """What is in an archive. names: of its members; unpacked_size: bytes on disk."""

    names: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    unpacked_size: int = 0


def read_listing(path: Path) -> Listing:
    """The members of an archive. Raises PackingError for one that cannot be an environment."""
    where = printable(str(path))
    _check_compression(path)
    listed = Listing()
    packages: list[str] = []
    try:
        with _gunzipped(path) as raw, tarfile.open(fileobj=raw, mode="r|") as tar:
            for member in tar:
                name = posixpath.normpath(member.name)
                _check_member(member, name, where)
                if name == ".":
                    continue
                listed.names.add(name)
                listed.unpacked_size += DISK_BLOCK + member.size // DISK_BLOCK * DISK_BLOCK
                if member.issym():
                    listed.links[name] = member.linkname
                folder, _, base = name.rpartition("/")
                if base == "METADATA" and folder.endswith(".dist-info"):
                    stem = folder.rpartition("/")[2].removesuffix(".dist-info")
                    packages.append(stem.replace("-", "==", 1))
                elif folder == "conda-meta" and base.endswith(".json"):
                    packages.append("==".join(base.removesuffix(".json").rsplit("-", 2)[:2]))
            while raw.read(1 << 20):  # to its end, where the checksum stands
                pass
    except (tarfile.TarError, EOFError, zlib.error, _Error, OSError) as error:
        raise PackingError(
            f"the archive is damaged: {printable(str(error)) or 'it ends too early'}",
            where=where,
            fix="Make it again, or copy it again.",
        ) from error
    listed.packages = tuple(sorted(set(packages)))
    _check_programs(listed, path)
    return listed


def _gunzipped(path: Path) -> Any:
    """The content of a .gz file."""
    return _gzip.open(path, "rb")


def _check_compression(path: Path) -> None:
    where = printable(str(path))
    try:
        with path.open("rb") as file:
            head = file.read(6)
    except OSError as error:
        raise PackingError(
            f"the archive cannot be read: {error.strerror}",
            where=where,
            fix="Give yourself the right to read it.",
        ) from error
    if head.startswith(b"\x1f\x8b"):
        return
    for start, (name, command) in KINDS.items():
        if head.startswith(start):
            raise PackingError(
                f"the archive is packed with {name}, which not every execution point can unpack",
                where=where,
                fix=f"Pack it with gzip: `{command} {path.name} | gzip > env.tar.gz`.",
            )
    what = "a zip file" if head.startswith(b"PK") else "empty" if not head else "no .tar.gz"
    raise PackingError(
        f"the archive is {what}",
        where=where,
        fix="Make one with conda-pack, or name the environment's folder: {prefix: DIR}.",
    )


def _check_member(member: tarfile.TarInfo, name: str, where: str) -> None:
    shown = printable(member.name)
    bad = ""
    if _leads_out(name):
        bad = f"{shown} would be unpacked outside of its folder"
    elif member.isdev():
        bad = f"{shown} is a device or a pipe"
    elif member.islnk() and _leads_out(posixpath.normpath(member.linkname)):
        bad = f"{shown} is a link to a file outside of the archive"
    if bad:
        raise PackingError(
            bad, where=where, fix="Make the archive again, with `tar -C ENVIRONMENT`."
        )


def _leads_out(target: str) -> bool:
    return target.startswith(("/", "../")) or target == ".."


def _check_programs(listed: Listing, path: Path) -> None:
    """There must be a Python or an R, at its place, that does not stay behind."""
    where = printable(str(path))
    found = [name for name in PROGRAMS if name in listed.names]
    if not found:
        tops = {name.partition("/")[0] for name in listed.names}
        top = next(iter(tops), "")
        if len(tops) == 1 and any(f"{top}/{name}" in listed.names for name in PROGRAMS):
            raise PackingError(
                f"everything in the archive lies in a folder, {printable(top)}/",
                where=where,
                fix=f"Pack what is in it: `tar -czf env.tar.gz -C {printable(top)} .`",
            )
        raise PackingError(
            "there is neither bin/python nor bin/Rscript in the archive",
            where=where,
            fix="Name the archive of a whole environment, such as conda-pack makes it.",
        )
    for name in found:
        target = _followed(name, listed)
        if target not in listed.names:
            raise PackingError(
                f"{name} is a link to {printable(target)}, which is not in the archive: the "
                "interpreter stays behind",
                where=where,
                fix="Name the environment's folder, {prefix: DIR}: its interpreter then travels "
                "with it.",
            )


def _followed(name: str, listed: Listing) -> str:
    """Where a chain of links ends."""
    for _ in range(10):
        if name not in listed.links:
            break
        link = listed.links[name]
        name = posixpath.normpath(posixpath.join(posixpath.dirname(name), link))
    return name


def _tried(
    wanted: Environment,
    archive: Path,
    path: Path,
    listed: Listing,
    shop: Path,
    notes: list[str],
) -> str:
    """Unpack at another path and start it there; the version of its Python."""
    where = printable(str(path))
    folder = shop / "trial"
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    root = unpacked(archive, folder)
    if (root / "bin" / "conda-unpack").exists():
        _run(root, [str(root / "bin" / "conda-unpack")], scratch, "conda-unpack", where)
    if "bin/python" not in listed.names:
        command = [str(root / "bin" / "Rscript"), "-e", "cat(R.version.string)"]
        _run(root, command, scratch, "bin/Rscript", where)
        return ""
    trial: Trial = try_environment(root, sorted(wanted.imports), scratch)
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
    if outside:
        more = f" and {len(outside) - SHOWN} more" if len(outside) > SHOWN else ""
        notes.append(f"uses this machine's {', '.join(outside[:SHOWN])}{more}")
    command = [
        str(root / "bin" / "python"),
        "-c",
        "import platform as p; print(p.python_version())",
    ]
    return _run(root, command, scratch, "bin/python", where).strip()


def _is_glibc(name: str) -> bool:
    """The parts of glibc, which a conda environment takes from the execution point."""
    stem = name.partition(".so")[0].partition("-2.")[0]
    return stem in ("libc", "libm", "libdl", "libpthread", "librt", "libutil", "libresolv") or (
        stem.startswith(("ld", "libnss"))
    )


def _run(root: Path, command: list[str], scratch: Path, what: str, where: str) -> str:
    """Run a program of the unpacked environment as `env -i` would. Raises PackingError."""
    environment = {
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "PATH": f"{root / 'bin'}{os.pathsep}/usr/bin:/bin",
    }
    try:
        done = subprocess.run(
            command,
            cwd=scratch,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        said, code = str(error), 1
    else:
        said, code = done.stderr.strip().rpartition("\n")[2] or done.stdout.strip(), done.returncode
    if code != 0:
        raise PackingError(
            f"{what} fails at another path: {said}",
            where=where,
            fix="Pack the environment with conda-pack, or name its folder: {prefix: DIR}.",
        )
    return done.stdout

"""What is in an archive that somebody else made, and whether it can be an environment."""

from __future__ import annotations

import gzip
import importlib
import posixpath
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osgbatch.errors import PackingError
from osgbatch.packing.archive import DISK_BLOCK, printable

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
LINKS = 40
"""Links that are followed on the way to one file; Linux gives up after as many."""


@dataclass
class Listing:
    """What is in an archive. names: of its members; unpacked_size: bytes on disk."""

    names: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    unpacked_size: int = 0


def read_listing(path: Path, named: Path) -> Listing:
    """The members of an archive.

    named: as the user knows it. Raises PackingError for one that cannot be an environment, or that
    holds what would be unpacked, or leads, out of its folder.
    """
    where = printable(str(named))
    _check_compression(path, named)
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
    _check_links(listed, where)
    _check_programs(listed, named)
    return listed


def _gunzipped(path: Path) -> Any:
    """The content of a .gz file."""
    return _gzip.open(path, "rb")


def _check_compression(path: Path, named: Path) -> None:
    where = printable(str(named))
    with path.open("rb") as file:
        head = file.read(6)
    if head.startswith(b"\x1f\x8b"):
        return
    for start, (name, command) in KINDS.items():
        if head.startswith(start):
            raise PackingError(
                f"the archive is packed with {name}, which not every execution point can unpack",
                where=where,
                fix=f"Pack it with gzip: `{command} {printable(named.name)} | gzip > env.tar.gz`.",
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


def _check_links(listed: Listing, where: str) -> None:
    """Refuse links that lead out of the archive, and members that would be unpacked through one.

    bin/python is told of with its own words, later.
    """
    for name in sorted(listed.names):
        above = posixpath.dirname(name)
        while above and above not in listed.links:
            above = posixpath.dirname(above)
        if above:
            raise PackingError(
                f"{printable(name)} would be unpacked through the link {printable(above)}",
                where=where,
                fix="Make the archive again, with `tar -C ENVIRONMENT`.",
            )
    for name, target in sorted(listed.links.items()):
        if not name.startswith("bin/python") and followed(name, listed.links) is None:
            raise PackingError(
                f"{printable(name)} is a link that leads out of the archive, to "
                f"{printable(target)}",
                where=where,
                fix="Put what it leads to in its place (`cp -rL`), or remove the link; then pack "
                "the environment again.",
            )


def followed(name: str, links: dict[str, str]) -> str | None:
    """Where a path in an archive leads, as the system follows links; None when out of it."""
    done: list[str] = []
    waiting = name.split("/")[::-1]
    left = LINKS
    while waiting:
        part = waiting.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not done:
                return None
            done.pop()
            continue
        target = links.get("/".join([*done, part]))
        if target is None:
            done.append(part)
            continue
        left -= 1
        if target.startswith("/") or not left:
            return None
        waiting += target.split("/")[::-1]
    return "/".join(done)


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
        target = followed(name, listed.links)
        if target is None or target not in listed.names:
            shown = printable(target or _last_link(name, listed.links))
            raise PackingError(
                f"{name} is a link to {shown}, which is not in the archive: the interpreter stays "
                "behind",
                where=where,
                fix="Name the environment's folder, {prefix: DIR}: its interpreter then travels "
                "with it.",
            )


def _last_link(name: str, links: dict[str, str]) -> str:
    """What the last link of a chain says."""
    target = name
    for _ in range(LINKS):
        if name not in links:
            break
        target = links[name]
        name = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    return target

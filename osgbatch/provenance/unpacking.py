"""Unpacks an archive of code that a crate holds, and trusts nothing in it."""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from osgbatch.provenance.layout import ProvenanceError
from osgbatch.provenance.manifest import is_inside
from osgbatch.returned.paths import resolve
from osgbatch.sums import CHUNK

MOST_MEMBERS = 200_000
MOST_BYTES = 8 << 30
_LONGEST_LINK = 4095
"""Bytes of a path that Linux takes."""
_FORBIDDEN = frozenset([".git", ".hg", ".svn"])
"""Settings of version control can name programs to run; osgbatch packs none of them."""


def unpack(archive: Path, folder: Path) -> list[str]:
    """Unpack files, folders and links that stay inside into a new folder; gives the names at its
    top.

    Raises ProvenanceError for anything else, and for more than any code has; OSError when the disk
    is full.
    """
    folder.mkdir(parents=True)
    links: dict[str, str] = {}
    left, tops = MOST_BYTES, dict[str, None]()
    try:
        with tarfile.open(archive, "r|*") as tar:
            for count, member in enumerate(tar):
                name = member.name.removeprefix("./").rstrip("/")
                _check(archive, name, count)
                tops[name.split("/")[0]] = None
                if member.isdir():
                    (folder / name).mkdir(parents=True, exist_ok=True)
                elif member.issym():
                    if name in links:
                        raise _refused(archive, name, "is there twice")
                    links[name] = member.linkname
                elif member.isreg():
                    left -= member.size
                    if left < 0:
                        raise _refused(archive, name, "is more than any code has")
                    _write(tar, member, folder / name)
                else:
                    raise _refused(archive, name, "is no file, folder or link")
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise ProvenanceError(f"cannot be unpacked: {error}", where=str(archive)) from None
    for name, target in links.items():
        _check_link(archive, name, target, links)
    for name, target in links.items():  # last, so that none lies on the way of a file
        if os.path.lexists(folder / name):
            raise _refused(archive, name, "is a link on the way of others, or there twice")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, folder / name)
    return list(tops)


def _check_link(archive: Path, name: str, target: str, links: Mapping[str, str]) -> None:
    """Raises ProvenanceError for a link that leads out of the folder, also through others."""
    *above, _ = name.split("/")
    if any("/".join(above[: i + 1]) in links for i in range(len(above))):
        raise _refused(archive, name, "lies below a link")
    if len(target) > _LONGEST_LINK or "\0" in target or not target:
        raise _refused(archive, name, "is a link to nothing")
    if resolve(above, target, links) is None:
        raise _refused(archive, name, "is a link out of it")


def _check(archive: Path, name: str, count: int) -> None:
    if not is_inside(name) or _FORBIDDEN & set(name.split("/")):
        raise _refused(archive, name, "is no place that osgbatch packs")
    if count >= MOST_MEMBERS:
        raise _refused(archive, name, "is one file too many")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    stream = tar.extractfile(member)
    assert stream is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o755 if member.mode & 0o100 else 0o644
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, mode), "wb") as out:
        while part := stream.read(CHUNK):
            out.write(part)


def _refused(archive: Path, name: str, why: str) -> ProvenanceError:
    return ProvenanceError(
        f"{name[:100]!r} in it {why}",
        where=str(archive),
        fix="This crate was not written by osgbatch as it is; nothing of it is used.",
    )

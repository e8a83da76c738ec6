"""`manifest.sha256`: the checksums of results, as `sha256sum` writes and reads them."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from osgbatch.errors import OsgbatchError

CHUNK = 1 << 20
_LINE = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)", re.S)
_ESCAPED = re.compile(rb"\\(.?)", re.S)
_UNESCAPED = {b"n": b"\n", b"r": b"\r", b"\\": b"\\"}


class ManifestError(OsgbatchError):
    """A manifest is not there, or is not what it should be."""


def line(name: str, sha256: str) -> bytes:
    """A line of a manifest.

    name: relative to the results folder, with slashes; sha256: 64 hexadecimal digits.
    Source: coreutils manual, "sha2 utilities": a line that starts with a backslash has newlines and
    backslashes of its name escaped. A CR is escaped at the end of a name alone, where newer
    versions of `sha256sum -c` would drop it: those before 9.0 do not know that escape.
    """
    if "\\" not in name and "\n" not in name and not name.endswith("\r"):
        return f"{sha256}  {name}\n".encode("utf-8", "surrogateescape")
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
    if escaped.endswith("\r"):
        escaped = f"{escaped[:-1]}\\r"
    return f"\\{sha256}  {escaped}\n".encode("utf-8", "surrogateescape")


def parse(text: bytes) -> tuple[str, str]:
    """Name and checksum of a line, without its newline. Raises ValueError for any other."""
    match = _LINE.fullmatch(text)
    if match is None:
        raise ValueError("this is no line of sha256sum's")
    name = match[3]
    if match[1]:
        name = _ESCAPED.sub(_unescape, name)
    return name.decode("utf-8", "surrogateescape"), match[2].decode()


def _unescape(match: re.Match[bytes]) -> bytes:
    try:
        return _UNESCAPED[match[1]]
    except KeyError:
        raise ValueError("its name has an escape that sha256sum does not write") from None


def entries(path: Path) -> Iterator[tuple[str, str]]:
    """Names and checksums of a manifest, one at a time.

    Raises ManifestError, with the line, for what is none, and for a name that leads out of the
    results.
    """
    try:
        with path.open("rb") as stream:
            for number, text in enumerate(stream, 1):
                try:
                    name, sha256 = parse(text.removesuffix(b"\n"))
                    if not is_inside(name):
                        raise ValueError("its name leads out of the results")
                except ValueError as error:
                    raise ManifestError(
                        str(error),
                        where=f"{path}:{number}",
                        fix="The manifest was changed or damaged; `osgbatch provenance` of the "
                        "batch writes it anew.",
                    ) from None
                yield name, sha256
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror}", where=str(path)) from None


def is_inside(name: str) -> bool:
    """Whether a name is a plain path below a folder."""
    parts = name.split("/")
    return not ({"", ".", ".."} & set(parts)) and "\0" not in name


def file_sum(path: str | Path) -> tuple[str, int]:
    """SHA-256 and bytes of a regular file, read a part at a time.

    Raises OSError, also for what is no regular file: a pipe or a device is never read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        told = os.fstat(descriptor)
        if not stat.S_ISREG(told.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        digest, size = hashlib.sha256(), 0
        room = min(CHUNK, told.st_size + 1)  # most files are small, and a large buffer costs time
        while part := os.read(descriptor, room):
            digest.update(part)
            size += len(part)
    finally:
        os.close(descriptor)
    return digest.hexdigest(), size


def walk(top: Path, skip: frozenset[str] = frozenset()) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Whatever lies below a folder and is no folder itself, with its path from there.

    skip: names at the top that are left out. Links are not followed. Raises OSError.
    """
    folders = [""]
    while folders:
        below = folders.pop()
        with os.scandir(top / below if below else top) as found:
            for entry in found:
                name = f"{below}/{entry.name}" if below else entry.name
                if name in skip:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                else:
                    yield name, entry

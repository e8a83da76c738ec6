"""SHA-256 of files, and the lines in which sha256sum tells them."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from pathlib import Path

CHUNK = 1 << 20
"""Bytes that are read at a time."""
_LINE = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)", re.S)
_ESCAPED = re.compile(rb"\\(.?)", re.S)
_UNESCAPED = {b"n": b"\n", b"r": b"\r", b"\\": b"\\"}


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


def parse_sum(text: bytes) -> tuple[str, str]:
    """Name and checksum of a line of sha256sum's, without its newline.

    Raises ValueError for any other. Source: coreutils manual, "sha2 utilities": a line that starts
    with a backslash has newlines, CRs and backslashes of its name escaped.
    """
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

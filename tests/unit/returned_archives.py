"""Makes archives as execution points return them, for tests."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"") -> Member:
    """A file of an archive."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


def archive(path: Path, *members: Member) -> Path:
    """Write an archive; gives its path."""
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT, compresslevel=1) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path

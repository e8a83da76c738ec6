"""`<archive>.kept.json`: what is known of a returned archive that was dropped after collecting.

osgbatch writes it, on the access point; no execution point can bring a file of this name.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from osgbatch.errors import ResultError

SUFFIX = ".kept.json"
NOT_THERE = "its archive was dropped once it was collected, and not all is in results/ any more"
ARCHIVE_GONE = "its archive is gone from the batch folder, and not all of it is in results/"
"""Nothing is kept of it: osgbatch has not dropped it."""


@dataclass(frozen=True)
class Kept:
    """The records of an archive that is not there any more.

    name, size, mtime_ns, sha256: of the archive; job: its job's record, tasks: those of its tasks.
    """

    name: str
    size: int
    mtime_ns: int
    sha256: str
    job: Mapping[str, str]
    tasks: Mapping[int, Mapping[str, str]]


def kept_path(archive: Path) -> Path:
    """Where the record of an archive is kept."""
    return archive.with_name(archive.name.removesuffix(".tar.gz") + SUFFIX)


def archive_name(kept: str) -> str:
    """The name of the archive whose record has this name; empty when it is no such record."""
    return f"{kept.removesuffix(SUFFIX)}.tar.gz" if kept.endswith(SUFFIX) else ""


def write_kept(path: Path, kept: Kept) -> None:
    """Write a record whole, and to the disk, since what it tells of is deleted next."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    data = {
        "version": 1,
        "archive": kept.name,
        "size": kept.size,
        "mtime_ns": kept.mtime_ns,
        "sha256": kept.sha256,
        "job": dict(kept.job),
        "tasks": {str(index): dict(record) for index, record in kept.tasks.items()},
    }
    try:
        with fresh.open("w", encoding="utf-8") as stream:
            json.dump(data, stream, indent=1)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        fresh.rename(path)
        to_disk(path.parent)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def to_disk(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems have no such thing for folders, and write names at once.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def read_kept(path: Path) -> Kept:
    """Read a record. Raises ResultError when it is none, OSError when it cannot be read."""
    try:
        data = json.loads(path.read_text("utf-8"))
        if data["version"] != 1:
            raise ResultError("it was written by another version of osgbatch", where=str(path))
        return Kept(
            str(data["archive"]),
            int(data["size"]),
            int(data["mtime_ns"]),
            str(data["sha256"]),
            {str(key): str(value) for key, value in data["job"].items()},
            {
                int(index): {str(key): str(value) for key, value in record.items()}
                for index, record in data["tasks"].items()
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultError(
            f"the record of a dropped archive is damaged: {error}", where=str(path)
        ) from None

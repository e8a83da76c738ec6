"""What is not copied is known by its looks: bytes and times, and sums that are remembered."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from osgbatch import names
from osgbatch.errors import PackingError
from osgbatch.packing.archive import Member
from osgbatch.places import cache_folder
from osgbatch.staging.hashes import Hashes

_OWN = frozenset((names.RESULTS_TABLE, names.RESULTS_PARQUET))
"""What osgbatch writes anew in the results of a batch when more is known of its jobs."""


def looks(path: Path) -> list[int]:
    """Bytes, and when a file, or anything in a folder, was changed last, in ns.

    Raises PackingError when it cannot be looked at.
    """
    size, newest = 0, 0
    try:
        for status in _all(path):
            size += status.st_size
            newest = max(newest, status.st_mtime_ns)
    except OSError as error:
        raise unreadable(error, path) from None
    return [size, newest]


def newest(path: Path) -> int:
    """When a file was changed last, or anything in a folder; in ns.

    By the time of change that no program can set back: a copy that keeps its date is new, too.
    Raises OSError.
    """
    return max((status.st_ctime_ns for status in _all(path)), default=0)


def _all(path: Path) -> Iterator[os.stat_result]:
    """A file, or a folder and all that is in it.

    Of the results of an earlier batch only the files of its tasks: the others, and the times of the
    folders, change whenever it is collected.
    """
    results = path.resolve()
    while results.name != names.RESULTS or not (results.parent / names.RESOLVED).is_file():
        if results == results.parent:
            break
        results = results.parent
    is_own = results != results.parent
    if not is_own or not path.is_dir():
        yield path.stat()
    whole = path.resolve() == results
    for above, below, files in os.walk(path):
        here = whole and Path(above) == path
        for name in files if is_own else (*below, *files):
            if not (here and name in _OWN):
                yield os.lstat(os.path.join(above, name))


def sums(members: Iterable[Member]) -> Iterator[tuple[str, str]]:
    """Each thing by its name, with what tells its content; files that did not change are not read.

    Raises StagingError when one cannot be read.
    """
    with Hashes(cache_folder()) as hashes:
        for member in members:
            if member.is_folder:
                told = b"folder"
            elif member.link is not None:
                told = b"link " + os.fsencode(member.link)
            elif member.source is not None:
                ((sha256, _),) = hashes.of_files([member.source], lambda count: None)
                told = of_file(member.source, sha256)
            else:
                told = b"file " + hashlib.sha256(member.data or b"").hexdigest().encode()
            yield member.name, hashlib.sha256(told).hexdigest()


def of_file(source: Path, sha256: str) -> bytes:
    """What tells the content of a file, and whether it is a program. Raises OSError."""
    return (b"program " if is_program(source) else b"file ") + sha256.encode()


def is_program(source: Path) -> bool:
    """Whether a file may be run. Raises OSError."""
    return bool(source.stat().st_mode & 0o111)


def unreadable(error: OSError, path: Path) -> PackingError:
    """What is told of something of the user's that cannot be read."""
    return PackingError(
        f"{error.filename or path} cannot be read: {error.strerror}",
        fix="Give yourself the right to read it.",
    )

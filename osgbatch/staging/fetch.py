"""Brings one file from a stash or bucket to this machine: whole and verified, or not at all."""

from __future__ import annotations

import hashlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from osgbatch.errors import ResultError, StagingError
from osgbatch.spec_model import Stash
from osgbatch.staging.hashes import CHUNK
from osgbatch.staging.stage import Progress

if TYPE_CHECKING:
    from osgbatch.staging.s3 import S3Store

PATIENCE_S = 120.0
"""A transfer that is cut off is gone on with, unless nothing came for this long."""
PART = ".part"


class Source(ABC):
    """A folder of a stash, read from here. Names are those of files right in it."""

    url: str = ""
    """Of the folder, for people; empty where they know it."""

    def shown(self, name: str) -> str:
        """A file of it for people."""
        return f"{self.url}/{name}" if self.url else name

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes of a file; None when it is not there. Raises StagingError."""

    @abstractmethod
    def read(self, name: str, start: int) -> Iterator[bytes]:
        """A file from its byte `start` on. Raises ConnectionError when cut off, StagingError."""

    def path(self, name: str) -> Path | None:
        """Where a file is on this very machine, if it is."""
        return None


class FolderSource(Source):
    """A folder here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def size(self, name: str) -> int | None:
        """See Source."""
        try:
            return (self.folder / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(self.folder / name, error) from None

    def read(self, name: str, start: int) -> Iterator[bytes]:
        """See Source."""
        try:
            with (self.folder / name).open("rb") as stream:
                stream.seek(start)
                while block := stream.read(CHUNK):
                    yield block
        except OSError as error:
            raise _unreadable(self.folder / name, error) from None

    def path(self, name: str) -> Path | None:
        """See Source."""
        return self.folder / name


class BucketSource(Source):
    """A prefix in a bucket."""

    def __init__(self, store: S3Store) -> None:
        self.store = store

    def size(self, name: str) -> int | None:
        """See Source."""
        return self.store.size_of_key(self.store.prefix + name)

    def read(self, name: str, start: int) -> Iterator[bytes]:
        """See Source."""
        return self.store.read_key(self.store.prefix + name, start)


def open_source(url: str, stash: Stash) -> Source:
    """What a URL leads to. stash: how it is read from here. Raises StagingError when it cannot be.

    url: of a folder, for people.
    """
    found: Source
    if stash.kind == "folder":
        found = FolderSource(Path(stash.folder))
    elif stash.kind == "s3":
        from osgbatch.staging.s3 import S3Store

        found = BucketSource(S3Store(stash))
    else:
        raise StagingError(
            "the data cannot be read from this machine",
            where=url,
            fix="Known here are s3://, file://, and what lies in the stash's folder.",
        )
    found.url = url
    return found


def fetch(
    source: Source, name: str, target: Path, sha256: str, size: int, progress: Progress
) -> Path:
    """A file of a source on this machine, verified; a folder's own is not copied.

    target: where it is brought, under another name until it is whole; what an interruption left
    there is gone on with. Returns where it is. Raises ResultError when it is not there or not what
    it should be, StagingError when that cannot be told, OSError when the disk is full.
    """
    here = source.path(name)
    if here is None and target.exists() and _sha256_of(target, progress) == sha256:
        return target
    found = source.size(name)
    if found is None:
        raise ResultError(f"its data is not there: {source.shown(name)}")
    if found != size:
        raise ResultError(f"its data has {found} bytes, and the record of its job says {size}")
    progress.start("fetching", size)
    try:
        if here is None:
            _copy(source, name, target, sha256, size, progress)
        elif _digest(source.read(name, 0), progress) != sha256:
            raise _damaged(source.shown(name))
    finally:
        progress.end()
    return here or target


def _copy(
    source: Source, name: str, target: Path, sha256: str, size: int, progress: Progress
) -> None:
    target.parent.mkdir(exist_ok=True)
    part = target.with_name(target.name + PART)
    for _ in range(2):  # going on may be the culprit: what was left, or a server without ranges
        if _part_is(source, name, part, sha256, size, progress):
            part.replace(target)
            return
    raise _damaged(source.shown(name))


def _part_is(
    source: Source, name: str, part: Path, sha256: str, size: int, progress: Progress
) -> bool:
    """Whether the rest of a file makes it what it should be; if not, all of it is removed."""
    with part.open("ab+") as out:
        if _length(part) > size:
            out.truncate(0)
        out.seek(0)
        digest, have = hashlib.sha256(), 0
        while block := out.read(CHUNK):
            digest.update(block)
            have += len(block)
        progress.advance(have)
        wait, patience = 0.5, time.monotonic() + PATIENCE_S
        while have < size:
            try:
                for block in source.read(name, have):
                    out.write(block)
                    digest.update(block)
                    have += len(block)
                    progress.advance(len(block))
                    wait, patience = 0.5, time.monotonic() + PATIENCE_S
            except ConnectionError as error:
                if time.monotonic() > patience:
                    raise StagingError(
                        f"the transfer is cut off again and again: {error}",
                        where=name,
                        fix="The same command goes on where it was.",
                    ) from None
            if have < size:
                time.sleep(wait)
                wait = min(wait * 2, 10.0)
                if time.monotonic() > patience:
                    break
        out.flush()
        os.fsync(out.fileno())
    if have == size and digest.hexdigest() == sha256:
        return True
    part.unlink()
    return False


def _sha256_of(path: Path, progress: Progress) -> str:
    progress.start("verifying", path.stat().st_size)
    try:
        return _digest(FolderSource(path.parent).read(path.name, 0), progress)
    finally:
        progress.end()


def _digest(parts: Iterator[bytes], progress: Progress) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
        progress.advance(len(part))
    return digest.hexdigest()


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _damaged(name: str) -> ResultError:
    return ResultError(f"its data is damaged: {name} is not what the record of its job says")


def _unreadable(path: Path, error: OSError) -> StagingError:
    return StagingError(f"cannot be read: {error.strerror or error}", where=str(path))

"""The copy of a file while it is made: under another name, locked, gone on with, read back."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
from contextlib import suppress
from pathlib import Path

from osgbatch.staging.hashes import CHUNK, changed
from osgbatch.staging.objects import Object
from osgbatch.staging.store import Advance

LARGE = 64 * 1024**2
_STEP = 8 * CHUNK
_NO_COPY = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM)


class Part:
    """The copy of a file while it is made: open, and locked against another osgbatch."""

    def __init__(self, path: Path, source: Path, wanted: Object) -> None:
        self.path = path
        self.source = source
        self.wanted = wanted
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with suppress(OSError):  # file systems without locks are done without
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def close(self) -> None:
        """Let others have it. Harmless when it is closed."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1

    def discard(self) -> None:
        """Remove it, and close it."""
        with suppress(OSError):
            self.path.unlink()
        self.close()

    def is_current(self) -> bool:
        """Whether the open file is still the one of this name."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def copy(self, advance: Advance) -> None:
        """Copy what is missing; what of it is wrong shows when it is read back.

        Raises StagingError when the source has another size than was wanted, OSError.
        """
        start = os.fstat(self.descriptor).st_size
        if start > self.wanted.size:
            os.ftruncate(self.descriptor, 0)
            start = 0
        advance(start)
        descriptor = os.open(self.source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size != self.wanted.size:
                raise changed(self.source)
            _copy(descriptor, self.descriptor, start, self.wanted.size, advance)
        finally:
            os.close(descriptor)
        if os.fstat(self.descriptor).st_size != self.wanted.size:
            raise changed(self.source)
        os.fchmod(self.descriptor, 0o644)

    def is_right(self) -> bool:
        """Whether all of it, read back, is what it should be."""
        if self.wanted.size > LARGE:
            forget_pages(self.descriptor)
        return hash_of(self.descriptor) == self.wanted.sha256

    def restart(self) -> None:
        """Copy all of it again. Raises StagingError when it is the source that is another."""
        os.ftruncate(self.descriptor, 0)
        self.copy(lambda _: None)
        os.fsync(self.descriptor)
        if not self.is_right():
            descriptor = os.open(self.source, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if hash_of(descriptor) != self.wanted.sha256:
                    raise changed(self.source)
            finally:
                os.close(descriptor)


def _copy(source: int, target: int, start: int, stop: int, advance: Advance) -> None:
    """Copy these bytes, in the kernel where it can: it may even share them."""
    at = start
    in_kernel = hasattr(os, "copy_file_range")
    os.lseek(target, start, os.SEEK_SET)
    while at < stop:
        if in_kernel:
            try:
                count = os.copy_file_range(source, target, min(_STEP, stop - at), at, at)
            except OSError as error:
                if error.errno not in _NO_COPY:
                    raise
                count = 0
            if not count:  # some file systems say so instead of refusing
                in_kernel = False
                os.lseek(target, at, os.SEEK_SET)
                continue
        else:
            data = os.pread(source, min(CHUNK, stop - at), at)
            if not data:
                return
            count = os.write(target, data)
        at += count
        advance(count)


def flush(parts: list[Part]) -> None:
    """Have what was written reach the disk: of one file, or of its whole file system.

    Raises OSError when it does not. Source: syncfs(2), which tells of failed writes from Linux 5.8
    on; before that reading back must do.
    """
    if len(parts) > 1 and _syncfs(parts[0].descriptor) == 0:
        return
    for part in parts:
        os.fsync(part.descriptor)


def _syncfs(descriptor: int) -> int:
    try:
        return int(ctypes.CDLL(None).syncfs(descriptor))
    except (AttributeError, OSError):
        return -1


def forget_pages(descriptor: int) -> None:
    """Let the kernel drop what it can of its copy, so that reading back asks the file system."""
    with suppress(OSError):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def hash_of(descriptor: int, advance: Advance | None = None) -> str:
    """The SHA-256 of an open file, from its start. Raises OSError."""
    digest = hashlib.sha256()
    os.lseek(descriptor, 0, os.SEEK_SET)
    while part := os.read(descriptor, CHUNK):
        digest.update(part)
        if advance:
            advance(len(part))
    return digest.hexdigest()

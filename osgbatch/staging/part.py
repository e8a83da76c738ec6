"""The copy of a file while it is made: under another name, locked, gone on with, read back."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import hashlib
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from osgbatch.staging.hashes import CHUNK, changed
from osgbatch.staging.hold import lock
from osgbatch.staging.objects import Object
from osgbatch.staging.store import Advance

LARGE = 64 * 1024**2
_STEP = 8 * CHUNK
_NO_COPY = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM)


class SourceError(OSError):
    """The file that is to be copied cannot be read."""


class Part:
    """The copy of a file while it is made: open, and locked against another osgbatch.

    path: where it is. Where there are no locks its name holds who makes it: two that write one
    file would each publish what the other may still change.
    """

    def __init__(
        self, path: Path, source: Path, wanted: Object, waiting: Callable[[], None] = lambda: None
    ) -> None:
        self.path = path
        self.source = source
        self.wanted = wanted
        self.descriptor = _open(path)
        if not lock(self.descriptor, fcntl.LOCK_EX, waiting):
            os.close(self.descriptor)
            self.path = _own(path)
            self.descriptor = _open(self.path)

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

        Raises StagingError when the source has another size than was wanted, SourceError, OSError.
        """
        start = os.fstat(self.descriptor).st_size
        if start > self.wanted.size:
            os.ftruncate(self.descriptor, 0)
            start = 0
        advance(start)
        descriptor = _open_source(self.source)
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

    def restart(self) -> bool:
        """Copy all of it again, and read it back: whether it is what it should be.

        Raises StagingError when it is the source that is another, SourceError, OSError.
        """
        os.ftruncate(self.descriptor, 0)
        self.copy(lambda _: None)
        os.fsync(self.descriptor)
        if self.is_right():
            return True
        descriptor = _open_source(self.source)
        try:
            if hash_of(descriptor) != self.wanted.sha256:
                raise changed(self.source)
        finally:
            os.close(descriptor)
        return False


def remove_abandoned(path: str, older_s: float) -> bool:
    """Remove the copy of a file that nobody has worked at for so long; whether it was.

    It is locked until it is gone: who opens it meanwhile waits, and then sees that it is. Where
    there are no locks its age alone must do. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        status = os.fstat(descriptor)
        if time.time() - status.st_mtime <= older_s:
            return False
        if not os.path.samestat(status, os.stat(path)):  # that one was finished meanwhile
            return False
        os.unlink(path)
        return True
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _own(path: Path) -> Path:
    """The name of a copy that only this process works at; what a dead one has left becomes it."""
    start = f"{path.name}-{socket.gethostname()}-"
    own = path.with_name(f"{start}{os.getpid()}")
    for left in path.parent.glob(f"{glob.escape(start)}*"):
        if left != own and not own.exists() and _is_dead(left.name.removeprefix(start)):
            with suppress(OSError):  # another was first
                left.rename(own)
    # Ours before it was known that there are no locks, or nobody's.
    with suppress(OSError):
        if path.stat().st_size == 0:
            path.unlink()
    return own


def _is_dead(number: str) -> bool:
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (ValueError, OverflowError, PermissionError):
        pass
    return False


def _open_source(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SourceError(error.errno, error.strerror, str(path)) from None


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
            try:
                data = os.pread(source, min(CHUNK, stop - at), at)
            except OSError as error:
                raise SourceError(error.errno, error.strerror) from None
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
    with suppress(AttributeError, OSError):  # macOS has no such call
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

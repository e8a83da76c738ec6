"""Locks on files that may be replaced or removed by whoever had them last."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

SHARED, ALONE = fcntl.LOCK_SH, fcntl.LOCK_EX


class Held:
    """A lock that is kept for as long as somebody has this object; a killed process gives it up."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        """Give the lock up now."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def take(path: Path, how: int, wait: bool = True, create: bool = True) -> Held | None:
    """Lock a file; None when another has it and we do not wait.

    how: SHARED or ALONE. The file that is locked is the one that has the path then, not one that
    was removed while we waited. Where the file system has no locks nothing is locked.
    Raises OSError when the file cannot be opened.
    """
    while True:
        held = Held(_opened(path, create))
        try:
            fcntl.flock(held.descriptor, how | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            held.release()
            return None
        except OSError:  # a file system without locks
            return held
        try:
            ours, there = os.fstat(held.descriptor), os.stat(path)
        except FileNotFoundError:
            there = None
        if there is not None and (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino):
            return held
        held.release()


def _opened(path: Path, create: bool) -> int:
    flags = os.O_CLOEXEC | (os.O_CREAT if create else 0)
    try:
        return os.open(path, os.O_RDWR | flags, 0o644)  # NFS locks alone only what can be written
    except (PermissionError, IsADirectoryError):
        if create:
            raise
        return os.open(path, os.O_RDONLY | flags)

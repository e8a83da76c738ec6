"""A lock on a whole stash: many may bring files at a time, and only one alone may remove them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from osgbatch.errors import StagingError

if TYPE_CHECKING:
    from typing_extensions import Self

WAITING = "waiting for another osgbatch, which is bringing the same files to the stash"


def quiet(line: str) -> None:
    """Tells nobody anything."""


def lock(descriptor: int, kind: int, waiting: Callable[[], None]) -> bool:
    """Lock an open file, and say so before it is waited for. kind: as flock(2) knows it.

    Returns whether it is locked; a file system without locks says no.
    """
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, kind)
    except OSError:
        return False
    return True


class Closing:
    """What holds a descriptor, and is closed at the end of a `with`."""

    descriptor = -1

    def close(self) -> None:
        """Let others have it. Harmless when it is closed."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Hold(Closing):
    """A lock that is held for as long as this is open, or this process lives."""

    def __init__(self, path: Path, *, alone: bool, tell: Callable[[str], None] = quiet) -> None:
        """Wait for the lock; alone: nobody else holds it then, and it is not waited for.

        tell: is given a line when it must be waited for. Where there are no locks those who only
        bring files do without one. Raises StagingError when it is wanted alone, and in use or not
        to be had.
        """
        self.descriptor = _opened(path)
        if alone:
            self._alone(path)
        elif self.descriptor >= 0:
            waiting = "waiting for the stash: `osgbatch stage gc` is removing objects just now"
            if not lock(self.descriptor, fcntl.LOCK_SH, lambda: tell(waiting)):
                self.close()

    def _alone(self, path: Path) -> None:
        try:
            if self.descriptor < 0:
                raise PermissionError
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise StagingError(
                "an osgbatch is using the stash just now",
                where=str(path.parent),
                fix="Try again when it has submitted; nothing was removed.",
            ) from None
        except OSError:
            self.close()
            raise StagingError(
                "the stash cannot be locked, so that a submission might need what is removed",
                where=str(path),
                fix="Run this as the owner of that file, on a machine whose file system knows "
                "locks (flock); nothing was removed.",
            ) from None

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):
            self.close()


def _opened(path: Path) -> int:
    """The descriptor of a lock's file; -1 when there can be none."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):  # another user's can still be locked
        with suppress(OSError):
            return os.open(path, flags | os.O_CLOEXEC, 0o644)
    return -1

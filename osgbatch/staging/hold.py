"""A lock on a whole stash: many may bring files at a time, and only one alone may remove them."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from osgbatch.errors import StagingError


class Hold:
    """A lock that is held for as long as this is open, or this process lives."""

    def __init__(self, path: Path, *, alone: bool) -> None:
        """Wait for the lock; alone: nobody else holds it then, and it is not waited for.

        A file system without locks is done without. Raises StagingError when it is in use.
        """
        self._descriptor = _opened(path)
        if self._descriptor < 0:
            return
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
        except BlockingIOError:
            self.close()
            raise StagingError(
                "an osgbatch is using the stash just now",
                where=str(path.parent),
                fix="Try again when it has submitted; nothing was removed.",
            ) from None
        except OSError:
            self.close()

    def close(self) -> None:
        """Let others have it. Harmless when it is closed."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

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

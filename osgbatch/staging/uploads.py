"""Notes of uploads under way, so that what a killed one left is known to be ours."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from osgbatch.errors import StagingError
from osgbatch.staging.hold import WAITING, Closing, quiet
from osgbatch.staging.objects import Object

_LOOK_S = 0.2


class Upload(Closing):
    """The note of one object, locked: nobody else on this machine brings it meanwhile.

    was_begun: whether an earlier upload of this object did not come to its end. descriptor: holds
    the lock; a command that inherits it keeps it, also when osgbatch is killed. -1 where there can
    be no note: then nothing is known, and what is half there is refused.
    """

    def __init__(
        self,
        folder: Path,
        wanted: Object,
        stopped: threading.Event,
        tell: Callable[[str], None] = quiet,
    ) -> None:
        """Wait until no other upload of it runs; `tell` is given a line when there is one.

        Raises StagingError when `stopped` is set.
        """
        self._path = folder / wanted.name.rpartition("/")[2]
        self._size = wanted.size
        self.was_begun = False
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            while not self._opened():
                tell(WAITING)
                tell = quiet
                if stopped.wait(_LOOK_S):
                    raise StagingError(
                        "it was not begun, for another has failed", where=self._path.name
                    )
            self.was_begun = os.pread(self.descriptor, 32, 0) == b"%d\n" % self._size

    def _opened(self) -> bool:
        """Whether the note is open and locked; not when another has it, or has removed it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(self._path, descriptor):
                self.descriptor = descriptor
        except BlockingIOError:
            pass
        finally:
            if self.descriptor != descriptor:
                os.close(descriptor)
        return self.descriptor >= 0

    def begin(self) -> None:
        """What is there from now on, if it is not whole, is of this upload."""
        if self.descriptor >= 0:
            with suppress(OSError):
                os.pwrite(self.descriptor, b"%d\n" % self._size, 0)

    def done(self) -> None:
        """Nothing half of ours is there any more."""
        if self.descriptor >= 0:
            with suppress(OSError):
                self._path.unlink()


def begun_sizes(folder: Path) -> dict[str, int]:
    """Bytes of the objects whose uploads were begun and have not come to their ends, by name."""
    found = {}
    with suppress(OSError):
        for base in os.listdir(folder):
            with suppress(OSError, ValueError):
                found[f"{base[:2]}/{base}"] = int((folder / base).read_bytes())
    return found


def forget(folder: Path, name: str) -> None:
    """An object whose upload was begun is there whole."""
    with suppress(OSError):
        (folder / name.rpartition("/")[2]).unlink()


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False

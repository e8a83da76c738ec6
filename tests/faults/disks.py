"""Small disks that a test can really fill; the pool's daemons see them, too (namespaces.py)."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "OSGBATCH_SMALL_DISKS"


@dataclass(frozen=True)
class Disk:
    """A disk of a few MB. path: its root."""

    path: Path

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def free(self) -> int:
        """The bytes that can still be written."""
        told = os.statvfs(self.path)
        return told.f_bavail * told.f_frsize

    def fill(self, left: int = 0) -> None:
        """Leave so many bytes free, rounded up to pages; others may write meanwhile."""
        with self._ballast.open("ab") as stream:
            while (more := self.free() - left) > 0:
                size = os.fstat(stream.fileno()).st_size
                try:
                    os.posix_fallocate(stream.fileno(), size, more)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def make_room(self) -> None:
        """As it was before it was filled."""
        self._ballast.unlink(missing_ok=True)


def why_none() -> str:
    """Why there are no small disks here; empty where there are."""
    folder = os.environ.get(VARIABLE, "")
    if folder and os.path.ismount(f"{folder}/0"):
        return ""
    return "no file system of one's own can be made here (no namespaces), so no disk that is full"


@contextmanager
def small_disk() -> Iterator[Disk]:
    """An empty disk that nobody else has; what is on it is gone afterwards."""
    folder = Path(os.environ[VARIABLE])
    for number in range(sum(os.path.ismount(one) for one in folder.iterdir())):
        with (folder / f"{number}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            disk = Disk(folder / str(number))
            try:
                yield disk
            finally:
                for one in disk.path.iterdir():
                    shutil.rmtree(one, ignore_errors=True) if one.is_dir() else one.unlink()
            return
    raise AssertionError(f"all small disks in {folder} are in use")

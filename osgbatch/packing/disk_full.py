"""A full disk, told in one way by whomever it is met: by us, pip, conda's installer, tar."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from osgbatch.errors import OsgbatchError, PackingError
from osgbatch.packing.archive import printable

FULL = (errno.ENOSPC, errno.EDQUOT)
MB = 1024**2
NEARLY_FULL = 16 * MB
_SPACE = re.compile(
    r"no space left on device|wrote only \d+ of \d+ bytes|\(os error 28\)", re.IGNORECASE
)
_QUOTA = re.compile(r"disk quota exceeded|\(os error 122\)", re.IGNORECASE)

CACHE_FIX = (
    "Let XDG_CACHE_HOME name a folder with more room, or make some: `osgbatch pack clean` removes "
    "what was not used for long."
)
BATCH_FIX = "Make room there, or put the sweep on a file system with more."


class FullDiskError(PackingError):
    """There is no room left, or none within the user's quota."""


def is_full(error: BaseException | None) -> bool:
    """Whether an error comes of a full disk or a used-up quota, by its number or what it says."""
    return bool(_reason(error))


def _reason(error: BaseException | None) -> str:
    """`no space` or `quota`; empty for other errors. What caused an error is looked at, too."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in FULL:
            return "quota" if error.errno == errno.EDQUOT else "no space"
        said = str(error)
        if isinstance(error, subprocess.CalledProcessError):
            said = f"{error.stderr or ''} {error.output or ''}"
        if _QUOTA.search(said):
            return "quota"
        if _SPACE.search(said):
            return "no space"
        error = error.__cause__ or error.__context__
    return ""


def full_disk(
    error: BaseException | None, folder: Path, needs: int = 0, least: int = 0, fix: str = CACHE_FIX
) -> FullDiskError:
    """The error for a full disk.

    folder: what cannot be written to. needs: bytes that it takes in all, about; least: bytes that
    it takes at least, where that is all that is known; 0 when not even that.
    """
    what = "your quota is used up" if _reason(error) == "quota" else "no space is left there"
    if needs:
        what += f"; this needs about {_mb(needs)} MB"
    elif least >= MB:
        what += f"; this needs more than {_mb(least)} MB"
    return FullDiskError(what, where=printable(str(folder)), fix=fix)


@contextlib.contextmanager
def told_when_full(
    folder: Path, fix: str = CACHE_FIX, measured: Path | None = None
) -> Iterator[None]:
    """Turn whatever comes of a full disk into one FullDiskError; other errors pass.

    folder: what is written to. measured: a folder whose size then is the least that is needed.
    """
    try:
        yield
    except FullDiskError:
        raise
    except (OSError, OsgbatchError) as error:
        if not is_full(error):
            raise
        temporary = Path(tempfile.gettempdir())
        is_quota = _reason(error) == "quota"  # that is told of no folder with room in it
        if not is_quota and free_bytes(folder) > NEARLY_FULL > free_bytes(temporary):
            fix = "Let TMPDIR name a folder with more room, or make some."
            raise full_disk(error, temporary, fix=fix) from error
        least = size_below(measured) if measured else 0
        raise full_disk(error, folder, least=least, fix=fix) from error


def check_room(folder: Path, needs: int) -> None:
    """Refuse what cannot fit before it is begun. needs: bytes. Raises FullDiskError.

    A quota is not seen in this; that one is told when it is used up.
    """
    free = free_bytes(folder)
    if free < needs:
        raise FullDiskError(
            f"this needs about {_mb(needs)} MB, and {free // MB} MB are free there",
            where=printable(str(folder)),
            fix=CACHE_FIX,
        )


def free_bytes(folder: Path) -> int:
    """What a user may still write below a folder; very much where nobody knows."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 1 << 62


def size_below(top: Path) -> int:
    """The bytes on disk of what lies in a folder; links into elsewhere are not followed."""
    size = 0
    seen = set()
    for folder, _, names in os.walk(top):
        for name in names:
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(folder, name))
                if (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    size += status.st_blocks * 512
    return size


def _mb(size: int) -> int:
    return max(1, -(-size // MB))

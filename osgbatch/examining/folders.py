"""Checks of folders: home, the current one, cache, state, temporary files; room and locks."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import time
from pathlib import Path

from osgbatch import places
from osgbatch.examining.check import (
    CLOCKS,
    FAILURE,
    FOLDERS,
    OK,
    Check,
    Found,
    Here,
    failure,
    ok,
    warning,
)
from osgbatch.staging.quota import Room
from osgbatch.submission.quotas import room_at
from osgbatch.texts import about, size

LITTLE, VERY_LITTLE = 1024**3, 50 * 1024**2
"""Bytes: with less of them left it is a warning, a failure."""
OFF_S, FAR_OFF_S = 5.0, 300.0
"""Seconds by which a clock may differ; servers of S3 and tokens allow five minutes or more."""
SAMPLE = b"osgbatch doctor\n" * 256


def home(here: Here) -> Found:
    """Whether it is there, the user's own, and has room."""
    folder = Path.home()
    if not folder.is_dir():
        return failure(f"the home folder {folder} is not there", "Ask the administrator.")
    found = _usable(here, folder, "your home folder")
    mode = folder.stat().st_mode
    if found.state == OK and mode & 0o022:
        return warning(f"others may write to {folder} (mode {mode & 0o777:03o})",
                       f"Type `chmod go-w {folder}`.")  # fmt: skip
    return found


def current(here: Here) -> Found:
    """Where a batch would be made: room, rights, and whether the pool wants submissions there."""
    wanted = here.profile.facts.home
    found = _usable(here, here.folder, "the current folder")
    real = Path(os.path.realpath(here.folder))
    away = here.condor and wanted and not real.is_relative_to(os.path.realpath(wanted))
    if found.state != FAILURE and away:
        return warning(
            f"{here.folder} is not below {wanted}, and {here.profile.facts.name} wants jobs to "
            "be submitted from there",
            f"Put sweeps below {wanted}.",
        )
    return found


def cache(here: Here) -> Found:
    """Where packed environments are kept."""
    return _usable(here, places.cache_folder(), "the cache")


def state(here: Here) -> Found:
    """Where the list of batches is kept."""
    return _usable(here, places.state_folder(), "the state folder")


def temporary(here: Here) -> Found:
    """Where programs put what they need for a moment."""
    return _usable(here, Path(tempfile.gettempdir()), "the folder for temporary files")


def locks(here: Here) -> Found:
    """Whether files can be locked where batches are made, and in the cache."""
    without = []
    for folder in dict.fromkeys((_there(here.folder), _there(places.cache_folder()))):
        if not _locks(folder):
            without.append(str(folder))
    if without:
        return warning(
            f"files cannot be locked (flock) in {' and '.join(without)}",
            "Two osgbatch at once are not kept apart there: let one end before the next begins.",
        )
    return ok("files can be locked")


def file_clock(here: Here) -> Found:
    """The clocks of the file systems, against that of this machine."""
    worst, where = 0.0, Path()
    for folder in dict.fromkeys((_there(here.folder), _there(Path.home()))):
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".osgbatch-") as file:
            before = time.time()
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
            stamp = os.stat(file.name).st_mtime
            after = time.time()
        off = min(0.0, stamp - before) + max(0.0, stamp - after)
        if abs(off) >= abs(worst):
            worst, where = off, folder
    return clock_found(worst, f"the file system of {where}")


def clock_found(off: float, whose: str) -> Found:
    """What is said of a clock. off: seconds by which it is ahead of that of this machine."""
    if abs(off) <= OFF_S:
        return ok(f"{whose} agrees with this machine", off_s=round(off, 1))
    way = "ahead of" if off > 0 else "behind"
    told = f"{whose} is {about(abs(off))} {way} this machine's clock"
    fix = (
        "Times of tasks will be wrong, and tokens and signatures may be refused: tell the "
        "administrator to set this clock (NTP)."
    )
    return (failure if abs(off) > FAR_OFF_S else warning)(told, fix, off_s=round(off, 1))


def _usable(here: Here, folder: Path, name: str) -> Found:
    """Whether a file can be written, flushed and read back there, and how much room is left.

    A folder that is not there yet is not made: that above it is looked at. Raises OSError.
    """
    there = _there(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".osgbatch-") as file:
            file.write(SAMPLE)
            file.flush()
            os.fsync(file.fileno())
            if Path(file.name).read_bytes() != SAMPLE:
                return failure(f"{name} gives back something else than was written: {there}",
                               "The disk may be faulty: tell the administrator.")  # fmt: skip
    except OSError as error:
        return failure(
            f"{name} cannot be written to: {there}: {error.strerror}",
            "Make room there." if _is_full(error) else "It must be yours to write to.",
        )
    profile = here.profile
    room, _ = room_at(profile.facts.home, dict(profile.facts.quotas).get("home", ""), there, name)
    return _room_found(room, folder, name)


def _is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _room_found(room: Room, folder: Path, name: str) -> Found:
    if room.fault:
        return warning(f"the quota command of {name} is of no use: {room.fault}",
                       "It stands in the profile, under `quotas`.")  # fmt: skip
    if room.left is None:
        return ok(f"{folder}")
    fix = "Remove what is not needed (`osgbatch rm`, `osgbatch pack clean`)."
    return left_found(f"{folder}: {size(room.left)} left, by {room.by}", room.left, fix)


def left_found(told: str, left: int, fix: str) -> Found:
    """Whether so many bytes are enough; told: the words for it, fix: what to do if not."""
    if left < VERY_LITTLE:
        return failure(told, fix, left=left)
    if left < LITTLE:
        return warning(told, fix, left=left)
    return ok(told, left=left)


def _there(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def _locks(folder: Path) -> bool:
    """Whether a file that is locked is locked for another who opens it."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".osgbatch-") as first:
        try:
            fcntl.flock(first.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        with Path(first.name).open("rb") as second:
            try:
                fcntl.flock(second.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
    return False


CHECKS = (
    Check("home", FOLDERS, "your home folder is yours, can be written to, and has room", home),
    Check("current folder", FOLDERS, "a batch can be made here, and the pool wants it here",
          current, limit_s=15),
    Check("cache", FOLDERS, "packed environments can be kept, and there is room", cache,
          limit_s=15),
    Check("state", FOLDERS, "the list of your batches can be kept", state, limit_s=15),
    Check("temporary files", FOLDERS, "there is room for temporary files", temporary),
    Check("locks", FOLDERS, "files can be locked, so that two osgbatch do not meet", locks),
    Check("file clock", CLOCKS, "the file systems' clocks agree with this machine's", file_clock),
)  # fmt: skip

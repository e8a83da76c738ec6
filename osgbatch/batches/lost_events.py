"""Whether events of a log may be lost without its being cut: HTCondor does not write them again.

Seen on 25.14.1: where the disk is full an event is written in part or not at all, and its job goes
on.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

TORN_S = 10
"""Seconds after which the rest of an event that was begun does not come any more."""
FULL_BYTES = 1024**2
"""With less than this free an event may not fit, or an archive, which is then taken away again."""


def no_room(log: Path) -> bool:
    """Whether an event that is to be written now may not fit."""
    try:
        return shutil.disk_usage(log.parent).free < FULL_BYTES
    except OSError:
        return False


def ends_torn(log: Path, offset: int) -> bool:
    """Whether a log is gone, or ends in an event that nobody is writing any more.

    offset: where its last whole event ends.
    """
    try:
        status = log.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return status.st_size > offset and abs(time.time() - status.st_mtime) > TORN_S

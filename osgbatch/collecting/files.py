"""What `collect` has written of a task, and its `status.json`, which lists it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from osgbatch.sums import file_sum

STATUS = "status.json"
LOST = "status.lost.json"
"""Its name once a file that it lists is gone for good, since the archive was dropped: looks at the
batch go by the name."""


def read_status(folder: Path) -> dict[str, object]:
    """What the status.json of a task's folder says, lost or not; empty when it cannot be read."""
    try:
        try:
            text = (folder / STATUS).read_text()
        except FileNotFoundError:
            text = (folder / LOST).read_text()
        told = json.loads(text)
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def listed(told: Mapping[str, object], kind: str) -> dict[str, str]:
    """The `files` (name to sha256) or `links` (name to target) of a status.json."""
    found = told.get(kind)
    return found if isinstance(found, dict) else {}


def all_there(folder: Path, told: Mapping[str, object]) -> bool:
    """Whether each file and link that a status.json lists is in the task's folder.

    Not where it is that of another task, whose folder was copied.
    """
    own = str(told.get("index", folder.name)) == folder.name
    return (
        own
        and "files" in told
        and all(
            os.path.lexists(f"{folder}/{name}")
            for kind in ("files", "links")
            for name in listed(told, kind)
        )
    )


def is_whole(folder: Path, told: Mapping[str, object]) -> bool:
    """Whether each file that a status.json lists is there with its checksum, and each link."""
    files, links = listed(told, "files"), listed(told, "links")
    try:
        return (
            "files" in told
            and all(file_sha256(folder / name) == sha256 for name, sha256 in files.items())
            and all(os.readlink(folder / name) == to for name, to in links.items())
        )
    except OSError:
        return False


NOTHING = hashlib.sha256().hexdigest()
"""The checksum of a file without content."""
_PRINTED = ("stdout", "stderr")


def empty_output(told: Mapping[str, object]) -> str:
    """The name of an output without content, of those that a status.json lists; or nothing."""
    files = listed(told, "files").items()
    return next((name for name, sha256 in files if sha256 == NOTHING and name not in _PRINTED), "")


def note_lost(folder: Path) -> None:
    """Let looks at the batch see that files of a success are gone. Raises OSError."""
    with suppress(FileNotFoundError):
        os.rename(f"{folder}/{STATUS}", f"{folder}/{LOST}")


def note_found(folder: Path) -> None:
    """The user has brought back what was lost. Raises OSError."""
    if not os.path.lexists(f"{folder}/{STATUS}"):
        os.rename(f"{folder}/{LOST}", f"{folder}/{STATUS}")


def file_sha256(path: Path) -> str:
    """The checksum of a file, read block by block. Raises OSError, also for no plain file."""
    return file_sum(path)[0]

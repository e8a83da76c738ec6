"""What `collect` has written of a task, and its `status.json`, which lists it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

STATUS = "status.json"


def read_status(folder: Path) -> dict[str, object]:
    """What the status.json of a task's folder says; empty when it cannot be read."""
    try:
        told = json.loads((folder / STATUS).read_text())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def listed(told: Mapping[str, object], kind: str) -> dict[str, str]:
    """The `files` (name to sha256) or `links` (name to target) of a status.json."""
    found = told.get(kind)
    return found if isinstance(found, dict) else {}


def file_sha256(path: Path) -> str:
    """The checksum of a file, read block by block. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

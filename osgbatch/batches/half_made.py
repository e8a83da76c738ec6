"""Folders that a `submit` which was killed very early has left: no batches, and of no use."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from osgbatch import names
from osgbatch.batches.folder import locked
from osgbatch.errors import BatchError, BusyError

OLD_S = 60
"""Seconds after which nobody is just about to take the lock of a folder that he has made."""


def half_made(parent: Path) -> Iterator[Path]:
    """The folders in `batches/` that nobody makes any more; each is locked while it is given.

    What they hold was written by osgbatch alone: no result, and nothing that a backend was given.
    """
    for folder in sorted(parent.glob("[!.]*")):
        with suppress(OSError, BatchError, BusyError):
            if not _is_half(folder) or time.time() - folder.stat().st_mtime < OLD_S:
                continue
            with locked(folder):
                if _is_half(folder):
                    yield folder


def _is_half(folder: Path) -> bool:
    """Whether it was begun as a batch, and is none yet."""
    if not (folder / names.LOCK).is_file() or (folder / names.RESOLVED).exists():
        return False
    if (folder / names.WORKFLOW).exists():
        return False
    if any(folder.glob(f"{names.ROUNDS}/*/{names.SUBMITTED}")):
        return False
    if any(not name.endswith(_OF_STEPS) for name in _names(folder / names.STEPS)):
        return False  # a step has begun
    return all(entry.name in _OURS or entry.name[0] == "." for entry in folder.iterdir())


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


_OURS = {
    names.LOCK, names.PAYLOAD, names.ROUNDS, names.SPEC, names.PLAN, names.TASKS, names.OBJECTS,
    names.ENVIRONMENT_LOCK, names.LISTING,
    # of a workflow, before the file that makes it one
    names.STEPS, "files", "workflow.yaml", "dagman.config", "node.sh", "workflow.dag",
    *(f"workflow-{number}.dag" for number in range(2, 100)),
}  # fmt: skip
_OF_STEPS = (".yaml", ".kept.json")
"""What is written of a step before it begins."""

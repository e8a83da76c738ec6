"""The keys of a plan's tasks: files are known by how they look, archives by what is in them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing import folders
from osgbatch.plan_model import InputFile, Payload, Plan
from osgbatch.planning.keys import Keys, plan_keys


def keys_of(plan: Plan, tasks: Sequence[int] | None = None) -> Keys:
    """The keys of a plan's tasks; all of them when none are named.

    To be made before a byte is staged, of the inputs as the spec has them: a file that changes
    later then looks otherwise than its key says, and nothing is ever taken for its result.
    """
    found = range(len(plan.table)) if tasks is None else tasks
    return plan_keys(plan, found, _Looks())


class _Looks:
    """What tells the content of files and folders here; each is looked at once."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def __call__(self, file: InputFile) -> str:
        """Size, times and inode, of each file of a folder; empty when it cannot be seen."""
        source = file.source
        if source not in self._known:
            self._known[source] = _looks(source)
        return self._known[source]


def _looks(source: Path) -> str:
    try:
        found = os.stat(source)
        if stat.S_ISDIR(found.st_mode):
            return folders.looks(source)
    except (OSError, PackingError):
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def archive_sums(payload: Iterable[Payload]) -> list[tuple[str, str]]:
    """Kind and SHA-256 of the archives that all tasks see; inputs and rows have keys of theirs."""
    return [(p.kind, p.sha256) for p in payload if p.kind not in ("rows", "inputs")]

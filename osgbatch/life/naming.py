"""How the commands that are printed name a batch: so that they can be typed where they stand."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from osgbatch.batches.folder import Batch
from osgbatch.batches.registry import find
from osgbatch.errors import BatchError

ID_LENGTH = 6


def in_commands(batch: Batch) -> str:
    """A batch as a word of a shell: the start of its id, the same one in all commands and messages.

    Its folder's name where that does not find it, and its path where neither does from here, as of
    a copy whose original is found first.
    """
    return shlex.quote(_word(batch.id, batch.folder, _here()))


def shown_path(folder: Path) -> str:
    """A folder's path for people: from here where that is shorter and leads down, else whole."""
    here = _here()
    if here is not None and folder.is_relative_to(here) and folder != here:
        return str(folder.relative_to(here))
    return str(folder)


def _here() -> Path | None:
    """The current folder; None when it is gone."""
    with suppress(OSError):
        return Path.cwd()
    return None


@lru_cache(maxsize=256)
def _word(batch_id: str, folder: Path, here: Path | None) -> str:
    for word in (batch_id[:ID_LENGTH], folder.name):
        if here is not None and not word.startswith("-") and _finds(word, folder, here):
            return word
    if here is None:
        return str(folder)
    return min((os.path.relpath(folder, here), str(folder)), key=len)


def _finds(word: str, folder: Path, here: Path) -> bool:
    try:
        return os.path.samefile(find(word, here).folder, folder)
    except (BatchError, OSError):
        return False

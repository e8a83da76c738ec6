"""What a batch was made from that lies in `batches/.calls/`: the folder of a map, or of a Spec."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.errors import OsgbatchError

CALLS = ".calls"
"""In `batches/`, a folder for each batch of calls: its spec, its items, what makes the calls."""
_NAMED = re.compile(rb"batches/\.calls/([A-Za-z0-9._-]+)/")


def sent_folder(batch: Batch) -> Path | None:
    """The folder that a batch's items were sent from; None for batches of other kinds.

    It is the one beside the batch that its spec names, and may be gone.
    """
    with suppress(OSError):
        found = _NAMED.search((batch.folder / names.SPEC).read_bytes())
        if found:
            return batch.folder.parent / CALLS / found[1].decode()
    return None


def made_of(place: Path) -> Batch | None:
    """The newest batch that was made of such a folder; None while there is none."""
    for path in _specs(place):
        with suppress(OsgbatchError):
            return folders.load(path.parent)
    return None


def remove_unused(place: Path | None) -> None:
    """Remove such a folder when no batch beside it was made of it."""
    if place is None or next(_specs(place), None) is not None:
        return
    shutil.rmtree(place, ignore_errors=True)
    with suppress(OSError):
        place.parent.rmdir()


def _specs(place: Path) -> Iterator[Path]:
    """The specs of batches that name a folder, of the newest batch first."""
    word = f"/{CALLS}/{place.name}/".encode()
    for path in sorted(place.parents[1].glob(f"[!.]*/{names.SPEC}"), reverse=True):
        with suppress(OSError):
            if word in path.read_bytes():
                yield path

"""A batch by its name, as what it is: of calls, or of a sweep."""

from __future__ import annotations

import os
from pathlib import Path

from osgbatch.api.live import LiveBatch
from osgbatch.api.mapped import MapResults
from osgbatch.batches import registry
from osgbatch.batches.folder import Batch
from osgbatch.calls.package import is_returned
from osgbatch.errors import BatchError
from osgbatch.workflows.finding import find_step


def load(name: str | os.PathLike[str] | None = None, *, unpickle: bool | None = None) -> LiveBatch:
    """A batch by its name, tag, the start of its id or its folder: see `osgbatch.load`.

    A step of a workflow is `WORKFLOW/STEP`, as on the command line.
    """
    word = None if name is None else os.fspath(name)
    try:
        return as_loaded(registry.find(word, Path.cwd()), unpickle)
    except BatchError:
        if word is None or (batch := find_step(word, Path.cwd())) is None:
            raise
        return as_loaded(batch, unpickle)


def as_loaded(batch: Batch, unpickle: bool | None = None) -> LiveBatch:
    """What a program sees of a batch.

    unpickle: None reads the pickles of a batch whose folder is this user's: who has made the calls
    has asked for them, but nobody asks for those that another user may have put there.
    """
    if is_returned([output["parts"] for output in batch.data["outputs"]]):
        if unpickle is None:
            unpickle = batch.folder.stat().st_uid == os.getuid()
        return MapResults(batch, unpickle=unpickle)
    return LiveBatch(batch)

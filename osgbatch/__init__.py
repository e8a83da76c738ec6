"""osgbatch: parameter sweeps on HTCondor and the Open Science Pool, with checked results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from osgbatch.version import __version__

if TYPE_CHECKING:
    import os

    from osgbatch.results.loading import LoadedBatch

__all__ = ["__version__", "load"]


def load(name: str | os.PathLike[str] | None = None) -> LoadedBatch:
    """A batch and its results, also while it runs.

    name: of the batch, a tag, its folder, or three or more characters of its id; None is the newest
    batch in the current folder, else the newest of all. Raises osgbatch.errors.OsgbatchError.

        batch = osgbatch.load("find-peaks")
        frame = batch.results.to_pandas()
        peaks = numpy.load(batch.task(3).path("outputs/peaks.npy"))
    """
    from osgbatch.results.loading import load_batch

    return load_batch(name)

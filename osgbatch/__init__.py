"""osgbatch: parameter sweeps on HTCondor and the Open Science Pool, with checked results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from osgbatch.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence

    from osgbatch.api.executor import Executor
    from osgbatch.api.live import LiveBatch
    from osgbatch.api.mapped import MapResults
    from osgbatch.api.outcomes import CallError
    from osgbatch.spec_model import Spec

__all__ = ["CallError", "Executor", "__version__", "load", "map", "submit"]


def load(name: str | os.PathLike[str] | None = None, *, unpickle: bool | None = None) -> LiveBatch:
    """A batch and its results, also while it runs.

    name: of the batch, a tag, its folder, or three or more characters of its id; None is the newest
    batch in the current folder, else the newest of all; WORKFLOW/STEP is a step of a workflow.
    unpickle: of a batch of calls (`map`, `Executor`), whether results that came back as pickles are
    read, which runs code that came from an execution point; None: if the batch's folder is yours.
    Raises osgbatch.errors.OsgbatchError.

        batch = osgbatch.load("find-peaks")
        frame = batch.results.to_pandas()
        peaks = numpy.load(batch.task(3).path("outputs/peaks.npy"))
    """
    from osgbatch.api.loading import load

    return load(name, unpickle=unpickle)


def submit(
    spec: str | os.PathLike[str] | Spec,
    *,
    pool: str = "auto",
    settings: Sequence[str] = (),
    canary: int = 0,
    reuse: bool = False,
    again: bool = False,
    quiet: bool = False,
) -> LiveBatch:
    """Submit a sweep as `osgbatch submit --no-watch` does, and give its batch.

    spec: the path of a sweep.yaml, or a Spec. pool: "condor", "local" or "auto". settings: as of
    --set, "resources.memory=4 GB"; canary, reuse, again: as the options of these names. quiet: tell
    of warnings only. Raises osgbatch.errors.OsgbatchError.

        batch = osgbatch.submit("sweep.yaml").wait().collect()
    """
    from osgbatch.api.calling import sayer, submit_spec
    from osgbatch.api.loading import as_loaded
    from osgbatch.submission.steps import Ways

    ways = Ways(canary, lambda reason: again, reuse)
    return as_loaded(submit_spec(spec, pool, settings, ways, sayer(quiet)))


def map(
    function: Callable[..., Any],
    *iterables: Iterable[Any],
    name: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    pool: str = "auto",
    tasks_per_job: int | str | None = None,
    plain: bool = False,
    again: bool = False,
    quiet: bool = False,
    **keys: Any,
) -> MapResults:
    """Call a function with each item, in the pool; gives the results at once, which are waited for.

    function: any, also a closure or a lambda; modules of yours beside the script travel with it.
    iterables: of items; of several the function is called with one of each. name: of the batch;
    the function's else. folder: relative paths start from it, and the batch is made in its
    `batches/`; the current one else. tasks_per_job: calls in one job; None lets osgbatch choose.
    plain: results are JSON and NumPy only, and nothing that comes back is ever unpickled. again:
    submit although the very same is under way. keys: those of a sweep.yaml: environment,
    resources, requirements, files, libraries, inputs, retries, tags, ... The environment must have
    the minor version of Python that runs here; without one the execution point's python3 is used,
    and a task refuses where that is another.
    Raises osgbatch.errors.OsgbatchError; nothing was submitted then.

        results = osgbatch.map(simulate, range(1000), resources={"memory": "2 GB"})
        for value in results: ...
    """
    from pathlib import Path

    from osgbatch.api.calling import brought, map_calls, name_of, sayer, submit_calls
    from osgbatch.api.mapped import MapResults
    from osgbatch.calls.pickling import Pickler
    from osgbatch.submission.steps import Ways

    calls = map_calls(function, iterables, Pickler(brought(keys)), plain)
    place = Path(folder) if folder is not None else Path.cwd()
    batch = submit_calls(
        calls,
        name or name_of(function),
        place,
        keys,
        tasks_per_job,
        pool,
        Ways(again=lambda reason: again),
        sayer(quiet),
    )
    return MapResults(batch)


def __getattr__(name: str) -> Any:
    """What is loaded only when it is used."""
    if name == "Executor":
        from osgbatch.api.executor import Executor

        return Executor
    if name == "CallError":
        from osgbatch.api.outcomes import CallError

        return CallError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

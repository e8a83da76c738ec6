"""Ends a batch: collect and gather its results, or cancel it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.moved import as_moved
from osgbatch.collecting.collect import Collected, collect, results_folder
from osgbatch.collecting.gather import GatherError, run_gather
from osgbatch.collecting.table import write_results
from osgbatch.delivering import Data
from osgbatch.errors import OsgbatchError
from osgbatch.following import Status, status
from osgbatch.reusing import bring_back
from osgbatch.rounds import NOT_SUBMITTED
from osgbatch.staged import Silent
from osgbatch.staging.stage import Progress

Say = Callable[[str], None]


def collect_batch(
    batch: Batch,
    say: Say,
    *,
    gather: bool = True,
    quiet: bool = False,
    fetch: bool = False,
    progress: Progress | None = None,
) -> tuple[Status, Collected, GatherError | None]:
    """Unpack and verify what came back, write `results.csv`, gather when all succeeded.

    quiet: what the gather script prints goes to stderr. fetch: bring also the data that did not
    come home (`outputs_to`); gathering waits for it. Raises StagingError when it cannot be brought:
    what was brought until then is in place. The lock is held to the end, so that two
    collections do not gather into each other. The gather script's error is given back, not raised:
    the results are in place all the same.
    """
    with folders.locked(batch.folder, wait=True):
        notes = bring_back(batch)
        now = status(batch, all_tasks=True)
        if now.stalled == NOT_SUBMITTED:
            raise OsgbatchError("this batch was never submitted", where=str(batch.folder))
        results = results_folder(batch.folder)
        data = None
        if batch.data.get("outputs_to"):
            data = Data(batch, progress or Silent())
        collected = collect(results, now.states, data, fetch=fetch)
        collected = replace(collected, notes=(*notes, *collected.notes))
        if data and collected.elsewhere:
            collected = replace(collected, notes=(*collected.notes, data.told(collected.elsewhere)))
        write_results(
            results / names.RESULTS_TABLE,
            batch.data["columns"],
            folders.read_tasks_csv(batch),
            collected.states,
        )
        now = now.with_states(collected.states)
        failure = None
        script = str(batch.data["gather"])
        if script and gather:
            if collected.elsewhere:
                say("gather: left out, since the data is not here")
            elif all(state.state == "succeeded" for state in now.states):
                try:
                    _gather(batch, script, results, say, quiet)
                except GatherError as error:
                    failure = error
            elif now.ended:
                say("gather: left out, since some task did not succeed")
    return now, collected, failure


def _gather(batch: Batch, script: str, results: Path, say: Say, quiet: bool) -> None:
    spec_folder = as_moved(batch, Path(str(batch.data["spec_folder"])))
    packed = batch.round_data(batch.rounds()[-1].number)["payload"]  # as the user mended it
    payload = {
        kind: [batch.folder / p["file"] for p in packed if p["kind"] == kind]
        for kind in ("environment", "library")
    }
    say(f"gather: {script}")
    run_gather(
        spec_folder / script,
        results,
        spec_folder=spec_folder,
        batch_folder=batch.folder,
        environment=next(iter(payload["environment"]), None),
        libraries=payload["library"],
        stdout_to_stderr=quiet,
    )

"""`osgbatch collect`, and how `submit` ends."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from osgbatch import ui
from osgbatch.cli.batch_names import BatchName, find
from osgbatch.cli.spec_commands import Json


def collect(
    name: BatchName = None,
    gather: Annotated[
        bool, typer.Option("--gather/--no-gather", help="Run the spec's gather script.")
    ] = True,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Bring also the data that went to outputs_to.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Unpack and verify what has come back, and write results.csv."""
    return collect_batch_and_tell(find(name), as_json=as_json, gather=gather, fetch=fetch)


def collect_batch_and_tell(
    batch: Any, *, as_json: bool = False, gather: bool = True, fetch: bool = False
) -> int:
    """Collect a batch and print what came of it; gives the exit code."""
    from osgbatch.cli.reports import collect_text, status_data
    from osgbatch.finishing import collect_batch

    with ui.progress() as progress:
        now, collected, failure = collect_batch(
            batch, ui.say, gather=gather, quiet=as_json, fetch=fetch, progress=progress
        )
    if as_json:
        away = {"data_elsewhere": collected.elsewhere} if batch.data.get("outputs_to") else {}
        ui.out_json({**status_data(now), "unpacked": collected.unpacked, **away})
    else:
        ui.out(collect_text(now, collected.unpacked))
    for note in collected.notes:
        ui.say(f"note: {note}")
    if failure is not None:
        raise failure
    return int(now.exit_code)


def register(app: typer.Typer) -> None:
    """Make the command known."""
    app.command(short_help="Unpack and verify results; gather.")(collect)

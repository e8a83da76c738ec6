"""`osgbatch collect`, and how `submit` ends."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from osgbatch import exits, ui
from osgbatch.cli.batch_names import BatchName, find, find_flow
from osgbatch.cli.spec_commands import Json
from osgbatch.errors import OsgbatchError


def collect(
    name: BatchName = None,
    gather: Annotated[
        bool | None,
        typer.Option(
            "--gather/--no-gather",
            help="Run the spec's gather script, also when nothing has changed since; or do not.",
        ),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Gather although some tasks did not succeed.")
    ] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="Write results.parquet, too.")] = False,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Bring also the data that went to outputs_to.")
    ] = False,
    watch_it: Annotated[
        bool, typer.Option("--watch", help="Collect as tasks end, until all have.")
    ] = False,
    drop: Annotated[
        bool,
        typer.Option(
            "--drop-archives", help="Then delete returned archives whose results are all in place."
        ),
    ] = False,
    as_json: Json = False,
) -> int:
    """Unpack and verify what has come back, and write results.csv."""
    only = {"--partial": partial, "--parquet": parquet, "--fetch": fetch, "--drop-archives": drop}
    if flow := find_flow(name, {**only, "--gather": gather is not None}):
        return int(flow.collect(as_json, watch_it))
    batch = find(name, "collect --drop-archives" * drop)
    before = 0
    if watch_it:
        if as_json:
            raise OsgbatchError(
                "--json and --watch do not go together",
                fix="Watch first, then `osgbatch collect --json`.",
            )
        from osgbatch.cli.collect_view import Views
        from osgbatch.cli.watch_commands import follow

        views = Views(fetch)
        given = {"--partial": partial, "--parquet": parquet, "--fetch": fetch}
        given |= {
            "--drop-archives": drop,
            "--gather": gather is True,
            "--no-gather": gather is False,
        }
        words = "".join(f" {word}" for word, is_given in given.items() if is_given)
        try:
            follow(batch, view=views, again=f"osgbatch collect {{name}} --watch{words}")
        except typer.Exit:  # stopped by Ctrl-C
            for note in views.odd_ones():
                ui.say(f"note: {note}")
            raise
        before = views.unpacked
    from osgbatch.results.gathering_when import Wish

    return collect_batch_and_tell(
        batch,
        as_json=as_json,
        gather=gather is not False,
        wish=Wish(force=bool(gather), partial=partial),
        parquet=parquet,
        fetch=fetch,
        drop=drop,
        wait=watch_it,
        before=before,
    )


def collect_batch_and_tell(
    batch: Any,
    *,
    as_json: bool = False,
    gather: bool = True,
    wish: Any = None,
    parquet: bool = False,
    fetch: bool = False,
    drop: bool = False,
    wait: bool = False,
    before: int = 0,
    told: bool = False,
) -> int:
    """Collect a batch and print what came of it; gives the exit code: 0 when all is there.

    wait: for a job of the pool that gathers, too. before: how many were unpacked while watching.
    told: what came back was printed, and is not printed again unless more has come.
    """
    from osgbatch.cli.reports import collect_text, status_data
    from osgbatch.results.finishing import collect_batch
    from osgbatch.results.gathering import GatherPending
    from osgbatch.results.gathering_when import Wish

    with ui.progress() as progress:
        now, collected, failure = collect_batch(
            batch,
            ui.say,
            gather=gather,
            wish=wish or Wish(),
            quiet=as_json,
            parquet=parquet,
            fetch=fetch,
            drop=drop,
            watched=before > 0,
            progress=progress,
        )
    if as_json:
        away = {"data_elsewhere": collected.elsewhere} if batch.data.get("outputs_to") else {}
        odd = {str(index): why for index, why in collected.misplaced.items()}
        more = {"misplaced": odd} if odd else {}
        ui.out_json({**status_data(now), "unpacked": collected.unpacked + before, **away, **more})
    elif collected.unpacked or not told:
        ui.out(collect_text(now, collected.unpacked + before))
    for note in collected.notes:
        ui.say(f"note: {note}")
    if isinstance(failure, GatherPending) and not wait:  # it goes on: nothing has failed
        ui.say(f"gather: {failure.what}\n  {failure.fix}")
        return exits.SOME_FAILED
    if isinstance(failure, GatherPending):
        from osgbatch.cli.watch_commands import follow

        ui.say(f"gather: {failure.what}; waiting for that job:")
        follow(failure.batch)
        return collect_batch_and_tell(
            batch,
            as_json=as_json,
            gather=gather,
            wish=Wish(partial=wish.partial) if wish else None,  # it was submitted once more already
            parquet=parquet,
            fetch=fetch,
            drop=drop,
            wait=wait,
            before=before + collected.unpacked,
            told=True,
        )
    if failure is not None:
        raise failure
    return int(now.exit_code) or (exits.SOME_FAILED if collected.misplaced else exits.OK)


def register(app: typer.Typer) -> None:
    """Make the command known."""
    app.command(short_help="Unpack and verify results; gather.")(collect)

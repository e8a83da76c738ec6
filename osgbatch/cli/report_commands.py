"""`osgbatch report`: what a batch did, as a page, figures, a text, or data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from osgbatch import ui
from osgbatch.cli.batch_names import BatchName, find
from osgbatch.cli.spec_commands import Json
from osgbatch.errors import OsgbatchError

if TYPE_CHECKING:
    from osgbatch.results.reported_sizes import Sizing


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="Make a report: one HTML page.")(report)


def report(
    name: BatchName = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The page to write. Default: results/report.html of the batch."),
    ] = None,
    png: Annotated[
        Path | None, typer.Option(help="Write the figures as PNG into this folder, too.")
    ] = None,
    md: Annotated[
        Path | None, typer.Option(help="Write a text for a lab notebook (Markdown), too.")
    ] = None,
    sizing: Annotated[
        bool, typer.Option("--sizing", help="Only print what to request next time.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Report what a batch did: one HTML page that needs no network, of as many tasks as there are.

    Also while tasks run. Collect first: metrics and pictures are those in results/.
    """
    from osgbatch.life.following import exit_code_so_far
    from osgbatch.reporting.plain import plain, report_data
    from osgbatch.results.report_writing import write
    from osgbatch.results.reported import sizing_report

    files = {"--out": out, "--png": png, "--md": md}
    if sizing and (option := next((o for o, path in files.items() if path is not None), "")):
        raise OsgbatchError(
            f"--sizing writes no file, so {option} has nothing to say",
            fix="Leave out one of them: the report has the right-sizing, too.",
        )
    batch = find(name)
    if sizing:
        found, now = sizing_report(batch)
        if as_json:
            ui.out_json(plain(found))
        else:
            ui.out(sizing_text(found, batch.tasks))
        return exit_code_so_far(now)
    written = write(batch, out, png, md, page=not as_json or out is not None)
    if as_json:
        ui.out_json(report_data(written.report))
    else:
        ui.out(written.report.verdict)
        for kind, path in written.paths:
            ui.out(f"{kind}: {path}")
    for note in written.report.left_out:
        ui.say(f"note: {note}")
    return written.exit_code


def sizing_text(found: Sizing, tasks: int) -> str:
    """What `osgbatch report --sizing` prints."""
    from osgbatch.reporting.words import sizing_sentences, table

    if not found.found:
        return "No task has told what it used yet."
    head, rows = table(found.found)
    lines = [ui.table(head, rows), ""]
    lines += [
        ui.wrapped(text, sys.stdout)
        for text in sizing_sentences(found.found, found.cores, tasks, found.cost)
    ]
    if found.resources:
        lines += ["", found.resources.rstrip()]
    return "\n".join(lines)

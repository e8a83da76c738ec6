"""The command for submit files that are there already: `import`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from osgbatch import exits, ui
from osgbatch.errors import OsgbatchError


def register(app: typer.Typer) -> None:
    """Make the command known."""
    app.command("import", short_help="Make a sweep.yaml of a submit file.")(import_)


def import_(
    file: Annotated[Path, typer.Argument(help="The submit file.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="The file to write. Default: sweep.yaml, beside FILE.")
    ] = None,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print it, and write nothing.")] = False,
    partly: Annotated[
        bool,
        typer.Option("--partly", help="Also when something cannot be taken over; it says what."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for other programs.")
    ] = False,
) -> int:  # fmt: skip
    """Make a sweep.yaml that gives the same jobs as a submit file; submit nothing.

    The jobs of both are compared (by condor_submit -dry-run, where it is). What a sweep cannot say
    is told, with exit code 1, and nothing is written then, unless --partly is given: that writes
    the rest, which is compared, too. No file is ever overwritten. `osgbatch lint FILE` tells what
    is wrong with a submit file.
    """
    from osgbatch.submission import imported

    wanted = out or file.parent / "sweep.yaml"
    if os.path.realpath(wanted.parent) != os.path.realpath(file.parent):
        raise OsgbatchError(
            "paths in a spec start from its own folder, and those of the file from the file's",
            where=f"--out {wanted}", fix=f"Write it there: --out {file.parent / wanted.name}.",
        )  # fmt: skip
    made = imported.import_file(file, wanted, inline=stdout or as_json, partly=partly)
    for one in made.lost:
        ui.say(f"{file}: {one}")
    if made.text and stdout and not as_json:
        ui.out(made.text.rstrip("\n"))
    elif made.text and not as_json:
        for path in imported.write(made, wanted):
            ui.out(f"wrote {path}")
    if as_json:
        ui.out_json({
            "spec": made.text, "tasks": made.tasks, "notes": list(made.notes),
            "lost": list(made.lost), "checked": made.checked,
            "differences": list(made.differences),
        })  # fmt: skip
        return exits.SOME_FAILED if made.lost else exits.OK
    if made.text:
        _tell(made)
    if made.lost:
        what = "not all of it was taken over" if made.text else "nothing was written"
        rest = "; --partly writes the rest" if made.more else ""
        ui.error(f"{what}; the lines above say why{rest}")
        return exits.SOME_FAILED
    return exits.OK


def _tell(made: object) -> None:
    from osgbatch.submission.imported import Imported

    assert isinstance(made, Imported)
    checked = f"; {made.checked}" if made.checked else ""
    ui.say(ui.number_of(made.tasks, "task") + checked)
    for one in made.differences:
        ui.say(f"differs: {one}")
    for one in made.notes:
        ui.say(f"note: {one}")

"""`osgbatch host-side`: what `--host` of another machine asks of this one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from osgbatch import exits

Folder = Annotated[Path, typer.Argument(show_default=False)]


def list_(folder: Folder) -> int:
    """Print the results below a folder, one JSON list each."""
    from osgbatch.laptop.there import found_lines

    for line in found_lines(folder):
        sys.stdout.write(line + "\n")
    return exits.OK


def known(folder: Folder) -> int:
    """Print which of the files that stdin names are there, one JSON list each."""
    from osgbatch.laptop.there import known_lines

    for line in known_lines(folder, sys.stdin.buffer.read().split(b"\0")):
        sys.stdout.write(line + "\n")
    return exits.OK


def remove(folder: Folder) -> int:
    """Remove the files that stdin names, each with a NUL after it."""
    from osgbatch.laptop.there import remove as removed

    removed(folder, sys.stdin.buffer.read().split(b"\0"))
    return exits.OK


def register(app: typer.Typer) -> None:
    """Make the commands known."""
    side = typer.Typer(help="What --host of another machine asks of this one.")
    side.command("list")(list_)
    side.command("known")(known)
    side.command("remove")(remove)
    app.add_typer(side, name="host-side", hidden=True)

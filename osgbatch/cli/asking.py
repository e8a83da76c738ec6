"""Questions on a terminal that are answered with yes or no."""

from __future__ import annotations

import sys

import typer

from osgbatch import ui


def agreed(question: str) -> bool:
    """Whether the user says yes; no is what Enter means. Folded to the width of the terminal.

    Ctrl-C, or the end of the input, raises typer.Abort, on a line of its own.
    """
    asked = ui.wrapped(ui.printable(f"{question} [y/N]:"), sys.stderr)
    try:
        return typer.confirm(asked, show_default=False, prompt_suffix=" ", err=True)
    except typer.Abort:
        ui.say("")
        raise

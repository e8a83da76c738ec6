"""Long results: page by page on a terminal, as git shows its own; elsewhere at once."""

from __future__ import annotations

import os
import shutil
import sys

from osgbatch import ui

LESS = "FRX -PsSpace goes on, q leaves$"
"""What `less` is told unless LESS says otherwise: F: no paging where all fits the screen."""


def out(text: str) -> None:
    """Print a result that may be longer than the screen. $PAGER is asked; `cat` is no pager."""
    if not sys.stdin.isatty() or not sys.stdout.isatty() or _fits(text):
        ui.out(text)
        return
    import pydoc
    import signal

    os.environ.setdefault("LESS", LESS)
    os.environ.pop("MANPAGER", None)  # which pydoc would ask first
    # A pager that is left early does not end us: its end is the end of this.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sys.stdout.flush()
    pydoc.pager(ui.printable(text) + "\n")


def _fits(text: str) -> bool:
    return text.count("\n") + 2 < shutil.get_terminal_size().lines

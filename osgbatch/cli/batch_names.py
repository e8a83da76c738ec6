"""How commands name a batch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

BatchName = Annotated[
    str | None,
    typer.Argument(
        help="A batch: its folder, a tag, its name or the start of its id. Default: the newest.",
        show_default=False,
    ),
]


def find(name: str | None) -> Any:
    """The batch that is meant. Raises BatchError."""
    from osgbatch.batches.registry import find as find_batch

    return find_batch(name, Path(os.getcwd()))

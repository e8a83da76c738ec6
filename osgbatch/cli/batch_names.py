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


def find_for_task(name: str | None, task: int | None, command: str) -> Any:
    """The same, for a command that takes a task after the batch: a lone number may be the task."""
    from osgbatch.errors import BatchError

    try:
        return find(name)
    except BatchError as error:
        if name is None or not name.isdecimal() or task is not None:
            raise
        fix = f"For task {name} of the newest batch: `osgbatch {command} --task {name}`."
        raise BatchError(error.what, where=error.where, fix=f"{fix}\n  {error.fix}") from None


def find(name: str | None) -> Any:
    """The batch that is meant. Raises BatchError."""
    from osgbatch.batches.registry import find as find_batch

    return find_batch(name, Path(os.getcwd()))

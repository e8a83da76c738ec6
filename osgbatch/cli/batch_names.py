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
        metavar="BATCH",
        show_default=False,
    ),
]
TaskOption = Annotated[
    int | None,
    typer.Option("--task", "-t", metavar="TASK", help="The same, where no batch is named."),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--tasks", metavar="RANGES", help="Only these: 0,2,4-7. Repeatable.", show_default=False
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


NAME = 24
"""Characters of a batch's name in a line; its folder has the whole."""


def short_name(batch: Any, room: int = NAME) -> str:
    """The name of a batch, cut where it is longer than `room` characters."""
    name = str(batch.name)
    room = max(NAME, room)
    return name if len(name) <= room else f"{name[: room - 3]}..."


def named(batch: Any) -> str:
    """`batch 94eff67ed412 (find-peaks)`: as results tell of it."""
    return f"batch {batch.id} ({short_name(batch, 48)})"

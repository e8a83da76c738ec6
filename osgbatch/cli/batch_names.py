"""How commands name a batch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from osgbatch.cli.completing import batches, task_ranges, tasks

if TYPE_CHECKING:
    from osgbatch.cli.workflow_commands import Flow

BatchName = Annotated[
    str | None,
    typer.Argument(
        help="A batch: its folder, a tag, its name or the start of its id. Default: the newest.",
        metavar="BATCH",
        autocompletion=batches,
        show_default=False,
    ),
]
TaskOption = Annotated[
    int | None,
    typer.Option(
        "--task",
        "-t",
        metavar="TASK",
        autocompletion=tasks,
        help="The same, where no batch is named.",
    ),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--tasks",
        metavar="RANGES",
        autocompletion=task_ranges,
        help="Only these: 0,2,4-7. Repeatable.",
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


def find(name: str | None, act: str = "") -> Any:
    """The batch that is meant; see `told` for one of another folder. Raises BatchError."""
    from osgbatch.batches.registry import find as find_batch
    from osgbatch.cli.unnamed import told
    from osgbatch.errors import BatchError
    from osgbatch.workflows.finding import find_step, find_workflow

    here = Path(os.getcwd())
    if name is None and (flow := find_workflow(None, here)) is not None:
        raise _no_batch(told(flow, here, act), flow.name)
    if name is None:
        return told(find_batch(None, here), here, act)
    try:
        found = find_batch(name, here)
    except BatchError:
        if (batch := find_step(name, here)) is not None:
            return batch
        if (flow := find_workflow(name, here)) is not None:
            raise _no_batch(flow, str(name)) from None
        raise
    return told(found, here, act, name) if _is_only_its_name(name, found, here) else found


def _is_only_its_name(word: str, found: Any, here: Path) -> bool:
    """Whether a batch or workflow was found by what others may be called, too."""
    return bool(word == found.name) and (here / word).resolve() != found.folder.resolve()


def _no_batch(flow: Any, name: str) -> Exception:
    from osgbatch.errors import BatchError

    steps = ", ".join(f"{name}/{step.name}" for step in flow.steps)
    return BatchError(
        "this is a workflow, and no batch",
        where=str(flow.folder),
        fix=f"Name one of its steps: {steps}.",
    )


def find_flow(
    name: str | None, not_for_it: Mapping[str, object] = MappingProxyType({}), act: str = ""
) -> Flow | None:
    """The commands of workflows and the one that is meant; None where it may be a batch.

    not_for_it: options that have no meaning for a workflow, and what they were given. Raises
    OsgbatchError when one was. act: see `told`.
    """
    from osgbatch.cli.unnamed import told
    from osgbatch.errors import OsgbatchError
    from osgbatch.workflows.finding import find_workflow

    here = Path(os.getcwd())
    found = find_workflow(name, here)
    if found is None:
        return None
    if name is None or _is_only_its_name(name, found, here):
        told(found, here, act, name or "")
    for option, given in not_for_it.items():
        if given:
            raise OsgbatchError(
                "this is a workflow, and the option is for a batch",
                where=option,
                fix=f"Name one of its steps: {name or found.name}/{found.steps[0].name}.",
            )
    from osgbatch.cli.workflow_commands import Flow

    return Flow(found)


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

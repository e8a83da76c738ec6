"""The plan of a batch once more: from its spec and files as they are now, for the same tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.errors import BatchError
from osgbatch.model import Plan
from osgbatch.planned import Choices, plan_sweep

Say = Callable[[str], None]


def plan_again(batch: Batch, choices: Choices, say: Say) -> Plan:
    """The plan of a batch from its spec and files as they are now, for the tasks that it has.

    Where the spec is gone the batch's own copy of it serves. Raises OsgbatchError when another
    table comes of it, or when its data would go elsewhere.
    """
    spec_folder = Path(str(batch.data["spec_folder"]))
    path = Path(str(batch.data.get("spec") or spec_folder / names.SPEC))
    copy = None
    if not path.is_file():
        copies = [r.folder / names.SPEC for r in reversed(batch.rounds())]
        copy = next((c for c in copies if c.is_file()), batch.folder / names.SPEC)
        if not spec_folder.is_dir():
            raise BatchError(
                "the folder that this batch was submitted from is not there",
                where=str(spec_folder),
                fix="What its tasks are brought lies there: put it back.",
            )
        say(f"{path} is not there; the batch's copy of it is used: {copy}")
    beside = batch.folder.parent == spec_folder / names.BATCHES
    root = None if beside else batch.folder.parent
    plan = plan_sweep(path, root, replace(choices, copy=copy))
    _check_table(batch, plan, path)
    return replace(plan, spec=replace(plan.spec, name=batch.name))


def _check_table(batch: Batch, plan: Plan, path: Path) -> None:
    """Raises BatchError when the sweep's table is another than the batch's."""
    columns = [column.name for column in plan.table.columns]
    fix = (
        "The tasks of a batch stay what they are: undo the change, or submit the sweep as a new "
        "batch."
    )
    if columns != list(batch.data["columns"]):
        raise BatchError("the sweep has other columns now", where=str(path), fix=fix)
    for index, (was, now) in enumerate(zip_longest(folders.read_tasks_csv(batch), _rows(plan))):
        if was != now:
            told = "is not in it any more" if now is None else "is another one now"
            raise BatchError(
                f"the sweep's table has changed: task {index} {told}"
                if was is not None
                else f"the sweep's table has changed: it has more than {index:,} tasks now",
                where=str(path),
                fix=fix,
            )


def _rows(plan: Plan) -> Iterator[list[str]]:
    """The rows of a plan's table as texts."""
    names_ = [column.name for column in plan.table.columns]
    for start in range(0, len(plan.table), 4096):
        stop = min(start + 4096, len(plan.table))
        columns = [plan.table.texts(name, start, stop) for name in names_]
        if names_:
            yield from map(list, zip(*columns, strict=True))
        else:
            yield from ([] for _ in range(start, stop))

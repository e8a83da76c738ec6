"""The plan of a batch once more: from its spec and files as they are now, for the same tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.moved import as_moved
from osgbatch.errors import BatchError
from osgbatch.plan_model import Plan
from osgbatch.submission.planned import Choices, plan_sweep
from osgbatch.sweep.select import picked
from osgbatch.tables import Table

Say = Callable[[str], None]
_FIX = (
    "The tasks of a batch stay what they are: undo the change, or submit the sweep as a new batch."
)


def as_planned(batch: Batch) -> Batch:
    """A batch by the path that its plan gives it, however it was named: by `..`, or by a link.

    Beside its spec, if it lies there, though `batches/` may be a link; else by its real path.
    """
    real = replace(batch, folder=batch.folder.resolve())
    spec_folder = as_moved(real, Path(str(batch.data["spec_folder"])))
    beside = spec_folder / names.BATCHES / real.folder.name
    return replace(batch, folder=beside) if beside.resolve() == real.folder else real


def plan_again(batch: Batch, choices: Choices, say: Say) -> Plan:
    """The plan of a batch from its spec and files as they are now, for the tasks that it has.

    Where the spec is gone the batch's own copy of it serves. Raises OsgbatchError when a task is
    not in the sweep any more.
    """
    spec_folder = as_moved(batch, Path(str(batch.data["spec_folder"])))
    path = as_moved(batch, Path(str(batch.data.get("spec") or spec_folder / names.SPEC)))
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

    def rows(table: Table) -> Table:
        return same_tasks(batch, table, path, say)

    plan = plan_sweep(path, root, replace(choices, copy=copy, rows=rows))
    return replace(plan, spec=replace(plan.spec, name=batch.name))


def same_tasks(batch: Batch, table: Table, path: Path, say: Say) -> Table:
    """The tasks of a batch, found in the table of its sweep as it is now.

    There may be others in it meanwhile: files that a pattern matches now. path: of the spec. Raises
    BatchError when one of the batch's is not in it.
    """
    if [column.name for column in table.columns] != list(batch.data["columns"]):
        raise BatchError("the sweep has other columns now", where=str(path), fix=_FIX)
    pairs = zip_longest(folders.read_tasks_csv(batch), _rows(table))
    if all(was == now for was, now in pairs):
        return table
    positions: dict[tuple[str, ...], list[int]] = {}
    for position, row in enumerate(_rows(table)):
        positions.setdefault(tuple(row), []).append(position)
    for found in positions.values():
        found.reverse()
    numbers: list[int] = []
    for index, row in enumerate(folders.read_tasks_csv(batch)):
        places = positions.get(tuple(row))
        if not places:
            told = " ".join(map("=".join, zip(batch.data["columns"], row, strict=True)))
            raise BatchError(
                f"the sweep has not the row of task {index} any more: {told[:80]}",
                where=str(path),
                fix=_FIX,
            )
        numbers.append(places.pop())
    more = len(table) - len(numbers)
    if more:
        say(f"note: the sweep has {more:,} more rows now, which are not of this batch")
    return picked(table, numbers)


def _rows(table: Table) -> Iterator[list[str]]:
    """The rows of a table as texts."""
    names_ = [column.name for column in table.columns]
    for start in range(0, len(table), 4096):
        stop = min(start + 4096, len(table))
        columns = [table.texts(name, start, stop) for name in names_]
        if names_:
            yield from map(list, zip(*columns, strict=True))
        else:
            yield from ([] for _ in range(start, stop))

"""The plan of a batch once more: from its spec and files as they are now, for the same tasks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.moved import as_moved
from osgbatch.errors import BatchError, OsgbatchError
from osgbatch.plan_model import Plan
from osgbatch.submission.planned import Choices, plan_sweep
from osgbatch.sweep.select import picked
from osgbatch.tables import Table

Say = Callable[[str], None]
_FIX = (
    "The tasks of a batch stay what they are: undo the change, or submit the sweep as a new batch."
)


_NONE = -1
"""The place of a row that need not be there."""


def as_planned(batch: Batch) -> Batch:
    """A batch by the path that its plan gives it, however it was named: by `..`, or by a link.

    Beside its spec, if it lies there, though `batches/` may be a link; else by its real path.
    """
    real = replace(batch, folder=batch.folder.resolve())
    spec_folder = as_moved(real, Path(str(batch.data["spec_folder"])))
    beside = spec_folder / names.BATCHES / real.folder.name
    return replace(batch, folder=beside) if beside.resolve() == real.folder else real


def plan_again(
    batch: Batch, choices: Choices, say: Say, wanted: Collection[int] | None = None
) -> Plan:
    """The plan of a batch from its spec and files as they are now, for the tasks that it has.

    Where the spec is gone the batch's own copy of it serves. wanted: the tasks that are to run; if
    what others were brought is gone, those stand in the plan with the row of one that is wanted.
    None for all. Raises OsgbatchError when a task that is wanted is not in the sweep any more.
    """
    spec_folder = as_moved(batch, Path(str(batch.data["spec_folder"])))
    path = as_moved(batch, Path(str(batch.data.get("spec") or spec_folder / names.SPEC)))
    copy = choices.copy
    if copy is None and not path.is_file():
        copies = [r.folder / names.SPEC for r in reversed(batch.rounds())]
        copy = next((c for c in copies if c.is_file()), batch.folder / names.SPEC)
        if not spec_folder.is_dir():
            raise BatchError(
                "the folder that this batch was submitted from is not there",
                where=str(spec_folder),
                fix="What its tasks are brought lies there: put it back.",
            )
        if path.name != names.RUN_SPEC:
            say(f"{path} is not there; the batch's copy of it is used: {copy}")
    beside = batch.folder.parent == spec_folder / names.BATCHES
    root = None if beside else batch.folder.parent

    def rows(table: Table) -> Table:
        return same_tasks(batch, table, path, say)

    def wanted_rows(table: Table) -> Table:
        return same_tasks(batch, table, path, lambda text: None, wanted)

    try:
        plan = plan_sweep(path, root, replace(choices, copy=copy, rows=rows))
    except OsgbatchError as error:
        if wanted is None or len(wanted) == batch.tasks:
            raise
        plan = plan_sweep(path, root, replace(choices, copy=copy, rows=wanted_rows))
        say(f"note: {error.what}; that is of no task that runs now, so it is passed over")
    return replace(plan, spec=replace(plan.spec, name=batch.name))


def same_tasks(
    batch: Batch, table: Table, path: Path, say: Say, wanted: Collection[int] | None = None
) -> Table:
    """The tasks of a batch, found in the table of its sweep as it is now.

    There may be others in it meanwhile: files that a pattern matches now. path: of the spec.
    wanted: only these tasks; the others have the row of the first of them. Raises BatchError when
    one of the batch's is not in it.
    """
    if [column.name for column in table.columns] != list(batch.data["columns"]):
        raise BatchError("the sweep has other columns now", where=str(path), fix=_FIX)
    pairs = zip_longest(folders.read_tasks_csv(batch), _rows(table))
    if wanted is None and all(was == now for was, now in pairs):
        return table
    positions: dict[tuple[str, ...], list[int]] = {}
    for position, row in enumerate(_rows(table)):
        positions.setdefault(tuple(row), []).append(position)
    for found in positions.values():
        found.reverse()
    numbers: list[int] = []
    chosen = None if wanted is None else set(wanted)
    for index, row in enumerate(folders.read_tasks_csv(batch)):
        places = positions.get(tuple(row))
        if chosen is not None and index not in chosen:
            numbers.append(_NONE)
            continue
        if not places:
            told = " ".join(map("=".join, zip(batch.data["columns"], row, strict=True)))
            raise BatchError(
                f"the sweep has not the row of task {index} any more: {told[:80]}",
                where=str(path),
                fix=_FIX,
            )
        numbers.append(places.pop())
    if chosen:
        stands_in = numbers[min(chosen)]
        numbers = [n if i in chosen else stands_in for i, n in enumerate(numbers)]
    more = len(table) - len(numbers)
    if more > 0:
        say(
            f"note: the sweep has {more:,} more rows now, which are not of this batch; `osgbatch "
            "submit ... --reuse` makes one of all, and runs only what is new"
        )
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

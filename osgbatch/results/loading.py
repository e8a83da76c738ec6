"""A batch and its results for programs in Python: what `osgbatch.load` gives."""

from __future__ import annotations

import importlib
import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from osgbatch.batches import folder as folders
from osgbatch.batches import registry
from osgbatch.batches.folder import Batch
from osgbatch.collecting.table import KINDS
from osgbatch.errors import OsgbatchError
from osgbatch.life import following
from osgbatch.life.naming import in_commands
from osgbatch.names import RESULT_COLUMNS
from osgbatch.results.result_rows import ResultTable, result_table, task_folder
from osgbatch.texts import number_of


class Results(Sequence[dict[str, Any]]):
    """The rows of `results.csv` as they are now, each a dict, made when it is asked for.

    columns: their names. Values are typed; None is not known.
    """

    def __init__(self, columns: Mapping[str, list[Any]]) -> None:
        self.columns = tuple(columns)
        self._columns = columns
        self._length = len(columns["index"])

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for values in zip(*self._columns.values(), strict=True):
            yield dict(zip(self.columns, values, strict=True))

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> Results: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | Results:
        if isinstance(index, slice):
            return Results({name: values[index] for name, values in self._columns.items()})
        return {name: values[index] for name, values in self._columns.items()}

    def column(self, name: str) -> list[Any]:
        """The values of one column, a list of its own. Raises OsgbatchError for an unknown one."""
        if name not in self._columns:
            raise OsgbatchError(
                f'the results have no column "{name}"', fix=f"They have {', '.join(self.columns)}."
            )
        return list(self._columns[name])

    def to_pandas(self) -> Any:
        """The same as a pandas DataFrame; raises OsgbatchError where pandas is not installed.

        Where a number of a task is not known it is NaN, which pandas can count with.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError:
            raise OsgbatchError(
                "pandas is not installed here", fix="Type `pip install pandas`."
            ) from None
        columns = dict(self._columns)
        for name in RESULT_COLUMNS:
            if KINDS.get(name, float) is not str:
                columns[name] = [math.nan if value is None else value for value in columns[name]]
        return pandas.DataFrame(columns)

    def __repr__(self) -> str:
        return f"<Results: {number_of(len(self), 'row')}, {number_of(len(self.columns), 'column')}>"


@dataclass(frozen=True)
class Task:
    """One task of a batch, as it was when it was looked at.

    parameters, results: as in `results.csv`, typed, None where not known; metrics: what it wrote
    into `metrics.json`. folder: its folder in `results/`; None while there is none.
    """

    index: int
    parameters: Mapping[str, Any]
    results: Mapping[str, Any]
    metrics: Mapping[str, Any]
    folder: Path | None
    _batch: Batch | None = field(default=None, repr=False, compare=False)

    @property
    def state(self) -> str:
        """waiting, running, succeeded, failed, ...: see the page on batches."""
        return str(self.results["state"])

    @property
    def succeeded(self) -> bool:
        """Whether it ended well, and its required outputs came back whole."""
        return self.state == "succeeded"

    def path(self, name: str) -> Path:
        """A file that it brought: `outputs/peaks.npy`, `stdout`, `stderr`, `status.json`.

        Raises OsgbatchError, with why, when it is not there.
        """
        found = self.folder / name if self.folder else None
        if found is None or not found.exists():
            raise OsgbatchError(
                f"task {self.index} has no {name}",
                where=str(self.folder or ""),
                fix=self._way_out(),
            )
        return found

    def _way_out(self) -> str:
        """What to do where a file is not there; commands name the batch, which may be any."""
        name = f" {in_commands(self._batch)}" if self._batch else ""
        if self.folder is None:
            return f"Only what was collected is there: `osgbatch collect{name}`."
        if self.succeeded:
            folder = shlex.quote(str(self.folder))
            return f"It has succeeded without it. What it brought: `ls {folder}`."
        how = "has failed" if self.state == "failed" else f"is {self.state}"
        return f"It {how}; `osgbatch why{name} --task {self.index}` may tell more."


class LoadedBatch:
    """A batch: its results, its tasks, how it is getting on. Made by `osgbatch.load`.

    What is known is looked up when it is first asked for, and kept; `refresh` forgets it. Nothing
    is changed, but that `state.db` of the batch is brought up to date.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    @property
    def folder(self) -> Path:
        """The batch's folder."""
        return self._batch.folder

    @property
    def id(self) -> str:
        """12 hexadecimal characters."""
        return self._batch.id

    @property
    def name(self) -> str:
        """The name of its sweep."""
        return self._batch.name

    def __repr__(self) -> str:
        return f"<batch {self.folder.name}: {number_of(self._batch.tasks, 'task')}>"

    def __len__(self) -> int:
        return self._batch.tasks

    def status(self) -> dict[str, int]:
        """How many tasks are in each state, now: {"succeeded": 8, "running": 2}."""
        self._batch = folders.load(self.folder)
        return dict(following.status(self._batch).counts)

    def refresh(self) -> LoadedBatch:
        """Look anew when something is next asked for."""
        self._batch = folders.load(self.folder)
        for name in ("_table", "results"):
            self.__dict__.pop(name, None)
        return self

    @cached_property
    def results(self) -> Results:
        """All that is known of every task, a row each, as in `results.csv`."""
        return Results(self._table.by_column())

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be read of the tasks' `metrics.json`."""
        return self._table.notes

    @property
    def tasks(self) -> Tasks:
        """The tasks, by index: a sequence, each made when it is asked for."""
        return Tasks(self)

    def task(self, index: int) -> Task:
        """One task. Raises OsgbatchError when there is none of this number."""
        if not 0 <= index < self._batch.tasks:
            raise OsgbatchError(
                f"there is no task {index}", fix=f"Tasks are 0 to {self._batch.tasks - 1}."
            )
        table, row = self._table, self.results[index]
        metrics = {name: row[name] for name in table.metrics if row[name] is not None}
        return Task(
            index,
            {name: row[name] for name in table.parameters},
            {name: row[name] for name in table.results},
            metrics,
            task_folder(self._batch, table.states[index]),
            self._batch,
        )

    @cached_property
    def _table(self) -> ResultTable:
        now = following.status(self._batch, all_tasks=True)
        return result_table(self._batch, now.states)


class Tasks(Sequence[Task]):
    """The tasks of a batch, by index."""

    def __init__(self, batch: LoadedBatch) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return len(self._batch)

    @overload
    def __getitem__(self, index: int) -> Task: ...

    @overload
    def __getitem__(self, index: slice) -> list[Task]: ...

    def __getitem__(self, index: int | slice) -> Task | list[Task]:
        places = range(len(self))[index]
        if isinstance(places, range):
            return [self._batch.task(place) for place in places]
        return self._batch.task(places)

    def __repr__(self) -> str:
        return f"<{number_of(len(self), 'task')}>"


def load_batch(name: str | os.PathLike[str] | None = None) -> LoadedBatch:
    """A batch by its name, tag, the start of its id or its folder: see `osgbatch.load`."""
    here = Path.cwd()
    return LoadedBatch(registry.find(None if name is None else os.fspath(name), here))

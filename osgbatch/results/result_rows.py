"""What is known of every task of a batch, typed, in one place for tables, reports and Python."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.collecting.collect import FAILED_FOLDER, results_folder
from osgbatch.collecting.metrics import NONE, Metrics, read_metrics
from osgbatch.collecting.table import Requested, result_values
from osgbatch.errors import BatchError
from osgbatch.model import TaskState
from osgbatch.sweep.cells import typed
from osgbatch.task_ranges import parse_task_ranges

_CHUNK = 4096
_VARYING = ("cpus", "memory_mb", "disk_kb")


@dataclass(slots=True)
class ResultRow:
    """One task.

    texts: its parameters as they were written; parameters: the same by name and typed: a number,
    true or false, None for an empty cell of such a column, else a text. results: by the names of
    `names.RESULT_COLUMNS`, None where not known. metrics: by column, those that it has.
    """

    index: int
    texts: Sequence[str]
    parameters: dict[str, Any]
    results: dict[str, Any]
    metrics: dict[str, Any]
    state: TaskState

    def flat(self) -> dict[str, Any]:
        """All of it by the columns of `results.csv`; metrics that it has not are not there."""
        return {"index": self.index, **self.parameters, **self.results, **self.metrics}


class ResultTable:
    """What is known of tasks; made by `result_table`.

    parameters: the names of the sweep's columns; numbers: those all of whose cells are numbers, or
    true or false, or empty; results: names.RESULT_COLUMNS; metrics: the columns of what tasks wrote
    into `metrics.json`; notes: sentences on what could not be read of it. states: of its tasks.
    """

    def __init__(
        self, batch: Batch, states: Sequence[TaskState], metrics: Metrics, numbers: frozenset[str]
    ) -> None:
        self.batch = batch
        self.states = states
        self.parameters = tuple(str(name) for name in batch.data["columns"])
        self.results = names.RESULT_COLUMNS
        self.metrics = metrics.names
        self.numbers = numbers
        self.notes = metrics.notes
        self._metrics = metrics

    def __len__(self) -> int:
        return len(self.states)

    @property
    def columns(self) -> tuple[str, ...]:
        """The header of `results.csv`."""
        return ("index", *self.parameters, *self.results, *self.metrics)

    @property
    def rows(self) -> Iterator[ResultRow]:
        """The tasks, in order; an iterator of its own each time, that keeps no row."""
        of_numbers = [name in self.numbers for name in self.parameters]
        for place, (state, texts, values) in enumerate(self._values()):
            parameters = {
                name: (typed(text) if text else None) if is_number else text
                for name, text, is_number in zip(self.parameters, texts, of_numbers, strict=True)
            }
            results = dict(zip(self.results, values, strict=True))
            metrics = self._metrics.of(place)
            yield ResultRow(state.index, texts, parameters, results, metrics, state)

    def cells(self) -> Iterator[list[Any]]:
        """The rows of `results.csv`, in the order of `columns`; parameters as they were written."""
        for place, (state, texts, values) in enumerate(self._values()):
            row = [state.index, *texts, *values]
            if self.metrics:
                row += map(self._metrics.of(place).get, self.metrics)
            yield row

    def by_column(self) -> dict[str, list[Any]]:
        """The values of each column of `results.csv`, typed, None where not known."""
        found: dict[str, list[Any]] = {name: [] for name in self.columns}
        add = [found[name].append for name in self.columns]
        typed_ones = [i for i, name in enumerate(self.parameters, 1) if name in self.numbers]
        for cells in self.cells():
            for place in typed_ones:
                cells[place] = typed(cells[place]) if cells[place] else None
            for one, cell in zip(add, cells, strict=True):
                one(cell)
        return found

    def _values(self) -> Iterator[tuple[TaskState, list[str], list[Any]]]:
        asked = _Asked(self.batch)
        for state, texts in _with_texts(self.batch, self.states):
            yield state, texts, result_values(state, asked.of(state))


def result_table(batch: Batch, states: Sequence[TaskState], *, metrics: bool = True) -> ResultTable:
    """What is known of tasks of a batch. states: of all of them or of some, by index.

    metrics: also what they wrote into `outputs/metrics.json`, or what their function returned,
    where that is in `results/` (that of a task which failed, too); a file for each task is read.
    Raises BatchError when the batch's own copy of its table cannot be read.
    """
    found = NONE
    results = results_folder(batch.folder)
    if metrics and results.is_dir():
        taken = ("index", *batch.data["columns"], *names.RESULT_COLUMNS)
        found = read_metrics(
            ((state.index, _folder(results, state)) for state in states),
            taken,
            function=_has_function(batch),
        )
    return ResultTable(batch, states, found, _numbers(batch))


def task_folder(batch: Batch, state: TaskState) -> Path | None:
    """Where the results of a task are; None where there are none, as of one that waits."""
    found = _folder(results_folder(batch.folder), state)
    return Path(found) if found is not None and os.path.isdir(found) else None


def _folder(results: Path, state: TaskState) -> str | None:
    if state.state == "succeeded":
        return f"{results}/{state.index}"
    return f"{results}/{FAILED_FOLDER}/{state.index}" if state.archive is not None else None


def _has_function(batch: Batch) -> bool:
    """Whether tasks call a function: what it returns is then one of the outputs."""
    return any(output["parts"] == [names.RESULT_FILE] for output in batch.data["outputs"])


def is_number(text: str) -> bool:
    """Whether a cell may stand in a column of numbers; an empty one is no text."""
    return text == "" or not isinstance(typed(text), str)


def _numbers(batch: Batch) -> frozenset[str]:
    """The columns all of whose cells, in the whole batch, are numbers."""
    left = {name: place for place, name in enumerate(batch.data["columns"])}
    rows = folders.read_tasks_csv(batch)
    while left and (chunk := list(islice(rows, _CHUNK))):
        columns = list(zip(*chunk, strict=True))
        left = {n: place for n, place in left.items() if all(map(is_number, set(columns[place])))}
    return frozenset(left)


def _with_texts(batch: Batch, states: Sequence[TaskState]) -> Iterator[tuple[TaskState, list[str]]]:
    """Each state with its task's row of the batch's table."""
    rows = enumerate(folders.read_tasks_csv(batch))
    for state in states:
        yield state, next(texts for index, texts in rows if index == state.index)


class _Asked:
    """What the jobs of a batch asked for."""

    def __init__(self, batch: Batch) -> None:
        self._rounds = {one.number: one for one in batch.rounds()}
        self._batch = batch
        self._known: dict[int, Requested | Mapping[int, Requested] | None] = {}

    def of(self, state: TaskState) -> Requested | None:
        """None for a task whose result was reused, and for batches of older versions."""
        if state.round not in self._known:
            self._known[state.round] = self._read(state.round)
        found = self._known[state.round]
        if found is None or isinstance(found, Requested):
            return found
        return found.get(state.index)

    def _read(self, number: int) -> Requested | Mapping[int, Requested] | None:
        round_ = self._rounds.get(number)
        if round_ is None:
            return None
        data = self._batch.round_data(number)
        told = data.get("resources", {})
        fields = list(data.get("item_names", ()))
        try:
            usual = Requested(*(int(told[name]) for name in _VARYING))
        except (KeyError, TypeError, ValueError):
            return None
        if not set(fields).intersection(_VARYING):
            return usual
        return dict(_by_task(round_.folder / names.ITEMS, fields, usual))


def _by_task(path: Path, fields: list[str], usual: Requested) -> Iterator[tuple[int, Requested]]:
    """What each task's job asked for, where that differs: by the round's item file."""
    places = [(name, fields.index(name)) for name in _VARYING if name in fields]
    most = max(place for _, place in places) + 1
    alike: dict[Requested, Requested] = {}
    try:
        with path.open(encoding="utf-8") as stream:
            for line in stream:
                cells = line.split(" ", most)
                found = usual._replace(**{name: int(cells[place]) for name, place in places})
                found = alike.setdefault(found, found)
                for index in parse_task_ranges(cells[0]):
                    yield index, found
    except (OSError, ValueError, IndexError) as error:
        raise BatchError(f"cannot read {names.ITEMS}: {error}", where=str(path)) from None

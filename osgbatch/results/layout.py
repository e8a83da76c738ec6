"""Where a batch's outputs lie in `results/`: the spec's patterns (`to:`) with the rows' values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from osgbatch import names, targets
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.model import TaskState


class Layout:
    """Gives of each task the patterns of its outputs that have a place, and that place."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._rounds: dict[int, Sequence[Mapping[str, Any]]] = {}
        self._rows: Sequence[Sequence[str]] | None = None
        self._files = frozenset(batch.data["file_columns"])
        self._bases: Mapping[str, str] = batch.data.get("file_bases", {})
        self.is_empty = not any(self._placed(round_.number) for round_ in batch.rounds())

    def _placed(self, number: int) -> Sequence[Mapping[str, Any]]:
        """The outputs of a round that have a place; what was reused is as in the first one."""
        number = max(number, 1)
        if number not in self._rounds:
            outputs = self._batch.round_data(number)["outputs"]
            self._rounds[number] = [output for output in outputs if output.get("to")]
        return self._rounds[number]

    def __call__(self, state: TaskState) -> list[tuple[str, str]]:
        """Pattern (in the task's folder) and place (in `results/`) of each such output."""
        placed = self._placed(state.round)
        if not placed:
            return []
        values = {"index": str(state.index)}
        columns = self._batch.data["columns"]
        if columns:
            if self._rows is None:
                self._rows = list(folders.read_tasks_csv(self._batch))
            values.update(zip(columns, self._rows[state.index], strict=True))
        words, seen = targets.texts_of(values, self._files, self._bases)
        globs = {name: names.escape_glob(text) for name, text in seen.items()}
        return [
            (targets.fill(output["parts"], globs), targets.fill(output["to"], words))
            for output in placed
        ]

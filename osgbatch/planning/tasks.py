"""The tasks of a sweep: each worked out when it is asked for, or many at a time by column."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import overload

from osgbatch.names import escape_glob, task_path
from osgbatch.plan_model import InputFile, TaskPlan, TaskRows
from osgbatch.planning.brought import Brought
from osgbatch.spec_model import Output, Spec
from osgbatch.tables import Table
from osgbatch.urls import file_name


def _file_path(text: str) -> str:
    """Where a task finds the file of a column; of a URL under its name alone."""
    return task_path(file_name(text) if "://" in text else text)


class Tasks(TaskRows):
    """Nothing of a task is kept, so that memory stays flat however many there are."""

    def __init__(
        self,
        spec: Spec,
        table: Table,
        outputs: Sequence[Output],
        brought: Brought,
        resources: Mapping[str, array[int]],
    ) -> None:
        self.spec = spec
        self.table = table
        self.outputs = tuple(outputs)
        self.brought = brought
        self.shared = brought.shared
        self._times = resources.get("time")
        self._files = {column.name for column in table.columns if column.is_file}

    def __len__(self) -> int:
        return len(self.table)

    def texts(self, name: str, start: int, stop: int) -> list[str]:
        """A column as the tasks from `start` up to `stop` see it: of a file its path there."""
        if name == "index":
            return list(map(str, range(start, stop)))
        texts = self.table.texts(name, start, stop)
        return list(map(_file_path, texts)) if name in self._files else texts

    def inputs(self, start: int, stop: int) -> list[tuple[InputFile, ...]] | None:
        """What each of these tasks is brought beside the shared inputs; None when none is."""
        return self.brought.rows(start, stop) if self.brought.by_row else None

    def seconds(self, start: int, stop: int) -> list[int] | None:
        """The time limits of these tasks, in seconds; None when all have that of the spec."""
        return None if self._times is None else list(self._times[start:stop])

    @overload
    def __getitem__(self, index: int) -> TaskPlan: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[TaskPlan]: ...

    def __getitem__(self, index: int | slice) -> TaskPlan | Sequence[TaskPlan]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        names = ["index", *(column.name for column in self.table.columns)]
        seen = {name: self.texts(name, index, index + 1)[0] for name in names}
        escaped = {name: escape_glob(text) for name, text in seen.items()}
        row = self.table.row(index)
        own = self.inputs(index, index + 1)
        return TaskPlan(
            index=index,
            row=row,
            params=tuple(
                (name, seen[name] if name in self._files else cell.value)
                for name, cell in zip(names[1:], row, strict=True)
            ),
            argv=self._argv(seen),
            inputs=(*self.shared, *(own[0] if own else ())),
            outputs=tuple(
                (output.pattern.fill(escaped), output.optional) for output in self.outputs
            ),
        )

    def _argv(self, seen: Mapping[str, str]) -> tuple[str, ...]:
        spec = self.spec
        if spec.script:
            return ("bash", "-eo", "pipefail", "SCRIPT")
        if spec.function:
            return ("python", "CALL", spec.function.module, spec.function.name)
        return tuple(template.fill(seen) for template in spec.command)

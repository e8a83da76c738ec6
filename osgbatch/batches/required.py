"""Which outputs a task must have brought, as the spec says it of its row."""

from __future__ import annotations

from collections.abc import Sequence

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.urls import file_name


class Required:
    """The patterns of outputs that each task must have brought."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        data = batch.data
        self.patterns = [tuple(o["parts"]) for o in data["outputs"] if not o["optional"]]
        self.constant = [parts[0] for parts in self.patterns if len(parts) == 1]
        self.rows: list[list[str]] | None = None

    def __call__(self, index: int) -> Sequence[str]:
        """The patterns of a task, filled in as its command was, wildcards of values escaped."""
        if len(self.constant) == len(self.patterns):
            return self.constant
        if self.rows is None:
            self.rows = list(folders.read_tasks_csv(self.batch))
        values = {"index": str(index)}
        columns = self.batch.data["columns"]
        for name, text in zip(columns, self.rows[index], strict=True):
            if name in self.batch.data["file_columns"]:  # a URL's file is there by its name alone
                text = names.task_path(file_name(text) if "://" in text else text)
            values[name] = names.escape_glob(text)
        return [
            "".join(values[part] if i % 2 else part for i, part in enumerate(parts))
            for parts in self.patterns
        ]

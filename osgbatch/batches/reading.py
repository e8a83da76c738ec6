"""Reads the files that describe a batch. One that is cut, empty or odd is one clear error."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from osgbatch.errors import BatchError
from osgbatch.task_ranges import MAX_TASKS

ODD = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What a file leads to that is not what it should be."""


def damaged(path: Path, error: Exception, fix: str = "") -> BatchError:
    """Says which file of a batch cannot be read, why, and what to do."""
    why = error.strerror or error if isinstance(error, OSError) else error
    what = "it is cut short, or no JSON" if isinstance(error, json.JSONDecodeError) else why
    return BatchError(
        f"cannot read {path.name}: {what}",
        where=str(path),
        fix=fix or "Was it edited, or the disk full? Put it back from a copy of the batch.",
    )


def read_data(path: Path, folder: Path) -> Any:
    """What a `resolved.json` holds. folder: of the batch. Raises BatchError."""
    try:
        data = json.loads(path.read_text())
        if data["version"] != 1:
            raise BatchError("made by another version of osgbatch", where=str(folder))
        _check_data(data)
        return data
    except FileNotFoundError:
        raise BatchError(
            "this is no batch folder", where=str(folder), fix="`osgbatch ls` lists those that are."
        ) from None
    except ODD as error:
        raise damaged(path, error) from None


_FIELDS: Mapping[str, type] = {
    "batch_id": str,
    "name": str,
    "initialdir": str,
    "spec_folder": str,
    "gather": str,
    "tasks": int,
    "jobs": int,
    "payload": list,
    "columns": list,
    "file_columns": list,
    "outputs": list,
}


def _check_data(data: Any) -> None:
    """Raises an error of ODD when `resolved.json` lacks what is read of it later."""
    for name, kind in _FIELDS.items():
        value = data.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f'"{name}" is missing, or is not what it should be')
    if not data["batch_id"]:
        raise ValueError('"batch_id" is empty')
    if not 1 <= data["jobs"] <= MAX_TASKS or not 1 <= data["tasks"] <= MAX_TASKS:
        raise ValueError("no such number of tasks and jobs can be")
    texts = [*data["columns"], *data["file_columns"]]
    texts += [item[key] for item in data["payload"] for key in ("kind", "file", "sha256")]
    texts += [part for output in data["outputs"] for part in output["parts"]]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("its columns, payload or outputs are not what they should be")
    if not all(isinstance(output["optional"], bool) for output in data["outputs"]):
        raise ValueError('"outputs" is not what it should be')


def read_rows(path: Path, columns: int, tasks: int) -> Iterator[list[str]]:
    """The rows of a `tasks.csv`, without its header and without the index.

    columns, tasks: how many there must be. Raises BatchError, of missing rows at the end.
    """
    csv.field_size_limit(sys.maxsize)  # else 128 KiB
    count = 0
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            reader = csv.reader(stream)
            next(reader, None)
            for row in reader:
                if len(row) != 1 + columns:
                    raise ValueError(
                        f"line {reader.line_num} has {len(row)} cells, not {1 + columns}"
                    )
                if row[0] != str(count):
                    raise ValueError(f"line {reader.line_num} is of task {row[0]!r}, not {count}")
                count += 1
                yield row[1:]
        if count != tasks:
            raise ValueError(f"it has {count:,} tasks, not {tasks:,}")
    except (csv.Error, ValueError, OSError) as error:
        raise damaged(path, error) from None

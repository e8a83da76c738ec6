"""`results.csv`: one row per task."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from osgbatch.model import TaskState
from osgbatch.names import RESULT_COLUMNS
from osgbatch.returned import number


def write_results(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]], states: Sequence[TaskState]
) -> None:
    """Write the table of results, whole or not at all.

    columns, rows: the parameters as they were written; states: one per row.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
            write_table(
                stream,
                columns,
                ((s.index, row, result_cells(s)) for row, s in zip(rows, states, strict=True)),
            )
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_table(
    stream: TextIO,
    columns: Sequence[str],
    rows: Iterable[tuple[int, Sequence[str], Iterable[str]]],
) -> None:
    """Write the header of `results.csv` and rows: index, parameters, what `result_cells` gives."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["index", *columns, *RESULT_COLUMNS])
    writer.writerows([index, *row, *cells] for index, row, cells in rows)


def result_cells(state: TaskState) -> list[str]:
    """What is known of a task's result, as text, in the order of RESULT_COLUMNS."""
    record = state.record
    start, end = number(record, "start"), number(record, "end")
    memory, disk = number(record, "memory_kb"), number(record, "disk_kb")
    job = state.job_record
    values: list[object] = [
        state.state,
        state.reason,
        state.exit_code,
        state.signal,
        state.attempts,
        start,
        end,
        f"{end - start:.3f}" if start is not None and end is not None else None,
        f"{memory / 1024:.1f}" if memory is not None else None,
        f"{disk / 1024:.1f}" if disk is not None else None,
        job.get("host") or (state.job.host if state.job else ""),
        job.get("site", ""),
        state.detail,
    ]
    return ["" if value is None else str(value) for value in values]

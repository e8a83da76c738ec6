"""`results.csv`: one row per task, and the values that stand in it."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from osgbatch.model import TaskState
from osgbatch.returned import number

KINDS = {
    **dict.fromkeys(("state", "reason", "host", "site", "detail"), str),
    **dict.fromkeys(("exit_code", "signal", "attempts"), int),
    **dict.fromkeys(("memory_requested_mb", "cpus_requested"), int),
}
"""What the columns of results hold; all others hold fractions."""


class Requested(NamedTuple):
    """What the job of a task asked for: cores, MiB, KiB."""

    cpus: int
    memory_mb: int
    disk_kb: int


def write_results(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write the table of results, whole or not at all. rows: as `write_table` takes them."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
            write_table(stream, columns, rows)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_table(stream: TextIO, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a header, and rows of texts, numbers, truth values and None, which is an empty cell."""
    # Python below 3.13 leaves a lone CR bare, and cannot read it back.
    usual = csv.writer(stream, lineterminator="\n").writerow
    quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow
    (quoted if _has_cr(columns) else usual)(columns)
    for row in rows:
        cells = [_WORDS[cell] if cell is True or cell is False else cell for cell in row]
        (quoted if _has_cr(cells) else usual)(cells)


_WORDS = {True: "true", False: "false"}


def _has_cr(cells: Sequence[Any]) -> bool:
    return any(type(cell) is str and "\r" in cell for cell in cells)


def result_values(state: TaskState, asked: Requested | None) -> list[Any]:
    """What is known of a task's result, in the order of RESULT_COLUMNS; None is not known.

    Times are in seconds since 1970 (start, end) or in seconds, sizes in MiB. start, end, wall_s,
    memory_mb and disk_mb are the task's own, by its record (memory_mb is the most that its job has
    used where it tells nothing, or where the job had no other task and used more);
    queue_s (from submission until its last start was brought its input), transfer_in_s and
    transfer_out_s are its job's, by the event log.
    asked: what its job asked for at first; memory_requested_mb is what it asked for in the end,
    where the event log tells.
    """
    record, job, told = state.record, state.job, state.job_record
    start, end = number(record, "start"), number(record, "end")
    memory, disk = number(record, "memory_kb"), number(record, "disk_kb")
    used = None if memory is None else round(memory / 1024, 1)
    queue = arriving = leaving = memory_asked = None
    host = told.get("host")
    if job is not None:
        host = host or job.host.rpartition("@")[2]  # the log names the slot
        memory_asked = job.memory_requested_mb
        alone = told.get("tasks", "").isdecimal()  # both are told of this task, then
        if job.memory_mb and (used is None or (alone and job.memory_mb > used)):
            used = float(job.memory_mb)
        if job.started and job.submitted:
            began = job.input_began or job.started
            queue = _span(job.submitted, began)
            if job.input_began:
                arriving = _span(began, job.started)
        if job.output_began and job.ended:
            leaving = _span(job.output_began, job.ended)
    return [
        state.state,
        state.reason,
        state.exit_code,
        state.signal,
        state.attempts,
        start,
        end,
        queue,
        arriving,
        _span(start, end) if start is not None and end is not None else None,
        leaving,
        used,
        memory_asked or (asked.memory_mb if asked else None),
        None if disk is None else round(disk / 1024, 3),
        round(asked.disk_kb / 1024, 1) if asked else None,
        asked.cpus if asked else None,
        host or "",
        told.get("site", ""),
        state.detail,
    ]


def _span(start: float, end: float) -> float:
    return round(end - start, 3)

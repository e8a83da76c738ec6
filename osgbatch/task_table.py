"""The table of a batch's tasks with their states: filtered, as rows, CSV, JSON or indices."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from osgbatch import following, names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.collecting.table import result_cells, write_table
from osgbatch.errors import OsgbatchError
from osgbatch.expressions import Expression, ExpressionError, parse_expression
from osgbatch.following import Status
from osgbatch.model import TaskState
from osgbatch.sweep.cells import typed
from osgbatch.task_ranges import task_list

STATES = (
    "waiting", "transferring input", "running", "suspended", "transferring output", "held",
    "succeeded", "failed", "removed", "unknown",
)  # fmt: skip
"""What a task can be; those whose names have two words may be written with a hyphen."""
MOST_SHOWN = 120
"""A longer expression is not shown with a caret under what is wrong."""
_TEXTS = ("state", "reason", "host", "site", "detail")
_NUMBERS = frozenset(names.RESULT_COLUMNS) - frozenset(_TEXTS)


@dataclass(frozen=True)
class TaskRow:
    """One task: its parameters as they were written, and its state.

    results: as in results.csv, by the names of `names.RESULT_COLUMNS`.
    """

    parameters: tuple[str, ...]
    state: TaskState
    results: Mapping[str, str]

    @property
    def index(self) -> int:
        """The task's."""
        return self.state.index


@dataclass(frozen=True)
class TaskTable:
    """Rows of a batch, by index. columns: of its sweep. status: of all its tasks.

    numbers: the columns, by place, all of whose cells are numbers, or true or false, or empty.
    """

    columns: tuple[str, ...]
    rows: list[TaskRow]
    status: Status
    numbers: frozenset[int]


def task_table(
    batch: Batch, where: str | Sequence[str] = (), states: Iterable[str] = ()
) -> TaskTable:
    """The tasks of a batch as they are now, those that are wanted.

    where: expressions over the sweep's columns, index, and the columns of results.csv, all of
    which must hold; states: any of STATES, none for all. A row that lacks a result that an
    expression needs (a task that waits has no exit code) does not match. Raises OsgbatchError for a
    wrong state or expression, and for an empty one, which must never mean all tasks.
    """
    wanted = {_state(name) for name in states}
    columns = tuple(batch.data["columns"])
    conditions = [where] if isinstance(where, str) else where
    expressions = [_parsed(text, columns) for text in conditions]
    now = following.status(batch, all_tasks=True)
    texts = list(folders.read_tasks_csv(batch))
    rows = [
        TaskRow(tuple(row), state, dict(zip(names.RESULT_COLUMNS, cells, strict=True)))
        for row, state in zip(texts, now.states, strict=True)
        if not wanted or state.state in wanted
        for cells in [result_cells(state)]
    ]
    numbers = {i for i in range(len(columns)) if all(_is_number(row[i]) for row in texts)}
    for expression in expressions:
        matches = _filter(expression, columns, numbers)
        rows = [row for row in rows if matches(row)]
    return TaskTable(columns, rows, now, frozenset(numbers))


def _is_number(text: str) -> bool:
    """A column with a text in it is one of texts; an empty cell is no text."""
    return text == "" or not isinstance(typed(text), str)


def _state(name: str) -> str:
    found = name.strip().replace("-", " ")
    if found not in STATES:
        raise OsgbatchError(
            f'unknown state "{name}"', where="--state", fix=f"Known are {', '.join(STATES)}."
        )
    return found


def _parsed(where: str, columns: Sequence[str]) -> Expression:
    if not where.strip():
        raise OsgbatchError(
            "an empty condition", where="--where", fix="Write such as 'exit_code == 3', or omit it."
        )
    try:
        return parse_expression(where, (*columns, *names.RESULT_COLUMNS))
    except ExpressionError as error:
        raise _wrong(where, error) from None


def _filter(
    expression: Expression, columns: Sequence[str], numbers: Collection[int]
) -> Callable[[TaskRow], bool]:
    """Whether a row matches an expression. numbers: the columns that hold numbers, by place."""
    used = expression.names
    run = expression.compile(used)
    places = {name: i for i, name in enumerate(columns)}

    def value(row: TaskRow, name: str) -> Any:
        if name == "index":
            return row.index
        if name in places:
            text = row.parameters[places[name]]
            return typed(text) if places[name] in numbers else text
        text = row.results[name]
        return text if name in _TEXTS else typed(text)

    def matches(row: TaskRow) -> bool:
        values = [value(row, name) for name in used]
        try:
            return bool(run(values))
        except ExpressionError as error:
            if any(v == "" and n in _NUMBERS for n, v in zip(used, values, strict=True)):
                return False
            raise _wrong(expression.text, error, f"task {row.index}: ") from None

    return matches


def _wrong(where: str, error: ExpressionError, task: str = "") -> OsgbatchError:
    """The expression with a caret under what is wrong in it."""
    lines = [f"{task}{error.message}"]
    if len(where) <= MOST_SHOWN and where.isprintable():
        lines += [f"    {where}", f"    {' ' * error.offset}{'^' * error.width}"]
    return OsgbatchError("\n".join(lines), where="--where", fix=error.fix)


# --- what it is written as ----------------------------------------------------------------------


def write_csv(table: TaskTable, out: BinaryIO, *, parameters_only: bool = False) -> None:
    """The rows as in results.csv; bytes of a file name that are no text stay what they are.

    parameters_only: the sweep's own columns, as a table that another spec can name.
    """
    text = io.TextIOWrapper(out, "utf-8", errors="surrogateescape", newline="", write_through=True)
    try:
        if parameters_only:
            # Every text is quoted, as in tasks.csv: a lone CR would else end a row.
            writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
            writer.writerow(table.columns)
            writer.writerows(row.parameters for row in table.rows)
        else:
            rows = ((row.index, row.parameters, row.results.values()) for row in table.rows)
            write_table(text, table.columns, rows)
    finally:
        text.detach()


def json_rows(table: TaskTable) -> Iterator[dict[str, Any]]:
    """Each row for programs: typed values, None for what is not known."""
    for row in table.rows:
        job = row.state.job
        yield {
            "index": row.index,
            "parameters": {
                name: typed(row.parameters[i]) if i in table.numbers else row.parameters[i]
                for i, name in enumerate(table.columns)
            },
            **{
                name: (text if name in _TEXTS else None if text == "" else typed(text))
                for name, text in row.results.items()
            },
            "round": row.state.round,
            "proc": job.proc if job else None,
            "hold_code": job.hold_code if job and row.state.state == "held" else None,
            "archive": str(row.state.archive) if row.state.archive else None,
        }


def ranges(indices: Iterable[int]) -> str:
    """`0,2,4-7`, as `resubmit --tasks` takes them."""
    return task_list(list(indices))

"""The table of a batch's tasks with their states: filtered, as rows, CSV, JSON or indices."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from osgbatch import names
from osgbatch.batches.folder import Batch
from osgbatch.collecting.table import write_table
from osgbatch.errors import OsgbatchError
from osgbatch.expression_surely import surely
from osgbatch.expression_tree import Node
from osgbatch.expressions import Expression, ExpressionError, parse_expression
from osgbatch.life import following
from osgbatch.life.following import Status
from osgbatch.model import TaskState
from osgbatch.results.result_rows import ResultTable, result_table
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
_ALWAYS = dict.fromkeys(("index", "state", "reason", "detail"))
"""What each task has, though a reason or a detail may be empty: it lacks none then."""


@dataclass(frozen=True)
class TaskRow:
    """One task: its parameters as they were written, and its state.

    results: as in results.csv, by the names of `names.RESULT_COLUMNS`. metrics: what it wrote of
    itself, by column; only of a table that was asked for it.
    """

    parameters: tuple[str, ...]
    state: TaskState
    results: Mapping[str, str]
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def index(self) -> int:
        """The task's."""
        return self.state.index


@dataclass(frozen=True)
class TaskTable:
    """Rows of a batch, by index. columns: of its sweep. status: of all its tasks.

    numbers: the columns, by place, all of whose cells are numbers, or true or false, or empty.
    metrics: the columns of what tasks wrote of themselves, when that was asked for. named: those
    by which the rows were chosen, in the order in which they were written.
    """

    columns: tuple[str, ...]
    rows: list[TaskRow]
    status: Status
    numbers: frozenset[int]
    metrics: tuple[str, ...] = ()
    named: tuple[str, ...] = ()

    def cells(self, row: TaskRow) -> list[Any]:
        """A row as in results.csv."""
        own = map(row.metrics.get, self.metrics)
        return [row.index, *row.parameters, *row.results.values(), *own]


def task_table(
    batch: Batch,
    where: str | Sequence[str] = (),
    states: Iterable[str] = (),
    *,
    metrics: bool = False,
) -> TaskTable:
    """The tasks of a batch as they are now, those that are wanted.

    where: expressions over the sweep's columns, index, the columns of results.csv and the metrics
    whose names are words, all of which must hold; states: any of STATES, none for all; metrics:
    what tasks wrote of themselves, too. A row that lacks a result that an expression needs (a task
    that waits has no exit code) does not match. Raises OsgbatchError for a wrong state or
    expression, and for an empty one, which must never mean all tasks.
    """
    wanted = {_state(name) for name in states}
    columns = tuple(batch.data["columns"])
    conditions = [where] if isinstance(where, str) else where
    known = [_known(text, columns) for text in conditions]
    metrics = metrics or not all(known)
    now = following.status(batch, all_tasks=True)
    found = result_table(batch, now.states, metrics=metrics)
    words = [name for name in found.metrics if name.isidentifier()]
    expressions = [_parsed(text, (*columns, *words)) for text in conditions]
    rows = [row for row in _rows(found) if not wanted or row.state.state in wanted]
    numbers = frozenset(i for i, name in enumerate(columns) if name in found.numbers)
    for expression in expressions:
        matches = _filter(expression, columns, numbers)
        rows = [row for row in rows if matches(row)]
    named = tuple(dict.fromkeys(name for one in expressions for name in one.names))
    return TaskTable(columns, rows, now, numbers, found.metrics, named)


def _rows(found: ResultTable) -> Iterator[TaskRow]:
    for row in found.rows:
        texts = {n: "" if value is None else str(value) for n, value in row.results.items()}
        yield TaskRow(tuple(row.texts), row.state, texts, row.metrics)


def _known(text: str, columns: Sequence[str]) -> bool:
    """Whether an expression is over what every batch has; what is wrong with it is told at once."""
    try:
        _parsed(text, columns)
    except OsgbatchError as error:
        if "unknown name" not in error.what:
            raise
        return False
    return True


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
        found = parse_expression(where, (*columns, *names.RESULT_COLUMNS))
        if "state" not in columns:
            _check_states(found.tree)
        return found
    except ExpressionError as error:
        raise _wrong(where, error) from None


def _check_states(node: Node) -> None:
    """Raises ExpressionError where `state` is compared with what no task can be."""
    for part in node.parts:
        _check_states(part)
    if node.kind != "comparison" or not any(_is_state(part) for part in node.parts):
        return
    words = [one for part in node.parts for one in (part.parts if part.kind == "list" else [part])]
    for word in words:
        if word.kind == "constant" and isinstance(word.value, str) and word.value not in STATES:
            raise ExpressionError(
                f'unknown state "{word.value}"',
                word.start,
                word.end - word.start,
                f"Known are {', '.join(STATES)}.",
            )


def _is_state(node: Node) -> bool:
    return node.kind == "name" and node.value == "state"


def _filter(
    expression: Expression, columns: Sequence[str], numbers: Collection[int]
) -> Callable[[TaskRow], bool]:
    """Whether a row matches an expression. numbers: the columns that hold numbers, by place."""
    used = expression.names
    run, run_surely = expression.compile(used), surely(expression, used)
    places = {name: i for i, name in enumerate(columns)}
    results = [(i, name) for i, name in enumerate(used) if name not in places | _ALWAYS.keys()]

    def value(row: TaskRow, name: str) -> Any:
        if name == "index":
            return row.index
        if name in places:
            text = row.parameters[places[name]]
            return typed(text) if places[name] in numbers else text
        if name not in row.results:  # a metric
            found = row.metrics.get(name)
            return "" if found is None else found
        text = row.results[name]
        return text if name in _TEXTS else typed(text)

    def matches(row: TaskRow) -> bool:
        values = [value(row, name) for name in used]
        lacking = [name for i, name in results if values[i] == ""]
        try:
            return run_surely(values, lacking) if lacking else bool(run(values))
        except ExpressionError as error:
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
            header = ("index", *table.columns, *names.RESULT_COLUMNS, *table.metrics)
            write_table(text, header, map(table.cells, table.rows))
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
            "metrics": {name: _json(value) for name, value in row.metrics.items()},
        }


def _json(value: Any) -> Any:
    """JSON has no NaN and nothing infinite: as text, then."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def ranges(indices: Iterable[int]) -> str:
    """`0,2,4-7`, as `resubmit --tasks` takes them."""
    return task_list(list(indices))

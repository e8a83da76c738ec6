"""The rows of a sweep that `osgbatch plan` shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from osgbatch import ui
from osgbatch.plan_model import Plan

FIRST_ROWS = 3
MAX_CELL = 26
WIDE = 90
"""Characters of a terminal below which cells are shown shorter."""


def shown_rows(plan: Plan, width: int) -> Iterator[str]:
    """The first and the last rows of parameters, as many columns as there is room for.

    width: characters that a line may have.
    """
    total = len(plan.tasks)
    shown = [*range(min(FIRST_ROWS, total)), *([total - 1] if total > FIRST_ROWS else [])]
    columns = plan.table.columns
    header = ["task", *(column.name for column in columns)]
    limit = MAX_CELL if width >= WIDE else MAX_CELL - 6
    grid = [[_cut(text, limit) for text in header]]
    for index in shown:
        task = plan.tasks[index]
        seen = dict(task.params)
        cells = [
            str(seen[column.name]) if column.is_file else cell.text
            for column, cell in zip(columns, task.row, strict=True)
        ]
        grid.append([str(index), *(_cut(text, limit) for text in cells)])
    if _fitting(_widths(grid), width) < len(header):
        # What is the same in all of them is the first to give way.
        order = sorted(range(1, len(header)), key=lambda i: len({row[i] for row in grid[1:]}) == 1)
        grid = [[row[i] for i in (0, *order)] for row in grid]
    widths = _widths(grid)
    if total > FIRST_ROWS + 1:
        grid.insert(FIRST_ROWS + 1, ["..."])
    fits = _fitting(widths, width)
    for number, row in enumerate(grid):
        line = "  ".join(cell.ljust(w) for cell, w in zip(row[:fits], widths, strict=False))
        more = len(header) - fits if number == 0 else 0
        yield f"{line}  {_more(more)}".rstrip() if more else line.rstrip()


def _widths(grid: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*grid, strict=True)]


def _fitting(widths: Sequence[int], width: int) -> int:
    """How many columns fit, with the count of those that do not; the task and one at least."""
    for fits in range(len(widths), 2, -1):
        left = len(widths) - fits
        used = sum(widths[:fits]) + 2 * (fits - 1)
        if used + (len(_more(left)) + 2 if left else 0) <= width:
            return fits
    return min(2, len(widths))


def _more(count: int) -> str:
    return f"(+ {count} more)"


def _cut(text: str, limit: int) -> str:
    """A cell on one line; of what is long, both ends."""
    text = ui.one_line(text)
    if len(text) <= limit:
        return text
    tail = (limit - 3) // 2
    return f"{text[: limit - 3 - tail]}...{text[-tail:]}"

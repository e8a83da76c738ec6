"""Lists of batches and of tasks as text and as data."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osgbatch import names, ui
from osgbatch.cli.reports import explain
from osgbatch.texts import about

if TYPE_CHECKING:
    from osgbatch.life.batch_list import Listed
    from osgbatch.life.housekeeping import Old
    from osgbatch.results.task_table import TaskRow, TaskTable

LEAST = 26
"""So many characters a list of batches keeps for their states."""
WHY = 40
"""So many characters a list of tasks keeps for why they went wrong, if they are that many."""
NAMED = 30
"""So many characters of a cell of a column by which tasks were chosen."""
LEAST_WHY = 20
"""Where there are fewer characters for that, the parameters are left out, too."""
WIDE = 100
"""On terminals of so many columns a list of tasks has more columns."""


# --- batches --------------------------------------------------------------------------------------


def list_data(one: Listed) -> dict[str, Any]:
    """A batch as `osgbatch ls --json` prints it."""
    batch = one.batch
    return {
        "id": batch.id if batch else None,
        "name": batch.name if batch else None,
        "folder": str(one.folder),
        "tags": list(one.tags),
        "tasks": batch.tasks if batch else None,
        "counts": dict(one.counts),
        "ended": one.ended,
        "backend": one.backend,
        "made": round(one.made, 3),
        "stalled": one.stalled,
        "problem": one.problem,
    }


def list_text(found: Sequence[Listed], *, by_folder: bool = False, width: int = 0) -> str:
    """What `osgbatch ls` prints.

    by_folder: those of one folder stand together under its path, as they do where there are several
    folders. width: of the terminal in characters; 0 asks it.
    """
    width = width or shutil.get_terminal_size().columns
    by_folder = by_folder or len({one.folder.parent for one in found}) > 1
    groups: dict[Path | None, list[Listed]] = {}
    for one in found:
        groups.setdefault(one.folder.parent if by_folder else None, []).append(one)
    indent = 2 if by_folder else 0
    header = ["batch", "tasks", "state"]
    rows = {one.folder: _cells(one) for one in found}
    widths = [
        max(map(len, column))
        for column in zip(header[:-1], *(r[:-1] for r in rows.values()), strict=True)
    ]
    narrow = indent + sum(widths) + 2 * len(widths) + LEAST > width
    lines: list[str] = []
    if not narrow:
        lines += _row(header, widths, indent, width)
    for folder, ones in groups.items():
        if folder is not None:
            lines += [*([""] if len(lines) > 1 else []), ui.one_line(str(folder))]
        for one in ones:
            row = rows[one.folder]
            lines += _two(row, indent, width) if narrow else _row(row, widths, indent, width)
    return "\n".join(lines)


def _cells(one: Listed) -> list[str]:
    tasks = f"{one.batch.tasks:,}" if one.batch else ""
    tags = f"  [{', '.join(map(ui.one_line, one.tags))}]" if one.tags else ""
    return [ui.one_line(one.folder.name), tasks, _state(one) + tags]


def _state(one: Listed) -> str:
    """How far a batch is, in a few words."""
    if one.problem:
        return one.problem if "cannot be read" in one.problem else f"cannot be read: {one.problem}"
    assert one.batch is not None
    if one.counts.get("succeeded") == one.batch.tasks:
        return "all succeeded"
    if one.stalled and set(one.counts) == {"waiting"}:
        return one.stalled
    text = ui.counts(one.counts)
    return f"{text}; {one.stalled}" if one.stalled else text


def _row(cells: Sequence[str], widths: Sequence[int], indent: int, width: int) -> list[str]:
    """A row of the list: the number of tasks stands right, the last cell is wrapped."""
    padded = [
        cell.rjust(size) if place == 1 else cell.ljust(size)
        for place, (cell, size) in enumerate(zip(cells, widths, strict=False))
    ]
    start = " " * indent + "".join(f"{cell}  " for cell in padded)
    rest = textwrap.wrap(cells[-1], max(LEAST, width - len(start)), break_on_hyphens=False)
    lines = [start + rest[0] if rest else start]
    lines += [" " * len(start) + more for more in rest[1:]]
    return [line.rstrip() for line in lines]


def _two(cells: Sequence[str], indent: int, width: int) -> list[str]:
    """The same on two lines, where names are too long for columns."""
    name, tasks, state = cells
    told = f"{tasks} task{'s' * (tasks != '1')}: " * bool(tasks) + state
    inner = " " * (indent + 4)
    folded = textwrap.wrap(
        told, width, initial_indent=inner, subsequent_indent=inner, break_on_hyphens=False
    )
    return [" " * indent + name, *folded]


def old_text(old: Iterable[Old]) -> str:
    """Batches that are to be removed, with what is worth knowing before."""
    lines = []
    for one in old:
        counts = one.status.counts
        all_of_it = counts.get("succeeded") == one.batch.tasks
        state = "all succeeded" if all_of_it else ui.counts(counts)
        lines.append(str(one.batch.folder))
        lines.append(f"  {ui.number_of(one.batch.tasks, 'task')}: {state}; {ui.size(one.size)}")
        lines += [f"  note: {note}" for note in one.notes]
    return "\n".join(lines)


# --- tasks ----------------------------------------------------------------------------------------


def tasks_text(table: TaskTable, width: int = 0) -> str:
    """What `osgbatch tasks` prints; as much as fits, `--csv` has all.

    width: of the terminal in characters; 0 asks it.
    """
    width = width or shutil.get_terminal_size().columns
    wide = width >= WIDE
    longest = 40 if wide else 28
    whys = [explain(row.state) for row in table.rows]
    columns: dict[str, list[str]] = {
        "task": [str(row.index) for row in table.rows],
        "state": [row.state.state for row in table.rows],
    }
    columns |= _named(table)
    columns["time"] = [_time(row.results) for row in table.rows]
    columns["memory"] = [_memory(row.results) for row in table.rows]
    if wide:
        columns["where"] = [_where(row.results) for row in table.rows]
    columns["parameters"] = [_parameters(table.columns, row, longest) for row in table.rows]
    for name, by in (("time", "wall_s"), ("memory", "memory_mb"), ("where", "site")):
        if by in table.named:  # it stands there as it was asked for
            columns.pop(name, None)
    shown = {name: cells for name, cells in columns.items() if any(cells) or name in table.named}
    if any(whys):
        if width - _taken(shown) < min(WHY, max(map(len, whys))):
            for name in ("time", "memory"):
                shown.pop(name, None)
            if width - _taken(shown) < LEAST_WHY:
                shown.pop("parameters", None)
        taken = _taken(shown)
        shown["why"] = [_cut(text, 2 * max(20, width - taken) - 4) for text in whys]
    for name in ("task", "time", "memory"):
        if name in shown:
            size = max(len(name), *map(len, shown[name]))
            shown[name] = [cell.rjust(size) for cell in shown[name]]
    header = [
        name.rjust(len(cells[0])) if name in _RIGHT else name for name, cells in shown.items()
    ]
    return ui.table(header, list(zip(*shown.values(), strict=True)), width)


_RIGHT = ("task", "time", "memory")


def _named(table: TaskTable) -> dict[str, list[str]]:
    """The columns by which rows were chosen, but for those that stand there in any case."""
    found: dict[str, list[str]] = {}
    for name in table.named:
        if name in ("index", "state"):
            continue
        if name in table.columns:
            place = table.columns.index(name)
            texts = [row.parameters[place] for row in table.rows]
        elif name in names.RESULT_COLUMNS:
            texts = [row.results[name] for row in table.rows]
        else:
            values = [row.metrics.get(name) for row in table.rows]
            texts = ["" if value is None else str(value) for value in values]
        found[name] = [_cut(text, NAMED) for text in texts]
    return found


def _taken(columns: Mapping[str, Sequence[str]]) -> int:
    """How many characters of a line columns take, the blanks after each among them."""
    return sum(2 + max(len(name), *map(len, cells)) for name, cells in columns.items())


def _parameters(columns: Sequence[str], row: TaskRow, longest: int) -> str:
    text = " ".join(f"{name}={cell}" for name, cell in zip(columns, row.parameters, strict=True))
    return _cut(text, longest)


def _cut(text: str, longest: int) -> str:
    """`osgbatch why` tells all of it."""
    return text if len(text) <= longest else f"{text[: longest - 3].rstrip()}..."


def _time(results: Mapping[str, str]) -> str:
    return about(float(results["wall_s"])) if results["wall_s"] else ""


def _memory(results: Mapping[str, str]) -> str:
    return ui.size(float(results["memory_mb"]) * 1024**2) if results["memory_mb"] else ""


def _where(results: Mapping[str, str]) -> str:
    """The site, else the machine without its slot and domain."""
    return results["site"] or results["host"].rpartition("@")[2].partition(".")[0]

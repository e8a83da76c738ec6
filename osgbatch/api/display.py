"""How a batch looks in a notebook, and as text: how far it is, and what went wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from html import escape
from types import TracebackType
from typing import Any

from osgbatch import ui
from osgbatch.life.causes import group, heading
from osgbatch.life.following import Status
from osgbatch.life.naming import in_commands, shown_path
from osgbatch.model import ACTIVE
from osgbatch.task_ranges import task_list

_CAUSES = 8
_TASKS = 40
_COLOURS = (
    ("succeeded", "#2e7d32"), ("failed", "#c62828"), ("held", "#ef6c00"), ("removed", "#8d6e63"),
    ("unknown", "#6a1b9a"), ("running", "#1565c0"), ("waiting", "#cfd8dc"),
)  # fmt: skip


def batch_text(now: Status) -> str:
    """One line: `<batch find-peaks-…: 8 succeeded, 2 running>`."""
    return f"<batch {now.batch.folder.name}: {ui.counts(now.counts) or 'no tasks'}>"


def batch_html(now: Status) -> str:
    """A table of how far a batch is; everything in it that came from elsewhere is escaped."""
    counts: dict[str, int] = {}
    for state, count in now.counts.items():
        told = "running" if state in ACTIVE else state
        counts[told] = counts.get(told, 0) + count
    total = max(1, sum(counts.values()))
    bar = "".join(
        f'<div style="width:{100 * counts[state] / total:.4g}%;background:{colour}"></div>'
        for state, colour in _COLOURS
        if counts.get(state)
    )
    heads = "".join(f"<th>{escape(state)}</th>" for state, _ in _COLOURS if counts.get(state))
    cells = "".join(f"<td>{counts[state]:,}</td>" for state, _ in _COLOURS if counts.get(state))
    parts = [
        f"<div><b>{escape(now.batch.name)}</b> · {total:,} tasks · {_code(now.batch.id)}</div>",
        f"<div>{_code(shown_path(now.batch.folder))}</div>",
        f'<div style="display:flex;height:10px;max-width:40em;background:#eee">{bar}</div>',
        f"<table><tr>{heads}</tr><tr>{cells}</tr></table>",
    ]
    wrong = group(now.wrong)
    if wrong:
        rows = "".join(
            f"<tr><td>{escape(_tasks([s.index for s in same]))}</td>"
            f"<td>{escape(same[0].state)}</td>"
            f'<td style="text-align:left">{escape(": ".join(filter(None, heading(same[0]))))}</td>'
            "</tr>"
            for same in wrong[:_CAUSES]
        )
        more = f"<div>and {len(wrong) - _CAUSES:,} more kinds</div>" * (len(wrong) > _CAUSES)
        why = f"<div>{_code(f'osgbatch why {in_commands(now.batch)}')} says more</div>"
        parts.append(f"<table><tr><th>tasks</th><th>state</th><th>why</th></tr>{rows}</table>")
        parts.append(more + why)
    parts += [f"<div>{escape(note)}</div>" for note in (now.stalled, *now.notes) if note]
    return "".join(parts)


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _tasks(indices: list[int]) -> str:
    text = task_list(indices)
    return text if len(text) <= _TASKS else f"{text[:_TASKS].rpartition(',')[0]}, …"


class Display:
    """A table that stays in its place in the output of a notebook's cell; nothing elsewhere."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._last = ""

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        self._handle = None

    def show(self, now: Status) -> None:
        """Show how far the batch is, where that has changed."""
        display = notebook_display()
        if display is None:
            return
        html = batch_html(now)
        if html == self._last:
            return
        self._last = html
        bundle = {"text/plain": batch_text(now), "text/html": html}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def this_cell() -> int:
    """The number of the notebook's cell that runs; 0 elsewhere."""
    if notebook_display() is None:
        return 0
    from IPython import get_ipython  # type: ignore[import-not-found,unused-ignore]

    return int(get_ipython().execution_count)


def notebook_display() -> Callable[..., Any] | None:
    """IPython's display, where this runs in the kernel of a notebook."""
    if "ipykernel" not in sys.modules or "IPython" not in sys.modules:
        return None
    from IPython import get_ipython  # type: ignore[import-not-found,unused-ignore]
    from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

    shell = get_ipython()
    return display if getattr(shell, "kernel", None) is not None else None

"""Which tasks a job runs, written as one word: `0-9+12`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from osgbatch.errors import OsgbatchError

MAX_TASKS = 10_000_000
"""Tasks that one range may name; more is a damaged file."""


def task_ranges(indices: Sequence[int]) -> str:
    """Task indices as `0-9+12`: no blank, comma or quote, which HTCondor 23.9 splits fields at."""
    if isinstance(indices, range) and indices.step == 1 and len(indices) > 1:
        return f"{indices[0]}-{indices[-1]}"
    parts: list[str] = []
    start = previous = -2
    for index in [*indices, -9]:
        if index == previous + 1:
            previous = index
            continue
        if start >= 0:
            parts.append(str(start) if start == previous else f"{start}-{previous}")
        start = previous = index
    return "+".join(parts)


def task_list(indices: Sequence[int]) -> str:
    """Task indices as people see and write them: `0-9,12`."""
    return task_ranges(indices).replace("+", ",")


def parse_task_ranges(text: str) -> list[int]:
    """The inverse of `task_ranges`. Raises ValueError for anything else."""
    indices: list[int] = []
    for part in text.split("+"):
        match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", part)
        if match is None:
            raise ValueError(f"not a list of tasks: {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first > MAX_TASKS:
            raise ValueError(f"not a list of tasks: {text!r}")
        indices.extend(range(first, last + 1))
    return indices


def parse_tasks(text: str, count: int) -> list[int]:
    """`0,2,4-7` as task indices. count: of the batch's tasks. Raises OsgbatchError."""
    try:
        found = parse_task_ranges("".join(text.split()).replace(",", "+"))
    except ValueError:
        raise OsgbatchError(
            f'"{text}" names no tasks', where="--tasks", fix="Write such as 0,2,4-7."
        ) from None
    wrong = [index for index in found if index >= count]
    if wrong:
        raise OsgbatchError(
            f"there is no task {wrong[0]}", where="--tasks", fix=f"Tasks are 0 to {count - 1}."
        )
    return sorted(set(found))


def named_tasks(texts: Iterable[str] | None, count: int) -> list[int]:
    """All tasks that an option names that may be given several times; none when it was not given.

    An empty text is refused: it comes from a shell variable or a command that gave nothing, and
    must never mean all tasks. count: of the batch's tasks. Raises OsgbatchError.
    """
    return sorted({index for text in texts or () for index in parse_tasks(text, count)})

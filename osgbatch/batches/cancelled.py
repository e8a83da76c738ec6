"""Which jobs of a round were cancelled before they were in the queue.

The event log tells of them only much later, when they come into the queue and are removed there.
"""

from __future__ import annotations

from collections.abc import Iterable

from osgbatch import names
from osgbatch.batches.writing import write_bytes
from osgbatch.errors import BatchError
from osgbatch.model import Round
from osgbatch.task_ranges import parse_task_ranges, task_ranges


def note_cancelled(round_: Round, procs: Iterable[int]) -> None:
    """Write down procs that will never run, beside those that are known."""
    text = task_ranges(sorted({*cancelled(round_), *procs}))
    write_bytes(round_.folder / names.CANCELLED, f"{text}\n".encode())


def cancelled(round_: Round) -> list[int]:
    """The procs of a round that will never run, in order. Raises BatchError."""
    try:
        text = (round_.folder / names.CANCELLED).read_text().strip()
        return parse_task_ranges(text) if text else []
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise BatchError(
            f"cannot read {names.CANCELLED}: {error}", where=str(round_.folder)
        ) from None

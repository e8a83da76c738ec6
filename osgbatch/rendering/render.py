"""What submit_text needs to know of the item file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ItemFiles:
    """The names of the item file's fields."""

    names: tuple[str, ...]

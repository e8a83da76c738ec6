"""The tags of a batch: words by which people find it again."""

from __future__ import annotations

import re
from collections.abc import Iterable

from osgbatch import names
from osgbatch.batches.folder import Batch
from osgbatch.batches.writing import write_bytes
from osgbatch.errors import BatchError

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,59}")


def read_tags(batch: Batch) -> tuple[str, ...]:
    """Its tags, in the order in which they were given; none when they cannot be read."""
    try:
        text = (batch.folder / names.TAGS).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return tuple(map(str, batch.data.get("tags") or ()))
    return tuple(dict.fromkeys(filter(None, map(str.strip, text.splitlines()))))


def write_tags(batch: Batch, tags: Iterable[str]) -> None:
    """Keep these tags in the batch folder, one per line."""
    write_bytes(batch.folder / names.TAGS, "".join(f"{tag}\n" for tag in tags).encode())


def check_tag(tag: str) -> None:
    """Raises BatchError when a word cannot be a tag: it is typed in commands and stands in lists."""
    if not _TAG.fullmatch(tag):
        raise BatchError(
            f'"{tag}" cannot be a tag',
            fix="A tag is a word of at most 60 letters, digits, . _ and -, like pilot or paper-2.",
        )

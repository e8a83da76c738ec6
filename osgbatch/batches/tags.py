"""The tags of a batch: words by which people find it again."""

from __future__ import annotations

import re
from collections.abc import Iterable

from osgbatch import names
from osgbatch.batches.folder import Batch
from osgbatch.batches.writing import write_bytes
from osgbatch.errors import BatchError

_NOT_IN_TAGS = re.compile(r"[\"',\\/\n\r“”‘’]|^[-.]|^\s|\s$")
LONGEST = 60


def read_tags(batch: Batch) -> tuple[str, ...]:
    """Its tags, in the order in which they were given; none when they cannot be read."""
    try:
        text = (batch.folder / names.TAGS).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return tuple(map(str, batch.data.get("tags") or ()))
    return tuple(dict.fromkeys(filter(None, map(str.strip, text.splitlines()))))


def add_tags(batch: Batch, tags: Iterable[str]) -> None:
    """Give a batch more tags. Raises BatchError, with nothing changed, for what cannot be one."""
    have, new = read_tags(batch), list(dict.fromkeys(tags))
    for tag in new:
        check_tag(tag)
    path = batch.folder / names.TAGS
    if not path.exists():
        write_bytes(path, "".join(f"{tag}\n" for tag in have).encode())
    with path.open("a", encoding="utf-8") as stream:  # appended: two at once do not meet
        stream.writelines(f"{tag}\n" for tag in new if tag not in have)


def remove_tags(batch: Batch, tags: Iterable[str]) -> None:
    """Take tags from a batch. Raises BatchError, with nothing changed, when it has one not."""
    have, gone = read_tags(batch), set(tags)
    for tag in gone:
        if tag not in have:
            has = f"It has {', '.join(have)}." if have else "It has none."
            raise BatchError(f'this batch has no tag "{tag}"', where=str(batch.folder), fix=has)
    left = "".join(f"{tag}\n" for tag in have if tag not in gone)
    write_bytes(batch.folder / names.TAGS, left.encode())


def check_tag(tag: str) -> None:
    """Raises BatchError when a word cannot be a tag: tags are typed, and stand in lists."""
    if not tag or len(tag) > LONGEST or not tag.isprintable() or _NOT_IN_TAGS.search(tag):
        raise BatchError(
            f'"{tag}" cannot be a tag',
            fix=f"A tag is a word like pilot or paper-2: at most {LONGEST} characters, no commas, "
            "quotes, slashes or backslashes.",
        )

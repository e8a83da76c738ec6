"""The files that a pattern with a URL stands for: of a bucket, or of the folder of a stash."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from osgbatch.errors import StagingError
from osgbatch.model import Stash
from osgbatch.staging.store import expanded
from osgbatch.urls import scheme

SCHEMES = ("s3", "osdf", "pelican", "file")
"""URLs that can be listed."""
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Listed:
    """A file at a URL. url: as HTCondor is given it; size: bytes; md5: hexadecimal, or empty."""

    url: str
    size: int
    md5: str = ""


def list_urls(pattern: str, stash: Stash) -> list[Listed]:
    """The files that a pattern matches; `**/` is any depth. In no particular order.

    pattern: s3://bucket/prefix/**/*.jpg, or a URL below that of the stash's folder. stash: the
    sweep's; it says at which server a bucket is. Raises StagingError.
    """
    if scheme(pattern) == "s3":
        return list(_of_bucket(pattern, stash))
    if scheme(pattern) == "file":
        return list(_of_folder(pattern.removeprefix("file://"), "", "file://"))
    url = expanded(stash.url).replace("{folder}", stash.folder).rstrip("/") + "/"
    if stash.kind != "folder" or not pattern.startswith(url):
        raise StagingError(
            "only a bucket and the folder of the stash can be listed",
            where=pattern,
            fix="Write the addresses down, one per line, and use `lines:`; or name the folder "
            f"under `stash:`{f', which is {url} now' if stash.kind == 'folder' else ''}.",
        )
    return list(_of_folder(pattern[len(url) :], f"{stash.folder}/", url))


def _of_folder(pattern: str, folder: str, url: str) -> Iterator[Listed]:
    """folder, url: what stands before the pattern on the disk, and for jobs."""
    fixed = _fixed(pattern)
    wanted = compiled(pattern)
    start = f"{folder}{fixed}" or "/"

    def refuse(error: OSError) -> None:
        raise StagingError(f"cannot be listed: {error.strerror}", where=start) from None

    for above, _, names in os.walk(start or ".", onerror=refuse):
        for name in names:
            path = os.path.join(above, name)
            below = path[len(folder) :]
            if wanted.fullmatch(below) and os.path.isfile(path):
                yield Listed(url + quote(below), Path(path).stat().st_size)


def _of_bucket(pattern: str, stash: Stash) -> Iterator[Listed]:
    from osgbatch.staging.s3 import S3Store

    bucket, _, keys = pattern.removeprefix("s3://").partition("/")
    if stash.kind != "s3":
        stash = Stash("s3")
    store = S3Store(replace(stash, url=f"s3://{bucket}"))
    wanted = compiled(keys)
    for key, size, tag in store.keys_below(_fixed(keys)):
        if wanted.fullmatch(key):
            md5 = tag if re.fullmatch(r"[0-9a-f]{32}", tag) else ""
            # HTCondor quotes a key itself: an escaped one would not be found (seen on 25.14.1).
            yield Listed(f"{store.url}/{key}", size, md5)


def _fixed(pattern: str) -> str:
    """What stands before the first folder or name with a wildcard in it."""
    found = _MAGIC.search(pattern)
    return pattern[: found.start()].rpartition("/")[0] + "/" if found else pattern


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of the shell as a regular expression: `*` stops at slashes, `**` does not.

    Raises StagingError for one that means nothing, such as [z-a].
    """
    *above, last = pattern.split("/")
    parts = ["(?:[^/]+/)*" if part == "**" else f"{_segment(part)}/" for part in above]
    parts.append("(?:[^/]+/)*[^/]+" if last == "**" else _segment(last))
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error as error:
        raise StagingError(
            f"the pattern cannot be understood: {error.msg}", where=pattern, fix="Write [a-z]."
        ) from None


def _segment(pattern: str) -> str:
    """What stands between two slashes, as a regular expression; nothing in it matches a slash."""
    found = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char in "*?":
            found.append("[^/]*" if char == "*" else "[^/]")
            continue
        end = pattern.find("]", at + (2 if pattern[at : at + 1] in "!^" else 1))
        if char == "[" and end > 0:
            inner = pattern[at:end]
            sign, inner = ("^", inner[1:]) if inner[0] in "!^" else ("", inner)
            inner = re.sub(r"([\\\[\]^&~|])", r"\\\1", inner)
            found.append(f"(?!/)[{sign}{inner}]")
            at = end + 1
            continue
        found.append(re.escape(char))
    return "".join(found)

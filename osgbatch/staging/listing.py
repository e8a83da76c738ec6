"""The files that a pattern with a URL stands for: of a bucket, or of the folder of a stash."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from osgbatch.errors import StagingError
from osgbatch.spec_model import Stash
from osgbatch.staging.objects import FOLDER, checksum_of
from osgbatch.staging.store import expanded, stash_url
from osgbatch.urls import holds_key, scheme, split_url, without_login

SCHEMES = ("s3", "osdf", "pelican", "file")
"""URLs that can be listed."""
_MAGIC = re.compile(r"[*?\[]")
_NAME = r"(?!\.)[^/]+"
_OURS = re.compile(rf"(?:^|/){FOLDER}/")
_SAMPLES = 8
"""So many objects of a listing are asked whether their tags are checksums."""


@dataclass(frozen=True)
class Listed:
    """A file at a URL. url: as HTCondor is given it; size: bytes; md5: hexadecimal, or empty."""

    url: str
    size: int
    md5: str = ""


def list_urls(pattern: str, stash: Stash) -> list[Listed]:
    """The files that a pattern matches; `**/` is any depth. In no particular order.

    As in a shell, a name that begins with a dot is matched by a pattern that does, too. Objects of
    osgbatch are found only by a pattern that names their folder: what is staged should not change
    what the next sweep finds.

    pattern: s3://bucket/prefix/**/*.jpg, or a URL below that of the stash's folder. stash: the
    sweep's; it says at which server a bucket is. Raises StagingError.
    """
    if holds_key(pattern) or "@" in split_url(pattern)[1].partition("/")[0]:
        raise StagingError(
            "the pattern holds what looks like a key or a password",
            where=without_login(pattern),
            fix="Keys belong into the usual files of AWS, the environment, or key_folder.",
        )
    if scheme(pattern) == "s3":
        return _of_bucket(pattern, stash)
    folder = expanded(stash.folder) if stash.kind == "folder" else ""
    url = f"{stash_url(stash)}/"
    if folder and pattern.startswith(url):
        return list(_of_folder(pattern[len(url) :], f"{folder}/", url, folder))
    if scheme(pattern) != "file":
        raise StagingError(
            "only a bucket and the folder of the stash can be listed",
            where=pattern,
            fix="Write the addresses down, one per line, and use `lines:`; or name the folder "
            f"under `stash:`{f', which is {url} now' if folder else ''}.",
        )
    return list(_of_folder(pattern.removeprefix("file://"), "", "file://", folder))


def _of_folder(pattern: str, folder: str, url: str, stash: str) -> Iterator[Listed]:
    """folder, url: what stands before the pattern on the disk, and for jobs.

    stash: the folder of the stash, where there is one.
    """
    fixed = _fixed(pattern)
    wanted, segments = _matcher(pattern), pattern[len(fixed) :].split("/")
    start = f"{folder}{fixed}" or "/"

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError) or error.filename == start:
            raise StagingError(
                f"cannot be listed: {error.strerror}", where=str(error.filename)
            ) from None

    for above, below, names in os.walk(start, onerror=refuse):
        depth = len(list(filter(None, above[len(start) :].split("/"))))
        below[:] = _entered(segments, depth, below)
        if FOLDER in below and above.rstrip("/") == stash.rstrip("/"):
            below.remove(FOLDER)  # the pattern can still start in it
        for name in names:
            path = os.path.join(above, name)
            if wanted(path[len(folder) :]):
                # Bytes that are not UTF-8 are quoted as they are.
                yield from _listed(path, url + quote(os.fsencode(path[len(folder) :])))


def _listed(path: str, url: str) -> Iterator[Listed]:
    """A file of a folder, unless it is none, or is gone."""
    try:
        status = os.stat(path)
    except FileNotFoundError:  # removed meanwhile, or a link to nothing
        return
    except OSError as error:
        raise StagingError(f"cannot be listed: {error.strerror}", where=path) from None
    if stat.S_ISREG(status.st_mode):
        yield Listed(url, status.st_size)


def _entered(segments: Sequence[str], depth: int, folders: Iterable[str]) -> list[str]:
    """The folders at a depth in which there can be a match. segments: of the pattern."""
    any_depth = segments.index("**") if "**" in segments else len(segments)
    if depth >= any_depth:
        dots = any(segment.startswith(".") for segment in segments)
        return [name for name in folders if dots or not name.startswith(".")]
    if depth >= len(segments) - 1:
        return []
    wanted = compiled(segments[depth])
    return [name for name in folders if wanted.fullmatch(name)]


def _of_bucket(pattern: str, stash: Stash) -> list[Listed]:
    from osgbatch.staging.s3 import S3Store

    bucket, _, keys = pattern.removeprefix("s3://").partition("/")
    if stash.kind != "s3":
        stash = Stash("s3")
    store = S3Store(replace(stash, url=f"s3://{bucket}"))
    wanted = _matcher(keys)
    found = []
    deep = "/" in keys[len(_fixed(keys)) :] or "**" in keys
    for key, size, tag in store.keys_below(_plain(keys), deep=deep):
        if wanted(key):
            found.append((key, size, tag if re.fullmatch(r"[0-9a-f]{32}", tag) else ""))
    tagged = [key for key, _, tag in found if tag]
    samples = tagged[:: max(1, len(tagged) // _SAMPLES)]
    known = all(store.tag_is_md5(key) for key in samples)
    # HTCondor quotes a key itself: an escaped one would not be found (seen on 25.14.1).
    return [Listed(f"{store.url}/{key}", size, tag * known) for key, size, tag in found]


def _plain(pattern: str) -> str:
    """What stands before the first wildcard."""
    found = _MAGIC.search(pattern)
    return pattern[: found.start()] if found else pattern


def _fixed(pattern: str) -> str:
    """The folders before the first one, or the name, with a wildcard in it."""
    plain = _plain(pattern)
    return plain[: plain.rfind("/") + 1]


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a pattern matches a path. Raises StagingError for one that means nothing."""
    wanted = compiled(pattern)
    ours = _OURS.search(pattern) is not None

    def matches(path: str) -> bool:
        if not wanted.fullmatch(path):
            return False
        found = None if ours else _OURS.search(path)
        return found is None or not checksum_of(path[found.end() :])

    return matches


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of the shell as a regular expression: `*` stops at slashes, `**` does not.

    A dot at the start of a name is matched by a dot alone. Raises StagingError for a pattern
    that means nothing, such as [z-a].
    """
    *above, last = pattern.split("/")
    parts = [f"(?:{_NAME}/)*" if part == "**" else f"{_segment(part)}/" for part in above]
    parts.append(f"(?:{_NAME}/)*{_NAME}" if last == "**" else _segment(last))
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error as error:
        raise StagingError(
            f"the pattern cannot be understood: {error.msg}", where=pattern, fix="Write [a-z]."
        ) from None


def _segment(pattern: str) -> str:
    """What stands between two slashes, as a regular expression; nothing in it matches a slash."""
    found = ["(?!\\.)"] if _MAGIC.match(pattern) else []
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

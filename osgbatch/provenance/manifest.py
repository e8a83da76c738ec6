"""`manifest.sha256`: the checksums of results, as `sha256sum` writes and reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from osgbatch.errors import OsgbatchError
from osgbatch.sums import parse_sum


class ManifestError(OsgbatchError):
    """A manifest is not there, or is not what it should be."""


def line(name: str, sha256: str) -> bytes:
    """A line of a manifest.

    name: relative to the results folder, with slashes; sha256: 64 hexadecimal digits.
    Source: coreutils manual, "sha2 utilities": a line that starts with a backslash has newlines and
    backslashes of its name escaped. A CR is escaped at the end of a name alone, where newer
    versions of `sha256sum -c` would drop it: those before 9.0 do not know that escape.
    """
    if "\\" not in name and "\n" not in name and not name.endswith("\r"):
        return f"{sha256}  {name}\n".encode("utf-8", "surrogateescape")
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
    if escaped.endswith("\r"):
        escaped = f"{escaped[:-1]}\\r"
    return f"\\{sha256}  {escaped}\n".encode("utf-8", "surrogateescape")


def entries(path: Path) -> Iterator[tuple[str, str]]:
    """Names and checksums of a manifest, one at a time.

    Raises ManifestError, with the line, for what is none, and for a name that leads out of the
    results.
    """
    try:
        with path.open("rb") as stream:
            for number, text in enumerate(stream, 1):
                try:
                    name, sha256 = parse_sum(text.removesuffix(b"\n"))
                    if not is_inside(name):
                        raise ValueError("its name leads out of the results")
                except ValueError as error:
                    raise ManifestError(
                        str(error),
                        where=f"{path}:{number}",
                        fix="The manifest was changed or damaged; `osgbatch provenance` of the "
                        "batch writes it anew.",
                    ) from None
                yield name, sha256
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror}", where=str(path)) from None


def is_inside(name: str) -> bool:
    """Whether a name is a plain path below a folder."""
    parts = name.split("/")
    return not ({"", ".", ".."} & set(parts)) and "\0" not in name


def walk_results(
    top: Path, skip: frozenset[str] = frozenset()
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """What `walk` gives of results, but for `.new-…`: half unpacked, and never finished.

    By it a manifest is written and compared, so that nothing is in one and not in the other.
    """
    for name, entry in walk(top, skip):
        if not name.startswith(".new-") and "/.new-" not in name:
            yield name, entry


def walk(top: Path, skip: frozenset[str] = frozenset()) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Whatever lies below a folder and is no folder itself, with its path from there.

    skip: names at the top that are left out. Links are not followed. Raises OSError.
    """
    folders = [""]
    while folders:
        below = folders.pop()
        with os.scandir(top / below if below else top) as found:
            for entry in found:
                name = f"{below}/{entry.name}" if below else entry.name
                if name in skip:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                else:
                    yield name, entry

"""`keys.txt` of a round: what its tasks' results follow from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from osgbatch import names
from osgbatch.batches.writing import write_stream

_VERSION = "1"


def write_keys(round_: Path, digest: str, tasks: Iterable[int], keys: Iterable[str]) -> None:
    """Write the keys of a round's tasks: after a line with the digest of what they share, a line
    for each: its number and its key.
    """
    lines = (f"{index} {key}\n".encode() for index, key in zip(tasks, keys, strict=True))
    write_stream(round_ / names.KEYS, _chunks(f"{_VERSION} {digest}\n".encode(), lines))


def _chunks(first: bytes, lines: Iterable[bytes]) -> Sequence[bytes]:
    return [first, b"".join(lines)]


def read_digest(round_: Path) -> str:
    """The digest of what the tasks of a round share; empty where none was written."""
    try:
        with (round_ / names.KEYS).open(encoding="ascii") as stream:
            version, digest = stream.readline().split()
            return digest if version == _VERSION else ""
    except (OSError, ValueError):
        return ""


def read_keys(round_: Path) -> tuple[str, Mapping[int, str]]:
    """The digest of what the tasks of a round share, and their keys; an empty one when there is
    none: of an older osgbatch, or a file that cannot be read.
    """
    try:
        with (round_ / names.KEYS).open(encoding="ascii") as stream:
            version, digest = stream.readline().split()
            if version != _VERSION:
                return "", {}
            words = (line.split() for line in stream)
            return digest, {int(index): key for index, key in words}
    except (OSError, ValueError):
        return "", {}

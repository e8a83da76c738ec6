"""What is sent to a host: not what came from there, and nothing over what is newer there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from osgbatch.laptop.arriving import KEPT, Offered
from osgbatch.laptop.record import Got


def doubtful(files: Iterable[Path], got: Mapping[Path, Got], before: Iterable[Path]) -> list[Path]:
    """Files of which the host may have its own: what came from there, and what never went there."""
    sent = set(before)
    return [path for path in files if path in got or path not in sent]


def theirs(
    files: Iterable[Offered], base: Path, got: Mapping[Path, Got]
) -> tuple[Sequence[Path], Sequence[Path]]:
    """Files that are used as the host has them; and those of them that differ from ours.

    files: the doubtful ones that it has, named relative to base.
    """
    kept: list[Path] = []
    differ: list[Path] = []
    for one in files:
        path = base / one.name
        known = got.get(path)
        status = os.stat(path)
        same_there = known is not None and (known.size, known.time) == (one.size, one.time)
        if known and (known.size, known.own) == (status.st_size, status.st_mtime_ns):
            kept.append(path)
            if not same_there:
                differ.append(path)
        elif known and same_there and known.own != KEPT:
            continue  # what it has has been brought here, and was changed here since
        elif one.time // 10**9 > status.st_mtime_ns // 10**9:
            kept.append(path)
            differ.append(path)
    return kept, differ

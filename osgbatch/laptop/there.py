"""The host's side of `--host`: which results are here, and what is to be removed."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from osgbatch import names
from osgbatch.provenance.layout import FOLDER as PROVENANCE
from osgbatch.remote.copying import PARTIAL

_BELOW = {
    ("work", names.BATCHES): "batches",
    ("batch", names.RESULTS): "plain",
    ("batch", PROVENANCE): "plain",
    ("batch", names.STEPS): "batches",  # of a workflow: each step is a batch
}
_ELSE = {"work": "work", "batches": "batch", "batch": "", "plain": "plain"}
"""What a folder is, by what it lies in. All else of a batch is the access point's."""
_NEVER = ("__pycache__", ".git", PARTIAL)


def found_lines(folder: Path) -> Iterator[str]:
    """The files of a folder that a laptop may be brought, one JSON list each: name, size, time.

    Of batches only what was collected. A link has its target after these. time: ns since 1970.
    """
    for path in _walk(str(folder), "work"):
        with suppress(OSError):  # it was there a moment ago
            status = os.lstat(path)
            told = [os.path.relpath(path, folder), status.st_size, status.st_mtime_ns]
            if stat.S_ISLNK(status.st_mode):
                yield json.dumps([*told, os.readlink(path)])
            elif stat.S_ISREG(status.st_mode):
                yield json.dumps(told)


def _walk(folder: str, kind: str) -> Iterator[str]:
    """kind: "work", what a laptop has, too; "batches", of it; "batch"; "plain": all is results."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: os.fsencode(one.name)):
            if entry.is_dir(follow_symlinks=False):
                below = _BELOW.get((kind, entry.name), _ELSE[kind])
                if below and entry.name not in _NEVER:
                    yield from _walk(entry.path, below)
            elif kind in ("work", "plain"):
                yield entry.path


def known_lines(folder: Path, listed: Iterable[bytes]) -> Iterator[str]:
    """Those of some files that are here, one JSON list each: name, size, time in ns since 1970."""
    for name in filter(None, map(os.fsdecode, listed)):
        with suppress(OSError):
            status = os.stat(folder / name)
            if stat.S_ISREG(status.st_mode):
                yield json.dumps([name, status.st_size, status.st_mtime_ns])


def remove(folder: Path, listed: Iterable[bytes]) -> int:
    """Remove files that a laptop has brought and has no more; gives how many.

    listed: names relative to folder. Nothing outside of it, and nothing of a batch, is touched.
    """
    count = 0
    top = os.path.realpath(folder)
    for name in map(os.fsdecode, listed):
        parts = name.split("/")
        if not name or ".." in parts or names.BATCHES in parts[:-1] or name.startswith("/"):
            continue
        path = os.path.join(top, name)
        above = os.path.dirname(path)
        if os.path.realpath(above) != above:
            continue  # through a link: none that we have made
        with suppress(OSError):
            os.unlink(path)
            count += 1
        partial = os.path.join(above, PARTIAL)
        with suppress(OSError):
            os.unlink(os.path.join(partial, os.path.basename(path)))
        with suppress(OSError):
            os.rmdir(partial)
        while above != top:
            try:
                os.rmdir(above)
            except OSError:
                break
            above = os.path.dirname(above)
    return count

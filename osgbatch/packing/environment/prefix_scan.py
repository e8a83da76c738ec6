"""Whether anything in a folder has changed, told without reading any file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.archive import printable
from osgbatch.packing.environment.venv_files import Belongs


@dataclass(frozen=True)
class Scan:
    """What a walk over a folder found.

    digest: of all names, sizes, times and inodes. files: how many. leaving: links to something
    outside of the folder, relative to it.
    """

    digest: str
    files: int
    leaving: tuple[str, ...]


def scan(top: Path, belongs: Belongs | None = None) -> Scan:
    """Look at every file below a folder, bytecode aside.

    belongs: which of them count; all where it is not given.
    The time of the last change (ctime) cannot be set, so that an edit whose modification time was
    put back is seen as well. Raises PackingError for a folder that cannot be read.
    """
    digest = hashlib.sha256()
    real_top = os.path.realpath(top)
    files = 0
    leaving: list[str] = []
    waiting = [(str(top), "")]
    while waiting:
        folder, below = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            raise PackingError(
                f"the folder cannot be read: {error.strerror}",
                where=printable(folder),
                fix="Give yourself the right to read it, or make the environment anew.",
            ) from error
        for entry in found:
            name = f"{below}{entry.name}"
            if belongs is not None and not belongs(name, entry.is_dir()):
                continue
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    digest.update(os.fsencode(name) + b"/\n")
                    waiting.append((entry.path, f"{name}/"))
                continue
            if entry.name.endswith((".pyc", ".pyo")):
                continue
            files += 1
            digest.update(os.fsencode(name) + facts(entry.stat(follow_symlinks=False)))
            if entry.is_symlink():
                target = os.path.realpath(entry.path)
                if not (target + "/").startswith(real_top + "/"):
                    leaving.append(name)
                    digest.update(_outside(target))
    return Scan(digest.hexdigest(), files, tuple(leaving))


def _outside(target: str) -> bytes:
    """The state of what a link leads to outside of the folder."""
    if os.path.isdir(target):
        if target == "/" or not os.path.isdir(target):
            return b"/"
        return b"".join(_paths_facts(_files(target)))
    try:
        return os.fsencode(target) + facts(os.stat(target))
    except OSError:
        return os.fsencode(target) + b" gone"


def _files(top: str) -> Iterable[Path]:
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (Path(folder, name) for name in sorted(names) if not name.endswith(".pyc"))


def _paths_facts(paths: Iterable[Path]) -> Iterable[bytes]:
    for path in paths:
        try:
            yield os.fsencode(path) + facts(path.lstat())
        except OSError:
            yield os.fsencode(path) + b" gone"


def paths_digest(paths: Iterable[Path]) -> str:
    """The same for some files, wherever they lie."""
    return hashlib.sha256(b"".join(_paths_facts(paths))).hexdigest()


def facts(status: os.stat_result) -> bytes:
    """What changes when a file does."""
    return (
        f"\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino} "
        f"{status.st_mode:o}\n"
    ).encode()

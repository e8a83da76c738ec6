"""What osgbatch's cache holds, and how it is emptied while others may be packing."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from osgbatch.packing.environment.cache import FOLDER, MANIFEST, STALE_SECONDS


@dataclass(frozen=True)
class Kept:
    """One thing in the cache.

    kind: as in a spec; "downloads" for packages that environments are made from, "libraries",
    "leftover" for what a killed osgbatch left, "damaged" for what cannot be used. size: bytes on
    disk. made: when, and used: when last, in seconds since 1970. made_from: what the user named.
    """

    name: str
    path: Path
    kind: str
    size: int
    made: float
    used: float
    made_from: str = ""
    python: str = ""
    packages: int = 0


def kept_things(cache: Path) -> list[Kept]:
    """Everything in the cache, the last used first; nothing when there is no cache."""
    found = []
    for path in _children(cache / FOLDER):
        if path.is_dir():
            found.append(_entry(path))
    for path in _children(cache):
        if path.is_dir() and path.name != FOLDER:
            made = path.stat().st_mtime
            kind = path.name if path.name in ("libraries", "images") else "downloads"
            found.append(Kept(path.name, path, kind, _size(path), made, made))
    return sorted(found, key=lambda one: (-one.used, one.name))


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _entry(path: Path) -> Kept:
    made = path.stat().st_mtime
    if path.name.startswith("."):
        return Kept(path.name, path, "leftover", _size(path), made, made)
    try:
        manifest = path / MANIFEST
        noted = json.loads(manifest.read_text(encoding="utf-8"))
        archive = path / Path(noted["archive"]).name
        return Kept(
            name=path.name,
            path=path,
            kind=noted.get("kind") or "requirements",
            size=_size(path),
            made=archive.stat().st_mtime,
            used=manifest.stat().st_mtime,
            made_from=str(noted.get("made_from", "")),
            python=str(noted["python"]),
            packages=len(noted["packages"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return Kept(path.name, path, "damaged", _size(path), made, made)


def _size(top: Path) -> int:
    size = 0
    for folder, _, names in os.walk(top):
        for name in names:
            with contextlib.suppress(OSError):
                size += Path(folder, name).lstat().st_size
    return size


@dataclass(frozen=True)
class Cleaned:
    """What was removed, and what was not because another osgbatch is packing it."""

    removed: list[Kept]
    busy: list[Kept]


def clean(cache: Path, older_s: float, everything: bool = False) -> Cleaned:
    """Remove what was not used for some time, and what is broken; with `everything`, all.

    older_s: seconds. What another osgbatch is just making stays. Raises OSError.
    """
    removed: list[Kept] = []
    busy: list[Kept] = []
    now = time.time()
    for one in kept_things(cache):
        if one.path.parent == cache or one.kind == "leftover":
            limit = {"leftover": STALE_SECONDS, "libraries": older_s}.get(one.kind, now)
            wanted = now - one.made > limit
            with _all_locks(cache) as free:
                if not (everything or wanted):
                    continue
                if free:
                    shutil.rmtree(one.path, ignore_errors=True)
                (removed if free else busy).append(one)
            continue
        if not everything and one.kind != "damaged" and now - one.used <= older_s:
            continue
        lock = cache / FOLDER / f".{one.name}.lock"
        with _taken(lock) as free:
            if free:
                shutil.rmtree(one.path, ignore_errors=True)
                lock.unlink(missing_ok=True)
            (removed if free else busy).append(one)
    return Cleaned(removed, busy)


@contextlib.contextmanager
def _taken(lock: Path) -> Iterator[bool]:
    """Take a lock if nobody has it; gives whether it was taken."""
    try:
        file = lock.open("a")
    except OSError:
        yield True
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        except OSError:  # a file system without locks
            yield True
        else:
            yield True


@contextlib.contextmanager
def _all_locks(cache: Path) -> Iterator[bool]:
    """Take every lock of the cache; gives whether nobody had one."""
    with contextlib.ExitStack() as stack:
        locks = sorted((cache / FOLDER).glob(".*.lock"))
        taken = [stack.enter_context(_taken(lock)) for lock in locks]
        yield all(taken)

"""What osgbatch's cache holds, and how it is emptied while others may be packing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from osgbatch.packing.environment.cache import FOLDER, MANIFEST, PACKING, STALE_SECONDS
from osgbatch.packing.environment.locks import ALONE, Held, take
from osgbatch.packing.folders import FOLDERS

OURS = {"conda": "downloads", "libraries": "libraries", FOLDERS: "folders"}
"""The folders of the cache besides that of environments, and their kinds."""
_FINGERPRINT = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")
_HOW = {"strip": "stripped:", "no-test": "not tried before it was sent"}
"""How an environment was packed, by the beginning of the note about it."""
_LEFTOVER = re.compile(r"\.(build|old)-")


@dataclass(frozen=True)
class Kept:
    """One thing in the cache.

    kind: as in a spec; "downloads" for packages that environments are made from, "libraries",
    "folders" for what is known of folders that were staged, and archives of them on their way,
    "leftover" for what a killed osgbatch left, "damaged" for what cannot be used, "unknown" for
    what is not osgbatch's and never removed. size: bytes on disk. made: when, and used: when last,
    in seconds since 1970. made_from: what the user named. packed: how it was packed, where that is
    not as usual, "strip" and "no-test".
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
    packed: tuple[str, ...] = ()


def kept_things(cache: Path) -> list[Kept]:
    """Everything in the cache, the last used first; nothing when there is no cache."""
    found = []
    for path in _folders(cache / FOLDER):
        found.append(_entry(path))
    for path in _folders(cache):
        if path.name != FOLDER:
            made = path.lstat().st_mtime
            kind = "unknown" if path.is_symlink() else OURS.get(path.name, "unknown")
            singles = [*_libraries(path), *_parts(path)] if kind != "unknown" else []
            used = max([made, *(one.used for one in singles)])
            found.append(Kept(path.name, path, kind, _size(path), made, used))
    return sorted(found, key=lambda one: (-one.used, one.name))


def _libraries(folder: Path) -> list[Kept]:
    """The archives in the folder of libraries, each used when it was last packed or read."""
    found = []
    for path in folder.glob("library-*.tar.gz"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            made = status.st_mtime
            used = max(made, status.st_atime)
            found.append(Kept(path.name, path, "libraries", status.st_size, made, used))
    return found


_OF_FOLDER = re.compile(r"folder-[0-9a-f]{16}\.tar\.gz|[0-9a-f]{32}\.(json|[0-9]+)")
_PART = re.compile(r"\.folder-[0-9a-f]{16}\.part")


def _parts(folder: Path) -> list[Kept]:
    """What is kept of folders: notes, archives that were not staged, and what a kill left."""
    if folder.name != FOLDERS:
        return []
    found = []
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return []
    for path in paths:
        kind = "leftover" if _PART.fullmatch(path.name) else "folders"
        if kind == "leftover" or _OF_FOLDER.fullmatch(path.name):
            with contextlib.suppress(OSError):
                status = path.lstat()
                made = status.st_mtime
                found.append(Kept(path.name, path, kind, status.st_size, made, made))
    return found


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []


def _entry(path: Path) -> Kept:
    made = path.lstat().st_mtime
    if path.is_symlink() or not (_FINGERPRINT.fullmatch(path.name) or _LEFTOVER.match(path.name)):
        return Kept(path.name, path, "unknown", _size(path), made, made)
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
            packed=tuple(
                name
                for name, begin in _HOW.items()
                if any(str(note).startswith(begin) for note in noted.get("notes", ()))
            ),
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
    """What was removed, what was not because another osgbatch uses it, and what cannot be."""

    removed: list[Kept] = field(default_factory=list)
    busy: list[Kept] = field(default_factory=list)
    failed: list[Kept] = field(default_factory=list)


def clean(cache: Path, older_s: float, everything: bool = False) -> Cleaned:
    """Remove what was not used for some time, and what is broken; with `everything`, all.

    older_s: seconds. Packages that environments are made from go with `everything` only: with them
    the same environment is made again without a network. What another osgbatch is packing, or
    bringing to a batch folder, stays, and so does what is not osgbatch's.
    """
    done = Cleaned()
    now = time.time()
    for one in kept_things(cache):
        if one.kind == "unknown":
            continue
        if one.kind == "folders":
            _clean_folders(one.path, cache, older_s, everything, done)
        elif one.kind == "libraries" and not everything:
            for library in _libraries(one.path):
                if now - library.used > older_s:
                    with _nobody_packs(cache) as free:
                        _remove(library, cache, free, done)
        elif one.path.parent == cache or one.kind == "leftover":
            if everything or one.kind == "leftover":
                old = now - one.made > STALE_SECONDS and one.kind == "leftover"
                with _nobody_packs(cache) as free:
                    _remove(one, cache, free or old, done)
        elif everything or one.kind == "damaged" or now - one.used > older_s:
            with _unused(one.path, cache) as free:
                if not one.path.exists():  # another `clean` was faster
                    continue
                used = _entry(one.path).used  # it may have been since it was looked at
                if everything or one.kind == "damaged" or now - used > older_s:
                    _remove(one, cache, free, done)
    if everything:
        _remove_locks(cache)
    return done


def _clean_folders(
    folder: Path, cache: Path, older_s: float, everything: bool, done: Cleaned
) -> None:
    """Remove notes and archives of folders one by one: each archive that is being staged stays."""
    now = time.time()
    for one in _parts(folder):
        if one.kind == "leftover":
            with _nobody_packs(cache) as free:
                _remove(one, cache, free or now - one.made > STALE_SECONDS, done)
        elif everything or now - one.used > older_s:
            if one.path.suffix != ".gz":  # a note is missed by nobody
                _remove(one, cache, True, done)
                continue
            with _taken(one.path) as free:
                _remove(one, cache, free, done)
    if everything:
        with contextlib.suppress(OSError):  # what is not osgbatch's may be there
            folder.rmdir()


def _remove(one: Kept, cache: Path, free: bool, done: Cleaned) -> None:
    """Give a thing another name, so that nobody finds half of it, and remove it."""
    if not free:
        done.busy.append(one)
        return
    aside = one.path
    if one.kind != "leftover":
        aside = cache / FOLDER / f".old-{secrets.token_hex(6)}"
        try:
            aside.parent.mkdir(exist_ok=True)
            one.path.rename(aside)
        except FileNotFoundError:
            return
        except OSError:
            done.failed.append(one)
            return
    if aside.is_file():
        with contextlib.suppress(OSError):
            aside.unlink()
    shutil.rmtree(aside, ignore_errors=True)
    (done.failed if aside.exists() else done.removed).append(one)


@contextlib.contextmanager
def _nobody_packs(cache: Path) -> Iterator[bool]:
    """Gives whether no osgbatch is packing; none begins meanwhile."""
    with _taken(cache / FOLDER / PACKING) as free:
        yield free


@contextlib.contextmanager
def _unused(entry: Path, cache: Path) -> Iterator[bool]:
    """Gives whether nobody builds an entry or uses it; nobody begins to meanwhile."""
    with _taken(cache / FOLDER / f".{entry.name}.lock") as unbuilt:
        if not unbuilt or not (entry / MANIFEST).exists():
            yield unbuilt
            return
        with _taken(entry / MANIFEST) as unused:
            yield unused


@contextlib.contextmanager
def _taken(lock: Path) -> Iterator[bool]:
    """Take a lock if nobody has it; gives whether it was taken."""
    try:
        made_anew = lock.name != MANIFEST and lock.suffix != ".gz"  # no empty archive
        held: Held | None = take(lock, ALONE, wait=False, create=made_anew)
    except OSError:  # not there: there is nothing that could be used
        yield True
        return
    yield held is not None
    if held is not None:
        held.release()


def _remove_locks(cache: Path) -> None:
    """Remove the locks of what is no longer there."""
    for lock in (cache / FOLDER).glob(".*.lock"):
        if lock.name == PACKING or (cache / FOLDER / lock.name[1:-5]).exists():
            continue
        with _taken(lock) as free, contextlib.suppress(OSError):
            if free:
                lock.unlink()

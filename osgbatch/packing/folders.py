"""Packs a folder of data for the stash; one that has not changed is not packed again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from osgbatch.errors import PackingError
from osgbatch.packing.archive import printable, write_archive
from osgbatch.packing.tree import tree_members, walk

if TYPE_CHECKING:
    from osgbatch.packing.environment.locks import Held

FOLDERS = "folders"
"""The room in the cache: a note for each folder that was packed, and archives on their way."""
KIND = "folder"
CONTENT = "content"
"""What the folder is called in its archive; its own name would make other bytes of it."""
YOUNG_NS = 2_000_000_000
"""A file that changed this shortly before it was packed may change again within one tick of the
clock of its file system, and look the same: nothing is noted of its folder."""


@dataclass(frozen=True)
class FolderArchive:
    """A folder as an archive. path: where it is kept until it is staged; sizes in bytes.

    held: keeps others from removing it; None when it is not there.
    """

    path: Path
    sha256: str
    size: int
    unpacked_size: int
    held: Held | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class _State:
    """What a folder looks like. newest_ns: its last change; size: bytes of its files."""

    fingerprint: str
    newest_ns: int
    size: int


def _keep_all(name: str, is_folder: bool) -> bool:
    """Data is brought as it is: no name in it is clutter."""
    return False


def folder_archive(source: Path, cache: Path, *, needed: bool = False) -> FolderArchive:
    """The archive of a folder: same content, same bytes.

    cache: osgbatch's. needed: its bytes are wanted, not only what they would be: an archive that
    was staged and removed (`drop_archive`) is made again. What could not be staged stays for the
    next time, for a day at least. Raises PackingError, also when the folder changes meanwhile.
    """
    home = cache / FOLDERS
    note = _note(source, home)
    started = time.time_ns()
    state = _look(source)
    fingerprint, known = _read(note, home)
    same = known is not None and fingerprint == state.fingerprint
    if known is not None and same:
        held = _hold(known.path, known.size)
        if held or not needed:
            with suppress(OSError):
                os.utime(note)  # when it was last used, for `osgbatch pack clean`
            return replace(known, held=held)
    # What environments need is loaded where it is needed: most folders were packed before.
    from osgbatch.packing.environment.cache import packing

    with packing(cache):
        _tidy(home)
        made = write_archive(tree_members(source, CONTENT, _keep_all), home, KIND)
        found = FolderArchive(
            made.path, made.sha256, made.size, made.unpacked_size, _hold(made.path, made.size)
        )
        try:
            if _look(source).fingerprint != state.fingerprint:
                raise folder_changed(source)
        except PackingError:
            drop_archive(found)
            raise
        if known is not None and known.path != found.path:  # nobody wants what it was before
            drop_archive(known)
        if state.newest_ns < started - YOUNG_NS:
            _write(note, state.fingerprint, found)
    return found


def is_known(source: Path, cache: Path) -> bool:
    """Whether a folder was packed as it is now. Raises PackingError."""
    fingerprint, _ = _read(_note(source, cache / FOLDERS), cache / FOLDERS)
    return bool(fingerprint) and fingerprint == _look(source).fingerprint


def looks(source: Path) -> str:
    """What a folder looks like, as one word; nothing is read. Raises PackingError."""
    return _look(source).fingerprint


def drop_archive(archive: FolderArchive) -> None:
    """Remove an archive that is staged, unless another osgbatch uses it. It stays known."""
    if archive.held is not None:
        archive.held.release()
    if not archive.path.exists():
        return
    from osgbatch.packing.environment.locks import ALONE, take

    with suppress(OSError):
        held = take(archive.path, ALONE, wait=False, create=False)
        if held is not None:
            archive.path.unlink()
            held.release()


def folder_changed(source: Path) -> PackingError:
    """The error for a folder that does not stay as it is."""
    return PackingError(
        "the folder changes while it is packed and staged",
        where=printable(str(source)),
        fix="Wait until whatever writes into it has ended, and try again.",
    )


def _hold(path: Path, count: int) -> Held | None:
    """Keep an archive of so many bytes from being removed; None when it is not there, or cut."""
    if not path.exists() or path.stat().st_size != count:
        return None
    from osgbatch.packing.environment.locks import SHARED, take

    try:
        return take(path, SHARED, create=False)
    except OSError:
        return None


def _look(source: Path) -> _State:
    """What a folder looks like: all that would be packed, name by name; nothing is read."""
    digest = hashlib.sha256()
    newest = size = 0
    for found in walk(source, CONTENT, _keep_all):
        status = found.status
        if status is None:
            kind = "/" if found.link is None else f"@{found.link}"
            digest.update(os.fsencode(f"{found.name}\0{kind}\0"))
            continue
        mtime, ctime, count = status.st_mtime_ns, status.st_ctime_ns, status.st_size
        looks = f"{found.name}\0{status.st_mode} {count} {mtime} {ctime} {status.st_ino}\0"
        digest.update(os.fsencode(looks))
        newest = max(newest, mtime, ctime)
        size += count
    return _State(digest.hexdigest(), newest, size)


def _tidy(home: Path) -> None:
    """Remove what a killed osgbatch left, and archives that were not staged within a day."""
    from osgbatch.packing.environment.cache import STALE_SECONDS

    old = time.time() - STALE_SECONDS
    for path in (*home.glob(f".{KIND}-*.part"), *home.glob(f"{KIND}-*.tar.gz")):
        with suppress(OSError):
            if path.stat().st_mtime < old:
                drop_archive(FolderArchive(path, "", 0, 0))


def _note(source: Path, home: Path) -> Path:
    """One for each folder, whatever its state: no more of them than folders."""
    return home / f"{hashlib.sha256(os.fsencode(source)).hexdigest()[:32]}.json"


def _read(note: Path, home: Path) -> tuple[str, FolderArchive | None]:
    """The fingerprint of the state that was packed, and its archive."""
    try:
        said = json.loads(note.read_text())
        path = home / Path(said["archive"]).name
        found = FolderArchive(path, said["sha256"], int(said["size"]), int(said["unpacked_size"]))
        return str(said["fingerprint"]), found
    except (OSError, ValueError, TypeError, KeyError):
        return "", None


def _write(note: Path, fingerprint: str, found: FolderArchive) -> None:
    said = {
        "fingerprint": fingerprint,
        "archive": found.path.name,
        "sha256": found.sha256,
        "size": found.size,
        "unpacked_size": found.unpacked_size,
    }
    temporary = note.with_suffix(f".{os.getpid()}")
    with suppress(OSError):  # then it is packed again the next time
        temporary.write_text(json.dumps(said))
        temporary.replace(note)

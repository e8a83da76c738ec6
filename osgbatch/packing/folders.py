"""Packs a folder of data for the stash; one that has not changed is not packed again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.archive import write_archive
from osgbatch.packing.tree import tree_members

KIND = "folder"
CONTENT = "content"
"""What the folder is called in its archive; its own name would make other bytes of it."""


@dataclass(frozen=True)
class FolderArchive:
    """A folder as an archive. path: where it is kept until it is staged; sizes in bytes."""

    path: Path
    sha256: str
    size: int
    unpacked_size: int


def _keep_all(name: str, is_folder: bool) -> bool:
    """Data is brought as it is: no name in it is clutter."""
    return False


def folder_archive(source: Path, cache: Path, *, needed: bool = False) -> FolderArchive:
    """The archive of a folder: same content, same bytes.

    cache: osgbatch's. needed: its bytes are wanted, not only what they would be: an archive that
    was staged and removed (`drop_archive`) is made again. Raises PackingError.
    """
    home = cache / "folders"
    note = home / f"{_fingerprint(source)}.json"
    known = _read(note, home)
    if known is not None and (known.path.exists() or not needed):
        return known
    made = write_archive(tree_members(source, CONTENT, _keep_all), home, KIND)
    found = FolderArchive(made.path, made.sha256, made.size, made.unpacked_size)
    # Written while it was packed: then the note would say something of another content.
    if home / f"{_fingerprint(source)}.json" == note:
        _write(note, found)
    return found


def drop_archive(archive: FolderArchive) -> None:
    """Remove an archive that is staged. What it was is still known."""
    with suppress(OSError):
        archive.path.unlink()


def _fingerprint(source: Path) -> str:
    """A name for the content of a folder, by what its files look like; nothing is read."""
    digest = hashlib.sha256(os.fsencode(source))
    try:
        for line in _entries(os.fsencode(source)):
            digest.update(line)
    except OSError as error:
        raise PackingError(
            f"the folder cannot be read: {error.strerror}",
            where=os.fsdecode(error.filename or source),
            fix="Give yourself the right to read it, or leave it out.",
        ) from None
    return digest.hexdigest()[:32]


def _entries(folder: bytes) -> Iterator[bytes]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield b"%s/\0" % entry.path
            yield from _entries(entry.path)
            continue
        status = entry.stat(follow_symlinks=False)
        times = [_times(status)]
        link = os.readlink(entry.path) if entry.is_symlink() else b""
        if link:  # what it leads to may change and the link not
            with suppress(OSError):
                times.append(_times(os.stat(entry.path)))
        yield b"%s\0%d\0%s\0%s\0" % (entry.path, status.st_mode, repr(times).encode(), link)


def _times(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _read(note: Path, home: Path) -> FolderArchive | None:
    try:
        found = json.loads(note.read_text())
        return FolderArchive(**{**found, "path": home / found["path"]})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(note: Path, found: FolderArchive) -> None:
    temporary = note.with_suffix(f".{os.getpid()}")
    with suppress(OSError):  # then it is packed again the next time
        temporary.write_text(json.dumps({**asdict(found), "path": found.path.name}))
        temporary.replace(note)

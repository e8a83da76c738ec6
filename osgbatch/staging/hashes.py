"""SHA-256 of files, remembered for as long as a file does not change."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from osgbatch.errors import StagingError

CHUNK = 1 << 20
_YOUNG_NS = 2_000_000_000
"""A file that changed this shortly before it was read may change again within one tick of the
clock of its file system, and look the same: its hash is not remembered."""
_SAVE_S = 5.0
"""What was hashed is saved this often, so that an interruption costs no more."""
_KEPT_S = 180 * 86_400
"""What was not asked for in this time is forgotten."""
_RENEW_S = 7 * 86_400
"""It is written down no more often than this that a file was asked for, and what is to be forgotten
is looked for as rarely: both write."""
_BUSY_S = 10.0
"""For so long another osgbatch that writes into the cache is waited for."""

Advance = Callable[[int], None]
"""Is told of so many bytes more."""
Stamp = tuple[int, int, int, int]
"""size, mtime_ns, ctime_ns, inode. ctime_ns tells an edit that put the old mtime back."""
_Row = tuple[bytes, int, int, int, int, str, int]
"""A row of the cache: the path, a Stamp, SHA-256, and when it was last asked for, in seconds."""


class Hashes:
    """The hash cache: one SQLite file in osgbatch's cache folder.

    A cache that cannot be read or written is done without. read_bytes: how much was read so far.
    """

    def __init__(self, cache: Path) -> None:
        self.read_bytes = 0
        self._database = _open(cache / "hashes.sqlite")
        self._fresh: list[tuple[bytes, int, int, int, int, str, int]] = []
        self._asked: list[bytes] = []
        self._renewed_before = time.time() - _RENEW_S
        self._saved = time.monotonic()

    def close(self) -> None:
        """Save what was learnt."""
        self._save()
        if self._database is not None:
            self._database.close()

    def __enter__(self) -> Hashes:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def of_files(self, paths: Iterable[Path], advance: Advance) -> Iterator[tuple[str, int]]:
        """SHA-256 and bytes of regular files, in their order; links are followed.

        advance: is told of the bytes of each file, read or not. Raises StagingError when one
        cannot be read, is no regular file, or changes meanwhile.
        """
        for path in paths:
            stamp = _stamp_of(path)
            digest = self._known(path, stamp)
            if digest:
                advance(stamp[0])
            else:
                digest = self._read(path, stamp, advance)
            yield digest, stamp[0]

    def known(self, path: Path) -> str:
        """SHA-256 of a file that was read before and has not changed since; empty for others.

        Raises StagingError when it cannot be looked at, or is no regular file.
        """
        return self._known(path, _stamp_of(path))

    def known_before(self, path: Path, moment: float) -> str:
        """SHA-256 that was read of a file as it was before a moment (seconds since 1970).

        Of one that since was given other rights, or another name and its own again: size, time of
        change and inode are those of then. Empty for others. Raises StagingError as `known`.
        """
        size, mtime, _, inode = _stamp_of(path)
        for row in self._rows("path = ?", (os.fsencode(path),)):
            if (row[1], row[2], row[4]) == (size, mtime, inode) and row[3] <= moment * 1e9:
                return str(row[5])
        return ""

    def of_tree(self, root: Path, advance: Advance) -> Iterator[tuple[str, str, int, bool]]:
        """Path below the root, SHA-256, bytes, whether it is a program: of every file, by path.

        Links are followed, also to folders: the same files belong to a folder that is packed. All
        that is known of the folder is read from the cache at once. Raises StagingError, also for a
        link to a folder that it lies in.
        """
        known = self._known_below(root)
        base = len(os.fsencode(root)) + 1
        for path, stamp, mode in sorted(_walk(os.fsencode(root))):
            entry = known.get(path)
            if entry is not None and entry[1:5] == stamp:
                digest = entry[5]
                if entry[6] < self._renewed_before:
                    self._asked.append(path)
                advance(stamp[0])
            else:
                digest = self._read(Path(os.fsdecode(path)), stamp, advance)
            yield os.fsdecode(path[base:]), digest, stamp[0], mode & 0o111 != 0

    # --- the file ---------------------------------------------------------------------------

    def _read(self, path: Path, stamp: Stamp, advance: Advance) -> str:
        started = time.time_ns()
        digest = hashlib.sha256()
        try:
            with path.open("rb", buffering=0) as stream:
                while part := stream.read(CHUNK):
                    digest.update(part)
                    self.read_bytes += len(part)
                    advance(len(part))
                after = _stamp(os.fstat(stream.fileno()))
        except OSError as error:
            raise _unreadable(path, error) from None
        if after != stamp:
            raise changed(path)
        if max(stamp[1], stamp[2]) < started - _YOUNG_NS:
            entry = (os.fsencode(path), *stamp, digest.hexdigest(), int(time.time()))
            self._fresh.append(entry)
            if time.monotonic() - self._saved > _SAVE_S:
                self._save()
        return digest.hexdigest()

    # --- the database -----------------------------------------------------------------------

    def _known(self, path: Path, stamp: Stamp) -> str:
        key = os.fsencode(path)
        for _, *known, sha256, seen in self._rows("path = ?", (key,)):
            if tuple(known) == stamp:
                if seen < self._renewed_before:
                    self._asked.append(key)
                return str(sha256)
        return ""

    def _known_below(self, root: Path) -> dict[bytes, _Row]:
        first = os.fsencode(root)
        return {
            row[0]: row
            for row in self._rows(
                "path > ? AND path < ?",
                (first + b"/", first + b"0"),  # "0" follows "/"
            )
        }

    def _rows(self, where: str, values: tuple[bytes, ...]) -> Iterator[_Row]:
        if self._database is None:
            return
        try:
            yield from self._database.execute(f"SELECT * FROM files WHERE {where}", values)
        except sqlite3.Error:  # busy or damaged: so it would be for the next file
            self._database.close()
            self._database = None

    def _save(self) -> None:
        fresh, self._fresh = self._fresh, []
        asked, self._asked = self._asked, []
        self._saved = time.monotonic()
        if self._database is None or not (fresh or asked):
            return
        now = int(time.time())
        with suppress(sqlite3.Error), self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", fresh
            )
            self._database.executemany(
                "UPDATE files SET seen = ? WHERE path = ?", ((now, path) for path in asked)
            )
            self._forget(now)

    def _forget(self, now: int) -> None:
        """Remove what was not asked for, unless that was done lately; the database says when."""
        assert self._database is not None
        (last,) = self._database.execute("PRAGMA user_version").fetchone()
        today = now // 86_400
        if today - last >= _RENEW_S // 86_400 or today < last:
            self._database.execute("DELETE FROM files WHERE seen < ?", (now - _KEPT_S,))
            self._database.execute(f"PRAGMA user_version = {today}")


def _open(path: Path) -> sqlite3.Connection | None:
    """The database; None where there can be none, as on a full disk or while another is busy."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _prepared(path)
    except (OSError, sqlite3.OperationalError):  # it may be busy: whoever is goes on with it
        return None
    except sqlite3.DatabaseError:
        pass
    with suppress(OSError, sqlite3.Error):  # a damaged cache is made anew
        path.unlink()
        # A journal would be played back into the new one.
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
        return _prepared(path)
    return None


def _prepared(path: Path) -> sqlite3.Connection:
    """Open a database, which takes no lock to write where it is there already."""
    database = sqlite3.connect(path, timeout=_BUSY_S)
    try:
        with database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, "
                "mtime INTEGER, ctime INTEGER, inode INTEGER, sha256 TEXT, seen INTEGER) "
                "WITHOUT ROWID"
            )
    except sqlite3.Error:
        database.close()
        raise
    return database


# --- files ----------------------------------------------------------------------------------


def sha256_of(path: Path, advance: Advance | None = None) -> str:
    """The SHA-256 of a file as it is now. Raises OSError."""
    digest = hashlib.sha256()
    with closing(path.open("rb", buffering=0)) as stream:
        while part := stream.read(CHUNK):
            digest.update(part)
            if advance:
                advance(len(part))
    return digest.hexdigest()


def changed(path: Path) -> StagingError:
    """The error for a file that does not stay as it is."""
    return StagingError(
        "the file changes while it is being staged",
        where=str(path),
        fix="Wait until whatever writes it has ended, and try again.",
    )


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _stamp_of(path: Path) -> Stamp:
    try:
        status = os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    if not _is_file(status.st_mode):
        raise StagingError("this is no file", where=str(path), fix="Name files and folders.")
    return _stamp(status)


def _is_file(mode: int) -> bool:
    return (mode & 0o170000) == 0o100000


def _walk(
    folder: bytes, above: tuple[tuple[int, int], ...] = ()
) -> Iterator[tuple[bytes, Stamp, int]]:
    """Every file below a folder and its mode, links followed. above: real folders we are in."""
    try:
        status = os.stat(folder)
        here = (status.st_dev, status.st_ino)
        if here in above:
            raise StagingError(
                "the link leads back to a folder that it lies in",
                where=os.fsdecode(folder),
                fix="Remove the link, or name what you need one by one.",
            )
        with os.scandir(folder) as entries:
            for entry in entries:
                # False for a link that leads nowhere: then `stat` tells it
                if entry.is_dir():
                    yield from _walk(entry.path, (*above, here))
                    continue
                status = entry.stat()
                if not _is_file(status.st_mode):
                    raise StagingError(
                        "this is neither a file nor a folder", where=os.fsdecode(entry.path)
                    )
                yield entry.path, _stamp(status), status.st_mode
    except OSError as error:
        raise _unreadable(Path(os.fsdecode(error.filename or folder)), error) from None


def _unreadable(path: Path, error: OSError) -> StagingError:
    return StagingError(
        f"cannot be read: {error.strerror}",
        where=str(path),
        fix="Give yourself the right to read it, or leave it out.",
    )

"""A stash that is a folder here and a URL to jobs: the OSDF's, a web server's, a shared one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from osgbatch.errors import StagingError
from osgbatch.staging.hold import WAITING, Hold
from osgbatch.staging.objects import FOLDER, Object, checksum_of
from osgbatch.staging.part import (
    LARGE,
    Part,
    SourceError,
    flush,
    forget_pages,
    hash_of,
    remove_abandoned,
)
from osgbatch.staging.store import Advance, Kept, Store

_PART = ".part-"
_GROUP = 256
_GROUP_BYTES = LARGE
"""Small files are brought so many, or so many bytes, at a time."""
_FOR_ALL = 0o005
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


class FolderStore(Store):
    """Objects are files that anyone can read (0644, in folders of 0755), as origins need them.

    A file is copied to `.part-<checksum>` beside its place, read back, and only then given its
    name. A copy that was cut short is gone on with: what is wrong in it shows when it is read back.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url.rstrip("/")
        self._made: set[Path] = set()
        self._has_told = False
        if not folder.is_dir():
            raise StagingError(
                "the stash's folder does not exist",
                where=str(folder),
                fix="Make it, or write another folder (or none) under `stash:`.",
            )

    def _path(self, name: str) -> Path:
        return self.folder / FOLDER / name

    def _part(self, wanted: Object) -> Path:
        """Where the copy of a file is while it is made."""
        return self._path(wanted.name).with_name(f"{_PART}{wanted.sha256}{wanted.suffix}")

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """See Store. A listing per folder: one question about each object would be slow on NFS."""
        wanted: dict[str, set[str]] = {}
        for name in names:
            above, _, base = name.partition("/")
            wanted.setdefault(above, set()).add(base)
        found = {}
        for above, bases in wanted.items():
            for entry in self._entries(above):
                if entry.name in bases:
                    try:
                        found[f"{above}/{entry.name}"] = entry.stat().st_size
                    except FileNotFoundError:  # removed meanwhile
                        continue
        return found

    def _entries(self, above: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self.folder / FOLDER / above) as entries:
                yield from entries
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error(error, f"cannot be read: {error.strerror}") from None

    def put(self, source: Path, wanted: Object, advance: Advance) -> bool:
        """See Store."""
        (brought,) = self.put_all([(source, wanted)], advance)
        return brought

    def put_all(self, files: Sequence[tuple[Path, Object]], advance: Advance) -> Iterator[bool]:
        """See Store.

        Small files are written some hundred at a time and flushed to the disk together: a flush
        for each would take most of the time.
        """
        group: list[tuple[Path, Object]] = []
        size = 0
        for source, wanted in files:
            group.append((source, wanted))
            size += wanted.size
            if len(group) >= _GROUP or size >= _GROUP_BYTES:
                yield from self._put_group(group, advance)
                group, size = [], 0
        yield from self._put_group(group, advance)

    def _put_group(self, files: Sequence[tuple[Path, Object]], advance: Advance) -> list[bool]:
        with ExitStack() as open_files:
            # In the order of their names, as everybody does: two at once never wait for each other.
            ordered = sorted(set(files), key=lambda file: file[1].name)
            parts = {}
            for source, wanted in ordered:
                part = self._written(source, wanted, advance)
                if part is not None:
                    open_files.callback(part.close)
                    parts[wanted] = part
            try:
                flush(list(parts.values()))
                for wanted, part in parts.items():
                    self._check(part)
                    self._publish(part, self._path(wanted.name), wanted)
            except OSError as error:
                raise self._error(error, f"cannot be written: {error.strerror}") from None
        return [wanted in parts for _, wanted in files]

    def _written(self, source: Path, wanted: Object, advance: Advance) -> Part | None:
        """A copy of a file, open and locked; None when its object is there already."""
        final = self._path(wanted.name)
        part = None
        try:
            while True:
                self._make(final.parent)
                part = Part(self._part(wanted), source, wanted, self._tell_of_waiting)
                if _size(final) == wanted.size:
                    part.discard()
                    return None
                if part.is_current():
                    break
                part.close()  # it was finished or cleared away meanwhile, so opened anew
            part.copy(advance)
            return part
        except StagingError:
            if part:
                part.discard()
            raise
        except OSError as error:
            if part:
                part.close()
            raise self._error(
                error, f"cannot be written: {error.strerror}", source=source
            ) from None

    def _tell_of_waiting(self) -> None:
        if not self._has_told:
            self.tell(WAITING)
        self._has_told = True

    def _check(self, part: Part) -> None:
        """Read a copy back; one that an interruption left and that is wrong is made anew."""
        try:
            if not part.is_right() and not part.restart():
                raise StagingError(
                    "what was written to the stash reads back as something else",
                    where=str(part.path),
                    fix="The disk or network under it may be faulty; nothing was published.",
                )
        except StagingError:
            part.discard()
            raise
        except SourceError as error:
            raise self._error(error, "", source=part.source) from None

    def _publish(self, part: Part, final: Path, wanted: Object) -> None:
        """Give a verified file its name, unless something has it: then that is trusted as ever."""
        try:
            os.link(part.path, final)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if not final.exists():  # no hard links here: looked at, then renamed
                part.path.rename(final)
                return
        part.discard()
        if _size(final) != wanted.size:
            raise self.other_size(wanted.name, _size(final), wanted.size)

    def listing(self) -> Iterator[Kept]:
        """See Store."""
        for folder in sorted(self._entries("."), key=lambda entry: entry.name):
            if not folder.is_dir():
                continue
            for entry in sorted(self._entries(folder.name), key=lambda entry: entry.name):
                name = f"{folder.name}/{entry.name}"
                if checksum_of(name):
                    status = entry.stat()
                    yield Kept(name, status.st_size, status.st_mtime)

    def checksum(self, name: str, advance: Advance) -> str:
        """See Store."""
        try:
            descriptor = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                forget_pages(descriptor)
                return hash_of(descriptor, advance)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._error(error, f"cannot be read: {error.strerror}", name) from None

    def remove(self, name: str) -> None:
        """See Store."""
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            raise self._error(error, f"cannot be removed: {error.strerror}", name) from None

    def tidy(self, older_s: float) -> int:
        """See Store. What another osgbatch is writing just now is left alone."""
        count = 0
        for folder in self._entries("."):
            if not folder.is_dir():
                continue
            for entry in self._entries(folder.name):
                if not entry.name.startswith(_PART):
                    continue
                with suppress(OSError):
                    count += remove_abandoned(entry.path, older_s)
        return count

    def hold(self, *, alone: bool = False) -> Hold:
        """See Store."""
        with suppress(OSError):
            self._make(self.folder / FOLDER)
        return Hold(self.folder / FOLDER / ".lock", alone=alone, tell=self.tell)

    def disk(self) -> Path | None:
        """See Store."""
        return self.folder

    def begun(self, objects: Iterable[Object]) -> int:
        """See Store."""
        started: dict[str, list[str]] = {}
        for one in objects:
            path = self._part(one)
            started.setdefault(path.parent.name, []).append(path.name)
        return sum(
            entry.stat().st_size
            for above, names in started.items()
            for entry in self._entries(above)
            if entry.name.startswith(_PART) and entry.name.startswith(tuple(names))
        )

    def _make(self, folder: Path) -> None:
        """Make a folder that anyone can read, whatever the user's umask."""
        if folder in self._made:
            return
        for one in (self.folder / FOLDER, folder):
            try:
                one.mkdir()
                one.chmod(0o755)
            except FileExistsError:
                _open_to_all(one)
        self._made.add(folder)

    def _error(
        self, error: OSError, what: str, name: str = "", source: Path | None = None
    ) -> StagingError:
        where = str(error.filename or self._path(name))
        fix = "Is the stash reachable, and yours? `osgbatch stage ls` tries it."
        if isinstance(error, SourceError):
            what, where = f"cannot be read: {error.strerror}", str(source)
            fix = "What of it was brought stays; the same command goes on where it was."
        elif error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = f"there is no room left in the stash: {error.strerror}"
            fix = "Remove what no batch needs (`osgbatch stage gc`), or ask for a larger quota; "
            fix += "then the same command goes on where it was."
        return StagingError(what, where=where, fix=fix)


def _open_to_all(folder: Path) -> None:
    """Let anyone read a folder that is there: it was made by hand, or just before a kill.

    Raises StagingError when it is another user's, and closed.
    """
    status = folder.stat()
    if status.st_mode & _FOR_ALL == _FOR_ALL:
        return
    try:
        folder.chmod(status.st_mode & 0o7777 | 0o755)
    except PermissionError:
        raise StagingError(
            "a folder of the stash cannot be read by everybody, so that jobs would not get what "
            "is in it",
            where=str(folder),
            fix="It is another user's, who can mend that: `chmod 755` on it.",
        ) from None


def _size(path: Path) -> int:
    """Bytes of a file; -1 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1

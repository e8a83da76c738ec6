"""A stash that is a folder here and a URL to jobs: the OSDF's, a web server's, a shared one."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from osgbatch.errors import StagingError
from osgbatch.staging.hold import Hold
from osgbatch.staging.objects import FOLDER, Object, checksum_of
from osgbatch.staging.part import LARGE, Part, flush, forget_pages, hash_of
from osgbatch.staging.store import Advance, Kept, Store

_PART = ".part-"
_GROUP = 256
_GROUP_BYTES = LARGE
"""Small files are brought so many, or so many bytes, at a time."""
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
                    with suppress(FileNotFoundError):  # removed meanwhile
                        found[f"{above}/{entry.name}"] = entry.stat().st_size
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
                    self._publish(part.path, self._path(wanted.name), wanted)
            except OSError as error:
                raise self._error(error, f"cannot be written: {error.strerror}") from None
        return [wanted in parts for _, wanted in files]

    def _written(self, source: Path, wanted: Object, advance: Advance) -> Part | None:
        """A copy of a file, open and locked; None when its object is there already."""
        final = self._path(wanted.name)
        path = self._part(wanted)
        part = None
        try:
            while True:
                self._make(final.parent)
                part = Part(path, source, wanted)
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
            raise self._error(error, f"cannot be written: {error.strerror}") from None

    def _check(self, part: Part) -> None:
        """Read a copy back; one that an interruption left and that is wrong is made anew."""
        try:
            if not part.is_right():
                part.restart()
                if not part.is_right():
                    raise StagingError(
                        "what was written to the stash reads back as something else",
                        where=str(part.path),
                        fix="The disk or network under it may be faulty; nothing was published.",
                    )
        except StagingError:
            part.discard()
            raise

    def _publish(self, part: Path, final: Path, wanted: Object) -> None:
        """Give a verified file its name, unless something has it."""
        try:
            os.link(part, final)
        except FileExistsError:
            raise StagingError(
                f"an object of this name is there with {_size(final)} bytes and not {wanted.size}",
                where=str(final),
                fix="Something else has changed it. `osgbatch stage verify` lists such objects; "
                "remove it by hand, and bear in mind that caches may still have it.",
            ) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if final.exists():  # no hard links here: looked at, then renamed
                return self._publish_checked(final, wanted)
            part.rename(final)
        else:
            part.unlink()

    def _publish_checked(self, final: Path, wanted: Object) -> None:
        if _size(final) != wanted.size:
            raise StagingError("an object of this name is there, and differs", where=str(final))

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
                    if time.time() - entry.stat().st_mtime > older_s and _free(entry.path):
                        os.unlink(entry.path)
                        count += 1
        return count

    def hold(self, *, alone: bool = False) -> Hold:
        """See Store."""
        with suppress(OSError):
            self._make(self.folder / FOLDER)
        return Hold(self.folder / FOLDER / ".lock", alone=alone)

    def disk(self) -> Path | None:
        """See Store."""
        return self.folder

    def begun(self, objects: Iterable[Object]) -> int:
        """See Store."""
        return sum(max(0, _size(self._part(one))) for one in objects)

    def _make(self, folder: Path) -> None:
        """Make a folder that anyone can read, whatever the user's umask."""
        if folder in self._made:
            return
        for one in (self.folder / FOLDER, folder):
            try:
                one.mkdir()
                one.chmod(0o755)
            except FileExistsError:
                continue
        self._made.add(folder)

    def _error(self, error: OSError, what: str, name: str = "") -> StagingError:
        fix = "Is the stash reachable, and yours? `osgbatch stage ls` tries it."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = f"there is no room left in the stash: {error.strerror}"
            fix = "Remove what no batch needs (`osgbatch stage gc`), or ask for a larger quota; "
            fix += "then the same command goes on where it was."
        return StagingError(what, where=str(error.filename or self._path(name)), fix=fix)


def _free(path: str) -> bool:
    """Whether nobody holds the lock of a file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    """Bytes of a file; -1 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1

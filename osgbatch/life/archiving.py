"""Puts an old batch into one file, and reads that back before anything is removed."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from osgbatch import names
from osgbatch.batches import registry
from osgbatch.batches.folder import Batch
from osgbatch.errors import OsgbatchError
from osgbatch.life.housekeeping import delete, entries_of, held_fast
from osgbatch.staging.stage import Progress

_BLOCK = 1 << 20
_FOLDER = "folder"


@dataclass(frozen=True)
class Archived:
    """A batch in a file. files: how many it holds; size: of the archive; left_out: by name."""

    path: Path
    files: int
    size: int
    left_out: tuple[str, ...]


def archive(batch: Batch, out: Path, progress: Progress, *, remove_it: bool = False) -> Archived:
    """Put a batch folder into one tar.gz, and read that back to the end.

    out: the file to make, never one that is there. remove_it: delete the folder after that. Raises
    as `remove` does, and OsgbatchError when the archive is there, or is not what the folder is:
    then the folder stays, and the archive is not made.
    """
    if os.path.lexists(out):
        raise OsgbatchError("this file is already there", where=str(out), fix="Name another: --out")
    with held_fast([batch]):
        made = _write(batch, out, progress)
        if remove_it:
            delete(batch)
    if remove_it:
        registry.unregister(batch.id, made.path.absolute())
    return made


def _write(batch: Batch, out: Path, progress: Progress) -> Archived:
    folder = batch.folder.resolve()
    before = dict(entries_of(folder))
    total = sum(one.st_size for one in before.values())
    mode = _mode(folder)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        progress.start("archiving", 2 * total)
        temporary.unlink(missing_ok=True)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with _gzip(temporary, "wb") as packed:
            content, left_out = _pack(folder, before, cast(BinaryIO, packed), progress.advance)
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        _verify(temporary, content, progress.advance)
        if changed := _changed(folder, before):
            raise OsgbatchError(
                f"it has changed while it was archived: {changed}",
                where=str(folder),
                fix="Try again when nothing works in it; nothing was changed.",
            )
        temporary.chmod(mode)
        place(temporary, out)
        files = sum(what != _FOLDER for what in content.values())
        return Archived(out, files, out.stat().st_size, tuple(left_out))
    except FileExistsError:
        raise OsgbatchError("this file is already there", where=str(out)) from None
    except OSError as error:
        error.filename = error.filename or str(temporary)
        raise
    finally:
        progress.end()
        temporary.unlink(missing_ok=True)


def _mode(folder: Path) -> int:
    """The mode of a folder's archive: for nobody who may not look into the folder."""
    umask = os.umask(0o077)
    os.umask(umask)
    return 0o666 & ~umask & (folder.stat().st_mode | 0o600)


def place(temporary: Path, out: Path) -> None:
    """Give a file its name, and replace nothing. Raises FileExistsError."""
    try:
        os.link(temporary, out)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(out):
            raise FileExistsError from None
        temporary.rename(out)


def _pack(
    folder: Path,
    entries: Mapping[str, os.stat_result],
    out: BinaryIO,
    advance: Callable[[int], None],
) -> tuple[dict[str, str], list[str]]:
    """Write all entries; gives what each is, by name, and which were left out."""
    content: dict[str, str] = {}
    left_out: list[str] = []
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(folder, folder.name, recursive=False)
        for name, status_ in entries.items():
            path = folder / name
            info = tar.gettarinfo(path, f"{folder.name}/{name}")
            if info is None or not (info.isreg() or info.islnk() or info.issym() or info.isdir()):
                left_out.append(name)
                continue
            if not (info.isreg() or info.islnk()):
                tar.addfile(info)
                content[info.name] = _kind(info)
                continue
            info.type, info.linkname, info.size = tarfile.REGTYPE, "", status_.st_size
            with _steady(path, name) as source:
                if name == names.STATE:
                    info.size = source.seek(0, os.SEEK_END)
                    source.seek(0)
                reader = _Hashing(source, advance)
                tar.addfile(info, cast("IO[bytes]", reader))
            content[info.name] = reader.hash.hexdigest()
    return content, left_out


@contextmanager
def _steady(path: Path, name: str) -> Iterator[BinaryIO]:
    """A file as it stands; of the database, which `status` may be writing, a copy that is whole."""
    if name != names.STATE:
        with path.open("rb") as stream:
            yield stream
        return
    with tempfile.NamedTemporaryFile() as copy:
        with suppress(sqlite3.Error):
            there = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            here = sqlite3.connect(copy.name)
            try:
                there.backup(here)
            finally:
                there.close()
                here.close()
        with open(copy.name, "rb") as stream:
            yield stream


class _Hashing:
    """A stream that is hashed while it is read."""

    def __init__(self, source: BinaryIO, advance: Callable[[int], None]) -> None:
        self.source = source
        self.advance = advance
        self.hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self.source.read(size)
        self.hash.update(data)
        self.advance(len(data))
        return data


def _verify(path: Path, content: Mapping[str, str], advance: Callable[[int], None]) -> None:
    """Read an archive to its end. Raises OsgbatchError when it does not hold just this."""
    found: dict[str, str] = {}
    try:
        with (
            _gzip(path, "rb") as packed,
            tarfile.open(fileobj=cast(BinaryIO, packed), mode="r|") as tar,
        ):
            for info in tar:
                if "/" not in info.name:
                    continue
                found[info.name] = _kind(info)
                if info.isreg():
                    source = tar.extractfile(info)
                    assert source is not None
                    reader = _Hashing(cast(BinaryIO, source), advance)
                    while reader.read(_BLOCK):
                        pass
                    found[info.name] = reader.hash.hexdigest()
            while packed.read(_BLOCK):
                pass
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise OsgbatchError(
            f"the archive cannot be read back: {error}", where=str(path), fix=_KEPT
        ) from None
    if found != content:
        wrong = sorted(name for name in {*found, *content} if found.get(name) != content.get(name))
        raise OsgbatchError(
            f"the archive does not hold what the folder does: {wrong[0]}",
            where=str(path),
            fix=_KEPT,
        )


_KEPT = "The batch folder was not changed. Is the disk in order?"


def _kind(info: tarfile.TarInfo) -> str:
    return f"link to {info.linkname}" if info.issym() else _FOLDER if info.isdir() else "file"


def _changed(folder: Path, before: Mapping[str, os.stat_result]) -> str:
    """The first file that is not what it was; the database does not count."""
    after = dict(entries_of(folder))

    def brief(one: os.stat_result | None) -> tuple[int, int] | None:
        if one is None or stat.S_ISDIR(one.st_mode):
            return None
        return one.st_size, one.st_mtime_ns

    names_ = (name for name in sorted({*before, *after}) if name != names.STATE)
    return next((n for n in names_ if brief(before.get(n)) != brief(after.get(n))), "")


def _gzip(path: Path, mode: str) -> IO[bytes]:
    """A gzip file; isal's is some five times as fast, and not on every machine."""
    try:
        from isal import igzip
    except ImportError:
        import gzip

        return cast("IO[bytes]", gzip.open(path, mode, compresslevel=6))
    opened = igzip.open(path, mode, compresslevel=2)  # type: ignore[no-untyped-call]
    return cast("IO[bytes]", opened)

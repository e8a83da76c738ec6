"""Writes reproducible tar.gz archives: the same content gives the same bytes, wherever it lies."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from osgbatch.errors import PackingError

try:
    from isal import isal_zlib as _isal
except ImportError:  # no wheel for this machine: zlib does the same, slower
    _isal = None  # type: ignore[assignment]

MTIME = 315532800
"""1980-01-01: no later than any clock, and no zero, which zip files made from it could not hold."""
BLOCK = 512
RECORD = 10240
CHUNK = 1 << 20
TOGETHER = 1 << 18
"""So many bytes are compressed at once: most files are small."""
DISK_BLOCK = 4096


@dataclass(frozen=True)
class Member:
    """One thing in an archive: exactly one of `source`, `data`, `link` is given, none for a folder.

    name: where it is unpacked, relative, with slashes.
    source: the file whose bytes it has. data: its bytes. link: the target of a symbolic link.
    executable: None takes it from the source. part: start and size, in bytes, where the source is a
    file in which many lie one after the other.
    """

    name: str
    source: Path | None = None
    data: bytes | None = None
    link: str | None = None
    executable: bool | None = None
    part: tuple[int, int] | None = None

    @property
    def is_folder(self) -> bool:
        """Nothing but a name was given."""
        return self.source is None and self.data is None and self.link is None


@dataclass(frozen=True)
class Archive:
    """An archive on disk.

    sha256: of the file as it is. size: bytes of the file.
    unpacked_size: bytes it takes unpacked, on a file system with blocks of 4 kB.
    members: number of files, links and folders.
    """

    path: Path
    sha256: str
    size: int
    unpacked_size: int
    members: int


def write_archive(members: Iterable[Member], folder: Path, kind: str) -> Archive:
    """Write `<kind>-<16 hex of its sha256>.tar.gz` into a folder, whole or not at all.

    Members are sorted, belong to 0:0, have one time and mode 0755 or 0644, and are written in
    GNU's format: busybox knows its long names and no PAX headers, and any byte may be in a name.
    Same members, same bytes, whatever the path, user, umask and time zone. The bytes do depend on
    the compressor: isal (one thread; its code path follows the CPU) where it is there, else zlib.

    Returns the archive. Raises PackingError, leaving nothing behind, when a file cannot be read,
    changes while it is read, or is no file, link or folder; when two members want one place; when
    the disk is full.
    """
    ordered = arrange(members)
    temporary = folder / f".{kind}-{secrets.token_hex(8)}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _create(temporary) as raw:
            out = _Compressor(raw)
            unpacked = _write_members(ordered, out)
            out.finish()
            raw.flush()
            os.fsync(raw.fileno())
        digest = out.hash.hexdigest()
        target = folder / f"{kind}-{digest[:16]}.tar.gz"
        temporary.replace(target)
        _sync_folder(folder)
    except OSError as error:
        _remove(temporary)
        raise PackingError(
            f"the archive cannot be written: {error.strerror or error}",
            where=str(folder),
            fix="Make room there, or let XDG_CACHE_HOME name a folder with more.",
        ) from error
    except BaseException:
        _remove(temporary)
        raise
    return Archive(target, digest, out.written, unpacked, len(ordered))


def arrange(members: Iterable[Member]) -> list[Member]:
    """Sort members by the bytes of their names and add the folders they lie in.

    Raises PackingError when a name leaves the archive, or two members want one place.
    """
    places: dict[str, Member] = {}
    for member in members:
        name = _checked_name(member)
        known = places.get(name)
        if known is not None and not (known.is_folder and member.is_folder):
            raise PackingError(
                f"two things would be unpacked as {printable(name)}",
                where=_origin(member) or printable(name),
                fix=f"Rename one of them; the other is {_origin(known) or 'generated'}.",
            )
        places[name] = member
    seen: set[str] = set()
    for name in list(places):
        above = name.rpartition("/")[0]
        while above and above not in seen:
            seen.add(above)
            holder = places.setdefault(above, Member(above))
            if not holder.is_folder:
                raise PackingError(
                    f"{printable(above)} would have to be a file and a folder at once",
                    where=_origin(holder) or printable(above),
                    fix=f"Rename it, or what gives {printable(name)}.",
                )
            above = above.rpartition("/")[0]
    return [places[name] for name in sorted(places, key=os.fsencode)]


def printable(name: str) -> str:
    """A file name that a terminal and a log can take: controls and bytes of no UTF-8 escaped."""
    if name.isprintable():  # as good as all are
        return name
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _checked_name(member: Member) -> str:
    name = member.name
    plain = _plain(name)
    if name.startswith("/") or "/../" in f"/{plain}/" or not plain or "\0" in name:
        raise PackingError(
            f"{printable(member.name)!r} is no place inside an archive", where=_origin(member)
        )
    return plain


def _plain(name: str) -> str:
    """A relative name as pathlib would have it, at a tenth of the time."""
    return "/".join([part for part in name.split("/") if part not in ("", ".")])


def _origin(member: Member) -> str:
    return printable(str(member.source)) if member.source is not None else ""


def _write_members(members: list[Member], out: _Compressor) -> int:
    unpacked = 0
    for member in members:
        unpacked += DISK_BLOCK
        if member.link is not None:
            out.write(_header(member, tarfile.SYMTYPE, 0, 0o777))
        elif member.data is not None:
            mode = 0o755 if member.executable else 0o644
            out.write(_header(member, tarfile.REGTYPE, len(member.data), mode))
            out.write(member.data)
            out.pad(BLOCK)
            unpacked += len(member.data) // DISK_BLOCK * DISK_BLOCK
        elif member.source is not None:
            size = _write_file(member, member.source, out)
            unpacked += size // DISK_BLOCK * DISK_BLOCK
        else:
            out.write(_header(member, tarfile.DIRTYPE, 0, 0o755))
    out.write(bytes(2 * BLOCK))
    out.pad(RECORD)
    return unpacked


def _write_file(member: Member, source: Path, out: _Compressor) -> int:
    """Copy one file; a file that changes meanwhile would be unpacked as one that never was."""
    descriptor, before = _open_regular(source)
    try:
        start, size = member.part or (0, before.st_size)
        if start:
            os.lseek(descriptor, start, os.SEEK_SET)
        executable = member.executable
        if executable is None:
            executable = bool(before.st_mode & 0o111)
        mode = 0o755 if executable else 0o644
        out.write(_header(member, tarfile.REGTYPE, size, mode))
        left = size
        while left:
            chunk = _read(descriptor, min(CHUNK, left), source)
            if not chunk:
                break
            out.write(chunk)
            left -= len(chunk)
        after = os.fstat(descriptor)
        if left or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise PackingError(
                "the file changed while it was packed",
                where=printable(str(source)),
                fix="Wait until whatever writes it is done, or leave it out.",
            )
    finally:
        os.close(descriptor)
    out.pad(BLOCK)
    return size


def _open_regular(source: Path) -> tuple[int, os.stat_result]:
    """A file, open for reading; anything that could block or never end is refused by name."""
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        try:
            special = stat.S_ISSOCK(source.stat().st_mode)
        except OSError:
            special = False
        if special:
            raise _special(source) from error
        raise _unreadable(source, error) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise _special(source)
    return descriptor, status


def _read(descriptor: int, size: int, source: Path) -> bytes:
    try:
        return os.read(descriptor, size)
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: Path, error: OSError) -> PackingError:
    return PackingError(
        f"the file cannot be read: {error.strerror or error}",
        where=printable(str(source)),
        fix="Give yourself the right to read it, or leave it out.",
    )


def _special(source: Path) -> PackingError:
    return PackingError(
        "this is a socket, a pipe, a device or a folder, not a file",
        where=printable(str(source)),
        fix="Leave it out: only files, folders and links can travel.",
    )


_OWNER = b"0000000\0" * 2
_TIME = b"%011o\0" % MTIME


def _header(member: Member, kind: bytes, size: int, mode: int) -> bytes:
    """A member's block or blocks. What fits into one is written here: tarfile is far slower."""
    plain = _plain(member.name)
    name = plain.encode("utf-8", "surrogateescape") + (b"/" if kind == tarfile.DIRTYPE else b"")
    link = (member.link or "").encode("utf-8", "surrogateescape")
    if len(name) <= 100 and len(link) <= 100 and size < 8**11:
        first = b"%s%07o\0%s%011o\0%s" % (name.ljust(100, b"\0"), mode, _OWNER, size, _TIME)
        last = b"%s%sustar  \0" % (kind, link.ljust(100, b"\0"))
        checksum = sum(first) + sum(last) + 8 * ord(" ")
        return b"".join((first, b"%06o\0 " % checksum, last)).ljust(BLOCK, b"\0")
    info = tarfile.TarInfo(plain)
    info.type = kind
    info.size = size
    info.mode = mode
    info.mtime = MTIME
    info.linkname = member.link or ""
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _create(path: Path) -> BinaryIO:
    """A new file that a web server, too, will be able to read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with contextlib.suppress(OSError):
        os.fchmod(descriptor, 0o644)
    return os.fdopen(descriptor, "wb", buffering=0)


def _sync_folder(folder: Path) -> None:
    """Make the new name last; some file systems cannot, and need not."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


class _Compressor:
    """gzip without name and time, hashed as it is written, in one thread."""

    def __init__(self, raw: BinaryIO) -> None:
        self.raw = raw
        self.hash = hashlib.sha256()
        self.written = 0
        self.position = 0
        self._engine = _engine()
        self._waiting: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        self.position += len(data)
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= TOGETHER:
            self._compress()

    def pad(self, multiple: int) -> None:
        self.write(bytes(-self.position % multiple))

    def _compress(self) -> None:
        self._put(self._engine.compress(b"".join(self._waiting)))
        self._waiting.clear()
        self._size = 0

    def finish(self) -> None:
        self._compress()
        self._put(self._engine.flush())

    def _put(self, data: bytes) -> None:
        if not data:
            return
        self.hash.update(data)
        self.written += len(data)
        view = memoryview(data)
        while view:  # a raw file may write less than it was given
            view = view[self.raw.write(view) :]


def _engine() -> Any:
    """A compressor that writes a gzip header of ten fixed bytes (wbits 31)."""
    if _isal is not None:
        return _isal.compressobj(1, _isal.DEFLATED, 31)
    return zlib.compressobj(6, zlib.DEFLATED, 31)

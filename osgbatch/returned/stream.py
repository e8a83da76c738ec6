"""A returned archive as a stream of members: nothing in it makes osgbatch read or keep too much."""

from __future__ import annotations

import gzip
import re
import struct
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from osgbatch.errors import ResultError

MAX_MEMBERS = 1_000_000
MAX_EXTENSION = 64 * 1024
"""Bytes of a header that only extends the next one; tarfile reads it at once. A path has 4096."""
MAX_EXTENSIONS = 8

_BLOCK = 1 << 20
_AT_ONCE = 64 * 1024
"""Bytes of a member that is read at once: most have a few hundred."""
_TASK_MEMBER = re.compile(
    r"tasks/(0|[1-9][0-9]{0,8})/(status|stdout|stderr|sha256|links|data(?:/.*)?)", re.S
)


MAX_BYTES = 100 * 1024**4
"""Bytes that the files of an archive may have where nobody says how many."""


def most_bytes(disk_kb: int) -> int:
    """Bytes that the files of an archive may have whose job asked for so much disk.

    Far more than a job that kept to that can have made; 1 GB of gzip can hold 1 TB of zeros.
    """
    return 100 * disk_kb * 1024 + 10 * 1024**3


@contextmanager
def open_archive(path: Path, most: int = MAX_BYTES) -> Iterator[tarfile.TarFile]:
    """The archive as a stream of members; every way of being broken is a ResultError.

    most: bytes that its files may have together.
    """
    try:
        with (
            gzip_module().open(path, "rb") as stream,
            _Archive.open(
                fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape"
            ) as tar,
        ):
            tar.most, tar.where = most, str(path)
            yield tar
            # The rest of the stream is read so that its checksum is looked at.
            while stream.read(_BLOCK):
                pass
    except (
        tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, struct.error,
        RecursionError, MemoryError, OverflowError,
    ) as error:  # fmt: skip
        raise ResultError(_damaged(error), where=str(path)) from None
    except OSError as error:
        if error.errno is None:  # isal and gzip raise bare OSErrors for bad data
            raise ResultError(_damaged(error), where=str(path)) from None
        raise


def _damaged(error: BaseException) -> str:
    return f"the returned archive is damaged: {str(error) or type(error).__name__}"


def gzip_module() -> Any:
    """isal's igzip, which is faster, or Python's own gzip."""
    try:
        from isal import igzip
    except ImportError:
        return gzip
    return igzip


_NUMBERS = re.compile(
    rb"([0-7]{7})\0[0-7]{7}\0[0-7]{7}\0([0-7]{11})\0([0-7]{11})\0([0-7]{6})\0 [05]\0", re.S
)
"""Of a plain header, from its byte 100 on: mode, owners, size, time, checksum, a file or a folder,
and no link."""
_DEVICE = re.compile(rb"(?:[0-7]{7}\0|\0{8}){2}\0")
"""From its byte 329 on: no numbers of a device that are none, and nothing before the name."""


class _Member(tarfile.TarInfo):
    """A header that is refused before tarfile reads at once what it says comes with it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        """What tarfile makes of a header, but for owners: of a plain one in a third of the time.

        Plain is a file or a folder whose numbers all are octal digits, with the checksum that they
        should have. Whatever is not so is left to tarfile, which refuses it or knows better.
        """
        found = _NUMBERS.match(buf, 100)
        if found is None or len(buf) != 512 or not _DEVICE.match(buf, 329):
            return super().frombuf(buf, encoding, errors)
        mode, size, mtime, told = found.groups()
        checksum = int(told, 8)
        if checksum != sum(buf) - sum(buf[148:156]) + 8 * ord(" "):  # its own field counts as that
            return super().frombuf(buf, encoding, errors)
        made = cls(bytes(buf[:100]).partition(b"\0")[0].decode(encoding, errors))
        made.mode, made.size, made.mtime = int(mode, 8), int(size, 8), int(mtime, 8)
        made.chksum = checksum
        made.type = bytes(buf[156:157])
        if made.type == tarfile.DIRTYPE:
            made.name = made.name.rstrip("/")
        return made

    def _proc_member(self, tar: _Archive) -> tarfile.TarInfo:
        if self.type in _EXTENSIONS:
            tar.extensions += 1
            if not 0 <= self.size <= MAX_EXTENSION or tar.extensions > MAX_EXTENSIONS:
                raise tarfile.ReadError(f"extended headers that no name needs ({self.size} bytes)")
        elif self.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("a sparse member, which the shim does not write")
        elif self.type != tarfile.XGLTYPE:
            tar.extensions = 0
        else:
            # It would be kept, and copied for every member that follows.
            raise tarfile.ReadError("a global header, which the shim does not write")
        return super()._proc_member(tar)  # type: ignore[misc,no-any-return]

    def _no_sparse(self, *_: object) -> None:
        raise tarfile.ReadError("a sparse member, which the shim does not write")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _no_sparse

    def _apply_pax_info(self, pax_headers: dict[str, str], encoding: str, errors: str) -> None:
        if any(key.startswith("GNU.sparse.") for key in pax_headers):
            self._no_sparse()  # some set another size without being told as a sparse member
        super()._apply_pax_info(pax_headers, encoding, errors)  # type: ignore[misc]


_EXTENSIONS = (
    tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip


class _Archive(tarfile.TarFile):
    """A tar stream that remembers no members and gives up when there are too many."""

    tarinfo = _Member
    members: list[tarfile.TarInfo]
    extensions = 0
    """Extension headers read for the member that comes next."""
    most = MAX_BYTES
    where = ""

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        count = size = 0
        while (member := self.next()) is not None:
            if member.size < 0:  # it would make room below the limit for others
                raise tarfile.ReadError(f"a member of {member.size} bytes")
            count, size = count + 1, size + member.size
            if count > MAX_MEMBERS:
                raise tarfile.ReadError("more members than any job makes")
            if size > self.most:
                raise ResultError(
                    f"the returned archive would have more than {self.most:,} bytes unpacked: a "
                    "hundred times the disk that its job asked for",
                    where=self.where,
                )
            self.members.clear()
            yield member


def member_kind(name: str) -> tuple[int, str] | None:
    """(task index, kind) of a member's name, None for anything that the shim does not write.

    kind: status, stdout, stderr, sha256, links, data, or data/<path below the task's folder>.
    """
    match = _TASK_MEMBER.fullmatch(name.removeprefix("./").rstrip("/"))
    return (int(match[1]), match[2]) if match else None


def blocks(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    """The content of a regular member, a megabyte at a time."""
    if member.isreg() and 0 <= member.size <= _AT_ONCE:
        if member.size:
            tar.fileobj.seek(member.offset_data)
            content: bytes = tar.fileobj.read(member.size)
            if len(content) < member.size:
                raise tarfile.ReadError("unexpected end of data")
            yield content
        return
    stream = tar.extractfile(member)
    while stream is not None and (block := stream.read(_BLOCK)):
        yield block

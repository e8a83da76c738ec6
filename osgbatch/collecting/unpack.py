"""Unpacks what a task returned into `results/`, verified, and never past its own folder."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from osgbatch.errors import ResultError
from osgbatch.returned import MAX_RECORD, member_kind, open_archive

_BLOCK = 1 << 20


def unpack_task(archive: Path, index: int, target: Path) -> int:
    """Unpack one task of an archive into a new folder, checksums compared; gives its files' number.

    The task's `data/…`, stdout and stderr become `target/…`. The folder appears whole or not at
    all. Raises ResultError when the archive is damaged, a checksum differs or is missing, or a
    member would leave the folder; OSError when the disk is full or cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        count = _Unpacker(archive, index, temporary).run()
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return count


class _Unpacker:
    def __init__(self, archive: Path, index: int, folder: Path) -> None:
        self.archive = archive
        self.index = index
        self.folder = folder
        self.found: dict[str, str] = {}
        self.links: list[tuple[str, str]] = []
        self.listed: Mapping[str, str] | None = None

    def run(self) -> int:
        with open_archive(self.archive) as tar:
            for member in tar:
                kind = member_kind(member.name)
                if kind is not None and kind[0] == self.index:
                    self._take(tar, member, kind[1])
        self._compare()
        for name, to in self.links:
            path = self._path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(to)
        return len(self.found)

    def _refuse(self, what: str) -> ResultError:
        return ResultError(f"task {self.index}: {what}", where=str(self.archive))

    def _take(self, tar: tarfile.TarFile, member: tarfile.TarInfo, kind: str) -> None:
        if kind == "sha256":
            if not member.isreg() or member.size > 256 * MAX_RECORD:
                raise self._refuse("its list of checksums is no such list")
            stream = tar.extractfile(member)
            assert stream is not None
            self.listed = parse_checksums(stream.read())
        elif kind in ("stdout", "stderr") and member.isreg():
            self._write(tar, member, kind)
        elif kind.startswith("data/"):
            name = kind.removeprefix("data/")
            _check_name(name, self)
            if member.isdir():
                self._path(name).mkdir(parents=True, exist_ok=True)
            elif member.isreg():
                self.found[name] = self._write(tar, member, name)
            elif member.issym() and _stays_inside(name, member.linkname):
                self.links.append((name, member.linkname))
            else:
                raise self._refuse(f"{name!r} is a link out of the results, or a special file")

    def _path(self, name: str) -> Path:
        return self.folder / PurePosixPath(name)

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> str:
        """Write a member and give its sha256. Links are made last, so none can lie on the way."""
        if member.size > shutil.disk_usage(self.folder).free:
            raise self._refuse(f"{name!r} ({member.size} bytes) does not fit on this disk")
        stream = tar.extractfile(member)
        assert stream is not None
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        mode = 0o755 if member.mode & 0o100 else 0o644
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags, mode)
        except FileExistsError:
            raise self._refuse(f"{name!r} is there twice") from None
        with os.fdopen(descriptor, "wb") as out:
            while block := stream.read(_BLOCK):
                digest.update(block)
                out.write(block)
        return digest.hexdigest()

    def _compare(self) -> None:
        if self.listed is None:
            raise self._refuse("no checksums came back")
        for name, digest in self.found.items():
            expected = self.listed.get(name)
            if expected is None:
                raise self._refuse(f"{name!r} has no checksum")
            if expected != digest:
                raise self._refuse(f"{name!r} was damaged on the way: its checksum differs")
        linked = {name for name, _ in self.links}
        missing = [n for n in self.listed if n not in self.found and n not in linked]
        if missing:
            raise self._refuse(f"{missing[0]!r} did not come back")


def _check_name(name: str, unpacker: _Unpacker) -> None:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "" in parts or "\0" in name:
        raise unpacker._refuse(f"{name!r} would leave its folder")


def _stays_inside(name: str, to: str) -> bool:
    """Whether a relative link at `name` leads to a place below the task's folder."""
    if not to or to.startswith("/"):
        return False
    depth = len(name.split("/")) - 1
    for part in to.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            return False
    return True


_LINE = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)", re.S)


def parse_checksums(text: bytes) -> dict[str, str]:
    """sha256sum's lines to name → hexadecimal digest; escaped names are undone.

    Source: coreutils manual, "sha2 utilities": a line that starts with a backslash has its
    name's newlines, CRs and backslashes escaped.
    """
    sums: dict[str, str] = {}
    for line in text.split(b"\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        name = match[3]
        if match[1]:
            name = re.sub(
                rb"\\([nr\\])", lambda m: {b"n": b"\n", b"r": b"\r", b"\\": b"\\"}[m[1]], name
            )
        sums[name.decode("utf-8", "surrogateescape").removeprefix("./")] = match[2].decode()
    return sums

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


def unpack_tasks(archive: Path, targets: Mapping[int, Path]) -> dict[int, ResultError]:
    """Unpack tasks of an archive, each into a new folder, in one pass, checksums compared.

    targets: the folder of each task; its `data/…`, stdout and stderr become `folder/…`, and the
    folder appears whole or not at all. Returns the error of each task that was refused: a checksum
    that differs or is missing, or a member that would leave the folder. Raises ResultError when
    the archive itself is damaged, OSError when the disk is full or cannot be written.
    """
    unpackers = {index: _Unpacker(archive, index, target) for index, target in targets.items()}
    refused: dict[int, ResultError] = {}
    try:
        with open_archive(archive) as tar:
            for member in tar:
                found = member_kind(member.name)
                if found is None or found[0] not in unpackers or found[0] in refused:
                    continue
                try:
                    unpackers[found[0]].take(tar, member, found[1])
                except ResultError as error:
                    refused[found[0]] = error
        for index, unpacker in unpackers.items():
            try:
                if index not in refused:
                    unpacker.finish()
            except ResultError as error:
                refused[index] = error
    finally:
        for unpacker in unpackers.values():
            shutil.rmtree(unpacker.folder, ignore_errors=True)
    return refused


class _Unpacker:
    """Takes the members of one task into a temporary folder beside its target."""

    def __init__(self, archive: Path, index: int, target: Path) -> None:
        self.archive = archive
        self.index = index
        self.target = target
        self.folder = target.with_name(f".{target.name}.{os.getpid()}")
        self.found: dict[str, str] = {}
        self.links: list[tuple[str, str]] = []
        self.listed: Mapping[str, str] | None = None
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def finish(self) -> None:
        """Compare the checksums and let the folder appear. Links come last: none can lie on the
        way of a file."""
        self._compare()
        for name, to in self.links:
            path = self._path(name)
            if path.is_symlink() or path.exists():
                raise self._refuse(f"{name!r} is there twice")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(to)
        self.folder.rename(self.target)

    def _refuse(self, what: str) -> ResultError:
        return ResultError(f"task {self.index}: {what}", where=str(self.archive))

    def take(self, tar: tarfile.TarFile, member: tarfile.TarInfo, kind: str) -> None:
        """Take one member; kind: what it is (`returned.member_kind`)."""
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
            elif member.islnk() and (to := self._hard_link(member.linkname)):
                self._link(name, to)
            elif member.issym() and _stays_inside(name, member.linkname):
                self.links.append((name, member.linkname))
            else:
                raise self._refuse(f"{name!r} is a link out of the results, or a special file")

    def _hard_link(self, to: str) -> str:
        """The file that a hard link is another name of; empty when it is none of this task's."""
        kind = member_kind(to)
        name = kind[1].removeprefix("data/") if kind and kind[0] == self.index else ""
        return name if name in self.found else ""

    def _link(self, name: str, to: str) -> None:
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self._path(to), path)
        except FileExistsError:
            raise self._refuse(f"{name!r} is there twice") from None
        self.found[name] = self.found[to]

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

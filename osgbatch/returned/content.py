"""What a returned archive holds of each task, verified in one pass, and written if asked for."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

from osgbatch.errors import ResultError
from osgbatch.returned.paths import matches, resolve
from osgbatch.returned.records import parse_checksums, parse_names, parse_record, whole
from osgbatch.returned.stream import MAX_BYTES, blocks, member_kind, open_archive

MAX_RECORD = 64 * 1024
"""Bytes that a record may have; the shim writes a few hundred."""
MAX_NAMES = 512 * 1024 * 1024
"""Bytes of names and checksums that are kept in memory for one archive."""
MAX_NAME, MAX_PART, MAX_DEPTH = 2048, 255, 100
"""Bytes of a path below a task's folder, bytes of one of its parts, and number of parts."""
RESERVED = frozenset(["status.json", "status.lost.json", "stdout", "stderr"])
"""What osgbatch itself writes at the top of a task's folder in `results/`."""


class Sink(Protocol):
    """Where a task's files are written while they are verified; it refuses with ResultError."""

    def folder(self, name: str) -> None:
        """Make a folder, with those above it."""

    def file(self, name: str, size: int, executable: bool, blocks: Iterable[bytes]) -> None:
        """Write a new file."""

    def hard_link(self, name: str, to: str) -> None:
        """Make another name of a file that was written before."""


def read_tasks(
    path: Path,
    tasks: Collection[int],
    sinks: Mapping[int, Sink] | None = None,
    *,
    light: bool = False,
    most: int = MAX_BYTES,
) -> tuple[dict[str, str], dict[int, Content]]:
    """Read an archive once: its job's record, and what it holds of `tasks`, checksums computed.

    sinks: where the files of a task are written as they are read; none is verifying only.
    light: the data is in another archive (`outputs_to`), and here are only the lists of it. most:
    bytes that all its files may have together.
    Raises ResultError when the archive as a whole cannot be accepted.
    """
    wanted, job = frozenset(tasks), dict[str, str]()
    contents: dict[int, Content] = {}
    budget = _Budget(MAX_NAMES)
    with open_archive(path, most) as tar:
        for member in tar:
            found = member_kind(member.name)
            if member.name.removeprefix("./") == "job":
                if job:
                    raise ResultError("it has two records of its job", where=str(path))
                job = _record(tar, member, str(path))
            elif found is not None and found[0] in wanted:
                index, kind = found
                if index not in contents:
                    contents[index] = Content(index, budget, (sinks or {}).get(index), light)
                contents[index].take(tar, member, kind)
    if not job:
        raise ResultError("the returned archive has no record of its job", where=str(path))
    return job, contents


class _Budget:
    """Bytes that may still be kept of an archive."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise ResultError("more names than any job makes")


class Content:
    """What an archive holds of one task, taken member by member; `problem` says what is wrong.

    files: the sha256 of each file that came, by its path; links: where each symbolic link leads;
    streams: the sha256 of stdout and stderr, where a sink takes them. light: see read_tasks.
    """

    def __init__(self, index: int, budget: _Budget, sink: Sink | None, light: bool) -> None:
        self.index = index
        self._light = light
        self._named: list[str] = []
        self.record: dict[str, str] = {}
        self.problem = ""
        self.files: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self.streams: dict[str, str] = {}
        self._budget = budget
        self._sink = sink
        self._folders = {""}
        self._listed: dict[str, str] | None = None
        self._told: set[str] = set()

    def take(self, tar: tarfile.TarFile, member: tarfile.TarInfo, kind: str) -> None:
        """Take one member; kind: what it is (`member_kind`). After a problem only the record is."""
        try:
            if not kind.startswith("data"):
                if kind in self._told:
                    raise ResultError(f"its {kind} is there twice")
                self._told.add(kind)
            if kind == "status":
                self.record = _record(tar, member)
            elif not self.problem:
                self._take(tar, member, kind)
        except ResultError as error:
            self.problem = self.problem or error.what

    def _take(self, tar: tarfile.TarFile, member: tarfile.TarInfo, kind: str) -> None:
        if kind == "sha256":
            self._listed = parse_checksums(self._read_list(tar, member))
        elif kind == "links":
            self._named = parse_names(self._read_list(tar, member))
        elif kind in ("stdout", "stderr"):
            if not member.isreg():
                raise ResultError(f"its {kind} is no file")
            if self._sink is not None:
                self.streams[kind] = self._file(tar, member, kind)
        elif kind == "data":
            if not member.isdir():
                raise ResultError("its data is no folder")
        else:
            self._take_data(tar, member, kind.removeprefix("data/"))

    def _take_data(self, tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> None:
        self._admit(name, member.isdir())
        if member.isdir():
            if self._sink is not None:
                self._sink.folder(name)
        elif member.isreg():
            self.files[name] = self._file(tar, member, name)
        elif member.islnk() and (to := self._hard_linked(member.linkname)):
            if self._sink is not None:
                self._sink.hard_link(name, to)
            self.files[name] = self.files[to]
        elif member.issym() and len(member.linkname) <= MAX_NAME and "\0" not in member.linkname:
            self._budget.spend(len(member.linkname))
            self.links[name] = member.linkname
        else:
            raise ResultError(f"{_short(name)} is a link out of the results, or a special file")

    def _admit(self, name: str, is_folder: bool) -> None:
        """Refuse a name that no output can have, or that another member of the task has taken."""
        parts = name.split("/")
        size = len(name.encode("utf-8", "surrogateescape"))
        if name.startswith("/") or {"", ".", ".."} & set(parts) or "\0" in name:
            raise ResultError(f"{_short(name)} would leave its folder")
        longest = max(len(part.encode("utf-8", "surrogateescape")) for part in parts)
        if size > MAX_NAME or longest > MAX_PART or len(parts) > MAX_DEPTH:
            raise ResultError(f"{_short(name)} is too long or too deep for a file's name")
        if parts[0] in RESERVED:
            raise ResultError(f"{_short(name)} has a name that osgbatch needs for its own file")
        if name in self.files or name in self.links or (not is_folder and name in self._folders):
            raise ResultError(f"{_short(name)} is there twice")
        self._budget.spend(size + 100)
        above = name if is_folder else name.rpartition("/")[0]
        while above not in self._folders:
            if above in self.files or above in self.links:
                raise ResultError(f"{_short(name)} lies below what is no folder")
            self._folders.add(above)
            self._budget.spend(len(above) + 100)
            above = above.rpartition("/")[0]

    def _file(self, tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> str:
        """The sha256 of a file, which is written on the way when there is a sink."""
        digest = hashlib.sha256()

        def passing() -> Iterator[bytes]:
            for block in blocks(tar, member):
                digest.update(block)
                yield block

        if self._sink is None:
            for _ in passing():
                pass
        else:
            self._sink.file(name, member.size, bool(member.mode & 0o100), passing())
        return digest.hexdigest()

    def _hard_linked(self, to: str) -> str:
        """The file that a hard link is another name of; empty when it is none of this task's."""
        kind = member_kind(to)
        name = kind[1].removeprefix("data/") if kind and kind[0] == self.index else ""
        return name if name in self.files else ""

    def _read_list(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
        if not member.isreg():
            raise ResultError("its list of checksums or links is no file")
        self._budget.spend(member.size)
        return b"".join(blocks(tar, member))

    @property
    def listed(self) -> Mapping[str, str]:
        """The sha256 of each file, as the execution point listed them."""
        return self._listed or {}

    def finish(self) -> str:
        """Compare with the list of checksums and the record; gives the problem, empty when none."""
        try:
            if not self.problem:
                self._check_record()
                self._compare()
                self._check_links()
        except ResultError as error:
            self.problem = error.what
        return self.problem

    def _check_record(self) -> None:
        if "status" in self._told and whole(self.record, "index") != self.index:
            raise ResultError(f"its record is that of task {self.record.get('index', '')!r}")
        outputs = whole(self.record, "outputs")
        count = len((self._listed or {}) if self._light else self.files)
        if outputs is not None and outputs != count:
            what = "are listed" if self._light else "came back"
            raise ResultError(f"{count} files {what}, its record says {outputs}")

    def _compare(self) -> None:
        if self._listed is None:
            if self.files or self.links or self.record.get("state") == "succeeded":
                raise ResultError("no checksums came back")
            return
        if self._light:
            if self.files or self.links:
                raise ResultError("data came back that should have been brought elsewhere")
            return
        for name, digest in self.files.items():
            listed = self._listed.get(name)
            if listed is None:
                raise ResultError(f"{_short(name)} has no checksum")
            if listed != digest:
                raise ResultError(f"{_short(name)} was damaged on the way: its checksum differs")
        missing = next((name for name in self._listed if name not in self.files), None)
        if missing is not None:
            raise ResultError(f"{_short(missing)} did not come back")

    def _check_links(self) -> None:
        for name, to in self.links.items():
            if not to or resolve(name.split("/")[:-1], to, self.links) is None:
                raise ResultError(f"{_short(name)} is a link out of the results")

    def unmatched(self, required: Sequence[str]) -> str:
        """What is wrong with a success that did not bring its required outputs; empty when nothing.

        required: globs (`paths.matches`); a file, a folder with a file or a link to one will do.
        """
        if self.record.get("state") != "succeeded":
            return ""
        files = (self._listed or {}) if self._light else self.files
        # Of links that are elsewhere only the shim knows where they lead.
        links = self._named if self._light else self._links_to_files
        for pattern in required:
            if not any(matches(pattern, name) for name in files) and not any(
                matches(pattern, name) for name in links
            ):
                return f"nothing that came back matches the required output {pattern!r}"
        return ""

    @cached_property
    def _links_to_files(self) -> list[str]:
        """The links that lead to a file that came back, or to a folder with one."""
        some = set(self.files)
        for name in self.files:
            while name and (name := name.rpartition("/")[0]) not in some:
                some.add(name)
        ends = ((name, resolve([], name, self.links)) for name in self.links)
        return [name for name, end in ends if end is not None and "/".join(end) in some]


def _record(tar: tarfile.TarFile, member: tarfile.TarInfo, where: str = "") -> dict[str, str]:
    if not member.isreg() or member.size > MAX_RECORD:
        raise ResultError(f"{_short(member.name)} is no record", where=where)
    return parse_record(b"".join(blocks(tar, member)).decode("utf-8", "replace"))


def _short(name: str) -> str:
    shown = repr(name)
    return shown if len(shown) <= 120 else f"{shown[:80]}…{shown[-30:]}"

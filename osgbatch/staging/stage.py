"""Brings files to a stash: hashed, looked for, and only what is not there is moved."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from osgbatch.errors import StagingError
from osgbatch.staging.hashes import Hashes
from osgbatch.staging.objects import Object, suffix_of
from osgbatch.staging.quota import Room
from osgbatch.staging.store import Store


class Progress(Protocol):
    """Is told how far a long step has come, in bytes."""

    def start(self, what: str, total: int) -> None:
        """A step begins."""

    def advance(self, count: int) -> None:
        """So many bytes more are done."""

    def end(self) -> None:
        """The step has ended, well or not."""


@dataclass(frozen=True)
class Wanted:
    """A file to be staged. sha256: when it is known already."""

    path: Path | str
    size: int
    sha256: str = ""


@dataclass(frozen=True)
class Staged:
    """What came of staging. objects: of each file, in order; moved: which of them were brought now.

    Sizes in bytes; every object is counted once, however many files have its content.
    """

    objects: tuple[Object, ...]
    moved: int
    moved_bytes: int
    there: int

    def line(self, size: Callable[[float], str]) -> str:
        """What was done, in one line."""
        return stage_line(self.moved, self.moved_bytes, self.moved + self.there, size)


def stage_line(count: int, count_bytes: int, total: int, size: Callable[[float], str]) -> str:
    """`stage: 2 files (1.4 GB) of 14 to upload, 12 already there`."""
    noun = "file" if count == 1 else "files"
    amount = f" ({size(count_bytes)})" if count else ""
    there = f"{total - count:,} already there"
    return f"stage: {count:,} {noun}{amount} of {total:,} to upload, {there}"


def hash_files(files: Sequence[Wanted], hashes: Hashes, progress: Progress) -> list[Object]:
    """The objects that files would be. Raises StagingError."""
    unknown = [file for file in files if not file.sha256]
    progress.start("hashing", sum(file.size for file in unknown))
    try:
        found = iter(list(hashes.of_files((Path(file.path) for file in unknown), progress.advance)))
    finally:
        progress.end()
    objects = []
    for file in files:
        sha256, size = (file.sha256, file.size) if file.sha256 else next(found)
        objects.append(Object(sha256, size, suffix_of(os.path.basename(file.path))))
    return objects


def stage(
    files: Sequence[Path | str],
    objects: Sequence[Object],
    store: Store,
    say: Callable[[int, int, int], None],
    progress: Progress,
    *,
    verify: bool = False,
    tell_room: Callable[[Room, int], None] = lambda room, count: None,
    size: Callable[[float], str] = "{:,.0f} bytes".format,
) -> Staged:
    """Bring to a stash what is not there yet.

    objects: of each file. say: is told how many objects, and how many bytes, of how many objects
    will be brought, before the first is. verify: read what is there already, too. tell_room: is
    told what there is room for, and how many bytes will take some of it. size: writes bytes for
    people.
    Raises StagingError; what was brought until then stays, and is not brought again.
    """
    first: dict[str, tuple[Path | str, Object]] = {}
    for path, wanted in zip(files, objects, strict=True):
        first.setdefault(wanted.name, (path, wanted))
    there = store.sizes(first)
    missing = []
    for name, (path, wanted) in first.items():
        if name not in there:
            missing.append((Path(path), wanted))
        elif there[name] != wanted.size:
            raise store.other_size(name, there[name], wanted.size)
    if verify:
        check([wanted for name, (_, wanted) in first.items() if name in there], store, progress)
    total = sum(wanted.size for _, wanted in missing)
    if total:
        room = store.room()
        begun = 0 if room.fits(total) else store.begun([wanted for _, wanted in missing])
        more = total - begun
        _make_sure_of_room(store, room, more, size)
        say(len(missing), total, len(first))
        tell_room(room, more)
    else:
        say(len(missing), total, len(first))
    moved = moved_bytes = 0
    progress.start("staging", total)
    try:
        for brought, (_, wanted) in zip(
            store.put_all(missing, progress.advance), missing, strict=True
        ):
            moved += brought
            moved_bytes += wanted.size * brought
    finally:
        progress.end()
    return Staged(tuple(objects), moved, moved_bytes, len(first) - moved)


def check(objects: Iterable[Object], store: Store, progress: Progress) -> None:
    """Read objects back. Raises StagingError for the first that is not what its name says."""
    objects = list(objects)
    progress.start("verifying", sum(one.size for one in objects))
    try:
        for one in objects:
            if store.checksum(one.name, progress.advance) != one.sha256:
                raise store.damaged(one.name)
    finally:
        progress.end()


def _make_sure_of_room(store: Store, room: Room, count: int, size: Callable[[float], str]) -> None:
    if not room.fits(count):
        wanted, left = size(count), size(room.left or 0)
        if wanted == left:  # a few bytes are missing
            wanted, left = f"{count:,} bytes", f"{room.left:,}"
        raise StagingError(
            f"{wanted} are to be staged, and {room.by} leaves room for {left}",
            where=store.url,
            fix="Remove what no batch needs (`osgbatch stage gc`); nothing was staged.",
        )

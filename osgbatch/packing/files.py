"""Packs `files:`, the user's own files and folders, as they lie beside the spec."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.names import RESULTS_OF
from osgbatch.packing.archive import Archive, Member, arrange, printable, write_archive
from osgbatch.packing.tree import absolute, is_clutter, named_paths, tree_members
from osgbatch.spec_model import UserPath

KIND = "files"
RESERVED = ("params.json", "outputs")
"""What the shim makes in a task's folder: the row, and the folder that must start empty."""

Entry = str | tuple[str, str]
"""A path or pattern, or a path and its name in the task's folder."""


def entries_of(paths: Iterable[UserPath]) -> list[Entry]:
    """The entries of a spec."""
    return [(path.text, path.target) if path.target else path.text for path in paths]


def files_archive(entries: Iterable[Entry], base: Path, cache: Path) -> Archive | None:
    """Pack the user's files into one archive named by its content.

    entries: paths or patterns, relative to base, the folder of the spec.
    cache: the folder that the archive is written to.
    Returns None when there is nothing to pack. Raises PackingError.
    """
    members = files_members(entries, base)
    return write_archive(members, cache, KIND) if members else None


def files_members(entries: Iterable[Entry], base: Path) -> list[Member]:
    """What would be packed, sorted.

    A path below the spec's folder keeps its place relative to it; a path outside goes by its base
    name. The spec's folder itself (`.`) brings what is in it but for `batches/`, `outputs/` and the
    results of earlier batches (`results_to`). Raises PackingError when two entries want one place,
    or one that of what the shim makes.
    """
    base = absolute(base)
    members: dict[tuple[str, Path | None, str | None], Member] = {}
    for entry in entries:
        for member in _members(entry, base):
            _check_free(member)
            members[(member.name, member.source, member.link)] = member
    return arrange(members.values())


def _members(entry: Entry, base: Path) -> Iterator[Member]:
    if isinstance(entry, str):
        for path in named_paths([entry], base, KIND):
            yield from _entry_members(path, base)
        return
    source, target = entry
    for path in named_paths([source], base, KIND):
        yield from tree_members(path, target)


def _entry_members(path: Path, base: Path) -> Iterator[Member]:
    if path == base:
        return tree_members(path, "", _Unwanted(path))
    for here, there in ((path, base), (_real_place(path), base.resolve())):
        if here.is_relative_to(there):
            return tree_members(path, here.relative_to(there).as_posix())
    if base.is_relative_to(path):
        raise PackingError(
            "the spec lies in this folder, which therefore cannot travel whole",
            where=f"{KIND}: {printable(str(path))}",
            fix="Name the files and folders in it that the task needs.",
        )
    return tree_members(path, path.name)


def _real_place(path: Path) -> Path:
    """A path with the links in its folder's name followed, its own last part as it is."""
    return path.parent.resolve() / path.name


class _Unwanted:
    """Says what of the spec's folder does not travel."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str, is_folder: bool) -> bool:
        if name in ("batches", "outputs") or is_clutter(name, is_folder):
            return True
        return is_folder and os.path.exists(f"{self._folder}/{name}/{RESULTS_OF}")


def _check_free(member: Member) -> None:
    top = member.name.split("/")[0]
    if top in RESERVED:
        raise PackingError(
            f"a task finds its own {top} in its folder",
            where=f"{KIND}: {printable(member.name)}",
            fix="Rename yours, or leave it out.",
        )

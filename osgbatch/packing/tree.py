"""Walks the user's files and folders and says what of them travels."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Member, printable

SKIPPED_FOLDERS = frozenset(
    {"__pycache__", ".git", ".hg", ".svn", ".bzr", ".ipynb_checkpoints", ".mypy_cache"}
    | {".pytest_cache", ".ruff_cache", ".hypothesis", ".tox", ".nox", ".venv"}
)
SKIPPED_FILES = ("*.py[co]", ".DS_Store", "._.DS_Store", "*~", "#*#", ".#*", "*.sw[opn]")
GLOB_CHARACTERS = frozenset("*?[")

Skip = Callable[[str, bool], bool]
"""Whether a thing is left out, by its path below the root that is walked; True for a folder."""


def is_clutter(name: str, is_folder: bool) -> bool:
    """Whether a name is a cache's, a version-control folder's or an editor's backup's."""
    base = name.rpartition("/")[2]
    if is_folder:
        return base in SKIPPED_FOLDERS
    if base == ".git":  # a worktree or submodule has a file of this name
        return True
    return any(fnmatch.fnmatchcase(base, pattern) for pattern in SKIPPED_FILES)


class Found(NamedTuple):
    """One thing that a walk finds.

    name: in the archive. path: here. link: its target where it stays a link. status: of a file,
    links followed. A folder has neither.
    """

    name: str
    path: str
    link: str | None = None
    status: os.stat_result | None = None


def tree_members(root: Path, prefix: str = "", skip: Skip = is_clutter) -> Iterator[Member]:
    """Members for a file, or for a folder with all that is in it.

    prefix: the name of the root in the archive; empty puts a folder's content at the top.
    A link that stays below the root stays a link; one that leads out is followed, and what it leads
    to is packed in its place. Raises PackingError that names whatever is unreadable, dangling, a
    circle of links, or neither file nor folder.
    """
    for found in walk(root, prefix, skip):
        yield Member(
            found.name, Path(found.path) if found.status is not None else None, link=found.link
        )


def walk(root: Path, prefix: str = "", skip: Skip = is_clutter) -> Iterator[Found]:
    """What `tree_members` makes members of, with what each file looks like; nothing is read."""
    top = os.fspath(root)
    if os.path.isdir(top):
        if prefix:
            yield Found(prefix, top)
        real_root = os.path.realpath(top)
        yield from _folder(top, prefix, "", skip, Path(real_root), (real_root,))
    else:
        yield _file(top, prefix or root.name)


def _folder(
    folder: str, prefix: str, below: str, skip: Skip, root: Path, above: tuple[str, ...]
) -> Iterator[Found]:
    """The content of one folder. above: the real folders we are in, so that a circle is seen."""
    start = f"{prefix}/{below}" if prefix else below
    for name, is_link, is_folder in _listing(folder):
        path = f"{folder}/{name}"
        relative = below + name
        found_name = start + name
        if is_link:
            is_folder = os.path.isdir(path)
            if skip(relative, False) or skip(relative, is_folder):
                continue
            link = link_within(Path(path), root, below)
            if link is not None and not _leads_to_skipped(Path(path), root, skip):
                yield Found(found_name, path, link)
                continue
        if skip(relative, is_folder):
            continue
        if is_folder:
            real = os.path.realpath(path) if is_link else os.path.join(above[-1], name)
            if real in above:
                raise PackingError(
                    "the link leads back to a folder that it lies in",
                    where=printable(path),
                    fix="Remove the link, or name what you need one by one.",
                )
            yield Found(found_name, path)
            yield from _folder(path, prefix, f"{relative}/", skip, root, (*above, real))
        else:
            yield _file(path, found_name)


def link_within(path: Path, root: Path, below: str) -> str | None:
    """The target of a link, relative to it, when it exists and lies below the root; None when not.

    root: a real path. below: where in it the walk is: in a folder that was itself reached by
    a link, links do not mean what they say. An absolute target below the root becomes relative.
    """
    target = Path(os.path.realpath(path))
    if not target.exists() or not target.is_relative_to(root) or target == root:
        return None
    home = Path(os.path.realpath(path.parent))
    if home != root / below.rstrip("/"):
        return None
    return os.path.relpath(target, home)


def _leads_to_skipped(path: Path, root: Path, skip: Skip) -> bool:
    """Whether what a link leads to is itself left out, so that the link would dangle."""
    parts = Path(os.path.realpath(path)).relative_to(root).parts
    target_is_folder = path.is_dir()
    return any(
        skip("/".join(parts[:count]), count < len(parts) or target_is_folder)
        for count in range(1, len(parts) + 1)
    )


def _file(path: str, name: str) -> Found:
    try:
        status = os.stat(path)
    except OSError as error:
        what = "the link leads nowhere" if os.path.islink(path) else "it cannot be read"
        raise PackingError(
            f"{what}: {error.strerror}",
            where=printable(path),
            fix="Mend or remove it, or leave it out.",
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise PackingError(
            "this is a socket, a pipe or a device, not a file",
            where=printable(path),
            fix="Leave it out: only files, folders and links can travel.",
        )
    return Found(name, path, status=status)


def _listing(folder: str) -> list[tuple[str, bool, bool]]:
    """What is in a folder: names in their order, whether each is a link, and whether a folder."""
    try:
        with os.scandir(folder) as entries:
            found = [
                (entry.name, entry.is_symlink(), entry.is_dir(follow_symlinks=False))
                for entry in entries
            ]
    except OSError as error:
        raise PackingError(
            f"the folder cannot be read: {error.strerror}",
            where=printable(folder),
            fix="Give yourself the right to read it, or leave it out.",
        ) from error
    return sorted(found, key=lambda one: os.fsencode(one[0]))


def absolute(path: Path) -> Path:
    """A path from the root on, without `..`, links as they are."""
    return Path(os.path.normpath(Path.cwd() / path))


def named_paths(
    entries: Iterable[str], base: Path, key: str, fits: Callable[[Path], bool] = Path.exists
) -> list[Path]:
    """The paths that the entries of a list in the spec name, patterns expanded, in their order.

    base: the folder of the spec. key: `files` or `libraries`, for messages.
    fits: which of a pattern's matches are meant.
    Raises PackingError for an entry that is not there, or a pattern that fits nothing.
    """
    found: list[Path] = []
    for entry in entries:
        path = Path(os.path.normpath(base / Path(entry).expanduser()))
        if path.exists() or path.is_symlink():
            found.append(path)
            continue
        matches = [m for m in _glob(path) if fits(m)] if GLOB_CHARACTERS & set(entry) else []
        if not matches:
            raise PackingError(
                f"there is no {printable(entry)!r}",
                where=f"{key}: {printable(entry)}",
                fix=f"Paths are relative to {printable(str(base))}.{_nearest(path)}",
            )
        found += matches
    return list(dict.fromkeys(found))


def _glob(path: Path) -> list[Path]:
    """What a pattern fits, caches and backups aside."""
    anchor = Path(path.anchor)
    pattern = str(path.relative_to(anchor))
    matches = sorted(anchor.glob(pattern), key=lambda match: os.fsencode(match))
    return [match for match in matches if not is_clutter(match.name, match.is_dir())]


def _nearest(path: Path) -> str:
    import difflib

    try:
        names = [item.name for item in path.parent.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, 1)
    return f" Did you mean {printable(close[0])!r}?" if close else ""

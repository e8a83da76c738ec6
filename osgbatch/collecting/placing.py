"""Where outputs lie by the spec's own pattern (`to:`): other names of what is in `results/<i>`.

A task's folder stays what was verified; the file of the pattern is a hard link to it, or a copy
where the file system has no links. What is not ours is never written over.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from osgbatch import targets
from osgbatch.collecting.files import file_sha256, listed, read_status
from osgbatch.collecting.unpack import NOT_THE_ARCHIVES
from osgbatch.model import TaskState
from osgbatch.returned.paths import matches

Wanted = Callable[[TaskState], Sequence[tuple[str, str]]]
"""Of a task the patterns of its outputs that have a place of their own, each with that place."""


class Placer:
    """Places the outputs of one collection, and takes away what it has placed before.

    problems: of each task whose outputs are not all where they should be, why.
    """

    def __init__(self, results: Path, wanted: Wanted) -> None:
        self.problems: dict[int, str] = {}
        self._results = self._root = results
        self._wanted = wanted
        self._folders: set[str] = set()

    def place(self, state: TaskState) -> None:
        """See that the outputs of a task are where they should be, if it has succeeded.

        Raises OSError when the disk is full or cannot be written.
        """
        if state.state != "succeeded":
            return
        folder = self._results / str(state.index)
        for name, place, sha256 in self._places(state, folder):
            problem = self._put(folder, name, place, sha256)
            if problem:
                self.problems.setdefault(state.index, problem)

    def withdraw(self, state: TaskState, folder: Path) -> None:
        """Take away other names of a task's files, before its folder is made anew.

        Only of a success, as its own status.json says, since no other has such names; and only
        what is the same file, or still the same content.
        """
        if read_status(folder).get("state") != "succeeded":
            return
        for name, place, sha256 in self._places(state, folder):
            path = f"{self._results}/{place}"
            with suppress(OSError):
                if is_same(path, f"{folder}/{name}") or is_content(path, sha256):
                    os.unlink(path)

    def _places(self, state: TaskState, folder: Path) -> Iterator[tuple[str, str, str]]:
        """Name, place and checksum of each file that a pattern matches."""
        wanted = self._wanted(state)
        if not wanted:
            return
        told = read_status(folder)
        files, links = listed(told, "files"), listed(told, "links")
        for pattern, target in wanted:
            if targets.problem(target):
                self.problems.setdefault(state.index, f"to: {targets.problem(target)}")
                continue
            for name in (*files, *links):
                if matches(pattern, name):
                    yield name, targets.place_of(target, pattern, name), files.get(name, "")

    def _put(self, folder: Path, name: str, place: str, sha256: str) -> str:
        """Why a file cannot be at its place; empty when it is."""
        source = f"{folder}/{name}"
        if not sha256:  # a link: to a file that came back, if it is one
            source = os.path.realpath(source)
            if not source.startswith(f"{os.path.realpath(folder)}/") or not os.path.isfile(source):
                return ""
        if above := self._make_folders(place):
            return above
        path = f"{self._root}/{place}"
        try:
            return _linked(source, path, f"{place} in {self._root.name}/", sha256)
        except OSError as error:
            if error.errno in NOT_THE_ARCHIVES:
                raise
            return f"{self._root.name}/{place} cannot be made: {error.strerror}"

    def _make_folders(self, place: str) -> str:
        """Make the folders above a place; why that cannot be, where a link or a file is there."""
        above = place.rpartition("/")[0]
        if not above or above in self._folders:
            return ""
        parts = above.split("/")
        for end in range(1, len(parts) + 1):
            path = f"{self._root}/{'/'.join(parts[:end])}"
            with suppress(FileExistsError):
                os.mkdir(path)
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                return f"{self._root.name}/{'/'.join(parts[:end])} is there, and is no folder"
        self._folders.add(above)
        return ""


class Placers:
    """Several of them, as one."""

    def __init__(self, placers: Sequence[Placer]) -> None:
        self._placers = placers

    @property
    def problems(self) -> dict[int, str]:
        """Of each task the first problem that there is."""
        found: dict[int, str] = {}
        for placer in self._placers:
            for index, problem in placer.problems.items():
                found.setdefault(index, problem)
        return found

    def place(self, state: TaskState) -> None:
        """As Placer.place."""
        for placer in self._placers:
            placer.place(state)

    def withdraw(self, state: TaskState, folder: Path) -> None:
        """As Placer.withdraw."""
        for placer in self._placers:
            placer.withdraw(state, folder)


_NO_LINKS = (
    errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP,
)  # fmt: skip


def _linked(source: str, path: str, shown: str, sha256: str) -> str:
    """Make a file's other name, or see that it is there; why not, where another file is.

    shown: the place, for people.
    """
    try:
        os.link(source, path)
    except FileExistsError:
        if is_same(path, source):
            return ""
        if _is_copy(path, source):
            return ""
        if not is_content(path, sha256 or file_sha256(Path(source))):
            return f"{shown} is there already, and is another file: it was left alone"
        # The task's folder was made anew: nothing needs to be there twice. What the user has put
        # into it instead does not take the place of what was verified.
        if sha256 and not is_content(source, sha256):
            return f"{shown} is what came back, and the task's own file was changed"
        with suppress(OSError):
            _relink(source, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _copy(source, path)
    return ""


def _relink(source: str, path: str) -> None:
    fresh = _fresh(path)
    os.link(source, fresh)
    os.rename(fresh, path)


def _copy(source: str, path: str) -> None:
    """Copy a file, with its time, by which it is known again."""
    fresh = _fresh(path)
    try:
        shutil.copy2(source, fresh)
        os.rename(fresh, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(fresh)
        raise


def _fresh(path: str) -> str:
    folder, _, name = path.rpartition("/")
    fresh = f"{folder}/.new-{name}"[: len(folder) + 250]
    with suppress(FileNotFoundError):
        os.unlink(fresh)
    return fresh


def is_same(path: str, source: str) -> bool:
    """Whether two names are of one file."""
    try:
        one, other = os.lstat(path), os.lstat(source)
    except OSError:
        return False
    return (one.st_ino, one.st_dev) == (other.st_ino, other.st_dev)


def _is_copy(path: str, source: str) -> bool:
    """Whether a file looks like the copy that was made of another."""
    one, other = os.lstat(path), os.stat(source)
    return stat.S_ISREG(one.st_mode) and (one.st_size, one.st_mtime_ns) == (
        other.st_size,
        other.st_mtime_ns,
    )


def is_content(path: str, sha256: str) -> bool:
    """Whether a file has this content. Raises OSError."""
    status = os.lstat(path)
    return stat.S_ISREG(status.st_mode) and file_sha256(Path(path)) == sha256


def told(problems: Mapping[int, str]) -> list[str]:
    """What is said of outputs that are not where they should be."""
    few = list(problems.items())[:3]
    more = len(problems) - len(few)
    found = [f"task {index}: {why}" for index, why in few]
    if more:
        found.append(f"and of {more:,} more {'task' if more == 1 else 'tasks'}")
    if found:
        found.append("rename or remove what is in the way, and run `osgbatch collect` again")
    return found

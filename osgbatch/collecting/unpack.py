"""Unpacks what tasks returned into `results/`, verified, and never past their own folders."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from osgbatch.collecting.files import NOTHING
from osgbatch.collecting.files import STATUS as STATUS
from osgbatch.errors import ResultError
from osgbatch.returned.content import Content, read_tasks
from osgbatch.returned.stream import MAX_BYTES

NOT_THE_ARCHIVES = frozenset(
    [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENFILE]
)
"""Errors of this computer: no archive is refused for them."""


def unpack_tasks(
    archive: Path,
    targets: Mapping[int, Path],
    told: Mapping[int, Mapping[str, object]],
    *,
    light: bool = False,
    most: int = MAX_BYTES,
    empty: MutableMapping[int, str] | None = None,
) -> dict[int, str]:
    """Unpack tasks of an archive, each into a new folder, in one pass, verified as it is written.

    targets: the folder of each task; its `data/…`, stdout and stderr become `folder/…`, and the
    folder is there whole or not at all. told: what each task's status.json says, to which the
    files and links that were written are added. light: the data is elsewhere; most: bytes that
    its files may have (see read_tasks).
    empty: is given the name of a file without content, of each task that has one among its outputs.
    Returns why a task was refused. Raises ResultError when the archive as a whole is, OSError when
    the disk is full or cannot be written.
    """
    refused: dict[int, str] = {}
    done = False
    try:
        folders = {index: TaskFolder(target) for index, target in targets.items()}
        _, contents = read_tasks(archive, targets, folders, light=light, most=most)
        for index, folder in folders.items():
            content = contents.get(index)
            problem = content.finish() if content else "nothing of it is in the archive"
            if content and not problem:
                problem = _complete(folder, content, told.get(index, {}))
            if problem:
                refused[index] = problem
            elif content and empty is not None:
                names = (name for name, sha256 in content.files.items() if sha256 == NOTHING)
                empty.update((index, name) for name in islice(names, 1))
        done = True
    finally:
        for index, target in targets.items():
            if not done or index in refused:
                shutil.rmtree(target, ignore_errors=True)
    return refused


def write_status(target: Path, told: Mapping[str, object]) -> None:
    """Make the folder of a task of which nothing came back."""
    try:
        write_status_in(TaskFolder(target), told, {}, {})
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def write_status_in(
    folder: TaskFolder,
    told: Mapping[str, object],
    files: Mapping[str, str],
    links: Mapping[str, str],
) -> None:
    """Write the status.json of a new folder, into which files and links are written or will be."""
    text = json.dumps({**told, "files": files, "links": links}, indent=1) + "\n"
    folder.file(STATUS, len(text), False, [text.encode()])


def _complete(folder: TaskFolder, content: Content, told: Mapping[str, object]) -> str:
    """Write status.json, then the links, so that none can lie on the way of a file."""
    try:
        files = {**content.files, **content.streams}
        write_status_in(folder, told, files, content.links)
        for name, to in content.links.items():
            folder.link(name, to)
        folder.check_links(content.links)
    except ResultError as error:
        return error.what
    return ""


class TaskFolder:
    """A new folder; what cannot be made in it for the archive's fault is a ResultError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made = {""}
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)

    def folder(self, name: str) -> None:
        """Make a folder and those above it, the highest first."""
        missing = []
        while name not in self._made:
            missing.append(name)
            name = name.rpartition("/")[0]
        for each in reversed(missing):
            with self._refusing(each):
                os.mkdir(f"{self.path}/{each}")
            self._made.add(each)

    def file(self, name: str, size: int, executable: bool, blocks: Iterable[bytes]) -> None:
        """Write a new file, of this size or less."""
        if size > shutil.disk_usage(self.path).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{self.path}/{name}")
        self.folder(name.rpartition("/")[0])
        with self._refusing(name):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            out = os.open(f"{self.path}/{name}", flags, 0o755 if executable else 0o644)
        try:
            for block in blocks:
                with self._refusing(name):
                    _write(out, block)
        finally:
            # Some file systems say only now that a quota is used up.
            with self._refusing(name):
                os.close(out)

    def hard_link(self, name: str, to: str) -> None:
        """Make another name of a file; a copy where the file system has no such thing."""
        self.folder(name.rpartition("/")[0])
        path, source = f"{self.path}/{name}", f"{self.path}/{to}"
        with self._refusing(name):
            try:
                os.link(source, path)
            except FileExistsError:
                raise
            except OSError:
                shutil.copy(source, path)

    def link(self, name: str, to: str) -> None:
        """Make a symbolic link."""
        self.folder(name.rpartition("/")[0])
        with self._refusing(name):
            os.symlink(to, f"{self.path}/{name}")

    def check_links(self, links: Iterable[str]) -> None:
        """Refuse links that lead out, as this file system sees them, which may know no case."""
        top = os.path.realpath(self.path)
        for name in links:
            with self._refusing(name):
                real = os.path.realpath(f"{self.path}/{name}")
            if real != top and not real.startswith(f"{top}/"):
                raise ResultError(f"{name!r} is a link out of the results")

    @contextmanager
    def _refusing(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in NOT_THE_ARCHIVES:
                raise OSError(error.errno, error.strerror, f"{self.path}/{name}") from None
            said = error.strerror if isinstance(error, OSError) else str(error)
            shown = repr(name) if len(name) < 100 else f"{name[:80]!r}…"
            raise ResultError(f"{shown} cannot be written here: {said}") from None


def _write(out: int, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(out, rest) :]

"""Compares what an archive holds with what is in `results/`, byte by byte, before it is dropped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from osgbatch.collecting.files import STATUS, file_sha256
from osgbatch.errors import ResultError
from osgbatch.returned import read_tasks
from osgbatch.returned.kept import to_disk

_GONE = "is not in results/ any more"


def compare(
    archive: Path, folders: dict[int, Path], *, light: bool = False
) -> tuple[dict[str, str], dict[int, dict[str, str]]]:
    """See that all that an archive holds of tasks is in their folders, and on the disk.

    folders: of each task of its job. light: the archive has no data (`outputs_to`); what was
    fetched is compared with the checksums that it lists. Gives the records of the job and of its
    tasks. Raises ResultError when anything is missing or differs, or the archive is damaged;
    OSError when a file cannot be read.
    """
    sinks = {index: _Same(folder) for index, folder in folders.items()}
    job, contents = read_tasks(archive, folders, sinks, light=light)
    if contents.keys() != folders.keys():
        raise ResultError("it holds nothing of some of its tasks")
    for index, content in contents.items():
        if problem := content.finish():
            raise ResultError(f"task {index}: {problem}")
        folder = folders[index]
        for name, to in content.links.items():
            try:
                same = os.readlink(folder / name) == to
            except OSError:
                same = False
            if not same:
                raise ResultError(f"task {index}: the link {name!r} {_GONE}")
        for name, sha256 in content.listed.items() if light else ():
            path = folder / name
            if path.is_symlink() or not path.is_file() or file_sha256(path) != sha256:
                raise ResultError(f"task {index}: {name!r} {_GONE}, or was changed")
            to_disk(path)
        names = {*content.files, *content.links, *(content.listed if light else ())}
        _names_to_disk(folder, names)
    return job, {index: content.record for index, content in contents.items()}


def _names_to_disk(folder: Path, names: Iterable[str]) -> None:
    """What collect has written in a task's folder is there after a power failure, too.

    Its files' content is already. names: of them, relative to the folder.
    """
    with suppress(FileNotFoundError):
        to_disk(folder / STATUS)
    above = {folder}
    for name in names:
        parent = (folder / name).parent
        while parent not in above:
            above.add(parent)
            parent = parent.parent
    for each in above:
        to_disk(each)


class _Same:
    """A task's folder in `results/` that must have all that is read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder(self, name: str) -> None:
        """An empty folder is no result."""

    def file(self, name: str, size: int, executable: bool, blocks: Iterable[bytes]) -> None:
        """Raises ResultError unless a file of this content is there."""
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            raise ResultError(f"{name!r} {_GONE}") from None
        with open(descriptor, "rb") as stream:
            if os.fstat(descriptor).st_size != size:
                raise ResultError(f"{name!r} was changed since")
            for block in blocks:
                if stream.read(len(block)) != block:
                    raise ResultError(f"{name!r} was changed since")
            os.fsync(descriptor)

    def hard_link(self, name: str, to: str) -> None:
        """Raises ResultError unless it has the content of the other, which was compared."""
        paths: Sequence[Path] = (self._folder / name, self._folder / to)
        if paths[0].is_symlink() or not paths[0].is_file():
            raise ResultError(f"{name!r} {_GONE}")
        if not paths[0].samefile(paths[1]) and file_sha256(paths[0]) != file_sha256(paths[1]):
            raise ResultError(f"{name!r} was changed since")

"""Writes the manifest of a crate: the checksum of each result, as it came back and was verified."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from osgbatch.model import TaskState
from osgbatch.provenance.layout import FAILED, LATER, STATUSES
from osgbatch.provenance.manifest import is_inside, line, walk_results
from osgbatch.sums import file_sum

Link = tuple[str, str]
"""The name of a symbolic link, and where it leads."""


@dataclass(frozen=True)
class Written:
    """What stands in a manifest: so many files. links: which it lacks; notes: for the user."""

    files: int
    links: Sequence[Link]
    notes: Sequence[str]


def write_manifest(
    path: Path, results: Path, states: Sequence[TaskState], *, placed: bool
) -> Written:
    """Write the checksums of all that lies in `results/`.

    Those of a task's own files are the ones that its status.json lists, whatever became of the
    files since; all other files are read. states: of all tasks; placed: whether some of their files
    have another name in `results/` (`outputs: {path:, to:}`). Raises OSError.
    """
    with path.open("wb", buffering=1 << 18) as out:
        return _Writer(out, results, placed).write(states)


class _Writer:
    def __init__(self, out: BinaryIO, results: Path, placed: bool) -> None:
        self._out = out
        self._results = results
        self._is_placed = placed
        self._placed: dict[int, str] = {}
        """Checksums by inode of what has another name in `results/`."""
        self._files = 0
        self._untold = 0
        """Tasks of which it is not known what came back."""

    def write(self, states: Sequence[TaskState]) -> Written:
        results, links = self._results, list[Link]()
        there, failed = _folders(results), _folders(results / FAILED)
        of_tasks: set[str] = set()
        missing = 0
        for state in states:
            name = str(state.index)
            missing += state.state == "succeeded" and name not in there
            # Whatever its state is now: of what was lost since, its status.json tells.
            places = [name] if name in there else []
            places += [f"{FAILED}/{name}"] if name in failed else []
            for place in places:
                of_tasks.add(place)
                links += self._add_task(f"{results}/{place}", place)
        if results.is_dir():  # beside the tasks' folders: the table, what the gather script made
            links += self._add_walked(str(results), "", frozenset(of_tasks) | LATER)
        return Written(self._files, links, [*_missing(missing), *_untold(self._untold)])

    def _add_task(self, folder: str, place: str) -> Iterator[Link]:
        """The files that a task's status.json tells of, and itself; gives the links.

        What else is there, the gather script has made, or the user.
        """
        try:
            status, raw = _read_status(folder)
            said = json.loads(raw)
            files, links = said["files"], said["links"]
            lines = [line(f"{place}/{name}", sha256) for name, sha256 in files.items()]
            if not all(map(is_inside, files)) or not all(map(is_inside, links)):
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._untold += 1  # it was changed or lost: what is there is read
            yield from self._add_walked(folder, place)
            return
        lines.append(line(f"{place}/{status}", hashlib.sha256(raw).hexdigest()))
        if self._is_placed:
            for name, sha256 in files.items():
                with suppress(OSError):
                    told = os.lstat(f"{folder}/{name}")
                    if told.st_nlink > 1:
                        self._placed[told.st_ino] = sha256
        self._out.write(b"".join(lines))
        self._files += len(lines)
        yield from ((f"{place}/{name}", str(to)) for name, to in links.items())
        yield from self._add_walked(folder, place, frozenset([*files, *links, status]))

    def _add_walked(
        self, folder: str, place: str, skip: frozenset[str] = frozenset()
    ) -> Iterator[Link]:
        for name, entry in walk_results(Path(folder), skip):
            whole = f"{place}/{name}" if place else name
            if entry.is_symlink():
                yield whole, os.readlink(entry.path)
            elif entry.is_file():
                known = self._placed.get(entry.inode()) if self._placed else None
                self._out.write(line(whole, known or file_sum(entry.path)[0]))
                self._files += 1


def _folders(above: Path) -> frozenset[str]:
    """The names of the folders in a folder."""
    try:
        with os.scandir(above) as found:
            return frozenset(entry.name for entry in found if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def _read_status(folder: str) -> tuple[str, bytes]:
    """The name and text of the status.json of a task's folder, lost or not. Raises OSError."""
    for name in STATUSES:
        with suppress(FileNotFoundError), open(f"{folder}/{name}", "rb") as stream:
            return name, stream.read()
    raise FileNotFoundError(folder)


def _missing(count: int) -> Iterator[str]:
    if count:
        which = "task that has succeeded" if count == 1 else "tasks that have succeeded"
        yield (
            f"the manifest lacks {count:,} {which}, since what came back is not in results/: "
            "`osgbatch collect` first"
        )


def _untold(count: int) -> Iterator[str]:
    if count:
        whose = "1 task's" if count == 1 else f"{count:,} tasks'"
        yield (
            f"{whose} status.json cannot be read: the manifest has the files as they are now, not "
            "as they came back"
        )

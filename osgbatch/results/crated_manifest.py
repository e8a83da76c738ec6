"""Writes the manifest of a crate: the checksum of each result, as it came back and was verified."""

from __future__ import annotations

import hashlib
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from osgbatch.model import TaskState
from osgbatch.provenance.layout import BY_GATHER, BY_HAND, FAILED, LATER
from osgbatch.provenance.manifest import line, walk_results
from osgbatch.results.crated_before import Before
from osgbatch.results.crated_gone import Gone, Makers, listed_in, read_status
from osgbatch.sums import file_sum

Pair = tuple[str, str]


@dataclass(frozen=True)
class Written:
    """What stands in a manifest: so many files. links: name and target of those that it lacks.

    added: what did not come back from a task, and by whom it was made. replaced: the tasks of which
    the crate before this one tells other results. notes: for the user.
    """

    files: int
    links: Sequence[Pair]
    added: Sequence[Pair]
    replaced: Sequence[int]
    notes: Sequence[str]


def write_manifest(
    path: Path,
    results: Path,
    states: Sequence[TaskState],
    *,
    placed: bool,
    before: Before,
    makers: Makers,
) -> Written:
    """Write the checksums of all that lies in `results/`, and of what came back and is gone.

    Those of a task's own files are the ones that its status.json lists, whatever became of the
    files since; all other files are read. What came back once, by the crate before this one, stays
    as it was: also when nothing of its task is there any more. states: of all tasks; placed:
    whether some of their files have another name in `results/` (`outputs: {path:, to:}`). makers:
    who made what no task has brought. Raises OSError.
    """
    with path.open("wb", buffering=1 << 18) as out:
        return _Writer(out, results, placed, before, makers).write(states)


class _Writer:
    def __init__(
        self, out: BinaryIO, results: Path, placed: bool, before: Before, makers: Makers
    ) -> None:
        self._out = out
        self._results = results
        self._is_placed = placed
        self._before = before
        self._makers = makers
        self._placed: dict[int, str] = {}
        """Checksums by inode of what has another name in `results/`."""
        self._sums: set[str] = set()
        """Those of all tasks' files, where some have another name: it may be a copy."""
        self._told = array("q")
        """Of each line that was written a number: as long as a process lives, they are its own."""
        self._walked: dict[str, Pair] = {}
        """What no status.json lists: its checksum, and by whom it was made; "" is by a task."""
        self._links: list[Pair] = []
        self._added: list[Pair] = []
        self._files = 0
        self._edited: list[str] = []
        """What the gather script had made, and somebody has changed since."""
        self._untold = 0
        """Tasks of which it is not known what came back."""

    def write(self, states: Sequence[TaskState]) -> Written:
        results = self._results
        there, failed = _folders(results), _folders(results / FAILED)
        of_tasks: set[str] = set()
        missing: list[int] = []
        for state in states:
            name = str(state.index)
            if state.state == "succeeded" and name not in there:
                missing.append(state.index)
            # Whatever its state is now: of what was lost since, its status.json tells.
            places = [name] if name in there else []
            places += [f"{FAILED}/{name}"] if name in failed else []
            for place in places:
                of_tasks.add(place)
                self._add_task(f"{results}/{place}", place, state)
        if results.is_dir():  # beside the tasks' folders: the table, what the gather script made
            self._add_walked(str(results), "", frozenset(of_tasks) | LATER)
        gone = self._add_gone(states)
        for name, (sha256, maker) in self._walked.items():
            self._write([line(name, sha256)])
            if maker:
                self._added.append((name, maker))
        self._added += ((name, BY_GATHER) for name in gone.made)
        notes = [
            *self._before.notes,
            *_missing(len(set(missing) - gone.tasks)),
            *gone.notes,
            *_edited(self._edited),
            *_untold(self._untold),
            *self._new_by_hand(),
        ]
        return Written(self._files, self._links, self._added, sorted(gone.replaced), notes)

    def _write(self, lines: Sequence[bytes]) -> None:
        self._out.write(b"".join(lines))
        self._files += len(lines)

    def _add_task(self, folder: str, place: str, state: TaskState) -> None:
        """The files and links that a task's status.json tells of, and itself.

        What else is there, the gather script has made, or the user.
        """
        try:
            status, raw = read_status(folder)
            listed = listed_in(raw, state, place)
        except (OSError, ValueError):
            self._untold += 1  # changed, lost, or of another task: what is there is read
            self._add_walked(folder, place)
            return
        files, links = listed.files, listed.links
        lines = [line(f"{place}/{name}", sha256) for name, sha256 in files.items()]
        lines.append(line(f"{place}/{status}", hashlib.sha256(raw).hexdigest()))
        if self._is_placed:
            self._sums.update(files.values())
            for name, sha256 in files.items():
                with suppress(OSError):
                    told = os.lstat(f"{folder}/{name}")
                    if told.st_nlink > 1:
                        self._placed[told.st_ino] = sha256
        self._write(lines)
        self._told.extend(map(hash, lines))
        self._links += ((f"{place}/{name}", to) for name, to in links.items())
        self._add_walked(folder, place, frozenset([*files, *links, status]))

    def _add_walked(self, folder: str, place: str, skip: frozenset[str] = frozenset()) -> None:
        for name, entry in walk_results(Path(folder), skip):
            whole = f"{place}/{name}" if place else name
            if entry.is_symlink():
                target = os.readlink(entry.path)
                self._links.append((whole, target))
                if maker := self._maker_of_link(whole, target, entry):
                    self._added.append((whole, maker))
            elif entry.is_file():
                known = self._placed.get(entry.inode()) if self._placed else None
                sha256 = known or file_sum(entry.path)[0]
                came = known is not None or sha256 in self._sums
                self._walked[whole] = sha256, "" if came else self._makers.of(whole, entry)

    def _maker_of_link(self, name: str, target: str, entry: os.DirEntry[str]) -> str:
        before = self._before
        if before.links.get(name) == target and before.added is not None:
            return before.added.get(name, "")
        return self._makers.of(name, entry)

    def _add_gone(self, states: Sequence[TaskState]) -> Gone:
        """What came back once and is gone, or is not listed any more; what is there as it was."""
        before, gone = self._before, Gone(self._results, states, self._before)
        told = array("q", sorted(self._told))
        if before.manifest is not None:
            for raw, name, sha256 in gone.lines(lambda raw: _is_in(hash(raw), told)):
                if name in self._walked:
                    self._keep_walked(name, sha256)
                elif gone.stays(name, sha256):
                    self._write([raw])
            self._write(gone.other_names())
            self._links += list(gone.links(dict(self._links)))
        return gone

    def _keep_walked(self, name: str, sha256: str) -> None:
        """What is there and no status.json lists: is it what the crate before this one tells of?"""
        now, maker = self._walked[name]
        if self._before.added is None:  # it does not say who made it
            return
        made_before = self._before.added.get(name, "")
        if made_before:
            if now == sha256:
                self._walked[name] = now, made_before
            elif made_before == BY_GATHER and not self._makers.wrote(self._results / name):
                by_hand = self._before.gathered_since  # and that has left it as it was
                self._walked[name] = (now, BY_HAND) if by_hand else (sha256, BY_GATHER)
                self._edited += [] if by_hand else [name]
        elif maker:  # it came back: what is known of it is what it was then
            self._walked[name] = sha256, ""

    def _new_by_hand(self) -> Iterator[str]:
        """What was added since the crate before this one."""
        known = self._before.added or {}
        new = [name for name, maker in self._added if maker == BY_HAND and known.get(name) != maker]
        if new:
            what = "1 file was" if len(new) == 1 else f"{len(new):,} files were"
            more = f" and {len(new) - 1:,} more" if len(new) > 1 else ""
            yield (
                f"{what} added to results/ here, and came back from no task: {_shown(min(new))}"
                f"{more}; the manifest has what is in them now"
            )


def _shown(name: str) -> str:
    return name if len(name) <= 60 else f"...{name[-57:]}"


def _is_in(number: int, numbers: array[int]) -> bool:
    place = bisect_left(numbers, number)
    return place < len(numbers) and numbers[place] == number


def _folders(above: Path) -> frozenset[str]:
    """The names of the folders in a folder."""
    try:
        with os.scandir(above) as found:
            return frozenset(entry.name for entry in found if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def _missing(count: int) -> Iterator[str]:
    if count:
        which = "task that has succeeded" if count == 1 else "tasks that have succeeded"
        yield (
            f"the manifest lacks {count:,} {which}, since what came back is not in results/: "
            "`osgbatch collect` first"
        )


def _edited(names: Sequence[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        yield (
            f"what the gather script had made was changed since: {_shown(min(names))}{more}; the "
            "manifest keeps its checksum, and `osgbatch verify` tells it as changed until that has "
            "run again (`osgbatch collect --gather`)"
        )


def _untold(count: int) -> Iterator[str]:
    if count:
        whose = "1 task's" if count == 1 else f"{count:,} tasks'"
        yield (
            f"{whose} status.json cannot be read, or is that of another result: of files that no "
            "earlier manifest tells of, this one has what is in them now, not what came back"
        )

"""Compares results with their manifest: what is missing, changed, or was added."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from array import array
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from osgbatch.provenance.layout import (
    ADDED,
    BY_GATHER,
    BY_US,
    LATER,
    LINKS,
    MANIFEST,
    METADATA,
    TASKS,
    Found,
    ProvenanceError,
)
from osgbatch.provenance.manifest import ManifestError, entries, is_inside, walk_results
from osgbatch.provenance.tasks import Tasks
from osgbatch.sums import file_sum

MOST_TOLD = 1000
"""So many names of each kind are kept; all are counted."""
_LARGEST_METADATA = 64 << 20


@dataclass
class Names:
    """Names of one kind: how many, and the first of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """One more."""
        self.count += 1
        if len(self.first) < MOST_TOLD:
            self.first.append(name)


@dataclass
class Verified:
    """What a comparison found.

    files, size: how many were compared, and their bytes. missing, changed, extra: names relative to
    the results folder; crate: files of the crate itself that are not what it says they are.
    tasks: how many the crate tells of; without: by state, those of which no results are here. made,
    added: of the files that the crate tells of those that came back from no task: osgbatch or the
    gather script has made them, or the user put them there; None where it does not say.
    """

    results: Path
    crate_folder: Path
    files: int = 0
    size: int = 0
    missing: Names = field(default_factory=Names)
    changed: Names = field(default_factory=Names)
    extra: Names = field(default_factory=Names)
    crate: Names = field(default_factory=Names)
    tasks: int = 0
    without: dict[str, array[int]] = field(default_factory=dict)
    made: Names | None = None
    added: Names | None = None

    @property
    def ok(self) -> bool:
        """Whether all is as it was."""
        kinds = (self.missing, self.changed, self.extra, self.crate)
        return not (self.without or any(names.count for names in kinds))

    @property
    def tasks_without(self) -> int:
        """Of how many tasks no results are here."""
        return sum(map(len, self.without.values()))


def verify(found: Found, advance: Callable[[int], None] = lambda count: None) -> Verified:
    """Compare every file of the results with the manifest, and the crate with what it says.

    Each task of which the manifest has nothing, or of which nothing is there any more, is told.
    Nothing is kept of a file but eight bytes, so that memory is flat. advance: is told of so many
    bytes more. Raises ManifestError, also where the manifest is not what the crate says: nothing
    is compared with that; ProvenanceError for a crate that cannot be read.
    """
    told = Verified(found.results, found.crate)
    check_manifest(found.crate)
    _check_crate(found.crate, told)
    tasks = Tasks(found.crate / TASKS)
    seen = array("Q")
    top = str(found.results)
    added = _added(found.crate, told)
    for name, sha256 in entries(found.crate / MANIFEST):
        seen.append(_short(name))
        told.files += 1
        if name in added:
            added[name].add(name)
        try:
            now, size = file_sum(f"{top}/{name}")
        except FileNotFoundError:
            told.missing.add(name)
            continue
        except OSError:  # also what is no file any more
            told.changed.add(name)
            tasks.add(name)
            continue
        tasks.add(name)
        told.size += size
        advance(size)
        if now != sha256:
            told.changed.add(name)
    for name, target in read_pairs(found.crate / LINKS):
        seen.append(_short(name))
        path = f"{top}/{name}"
        if not os.path.lexists(path):
            told.missing.add(name)
        elif not os.path.islink(path) or os.readlink(path) != target:
            told.changed.add(name)
    _add_extra(found, array("Q", sorted(seen)), told)
    told.tasks, told.without = len(tasks), tasks.without()
    return told


def _added(crate: Path, told: Verified) -> dict[str, Names]:
    """Of what came back from no task the names that it is to be counted with."""
    if not (crate / ADDED).exists():  # of older versions
        return {}
    made, added = told.made, told.added = Names(), Names()
    ours = (BY_US, BY_GATHER)
    return {name: made if by in ours else added for name, by in read_pairs(crate / ADDED)}


def _add_extra(found: Found, seen: array[int], told: Verified) -> None:
    if not found.results.is_dir():
        return
    try:
        for name, _ in walk_results(found.results, found.skip | LATER):
            short = _short(name)
            place = bisect_left(seen, short)
            if place == len(seen) or seen[place] != short:
                told.extra.add(name)
        told.extra.first.sort()
    except OSError as error:
        raise ProvenanceError(
            f"cannot be read: {error.strerror}", where=str(error.filename or found.results)
        ) from None


def _short(name: str) -> int:
    """Eight bytes that tell a name from others."""
    digest = hashlib.blake2b(os.fsencode(name), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Names of a crate's results with what it tells of each: of symbolic links where they lead, of
    what was added who made it. Empty where there is no such file. Raises ProvenanceError.
    """
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            rows = list(csv.reader(stream))[1:]
    except FileNotFoundError:
        return []
    except (OSError, csv.Error) as error:
        raise ProvenanceError(f"cannot be read: {error}", where=str(path)) from None
    for row in rows:
        if len(row) != 2 or not is_inside(row[0]):
            raise ProvenanceError(
                "a line of it has no name and what is told of it", where=str(path)
            )
    return [(name, target) for name, target in rows]


def check_manifest(crate: Path) -> None:
    """Raises ManifestError unless a crate's manifest is what its metadata says."""
    sha256 = described(crate)[MANIFEST]
    try:
        now, _ = file_sum(crate / MANIFEST)
    except OSError as error:
        now = f"cannot be read: {error.strerror}"
    if now != sha256:
        raise ManifestError(
            now if " " in now else "it was changed or damaged since it was written",
            where=str(crate / MANIFEST),
            fix="Nothing was compared with it. `osgbatch provenance` of the batch writes it anew, "
            "of what is there now, and keeps this crate.",
        )


def _check_crate(crate: Path, told: Verified) -> None:
    """Compare the crate's own files with the checksums in its metadata."""
    for name, sha256 in described(crate).items():
        try:
            now, _ = file_sum(crate / name)
        except OSError:
            now = ""
        if now != sha256:
            told.crate.add(name)


def described(crate: Path) -> dict[str, str]:
    """The checksums that the metadata of a crate tells of its files. Raises ProvenanceError."""
    path = crate / METADATA
    try:
        if path.stat().st_size > _LARGEST_METADATA:
            raise ValueError("it is larger than any that osgbatch writes")
        graph = json.loads(path.read_bytes())["@graph"]
        found: dict[str, str] = {}
        for entity in graph:
            name, sha256, kind = entity["@id"], entity.get("sha256"), entity.get("@type")
            of_file = kind == "File" or (isinstance(kind, list) and "File" in kind)
            if of_file and isinstance(name, str) and isinstance(sha256, str) and "://" not in name:
                if not is_inside(name):
                    raise ValueError(f"{name!r} leads out of the crate")
                found[name] = sha256
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = error.strerror if isinstance(error, OSError) else str(error)
        raise ProvenanceError(f"cannot be read: {what}", where=str(path)) from None
    if MANIFEST not in found:
        raise ProvenanceError(
            f"it does not tell of a {MANIFEST}",
            where=str(path),
            fix="`osgbatch verify` checks crates that osgbatch has written.",
        )
    return found

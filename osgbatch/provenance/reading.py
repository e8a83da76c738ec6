"""Reads a crate to run it again: checked against its own checksums, and nothing in it is run."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osgbatch.provenance.layout import FACTS, INPUTS, SPEC, TASKS, ProvenanceError
from osgbatch.provenance.manifest import is_inside
from osgbatch.provenance.verify import described
from osgbatch.sums import file_sum

_LARGEST_FACTS = 64 << 20
_KINDS: Mapping[str, type] = {
    "batch": str, "name": str, "tasks": int, "columns": list, "spec_folder": str,
    "environment": dict, "archives": list, "kept": list,
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,59}")
"""What `names.slug` makes of any name: it stands in names of folders."""
_FIX = "Take the crate again from where it was written; it is used whole or not at all."


@dataclass(frozen=True)
class Crate:
    """A crate that is as it was written. facts: what its osgbatch.json holds."""

    folder: Path
    facts: Mapping[str, Any]

    @property
    def batch(self) -> str:
        """The id of the batch that it is of."""
        return str(self.facts["batch"])

    @property
    def name(self) -> str:
        """The batch's name."""
        return str(self.facts["name"])

    @property
    def spec_folder(self) -> Path:
        """Where the spec lay when the batch was submitted."""
        return Path(str(self.facts["spec_folder"]))

    def archive(self, kind: str) -> Mapping[str, Any] | None:
        """The newest archive of a kind: what is told of it; None when there was none."""
        return next((one for one in self.facts["archives"] if one["kind"] == kind), None)

    def inputs(self) -> Iterator[dict[str, str]]:
        """The rows of inputs.csv. Raises ProvenanceError."""
        yield from _rows(self.folder / INPUTS, ("path", "url", "size", "sha256", "state"))

    def tasks(self) -> Iterator[list[str]]:
        """The parameters of each task, as they were written. Raises ProvenanceError."""
        columns = [str(name) for name in self.facts["columns"]]
        rows = _cells(self.folder / TASKS)
        if next(rows, [])[: 1 + len(columns)] != ["index", *columns]:
            raise ProvenanceError("it has other columns", where=str(self.folder / TASKS), fix=_FIX)
        for row in rows:
            yield row[1 : 1 + len(columns)]


def read_crate(folder: Path) -> Crate:
    """Read a crate, all of whose files must be what its metadata says. Raises ProvenanceError."""
    sums = described(folder)
    for name in (FACTS, SPEC, INPUTS, TASKS):
        if name not in sums:
            raise ProvenanceError(f"it has no {name}", where=str(folder), fix=_FIX)
    for name, sha256 in sums.items():
        try:
            now, _ = file_sum(folder / name)
        except OSError as error:
            what = f"{name} cannot be read: {error.strerror}"
            raise ProvenanceError(what, where=str(folder), fix=_FIX) from None
        if now != sha256:
            what = f"{name} is not what the crate's metadata says"
            raise ProvenanceError(what, where=str(folder), fix=_FIX)
    path = folder / FACTS
    try:
        if path.stat().st_size > _LARGEST_FACTS:
            raise ValueError("it is larger than any that osgbatch writes")
        facts = json.loads(path.read_bytes())
        if facts["version"] != 1:
            raise ProvenanceError("written by a newer osgbatch", where=str(path))
        _check(facts, sums)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProvenanceError(f"cannot be read: {error}", where=str(path), fix=_FIX) from None
    return Crate(folder, facts)


def _check(facts: Mapping[str, Any], sums: Mapping[str, str]) -> None:
    """Raises ValueError for what osgbatch does not write."""
    for name, kind in _KINDS.items():
        if not isinstance(facts.get(name), kind):
            raise ValueError(f'"{name}" is missing, or is not what it should be')
    if not _NAME.fullmatch(facts["name"]):
        raise ValueError('"name" is no name that osgbatch gives to a batch')
    home = facts["spec_folder"]
    if not home.startswith("/") or ".." in home.split("/") or "\0" in home:
        raise ValueError('"spec_folder" is no whole path')
    for one in (*facts["archives"], *facts["kept"]):
        file = one.get("file", "")
        if file and (not is_inside(file) or file not in sums):
            raise ValueError(f"{file!r} is no file of the crate")
    for one in facts["archives"]:
        if not (isinstance(one["kind"], str) and isinstance(one["sha256"], str)):
            raise ValueError("an archive in it has no checksum")
        if one.get("file") and sums[one["file"]] != one["sha256"]:
            raise ValueError(f"{one['file']!r} is another archive")
    for one in facts["kept"]:
        if not (isinstance(one["role"], str) and isinstance(one["path"], str)):
            raise ValueError("a file in it has no path")
        if "\0" in one["path"] or not one["path"]:
            raise ValueError("a file in it has a path that no file has")


def _rows(path: Path, needed: tuple[str, ...]) -> Iterator[dict[str, str]]:
    rows = _cells(path)
    header = next(rows, [])
    if not set(needed) <= set(header):
        what = f"it lacks one of the columns {', '.join(needed)}"
        raise ProvenanceError(what, where=str(path), fix=_FIX)
    for row in rows:
        if any("\0" in cell for cell in row):  # no path, and of no use elsewhere
            raise ProvenanceError("it has a cell with a NUL in it", where=str(path), fix=_FIX)
        yield dict(zip(header, row, strict=True))


def _cells(path: Path) -> Iterator[list[str]]:
    """The header and the rows of a CSV, all of one length. Raises ProvenanceError."""
    csv.field_size_limit(sys.maxsize)
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            reader = csv.reader(stream, strict=True)
            count = -1
            for row in reader:
                if count not in (-1, len(row)):
                    raise ValueError(f"line {reader.line_num} has another number of cells")
                count = len(row)
                yield row
    except (OSError, ValueError, csv.Error) as error:
        raise ProvenanceError(f"cannot be read: {error}", where=str(path), fix=_FIX) from None

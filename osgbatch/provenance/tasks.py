"""The tasks that a crate tells of, and of which of them results are there."""

from __future__ import annotations

import csv
import re
from array import array
from pathlib import Path

from osgbatch.provenance.layout import FAILED, STATUSES, ProvenanceError

SUCCEEDED = "succeeded"
_PLACE = re.compile(rf"({FAILED}/)?(0|[1-9][0-9]{{0,8}})/(.*)", re.S)
_TOLD, _THERE = 1, 2


class Tasks:
    """The rows of a crate's tasks.csv; some bytes for each. Raises ProvenanceError.

    A task has results when its status.json and a file that it brought are there: in the folder of
    successes for one that has succeeded, in either for others.
    """

    def __init__(self, path: Path) -> None:
        self._states: list[str] = []
        self._found = bytearray()
        known: dict[str, str] = {}
        try:
            with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
                rows = csv.reader(stream)
                header = next(rows, [])
                # Parameters stand before it; no column of a sweep has this name.
                place = header.index("state") if "state" in header else -1
                for row in rows if place >= 0 else ():
                    if len(row) <= place:
                        raise csv.Error(f"line {rows.line_num} of it is no task")
                    self._states.append(known.setdefault(row[place], row[place]))
        except FileNotFoundError:
            return
        except (OSError, csv.Error) as error:
            raise ProvenanceError(f"cannot be read: {error}", where=str(path)) from None
        self._found = bytearray(len(self._states))

    def __len__(self) -> int:
        return len(self._states)

    def add(self, name: str) -> None:
        """A file that stands in the manifest, and is there."""
        match = _PLACE.fullmatch(name)
        if match is None or int(match[2]) >= len(self._states):
            return
        index = int(match[2])
        if match[1] and self._states[index] == SUCCEEDED:
            return
        if match[3] in STATUSES:
            self._found[index] |= _TOLD
        if match[3] != STATUSES[1]:  # of what was lost it is all that is left
            self._found[index] |= _THERE

    def without(self) -> dict[str, array[int]]:
        """The tasks of which no results are there, by state."""
        found: dict[str, array[int]] = {}
        for index, state in enumerate(self._states):
            if self._found[index] != _TOLD | _THERE:
                found.setdefault(state, array("Q")).append(index)
        return found

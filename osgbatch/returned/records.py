"""The texts of records and lists of checksums, as the shim writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress

from osgbatch.sums import parse_sum


def parse_record(text: str) -> dict[str, str]:
    """The `key=value` lines of a record; `\\n`, `\\r` and `\\\\` in values are undone."""
    record: dict[str, str] = {}
    for line in text.split("\n"):
        key, equals, value = line.partition("=")
        if equals:
            record[key] = _UNESCAPE.sub(_unescape, value) if "\\" in value else value
    return record


_UNESCAPE = re.compile(r"\\([nr\\])")


def _unescape(match: re.Match[str]) -> str:
    return {"n": "\n", "r": "\r", "\\": "\\"}[match[1]]


LARGEST = 1e15
"""No time in seconds and no size in kB is as large: an execution point may write anything."""


def number(record: Mapping[str, str], key: str) -> float | None:
    """A number of a record; None when it is absent, or nothing that a time or a size can be."""
    text = record.get(key, "")
    try:
        found = float(text)
    except ValueError:
        return None
    return found if 0 <= found < LARGEST and "_" not in text else None


def whole(record: Mapping[str, str], key: str) -> int | None:
    """A whole number of a record; None when it is absent or no whole number."""
    text = record.get(key, "")
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None


def parse_names(text: bytes) -> list[str]:
    """The names of a list, one a line, escaped as values of records are."""
    return [
        _UNESCAPE.sub(_unescape, line.decode("utf-8", "surrogateescape"))
        for line in text.split(b"\n")
        if line
    ]


def parse_checksums(text: bytes) -> dict[str, str]:
    """sha256sum's lines to name → hexadecimal digest; other lines are passed over."""
    sums: dict[str, str] = {}
    for line in text.split(b"\n"):
        with suppress(ValueError):
            name, sha256 = parse_sum(line)
            sums[name.removeprefix("./")] = sha256
    return sums

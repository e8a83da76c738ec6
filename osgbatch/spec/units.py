"""Sizes and times with units: parsed, never guessed."""

from __future__ import annotations

import re

_POWERS = ("", "K", "M", "G", "T", "P")
_SIZE_UNIT = re.compile(r"([KMGTP])(?:I?B)?|()B", re.I)
_TIMES = {
    "s": 1, "sec": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
}  # fmt: skip
_NUMBER_AND_UNIT = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z]*)\s*")


class UnitError(ValueError):
    """A size or a time that cannot be read; its text says what to write instead."""


def size_bytes(text: str) -> int:
    """Parse a size into bytes, rounded up.

    text: a number with a unit, "2 GB", "512 MiB"; both mean powers of 1024, as condor_submit
    reads them. Raises UnitError when the unit is missing or unknown.
    Source: condor_submit manual, request_memory and request_disk.
    """
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None:
        raise UnitError(f'"{text}" is not a size; write a number and a unit, such as 2 GB')
    number, unit = match[1], match[2]
    if not unit:
        raise UnitError(f"a size needs a unit: write {number} GB or {number} MB")
    known = _SIZE_UNIT.fullmatch(unit)
    if known is None:
        raise UnitError(f'unknown unit "{unit}"; use KB, MB, GB or TB')
    exact = float(number) * 1024 ** _POWERS.index((known[1] or "").upper())
    if exact <= 0:
        raise UnitError("a size must be more than 0")
    if exact > 1024**6:
        raise UnitError("a size of more than 1 EB")
    return -int(-exact // 1)


def memory_mb(text: str) -> int:
    """Parse a memory size into whole MiB, rounded up, as request_memory counts them."""
    return -(-size_bytes(text) // 1024**2)


def disk_kb(text: str) -> int:
    """Parse a disk size into whole KiB, rounded up, as request_disk counts them."""
    return -(-size_bytes(text) // 1024)


def seconds(text: str) -> int:
    """Parse a time into whole seconds, rounded up.

    text: "20 min", "1.5 h", "90 s", "2 days". Raises UnitError when the unit is missing or unknown.
    """
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None:
        raise UnitError(f'"{text}" is not a time; write a number and a unit, such as 20 min')
    number, unit = match[1], match[2].lower()
    if not unit:
        raise UnitError(f"a time needs a unit: write {number} min or {number} h")
    if unit not in _TIMES:
        raise UnitError(f'unknown unit "{match[2]}"; use s, min, h or days')
    exact = float(number) * _TIMES[unit]
    if exact <= 0:
        raise UnitError("a time must be more than 0")
    return -int(-exact // 1)

"""The dates of events, as HTCondor writes them, to seconds since 1970."""

from __future__ import annotations

from datetime import datetime, timezone
from time import time as now


class Clock:
    """Dates and minutes of events to seconds since 1970; year: of dates written without one.

    29 February without a year is of the last leap year, also when the log is read later.
    """

    def __init__(self, year: int) -> None:
        self.year = year

    def __call__(self, minute: bytes) -> float | None:
        """None for a date that there is not. minute: `2026-11-20 10:00`, `11/20 10:00`."""
        text = minute.decode()
        day, clock, zulu = text[:-6], text.rstrip("Z")[-5:], text.endswith("Z")
        if zulu:
            day = text[:-7]
        years = [self.year] if "-" in day else range(self.year, self.year - 8, -1)
        tomorrow = now() + 86_400
        for year in years:
            whole = day if "-" in day else f"{year}-{day.replace('/', '-')}"
            try:
                moment = datetime.fromisoformat(f"{whole}T{clock}")
                found = (moment.replace(tzinfo=timezone.utc) if zulu else moment).timestamp()
            except (ValueError, OverflowError, OSError):
                continue
            if "-" in day or found < tomorrow:  # in January, December is last year's
                return found
        return None

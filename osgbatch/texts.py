"""Times and sizes in words."""

from __future__ import annotations


def duration(seconds: int) -> str:
    """Seconds for people: `45 s`, `5 min`, `1 h 30 min`, `2 days`."""
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(days, f"{days:,} day{'s' * (days != 1)}"), (hours, f"{hours} h")]
    parts += [(minutes, f"{minutes} min"), (rest, f"{rest} s")]
    shown = [text for count, text in parts if count][:2]
    return " ".join(shown) or "0 s"


_STEPS = ((60, 1), (36_000, 60), (172_800, 3600))
"""Below so many seconds a time that was measured is rounded to so many; above, to days."""


def about(seconds: float) -> str:
    """A time that was measured or is guessed, rounded: `40 s`, `2 h 10 min`, `3 days`."""
    step = next((step for limit, step in _STEPS if seconds < limit), 86400)
    return duration(max(1, round(seconds / step)) * step)


def size(count: float) -> str:
    """Bytes for people, powers of 1024, no more digits than needed: `500 MB`, `1.5 GB`."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if round(count, 1) < 1024:
            return f"{round(count, 0 if unit == 'bytes' else 1):g} {unit}"
        count /= 1024
    return f"{round(count, 1):g} TB"


def number_of(count: int, noun: str) -> str:
    """`1 task`, `2,000 tasks`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"

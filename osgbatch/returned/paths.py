"""Where links lead and which names a pattern means, by names alone."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

MAX_HOPS = 40
"""Links that one way may lead through, as Linux has it."""
MAX_DEPTH = 200


def resolve(start: Sequence[str], to: str, links: Mapping[str, str]) -> list[str] | None:
    """The place that the path `to` means in the folder `start`, all links followed.

    start: the parts of a path without links; links: where each link leads, by its path. All paths
    begin at the task's folder. None when the way leaves that folder, or has no end.
    """
    place, rest, hops = list(start), to.split("/")[::-1], 0
    if to.startswith("/"):
        return None
    while rest:
        part = rest.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not place:
                return None
            place.pop()
            continue
        place.append(part)
        target = links.get("/".join(place))
        if target is not None:
            hops += 1
            if target.startswith("/"):
                return None
            place.pop()
            rest += target.split("/")[::-1]
        if hops > MAX_HOPS or len(place) > MAX_DEPTH:
            return None
    return place


def matches(pattern: str, name: str) -> bool:
    """Whether `name` is what a pattern of an output means, or lies below a folder that it means.

    A pattern is a glob per part, as the shim's shell reads it in the C locale: byte by byte, `*`
    matching neither `/` nor a leading dot, `[*]` and `\\*` being a star; or it is the name itself.
    """
    wanted = _parts(pattern)
    parts = _as_bytes(name).split("/")
    return len(parts) >= len(wanted) and all(
        part == literal or (not (dotless and part.startswith(".")) and glob.match(part))
        for part, (literal, dotless, glob) in zip(parts, wanted, strict=False)
    )


@lru_cache(maxsize=1000)
def _parts(pattern: str) -> list[tuple[str, bool, re.Pattern[str]]]:
    parts = [part for part in _as_bytes(pattern).split("/") if part not in ("", ".")]
    return [
        (part, not part.startswith((".", "\\.")), re.compile(fnmatch.translate(_from_shell(part))))
        for part in parts
    ]


def _as_bytes(text: str) -> str:
    """One character for each byte."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


_CLASSES = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "digit": "0-9", "lower": "a-z", "upper": "A-Z",
    "xdigit": "0-9A-Fa-f", "blank": " \t", "space": " \t\n\r\f\v",
}  # fmt: skip


def _from_shell(part: str) -> str:
    """A part of a shell's pattern in fnmatch's words: escapes, `[^…]` and classes."""
    part = re.sub(r"\\(.)", lambda m: f"[{m[1]}]" if m[1] in "*?[" else m[1], part)
    part = re.sub(r"\[:([a-z]+):\]", lambda m: _CLASSES.get(m[1], m[0]), part)
    return part.replace("[^", "[!")

"""Remembers what `stage put` brought: no batch names it yet, and its URL has been given out."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KEPT_S = 365 * 86_400
"""For so long it is remembered."""
LARGE = 16 * 1024**2
"""A list of so many bytes is cleared of what it says twice, or need no longer say,"""
_AGAIN_S = 86_400
"""but no more often than this."""


class Puts:
    """The URLs of objects, each with when it was last put: a line of seconds since 1970 and it."""

    def __init__(self, folder: Path) -> None:
        """folder: the user's state folder."""
        # Not .txt: `gc` would take it for a text that refers to all of them.
        self.path = folder / "puts.list"

    def times(self) -> dict[str, float]:
        """When each URL was last put. Raises OSError when that is noted and cannot be read."""
        found: dict[str, float] = {}
        try:
            lines = self.path.read_text("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return found
        for line in lines:
            moment, _, url = line.partition(" ")
            with suppress(ValueError):
                found[url] = max(float(moment), found.get(url, 0.0))
        return found

    def note(self, urls: Iterable[str]) -> None:
        """Remember URLs, and now and then forget what was put long ago. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        now = time.time()
        lines = "".join([f"{now:.0f} {url}\n" for url in dict.fromkeys(urls)])
        with self._lock() as lock:
            with self.path.open("a+b", buffering=0) as stream:
                size = stream.seek(0, os.SEEK_END)
                if size:
                    stream.seek(-1, os.SEEK_END)
                    if stream.read(1) != b"\n":  # the last was cut short
                        lines = f"\n{lines}"
                stream.write(lines.encode("utf-8", "replace"))
            # To write it anew each time would take as long as the rest of a put.
            if size > LARGE and now - os.fstat(lock).st_mtime > _AGAIN_S:
                self._forget(now)
                os.utime(lock)

    def _forget(self, now: float) -> None:
        """Keep the last time of each URL, and that not for ever."""
        new = self.path.with_name(f".{self.path.name}-{os.getpid()}")
        try:
            kept = (f"{at:.0f} {url}\n" for url, at in self.times().items() if now - at < KEPT_S)
            new.write_text("".join(kept), "utf-8", "replace")
            new.replace(self.path)
        finally:
            new.unlink(missing_ok=True)

    @contextmanager
    def _lock(self) -> Iterator[int]:
        """Two at once do not forget what the other has put; without locks they may."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.path.with_suffix(".lock"), flags, 0o600)
        try:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

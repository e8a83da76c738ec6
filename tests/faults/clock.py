"""A clock that can be set for osgbatch alone, by Debian's libfaketime; `clock.py` fetches that."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import aptget

NAME = "libfaketimeMT.so.1"
OLD_SUITE = "bullseye"
"""Of Debian; where this machine's own has none: a library that needs no newer libc than it has."""


class Clock:
    """The clock of processes that have its environment. path: a file that tells how it is set."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._library = provide()
        self.set(0)

    def set(self, seconds: float) -> None:
        """Set it so far ahead (or back) of the true time, also for those that run already."""
        part = self._path.with_suffix(".new")
        part.write_text(f"{seconds:+.0f}\n")
        part.rename(self._path)

    @property
    def environment(self) -> dict[str, str]:
        """As where an administrator sets the clock: steady clocks go on, and so do those of files.

        Source: libfaketime's README (0.9.10).
        """
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
            "NO_FAKE_STAT": "1",
        }


def why_no_clock() -> str:
    """Why none can be set without fetching the library first; empty when one can."""
    there = (aptget.cache_folder() / "faketime" / NAME).exists()
    return "" if there else f"{NAME} is not in the cache (tests/faults/clock.py fetches it)"


def provide() -> Path:
    """The library, fetched once. Raises AssertionError where it cannot be had."""
    folder = aptget.cache_folder() / "faketime"
    folder.mkdir(exist_ok=True)
    library = folder / NAME
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if library.exists():
            return library
        problems = []
        for suite in dict.fromkeys((aptget.codename(), OLD_SUITE)):
            with tempfile.TemporaryDirectory(dir=folder) as work:
                try:
                    found = _fetched(suite, Path(work))
                except (SystemExit, StopIteration, subprocess.SubprocessError) as error:
                    problems.append(f"{suite}: {error!r}")
                    continue
                shutil.copy2(found, folder / "new")
                if _serves(folder / "new"):
                    (folder / "new").rename(library)
                    return library
                problems.append(f"{suite}: it does not serve here")
    raise AssertionError(f"no libfaketime can be had: {'; '.join(problems)}")


def _fetched(suite: str, work: Path) -> Path:
    aptget.extract(
        aptget.download(["libfaketime"], suite, work / "apt", follow=False), work / "root"
    )
    return next((work / "root").glob(f"**/{NAME}"))


def _serves(library: Path) -> bool:
    """Whether a Python with it believes in another time."""
    program = "import time; print(time.time() > 4e9)"
    env = {**os.environ, "LD_PRELOAD": str(library), "FAKETIME": "@2100-01-01 00:00:00"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False
    )
    return done.stdout == "True\n"


if __name__ == "__main__":
    print(provide())

"""What every module of this folder uses: its error, where things are kept, saying a step."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
ENV_CACHE = "OSGBATCH_DEV_CACHE"

_START = time.monotonic()


class ToolError(Exception):
    """What went wrong and what to do, in words for the person at the terminal."""


def say(text: str) -> None:
    """One line per step, on stderr so that the output of a command that is run stays its own."""
    print(f"htcondor [{time.monotonic() - _START:5.1f} s] {text}", file=sys.stderr, flush=True)


def usable(folder: Path) -> bool:
    """True when the folder is there, or can be made, and files can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def cache_folder() -> Path:
    """The folder that keeps what took long to build.

    $OSGBATCH_DEV_CACHE/htcondor, else below $XDG_CACHE_HOME or ~/.cache; where there is no usable
    home folder, below .cache/ of the checkout, else below the folder for temporary files.
    Raises ToolError when none of them can be written.
    """
    chosen = os.environ.get(ENV_CACHE)
    if chosen:
        folder = Path(chosen).expanduser().resolve() / "htcondor"
        if not usable(folder):
            raise ToolError(f"{ENV_CACHE} is {chosen}, but nothing can be written there.")
        return folder
    candidates: list[Path] = []
    xdg, home = os.environ.get("XDG_CACHE_HOME"), os.environ.get("HOME")
    if xdg and Path(xdg).is_absolute():
        candidates.append(Path(xdg))
    if home and Path(home).is_absolute() and Path(home).is_dir():
        candidates.append(Path(home) / ".cache")
    candidates += [CHECKOUT / ".cache", Path(tempfile.gettempdir()) / f"osgbatch-{os.getuid()}"]
    for base in candidates:
        folder = base / "osgbatch-dev" / "htcondor"
        if usable(folder):
            return folder
    raise ToolError(f"No folder to keep HTCondor in. Set {ENV_CACHE} to one that can be written.")


def short_temp() -> Path:
    """The folder for temporary folders: paths of Unix sockets may not be longer than 100 bytes."""
    folder = Path(tempfile.gettempdir())
    return folder if len(str(folder)) <= 40 else Path("/tmp")


def last_lines(path: Path, count: int) -> str:
    """The last lines of a text file, or nothing when it cannot be read."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ""

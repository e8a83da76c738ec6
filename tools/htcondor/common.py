"""What every module of this folder uses: its error, where things are kept, saying a step."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import aptget

_START = time.monotonic()


class ToolError(Exception):
    """What went wrong and what to do, in words for the person at the terminal."""


def say(text: str) -> None:
    """One line per step, on stderr so that the output of a command that is run stays its own."""
    print(f"htcondor [{time.monotonic() - _START:5.1f} s] {text}", file=sys.stderr, flush=True)


def cache_folder() -> Path:
    """The folder that keeps what took long to build. Raises ToolError when none can be written."""
    try:
        folder = aptget.cache_folder() / "htcondor"
        folder.mkdir(exist_ok=True)
        return folder
    except (SystemExit, OSError) as error:
        raise ToolError(str(error)) from None


def short_temp() -> Path:
    """The folder for temporary folders: paths of Unix sockets may not be longer than 100 bytes."""
    folder = Path(tempfile.gettempdir())
    return folder if len(str(folder)) <= 40 else Path("/tmp")


def refuse_access_point(what: str) -> None:
    """Raises ToolError on a host that a profile knows: many people share it. what: `no pool`, say.

    A Python that has nothing of osgbatch is one that this program has started itself.
    """
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    try:
        from osgbatch.spec.profiles import access_point
    except ImportError:
        return
    known = access_point()
    if known:
        raise ToolError(
            f"{known.host} is an access point of {known.profile.title}, which many people share: "
            f"{what} is started on it. Use a machine of your own."
        )


def last_lines(path: Path, count: int) -> str:
    """The last lines of a text file, or nothing when it cannot be read."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ""

"""A Python made for moving, from uv, where uv is and can get one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def installed_standalone(minor: str) -> Path | None:
    """A standalone Python that uv has already; nothing is downloaded.

    minor: `3.11`. Source: uv's manual, `uv python find`.
    """
    return _ask(["python", "find", "--managed-python", "--no-python-downloads", "--offline", minor])


def install_standalone(minor: str) -> Path | None:
    """Let uv download a standalone Python; None where there is no uv, or it cannot."""
    if shutil.which("uv") is None:
        return None
    _ask(["python", "install", minor], seconds=300)
    return installed_standalone(minor)


def _ask(arguments: list[str], seconds: int = 30) -> Path | None:
    command = shutil.which("uv")
    if command is None:
        return None
    try:
        done = subprocess.run(
            [command, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    path = Path(done.stdout.strip()) if done.returncode == 0 and done.stdout.strip() else None
    return path if path is not None and path.is_file() else None

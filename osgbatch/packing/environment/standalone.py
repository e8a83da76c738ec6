"""Which Python is packed: one made for moving, from uv, or one that is here."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.environment.interpreter import running_interpreter
from osgbatch.spec_model import Place

Say = Callable[[str], None]


class NotYetError(PackingError):
    """A Python is not here, and uv gets it when an environment is packed."""


def own_minor() -> str:
    """The version of the Python that runs osgbatch, `3.11`."""
    return ".".join(platform.python_version_tuple()[:2])


def chosen_python(minor: str = "", say: Say | None = None, place: Place | None = None) -> Path:
    """The interpreter to pack.

    minor: the version wanted, `3.12` or `3`; empty for that of the one that runs osgbatch. A
    standalone one of uv comes first, then the one that runs osgbatch, then those on PATH; where
    `say` is given, uv may download one at last. place: where the version is asked for.
    Raises PackingError that names what is here.
    """
    if not minor or minor in (own_minor(), "3"):
        return installed_standalone(own_minor()) or running_interpreter()
    where = f"{place.file}:{place.line}:{place.column}" if place else f"python: {minor}"
    found = installed_standalone(minor) or _on_path(minor)
    if found is None and say is not None and shutil.which("uv"):
        say(f"getting Python {minor} with uv")
        found = install_standalone(minor)
    if found is None and not (say is None and shutil.which("uv")):
        raise PackingError(
            f"there is no Python {minor} on this machine",
            where=where,
            fix=f"Here are {', '.join(_there())}. uv would get Python {minor}: "
            "`pip install uv`; or use conda: environment.yml.",
        )
    if found is None:
        raise NotYetError(
            f"Python {minor} is not here yet",
            where=where,
            fix=f"`uv python install {minor}` gets it; packing does so by itself.",
        )
    return found


def _on_path(minor: str) -> Path | None:
    """An interpreter of this version on PATH, or of pyenv's, that starts."""
    for folder in _folders():
        path = folder / f"python{minor}"
        if path.is_file() and os.access(path, os.X_OK):
            found = _base_of(path, minor)
            if found is not None:
                return found
    return None


def _folders() -> list[Path]:
    """Where interpreters are: on PATH, and where pyenv has them, whose own commands on PATH are
    scripts that start only what was chosen there.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return [*map(Path, os.get_exec_path()), *sorted(pyenv.glob("versions/3.*/bin"), reverse=True)]


def _base_of(path: Path, minor: str) -> Path | None:
    code = (
        "import os, sys; print('%d.%d' % sys.version_info[:2]); "
        "print(os.path.realpath(getattr(sys, '_base_executable', '') or sys.executable))"
    )
    try:
        done = subprocess.run(
            [str(path), "-I", "-c", code],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    return Path(lines[1]) if done.returncode == 0 and lines[:1] == [minor] else None


def _there() -> list[str]:
    """The versions on this machine, the oldest first."""
    found = {own_minor()}
    for folder in _folders():
        for path in sorted(folder.glob("python3.*")):
            match = re.fullmatch(r"python(3\.\d+)", path.name)
            if match and match[1] not in found and _base_of(path, match[1]):
                found.add(match[1])
    return sorted(found, key=lambda version: int(version[2:]))


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

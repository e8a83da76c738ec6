"""Which files of a virtual environment are its own; what else lies in its folder is not."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from osgbatch.packing.archive import printable

Belongs = Callable[[str, bool], bool]
"""Whether something belongs to an environment, by its path below it; True for a folder."""

FOLDERS = frozenset({"bin", "etc", "include", "lib", "libexec", "man", "share"})
"""What is in these was installed, by a package or by `make install`."""
OWN = frozenset({"pyvenv.cfg", ".gitignore", ".lock", "CACHEDIR.TAG", "lib64", "pip.conf", "bin"})
"""What the venv module makes, at the top of a virtual environment."""
_ANYWHERE = frozenset({".git-credentials", ".netrc", ".pypirc"})
_SETTINGS = frozenset(
    {".condarc", "condarc", "condarc.d", ".mambarc", "pip.conf", "uv.toml", ".env"}
)
SHOWN = 3


def is_private(name: str) -> bool:
    """Whether a file of any environment, conda's too, may hold passwords or tokens of its user.

    name: its path below the environment. Settings of channels and indexes lie at the top or in
    etc/; elsewhere a file of the same name is some package's data.
    """
    top, *below = name.split("/")
    if (below[-1] if below else top) in _ANYWHERE or top in _SETTINGS:
        return True
    return top == "etc" and not _SETTINGS.isdisjoint(below)


def belonging(venv: Path) -> Belongs:
    """What belongs to a virtual environment: some folders, and what RECORD files list elsewhere.

    An environment may have been made in the folder of a project, which is not part of it.
    """
    listed = frozenset(_listed_elsewhere(venv))

    def belongs(name: str, is_folder: bool) -> bool:
        return not is_private(name) and (name.partition("/")[0] in FOLDERS or name in listed)

    return belongs


def left_out(venv: Path, belongs: Belongs) -> list[str]:
    """What at the top of a virtual environment does not belong to it, sorted."""
    names = sorted(set(os.listdir(venv)) - OWN - {"__pycache__"})
    return [name for name in names if not belongs(name, (venv / name).is_dir())]


def left_out_note(venv: Path, belongs: Belongs) -> list[str]:
    """The same as a note for the user; none where nothing is left out."""
    names = left_out(venv, belongs)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    shown = ", ".join(printable(name) for name in names[:SHOWN])
    what = f"left out, for no package has installed it: {shown}{more} (what is in share/ travels)"
    return [what] if names else []


def _listed_elsewhere(venv: Path) -> Iterator[str]:
    """Files outside of `FOLDERS` that packages have installed, and the folders that they lie in."""
    for record in venv.glob("lib/python3*/site-packages/*.dist-info/RECORD"):
        site = record.parent.parent
        try:
            lines = record.read_bytes().splitlines()
        except OSError:  # of what was interrupted
            continue
        for line in lines:
            if not line.startswith((b"../", b"/", b'"../', b'"/')):
                continue
            row = next(csv.reader([os.fsdecode(line)]))
            path = os.path.relpath(os.path.normpath(site / row[0]), venv)
            parts = path.split("/")
            if parts[0] not in FOLDERS and parts[0] != os.pardir:
                yield from ("/".join(parts[:count]) for count in range(1, len(parts) + 1))

"""Makes a new folder from a template: all of it or nothing, and never over what is there."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from osgbatch.errors import OsgbatchError
from osgbatch.starting.starters import Starter

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What may name a folder: the sweep in it is called so, too, unless it says `name:`."""
_LONGEST = 100


@dataclass(frozen=True)
class Made:
    """A folder that was made. folder: as it was asked for. files: in it, with `/`; the one to be
    read first is first."""

    starter: Starter
    folder: Path
    files: tuple[str, ...]


def make(starter: Starter, folder: Path) -> Made:
    """Copy the files of a template into a folder that does not exist yet.

    They are written into a hidden folder beside it, which is then renamed: a full disk, Ctrl-C or
    somebody who makes the same folder at the same time leaves nothing half made. Raises
    OsgbatchError when the name will not do, the folder exists, or it cannot be written.
    """
    check(folder)
    folder = Path(os.path.normpath(folder))
    hidden = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.new"
    files = tuple(path.as_posix() for path in starter.files())
    if not files:
        raise OsgbatchError(
            "the files of this template are missing", where=str(starter.folder),
            fix="Install osgbatch again.",
        )  # fmt: skip
    try:
        hidden.mkdir()
        try:
            for name in files:
                target = hidden / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((starter.folder / name).read_bytes())
            check(folder)  # renaming would replace an empty folder
            hidden.rename(folder)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
    except OSError as error:
        raise _failed(folder, error) from None
    return Made(starter, folder, files)


def check(folder: Path) -> None:
    """Refuse a folder that cannot be made. Raises OsgbatchError."""
    folder = Path(os.path.normpath(folder))
    name = folder.name
    if not name or name == "..":
        raise OsgbatchError(
            "a new folder is made, so it needs a name",
            where=str(folder),
            fix="Write for example `osgbatch init hello my-sweep`.",
        )
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        better = proper(name)
        hint = f' Write for example "{better}".' if better else ""
        long = f", {_LONGEST} of them at most" if len(name) > _LONGEST else ""
        raise OsgbatchError(
            "the name of the folder should have only letters of English, digits and ._-, and "
            f"begin with a letter or digit{long}",
            where=repr(name)[1:-1],
            fix=f"The sweep in it is called so, too.{hint}",
        )
    if os.path.lexists(folder):
        raise OsgbatchError(
            "exists already, and is left as it is",
            where=str(folder),
            fix=f"Write another name, for example {free(folder)}.",
        )
    if not folder.parent.is_dir():
        what = "is no folder" if os.path.lexists(folder.parent) else "does not exist"
        raise OsgbatchError(
            f"the folder {folder.parent} {what}, and the new one would be in it",
            where=str(folder),
            fix=f"`mkdir -p {shlex.quote(str(folder.parent))}` makes it.",
        )


def proper(name: str) -> str:
    """The nearest name that will do: `my-sweep` of `my sweep`; empty when nothing is left."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-._")[:_LONGEST]


def free(folder: Path) -> Path:
    """The folder itself, or the first of `folder-2`, `folder-3` ... that does not exist."""
    names = (folder.name, *(f"{folder.name}-{n}" for n in range(2, 1000)))
    found = (folder.with_name(name) for name in names)
    return next((path for path in found if not os.path.lexists(path)), folder)


def _failed(folder: Path, error: OSError) -> OsgbatchError:
    return OsgbatchError(
        f"cannot be made: {error.strerror or error}",
        where=str(folder),
        fix=f"Is there room in {folder.parent}, and may you write there? Nothing was changed.",
    )

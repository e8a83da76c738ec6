"""Lints submit files on disk: with the files around them, and HTCondor's parser where it is."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from osgbatch.condor import submit_parser
from osgbatch.errors import OsgbatchError
from osgbatch.linting.check import Finding, Judge, lint, mended

HEAD = 65536
"""Bytes of a file that are looked at, at most."""
LARGEST = 8 * 1024**2
"""Bytes of a submit file, at most: more is no submit file."""


@dataclass(frozen=True)
class Folder:
    """The files that a submit file in this folder names; condor_submit looks from where it runs."""

    folder: Path

    def _path(self, path: str) -> Path:
        return self.folder / path

    def kind(self, path: str) -> str:
        """`file`, `folder` or `none`; empty for what may be on another machine, or be no path."""
        if not path or "://" in path or "\0" in path or path.startswith("~") or len(path) > 1000:
            return ""
        try:
            mode = self._path(path).stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            parent = self._path(path).parent
            # A path of another machine: its folder is not here either.
            return "" if os.path.isabs(path) and not parent.is_dir() else "none"
        except (OSError, ValueError):
            return ""
        return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else ""

    def matches(self, pattern: str) -> bool:
        """Whether anything here has a name of this pattern; true where that cannot be said."""
        try:
            return any(glob.iglob(pattern, root_dir=self.folder))
        except (OSError, ValueError):
            return True

    def head(self, path: str) -> bytes:
        """The first bytes of a file; nothing when it cannot be read."""
        try:
            with open(self._path(path), "rb") as file:
                return file.read(HEAD)
        except (OSError, ValueError):
            return b""

    def executable(self, path: str) -> bool:
        """Whether anybody may execute the file."""
        try:
            return bool(self._path(path).stat().st_mode & 0o111)
        except (OSError, ValueError):
            return True


_OF_A_SWEEP = re.compile(r"^(command|script|function|sweep|extends|steps):", re.M)
JUDGE = Judge(
    submit_parser.refused_text, submit_parser.refused_expression, submit_parser.refused_queue
)


def read_text(path: Path) -> str:
    """A submit file as it is on disk. Raises OsgbatchError when it cannot be read, or is none."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise OsgbatchError(
            f"cannot be read: {error.strerror}", where=str(path), fix="Name a submit file."
        ) from error
    text = decoded(content, str(path))
    if path.suffix in (".yaml", ".yml") and _OF_A_SWEEP.search(text):
        raise OsgbatchError(
            "this is a sweep, and no submit file: `osgbatch check` is for it",
            where=str(path),
            fix="Name a submit file.",
        )
    return text


def decoded(content: bytes, name: str) -> str:
    """The text of a submit file. Raises OsgbatchError for what is none."""
    if len(content) > LARGEST or b"\0" in content:
        raise OsgbatchError("this is no submit file", where=name, fix="Name a text file.")
    return content.decode("utf-8", "surrogateescape")


def lint_text(text: str, folder: Path, ignore: Collection[str] = ()) -> list[Finding]:
    """What is to be said of a submit file's text; folder: where it lies."""
    return lint(text, Folder(folder), JUDGE, ignore)


def fix_file(path: Path, text: str, ignore: Collection[str] = ()) -> tuple[int, Path | None]:
    """Make all safe fixes in a file; how many, and where the file as it was is kept.

    Fixes are made until none is left to make: one may make way for another.
    """
    new, count = text, 0
    for _ in range(5):
        new, done = mended(new, lint_text(new, path.parent, ignore))
        count += done
        if not done:
            break
    if new == text:
        return 0, None
    backup = _free(path)
    content = text.encode("utf-8", "surrogateescape")
    mode = stat.S_IMODE(path.stat().st_mode)
    with open(backup, "xb") as file:
        file.write(content)
    os.chmod(backup, mode)
    target = path.resolve()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    with open(part, "xb") as file:
        file.write(new.encode("utf-8", "surrogateescape"))
    os.chmod(part, mode)
    os.replace(part, target)
    return count, backup


def _free(path: Path) -> Path:
    """A name beside `path` for its backup that nothing has yet."""
    number = 0
    while True:
        backup = path.with_name(f"{path.name}.bak{number or ''}")
        if not os.path.lexists(backup):
            return backup
        number += 1

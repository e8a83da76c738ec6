"""Reads requirements.txt as far as packing needs: what it includes, and what cannot travel."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Member, printable
from osgbatch.packing.tree import tree_members
from osgbatch.urls import without_login

_INCLUDE = re.compile(r"^(?:-r|-c|--requirement|--constraint)(?:\s*=\s*|\s+|(?<=-[rc]))(.+)$")
_EDITABLE = re.compile(r"^(?:-e|--editable)(?:\s*=\s*|\s+)(.+)$")
_COMMENT = re.compile(r"(^|\s+)#.*$")
ARCHIVES = (".whl", ".zip", ".tar.gz", ".tar.bz2", ".tar.xz", ".tgz")


@dataclass(frozen=True)
class Line:
    """One logical line: comments gone, continued lines joined."""

    file: Path
    number: int
    text: str

    @property
    def where(self) -> str:
        """As messages show it."""
        return f"{printable(str(self.file))}:{self.number}"


def logical_lines(text: str, file: Path) -> Iterator[Line]:
    """Lines as pip reads them. Source: pip's documentation, requirements file format."""
    kept, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        start = start or number
        is_comment = raw.lstrip().startswith("#")
        if raw.endswith("\\") and not is_comment:
            kept += raw[:-1]
            continue
        joined = _COMMENT.sub("", kept + ("" if is_comment and kept else raw)).strip()
        if joined:
            yield Line(file, start, joined)
        kept, start = "", 0
    joined = _COMMENT.sub("", kept).strip()
    if joined:
        yield Line(file, start, joined)


def read_lines(file: Path, above: tuple[Path, ...] = ()) -> list[Line]:
    """The lines of a requirements file and of the files that it includes, in order.

    Raises PackingError when one is not there, or includes itself.
    """
    real = Path(os.path.realpath(file))
    if real in above:
        raise PackingError("the file includes itself", where=printable(str(file)))
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PackingError(
            f"the requirements cannot be read: {reason}",
            where=printable(str(file)),
            fix="Check the path, which is relative to the file that names it.",
        ) from error
    lines: list[Line] = []
    for line in logical_lines(text, file):
        lines.append(line)
        match = _INCLUDE.match(line.text)
        if match and "://" not in match[1]:
            lines += read_lines(file.parent / match[1].strip().strip("\"'"), (*above, real))
    return lines


def check_lines(lines: list[Line]) -> None:
    """Refuse what would not travel. Raises PackingError."""
    for line in lines:
        match = _EDITABLE.match(line.text)
        if match:
            what = without_login(match[1])
            raise PackingError(
                f"{what} is editable: it would stay on this machine",
                where=line.where,
                fix=f"Write `{what}` without -e, or name the package under libraries:.",
            )


def installs_anything(lines: list[Line]) -> bool:
    """Whether there is a requirement; a file without any means Python alone."""
    return any(not line.text.startswith("-") for line in lines)


def fingerprint_lines(lines: list[Line], folder: Path) -> Iterator[str]:
    """What decides what is installed: the text of the lines, and local packages' content."""
    for line in lines:
        yield line.text
        local = local_path(line, folder)
        if local is not None:
            yield tree_hash(local)


def local_path(line: Line, folder: Path) -> Path | None:
    """The folder or file of this machine that a line installs; None for a name or an address.

    folder: what pip takes such paths relative to: the one it runs in, which is the first file's.
    """
    text = re.sub(r"\s*;.*$", "", line.text)
    text = text.rpartition(" @ ")[2].removeprefix("file://").strip()
    text = re.sub(r"\[[\w\s,.-]*\]$", "", text)
    if text.startswith("-") or "://" in text:
        return None
    if not ("/" in text or text.startswith(".") or text.endswith(ARCHIVES)):
        return None
    path = folder / text
    return path if path.exists() else None


def tree_hash(path: Path) -> str:
    """A hash over names and contents of what lies at a path."""
    return members_hash(tree_members(path, path.name or "root"))


def members_hash(members: Iterable[Member]) -> str:
    """A hash over names and contents."""
    digest = hashlib.sha256()
    for member in members:
        digest.update(os.fsencode(member.name) + b"\0")
        if member.source is not None:
            with member.source.open("rb") as file:
                content = hashlib.sha256()
                while chunk := file.read(1 << 20):
                    content.update(chunk)
            digest.update(content.digest())
        digest.update(os.fsencode(member.link or "") + b"\0")
    return digest.hexdigest()

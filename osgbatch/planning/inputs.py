"""Which files a task is brought, and how they travel."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from osgbatch.model import InputFile

# HTCondor's item file, transfer lists and submit language give these characters a meaning, and
# there is no way to quote them there: blanks travel, commas do not (hold 13.2), "$" is expanded.
_SPLIT_OR_EXPANDED = set(",;:$\"'`\\|<>*?")

_OURS = re.compile(
    r"(tasks|\.osgbatch)(/|$)|osgbatch-|_condor|\.job\.ad$|\.machine\.ad$|condor_exec"
)


_SECRET = re.compile(
    r"(signature|token|secret|passw|credential|api_?key)[^=&]*=|//[^/]*:[^/]*@", re.I
)
ARCHIVED = "osgbatch-inputs"
"""Where the archive of oddly named inputs is unpacked, below the scratch folder."""


def travels_plainly(carried: str) -> bool:
    """Whether HTCondor can transfer a path relative to the initial directory as it is.

    False for what it would split, expand or refuse, for names that are not UTF-8, and for what
    would meet osgbatch's and HTCondor's own names in the scratch folder.
    """
    if _OURS.match(carried) or _SPLIT_OR_EXPANDED & set(carried) or not carried.isprintable():
        return False  # isprintable is false for lone surrogates, so for names that are not UTF-8
    return all(part == part.strip() for part in carried.split("/"))


def common_folder(folder: Path, sources: Iterable[Path]) -> Path:
    """The deepest folder that holds the spec's folder and all sources."""
    top = str(folder)
    for source in sources:
        if not str(source).startswith(top + "/"):
            top = os.path.commonpath([top, str(source)])
    return Path(top)


def real_path(text: str, folder: Path) -> Path:
    """Where the path that the spec calls `text` really lies; folder: the spec's.

    Links are followed here, one by one as the file system does, because HTCondor refuses to
    transfer through a linked folder (hold 13.21, seen on 25.14.1), and a `..` behind a link leads
    elsewhere than it looks.
    """
    return Path(os.path.realpath(folder / text))


def place_input(text: str, folder: Path, initialdir: Path, task_place: str) -> InputFile:
    """How the file that the spec calls `text` travels.

    folder: the spec's; initialdir: where transferred paths start from, a parent of `folder` or
    `folder` itself; task_place: where the task finds it.
    """
    source = real_path(text, folder)
    if source.is_relative_to(initialdir) and source != initialdir:
        carried = str(source.relative_to(initialdir))
        if travels_plainly(carried) and not holds_folder_link(source):
            return InputFile(source, task_place, carried, archived=False)
    # Twice under two names it is archived twice: the archive has no place where it lies once.
    return InputFile(source, task_place, f"{ARCHIVED}/{task_place}", archived=True)


def is_url(text: str) -> bool:
    """Whether an input is brought from elsewhere instead of from the access point."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text))


def url_problem(url: str) -> str:
    """Why HTCondor cannot be given a URL; empty when it can."""
    name = url_name(url)
    if not name:
        return "names no file"
    if "#" in url:
        return "holds a #, which HTCondor would make part of the file's name"
    if _SECRET.search(url):
        return "holds what looks like a key or a password, and anyone can read a job's ad"
    bad = next((c for c in url if c in _SPLIT_OR_EXPANDED - {":", "?"} or not c.isprintable()), "")
    if not bad and " " in url:
        bad = " "
    if bad:
        return f"holds {bad!r}, which no list of files for HTCondor can"
    if _OURS.match(name):
        return f"would arrive as {name}, a name that osgbatch or HTCondor needs itself"
    return ""


def url_name(url: str) -> str:
    """What HTCondor calls the file of a URL: the last part of its path."""
    path = url.split("://", 1)[1].partition("?")[0]  # the query is cut (seen on 25.14.1)
    return path.rsplit("/", 1)[1] if "/" in path else ""


def place_url(url: str, task_place: str) -> InputFile:
    """How the file of a URL travels: HTCondor puts it right into the scratch folder."""
    return InputFile(Path(), task_place, url_name(url), archived=False, url=url)


def input_problem(source: Path) -> str:
    """Why a file or folder cannot be brought; empty when it can."""
    if not source.exists():
        return "does not exist"
    if not (source.is_file() or source.is_dir()):
        return "is neither a file nor a folder"
    readable = os.access(source, os.R_OK | (os.X_OK if source.is_dir() else 0))
    return "" if readable else "cannot be read: permission denied"


def size_of(source: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if not source.is_dir():
        return source.stat().st_size
    total = 0
    for folder, _, names in os.walk(source):
        total += sum(os.lstat(os.path.join(folder, name)).st_size for name in names)
    return total


@cache
def holds_folder_link(source: Path) -> bool:
    """Whether a folder holds a link to a folder, which HTCondor does not transfer."""
    if not source.is_dir():
        return False
    for folder, names, _ in os.walk(source):
        if any(os.path.islink(os.path.join(folder, name)) for name in names):
            return True
    return False

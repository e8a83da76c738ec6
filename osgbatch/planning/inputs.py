"""Which files a task is brought, and how they travel."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from urllib.parse import quote

from osgbatch.plan_model import InputFile
from osgbatch.urls import file_name, holds_key, is_object, scheme

# HTCondor's item file, transfer lists and submit language give these characters a meaning, and
# there is no way to quote them there: blanks travel, commas do not (hold 13.2), "$" is expanded.
_SPLIT_OR_EXPANDED = set(",;:$\"'`\\|<>*?")

_OURS = re.compile(
    r"(tasks|\.osgbatch)(/|$)|osgbatch-|_condor|\.job\.ad$|\.machine\.ad$|condor_exec"
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
    elsewhere than it looks. What is a folder's is looked up once for all that is in it.
    """
    path = os.path.join(folder, text)
    above, name = os.path.split(path)
    if name in ("", ".", ".."):
        return Path(os.path.realpath(path))
    real = os.path.join(_real_folder(above), name)
    return Path(os.path.realpath(real) if os.path.islink(real) else real)


@cache
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def forget() -> None:
    """Forget what was looked up: a plan sees the disk as it is now."""
    _real_folder.cache_clear()


def place_input(
    source: Path, is_folder: bool, folder: Path, initialdir: Path, task_place: str
) -> InputFile:
    """How a file or folder travels.

    source: its real path; folder: the spec's; initialdir: where transferred paths start from, a
    parent of `folder` or `folder` itself; task_place: where the task finds it.
    """
    if source.is_relative_to(initialdir) and source != initialdir:
        carried = str(source.relative_to(initialdir))
        if travels_plainly(carried) and not (is_folder and holds_folder_link(source)):
            return InputFile(source, task_place, carried, archived=False)
    # By where it lies, not by where tasks find it: there others may find something else.
    lies = os.fsencode(os.path.relpath(source, folder))
    carried = f"{ARCHIVED}/{hashlib.sha256(lies).hexdigest()[:16]}/{source.name or 'root'}"
    return InputFile(source, task_place, carried, archived=True)


def url_problem(url: str) -> str:
    """Why HTCondor cannot be given a URL; empty when it can."""
    name = file_name(url)
    if not name:
        return "names no file"
    if "#" in url:
        return "holds a #, which HTCondor would make part of the file's name"
    if holds_key(url):
        return "holds what looks like a key or a password, and anyone can read a job's ad"
    # A ? begins the query; a key of a bucket has none, and would lose what stands behind it.
    allowed = {":"} if scheme(url) == "s3" else {":", "?"}
    bad = next((c for c in url if c in _SPLIT_OR_EXPANDED - allowed or not c.isprintable()), "")
    if not bad and " " in url:
        bad = " "
    if bad:
        return f"holds {bad!r}, which no list of files for HTCondor can"
    if _OURS.match(name):
        return f"would arrive as {name}, a name that osgbatch or HTCondor needs itself"
    return ""


def place_url(url: str, task_place: str, known: tuple[int, str] = (-1, "")) -> InputFile:
    """How the file of a URL travels: HTCondor puts it right into the scratch folder.

    known: its size in bytes (-1) and MD5, where a listing tells them. An object of a stash is
    verified by the SHA-256 in its name, also when the user names it.

    HTCondor signs the URL of a bucket, for which it quotes the key, and the file keeps that name:
    `a+b` arrives as `a%2Bb` (seen on 25.14.1).
    """
    size, md5 = known
    name = file_name(url)
    return InputFile(
        Path(),
        task_place,
        quote(name, safe="") if scheme(url) == "s3" else name,
        archived=False,
        url=url,
        is_object=is_object(url),
        size=size,
        md5=md5,
    )


def examine(source: Path) -> tuple[str, int, bool]:
    """Why an input cannot be brought (empty when it can), its bytes, and whether it is a folder."""
    try:
        status = os.stat(source)
    except OSError as error:
        absent = isinstance(error, (FileNotFoundError, NotADirectoryError))
        return "does not exist" if absent else f"cannot be read: {error.strerror}", 0, False
    is_folder = stat.S_ISDIR(status.st_mode)
    if not is_folder and not stat.S_ISREG(status.st_mode):
        return "is neither a file nor a folder", 0, False
    if not os.access(source, os.R_OK | (os.X_OK if is_folder else 0)):
        return "cannot be read: permission denied", 0, is_folder
    if not is_folder:
        return "", status.st_size, False
    unread, size = _look_into(source)
    return unread, size, True


def _look_into(source: Path) -> tuple[str, int]:
    """What in a folder cannot be read (empty when all can), and the bytes of its files."""
    unread: list[str] = []
    total = 0

    def refuse(error: OSError) -> None:
        if isinstance(error, PermissionError):
            unread.append(os.path.relpath(error.filename, source))

    for folder, _, names in os.walk(source, onerror=refuse):
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.lstat(path)
            except FileNotFoundError:  # removed meanwhile
                continue
            except OSError:
                unread.append(os.path.relpath(path, source))
                continue
            total += status.st_size
            # Nearly all files are readable by everybody: only of others it is asked.
            if not status.st_mode & stat.S_IROTH and not os.access(path, os.R_OK):
                unread.append(os.path.relpath(path, source))
    if not unread:
        return "", total
    first = min(unread)
    shown = first if first.isprintable() else ascii(first)
    more = f" and {len(unread) - 1:,} more" if len(unread) > 1 else ""
    return f"holds {shown}{more}, which cannot be read: permission denied", total


def holds_folder_link(source: Path) -> bool:
    """Whether a folder holds a link to a folder, which HTCondor does not transfer."""
    for folder, names, _ in os.walk(source):
        if any(os.path.islink(os.path.join(folder, name)) for name in names):
            return True
    return False

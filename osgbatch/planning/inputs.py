"""Which files a task is brought, and how they travel."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from osgbatch.model import InputFile
from osgbatch.names import task_path

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
    elsewhere than it looks.
    """
    return Path(os.path.realpath(folder / text))


def place_input(text: str, folder: Path, initialdir: Path) -> InputFile:
    """How the file that the spec calls `text` travels.

    folder: the spec's; initialdir: where transferred paths start from, a parent of `folder` or
    `folder` itself.
    """
    source = real_path(text, folder)
    if source.is_relative_to(initialdir) and source != initialdir:
        carried = str(source.relative_to(initialdir))
        if travels_plainly(carried) and not holds_folder_link(source):
            return InputFile(source, task_path(text), carried, archived=False)
    return InputFile(source, task_path(text), f"{ARCHIVED}/{task_path(text)}", archived=True)


@cache
def holds_folder_link(source: Path) -> bool:
    """Whether a folder holds a link to a folder, which HTCondor does not transfer."""
    if not source.is_dir():
        return False
    for folder, names, _ in os.walk(source):
        if any(os.path.islink(os.path.join(folder, name)) for name in names):
            return True
    return False

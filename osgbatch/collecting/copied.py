"""Copies a task's results from another batch, verified as they are written."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from osgbatch.collecting.collect import make_way
from osgbatch.collecting.unpack import STATUS, TaskFolder, write_status_in
from osgbatch.errors import ResultError

_BLOCK = 1 << 20


def copy_result(
    source: Path, target: Path, told: Mapping[str, Any], more: Mapping[str, Any]
) -> list[str]:
    """Copy `results/<i>` to the folder of another task, as what collect made of it.

    told: its status.json, which lists each file with its sha256, and the links; more: what the new
    status.json says instead. Files that stand in no list are the user's, and are not copied. A
    target that is there is replaced, and files of the user's in it are kept, as a note says. Raises
    ResultError when something is gone or is not what it was, OSError when the disk is full or
    cannot be written; the target is then as it was.
    """
    fresh = target.with_name(f".new-{target.name}")
    files, links = _listed(told, "files"), _listed(told, "links")
    if files is None or links is None:
        raise ResultError(f"its {STATUS} is not what collect writes")
    try:
        folder = TaskFolder(fresh)
        for name, sha256 in files.items():
            _copy(source, folder, name, sha256)
        rest = {key: value for key, value in told.items() if key not in ("files", "links")}
        write_status_in(folder, {**rest, **more}, files, links)
        for name, to in links.items():
            if _link(source / name) != to:
                raise ResultError(f"{name!r} is not the link that it was")
            folder.link(name, to)
        folder.check_links(links)
        notes = make_way(target, target.parent)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return notes


def _listed(told: Mapping[str, Any], kind: str) -> dict[str, str] | None:
    """The files or links of a status.json; None when they are not what collect writes."""
    listed = told.get(kind)
    if not isinstance(listed, dict):
        return None
    for name, word in listed.items():
        if not isinstance(word, str) or not {"", ".", ".."}.isdisjoint(name.split("/")):
            return None
    return listed


def _copy(source: Path, folder: TaskFolder, name: str, sha256: str) -> None:
    try:
        stream = (source / name).open("rb")
    except OSError as error:
        raise ResultError(f"{name!r} cannot be read: {error.strerror}") from None
    with stream:
        status = os.fstat(stream.fileno())
        digest = hashlib.sha256()
        is_program = bool(status.st_mode & stat.S_IXUSR)
        folder.file(name, status.st_size, is_program, _blocks(stream, name, digest))
    if digest.hexdigest() != sha256:
        raise ResultError(f"{name!r} is not what came back")


def _blocks(stream: BinaryIO, name: str, digest: Any) -> Iterator[bytes]:
    while True:
        try:
            block = stream.read(_BLOCK)
        except OSError as error:
            raise ResultError(f"{name!r} cannot be read: {error.strerror}") from None
        if not block:
            return
        digest.update(block)
        yield block


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""

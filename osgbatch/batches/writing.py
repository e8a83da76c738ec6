"""Writes files so that a reader, or a crash, finds them whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any


def write_json(path: Path, data: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part."""
    write_bytes(path, (json.dumps(data, indent=1, sort_keys=False) + "\n").encode())


def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file under another name, flush it to the disk, rename it, and flush that, too."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        temporary.rename(path)
        _flush_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        _name(path, error)
        raise


def _flush_folder(folder: Path) -> None:
    """A name is on the disk when its folder is. Not all file systems can be told so."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _name(path: Path, error: BaseException) -> None:
    """A full disk says in the error which file did not fit."""
    if isinstance(error, OSError) and error.errno and error.filename is None:
        error.filename = str(path)


def write_stream(path: Path, parts: Iterable[bytes]) -> tuple[str, int]:
    """Write what comes in parts, and flush it to the disk. Returns its SHA-256 and its size."""
    digest = hashlib.sha256()
    try:
        with path.open("wb") as stream:
            for part in parts:
                digest.update(part)
                stream.write(part)
            stream.flush()
            os.fsync(stream.fileno())
            return digest.hexdigest(), stream.tell()
    except OSError as error:
        _name(path, error)
        raise

"""Reads the archive that an execution point returned, and trusts nothing in it."""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from osgbatch.errors import ResultError

MAX_RECORD = 1024 * 1024
"""Bytes that a record may have; the shim writes a few hundred."""
MAX_MEMBERS = 1_000_000

_TASK_MEMBER = re.compile(r"tasks/([0-9]{1,9})/(status|stdout|stderr|sha256|data(?:/.*)?)", re.S)


@dataclass(frozen=True)
class Returned:
    """The records of one returned archive: its job's, and its tasks' by index."""

    path: Path
    job: Mapping[str, str]
    tasks: Mapping[int, Mapping[str, str]]


@contextmanager
def open_archive(path: Path) -> Iterator[tarfile.TarFile]:
    """The archive as a stream of members; every way of being broken is a ResultError."""
    try:
        with _gzip().open(path, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[attr-defined]
            yield tar
            # The rest of the stream is read so that its checksum is looked at.
            while stream.read(1 << 20):
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise ResultError(f"the returned archive is damaged: {error}", where=str(path)) from None
    except OSError as error:
        if error.errno is None:  # isal and gzip raise bare OSErrors for bad data
            raise ResultError(
                f"the returned archive is damaged: {error}", where=str(path)
            ) from None
        raise


def _gzip() -> object:
    try:
        from isal import igzip
    except ImportError:
        return gzip
    return igzip


def member_kind(name: str) -> tuple[int, str] | None:
    """(task index, kind) of a member's name, None for anything that the shim does not write.

    kind: status, stdout, stderr, sha256, data, or data/<path below the task's folder>.
    """
    match = _TASK_MEMBER.fullmatch(name.removeprefix("./").rstrip("/"))
    return (int(match[1]), match[2]) if match else None


def read_records(path: Path) -> Returned:
    """Read the records of an archive, and all of it to see that it is whole.

    Raises ResultError when it is damaged or is not what the shim writes, OSError when the file
    cannot be read.
    """
    job: dict[str, str] = {}
    tasks: dict[int, dict[str, str]] = {}
    with open_archive(path) as tar:
        for count, member in enumerate(tar):
            if count > MAX_MEMBERS:
                raise ResultError("more members than any job makes", where=str(path))
            name = member.name.removeprefix("./")
            found = member_kind(name)
            if name == "job":
                job = _record(tar, member, path)
            elif found is not None and found[1] == "status":
                tasks[found[0]] = _record(tar, member, path)
    if not job:
        raise ResultError("the returned archive has no record of its job", where=str(path))
    return Returned(path, job, tasks)


def _record(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> dict[str, str]:
    if not member.isreg() or member.size > MAX_RECORD:
        raise ResultError(f"{member.name} is no record", where=str(path))
    stream = tar.extractfile(member)
    text = stream.read().decode("utf-8", "replace") if stream else ""
    return parse_record(text)


def parse_record(text: str) -> dict[str, str]:
    """The `key=value` lines of a record; `\\n`, `\\r` and `\\\\` in values are undone."""
    record: dict[str, str] = {}
    for line in text.split("\n"):
        key, equals, value = line.partition("=")
        if equals:
            record[key] = _UNESCAPE.sub(_unescape, value)
    return record


_UNESCAPE = re.compile(r"\\([nr\\])")


def _unescape(match: re.Match[str]) -> str:
    return {"n": "\n", "r": "\r", "\\": "\\"}[match[1]]


def number(record: Mapping[str, str], key: str) -> float | None:
    """A number of a record; None when it is absent or no number."""
    try:
        return float(record[key])
    except (KeyError, ValueError):
        return None


def whole(record: Mapping[str, str], key: str) -> int | None:
    """A whole number of a record; None when it is absent or no whole number."""
    text = record.get(key, "")
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None

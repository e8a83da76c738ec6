"""Reads the archive that an execution point returned, and trusts nothing in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from osgbatch.errors import ResultError
from osgbatch.returned.content import read_tasks
from osgbatch.returned.records import number, parse_record, whole
from osgbatch.returned.stream import MAX_BYTES, blocks, most_bytes, open_archive

__all__ = [
    "Expected", "OtherJobError", "Returned", "copy_member", "most_bytes", "number", "open_archive",
    "parse_record", "read_records", "read_tasks", "told_data", "whole",
]  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """What an archive must be, by the round's own files.

    tasks: those of its job; required: the patterns of the outputs that a task must have brought,
    relative to its folder. light: the data went elsewhere (`outputs_to`), in an archive of its own.
    most: bytes that its files may have together.
    """

    batch: str
    round: int
    cluster: int
    proc: int
    tasks: Collection[int]
    required: Callable[[int], Sequence[str]]
    light: bool = False
    most: int = MAX_BYTES


@dataclass(frozen=True)
class Returned:
    """The records of one returned archive: its job's, and its tasks' by index.

    problems: why what it holds of a task (its success, its data) is not accepted.
    """

    path: Path
    job: Mapping[str, str]
    tasks: Mapping[int, Mapping[str, str]]
    problems: Mapping[int, str] = field(default_factory=dict)


class OtherJobError(ResultError):
    """An archive is whole, and of another job or batch."""


def read_records(path: Path, expected: Expected) -> Returned:
    """Read the records of an archive, and all of it to see that what it lists is there and whole.

    Raises ResultError when it is damaged or is not what the shim writes, OtherJobError when it is
    of another job, OSError when the file cannot be read. What is wrong with one task is told in
    `problems`.
    """
    job, contents = read_tasks(path, expected.tasks, light=expected.light, most=expected.most)
    if job.get("batch") != expected.batch:
        raise OtherJobError("the returned archive is of another batch", where=str(path))
    for key in ("round", "cluster", "proc"):
        if whole(job, key) != getattr(expected, key):
            raise OtherJobError(
                f"the returned archive is of another job: {key} {job.get(key, '')!r}, "
                f"not {getattr(expected, key)}",
                where=str(path),
            )
    problems: dict[int, str] = {}
    for index, content in contents.items():
        problem = content.finish() or content.unmatched(expected.required(index))
        if expected.light and not problem and told_data(job) is None:
            problem = "the job's record does not tell the checksum and size of its data"
        if problem:
            problems[index] = problem
    records = {index: content.record for index, content in contents.items() if content.record}
    return Returned(path, job, records, problems)


def told_data(job: Mapping[str, str]) -> tuple[str, int] | None:
    """Checksum (SHA-256) and size in bytes of the archive of a job's data, by the job's record.

    None when it does not tell of any.
    """
    sha256, size = job.get("data_sha256", ""), whole(job, "data_size")
    return (sha256, size) if re.fullmatch("[0-9a-f]{64}", sha256) and size and size > 0 else None


def copy_member(path: Path, name: str, out: BinaryIO) -> int:
    """Copy a member of an archive to `out`, block by block; gives the number of bytes.

    name: as the shim writes it, `tasks/3/stdout`. 0 when it is empty or not there.
    Raises ResultError when the archive is damaged, also behind the member.
    """
    with open_archive(path) as tar:
        for member in tar:
            if member.name.removeprefix("./") == name and member.isreg():
                return sum(map(out.write, blocks(tar, member)))
    return 0

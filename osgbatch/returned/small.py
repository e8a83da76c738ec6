"""Small files of many tasks, out of an archive that was verified before: fast, for thousands.

Reading a member with tarfile takes longer than what is in it, where that is a number. This reads
what the shim writes and nothing else: whatever is not quite so is left to `read_tasks`.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

from osgbatch.errors import ResultError
from osgbatch.returned.records import parse_checksums
from osgbatch.returned.stream import gzip_module, member_kind

LARGEST = 64 << 20
"""Bytes of an archive, unpacked, that is read at once."""
_BLOCK = 512
_FILES, _FOLDER = (b"0", b"\0"), b"5"


def small_files(
    path: Path, tasks: Collection[int], names: Collection[str]
) -> Mapping[int, Mapping[str, bytes]] | None:
    """Of each task those of these files that came back, with their checksums compared.

    path: of an archive whose tasks are known to have been accepted; names: paths below a task's
    folder. None where the archive is large, or has anything in it that is not plain; then
    `read_tasks` tells what is the matter.
    """
    wanted = {f"data/{name}": name for name in names}
    chosen = frozenset(tasks)
    found: dict[int, dict[str, bytes]] = {index: {} for index in chosen}
    sums: dict[int, bytes] = {}
    try:
        content = _unpacked(path)
        if content is None:
            return None
        place, end = 0, len(content)
        while place + _BLOCK <= end:
            head = content[place : place + _BLOCK]
            if not head[0]:
                break  # the end of the archive, or something odd, which checksums show
            size = int(head[124:136].strip(b" \0") or b"0", 8)
            kind = head[156:157]
            begin = place + _BLOCK
            place = begin + -(-size // _BLOCK) * _BLOCK
            if kind == _FOLDER:
                continue
            if kind not in _FILES or head[345] or place > end:
                return None
            name = member_kind(head[:100].split(b"\0", 1)[0].decode())
            if name is None or name[0] not in chosen:
                continue
            if name[1] in wanted:
                found[name[0]][wanted[name[1]]] = content[begin : begin + size]
            elif name[1] == "sha256":
                sums[name[0]] = content[begin : begin + size]
        for index, files in found.items():
            listed = parse_checksums(sums[index]) if files else {}
            for name_, data in files.items():
                if listed.get(name_) != hashlib.sha256(data).hexdigest():
                    return None
    except (OSError, EOFError, zlib.error, ValueError, KeyError, ResultError):
        return None
    return found


def _unpacked(path: Path) -> bytes | None:
    """The content of a gzip file that has no more than LARGEST bytes."""
    with gzip_module().open(path, "rb") as stream:
        content: bytes = stream.read(LARGEST + 1)
    return content if len(content) <= LARGEST else None

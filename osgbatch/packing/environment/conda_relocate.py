"""The path of a conda environment inside its files: found, made the same for all, put right."""

from __future__ import annotations

import hashlib
import mmap
import re
from pathlib import Path

from osgbatch.packing.environment.packages import RELATIVE_START, relocate_script

STAND_IN = "/opt/osgbatch_environment_not_yet_put_right"
"""Stands for the environment's path in text files whose package does not say what does."""


def _strings(placeholder: bytes) -> re.Pattern[bytes]:
    """The C strings that hold a placeholder, from it on; as conda and conda-pack see them."""
    return re.compile(re.escape(placeholder) + rb"[^\0]*?(?=\0)")


def binary_spots(data: bytes | mmap.mmap, placeholder: bytes) -> tuple[tuple[int, bytes], ...]:
    """Offset and bytes of every C string with a placeholder in it, from the placeholder on."""
    return tuple((match.start(), match[0]) for match in _strings(placeholder).finditer(data))


def holds(path: str | Path, text: bytes, size: int) -> bool:
    """Whether a file has some bytes in it. size: of the file; a large one is not read at once."""
    with open(path, "rb", buffering=0) as file:
        if size <= 1 << 20:
            return text in file.read()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(text) >= 0


def restored(
    data: bytes, prefix: bytes, placeholder: bytes, mode: str, sha256: str
) -> bytes | None:
    """What a file was in its package, before the environment's path was written into it.

    mode: "text" or "binary". sha256: of the file in the package, which the result has; None when
    none with that sum can be made, because the file was changed otherwise too.
    """
    if mode == "text":
        candidate = data.replace(prefix, placeholder)
    else:
        longer = len(placeholder) - len(prefix)

        def longer_again(match: re.Match[bytes]) -> bytes:
            text, nuls = match.group(1), match.group(2)
            count = text.count(prefix) * longer
            return text.replace(prefix, placeholder) + nuls[count:] if count >= 0 else text + nuls

        pattern = re.compile(b"(" + re.escape(prefix) + rb"[^\0]*)(\0+)")
        candidate = pattern.sub(longer_again, data)
    return candidate if hashlib.sha256(candidate).hexdigest() == sha256 else None


_HOME_OF_R = re.compile(rb"^(R_[A-Z]+_DIR=)(/[^\s'\"]*)$", re.MULTILINE)
"""In R's wrapper, where the shell would split a path with blanks."""
_LONG_START = re.compile(
    rb"^#!/bin/sh\n'''exec' \"[^\n\"]*python[^\n\"/]*\"[^\n]* \"\$0\" \"\$@\" #'''\n"
)
"""How conda starts Python from a path that is long or has blanks."""


def started_beside(data: bytes, name: str, placeholder: str) -> bytes:
    """A program in bin/ that starts with the interpreter beside it, wherever that is.

    Python's are started by a relative path; those of other interpreters, as conda-pack does it, by
    PATH, in which the environment stands first. R's wrapper gets quotes around its path.
    """
    from conda_pack.core import rewrite_shebang

    if name in ("bin/R", "lib/R/bin/R"):
        data = _HOME_OF_R.sub(rb"\1'\2'", data)
    if not name.startswith("bin/") or not data.startswith(b"#!"):
        return data
    moved = relocate_script(data, Path(placeholder))
    if moved != data:
        return moved
    match = _LONG_START.match(data)
    if match and placeholder.encode() in match[0]:
        return RELATIVE_START + data[match.end() :]
    rewritten: bytes = rewrite_shebang(data, name, placeholder)[0]
    return rewritten

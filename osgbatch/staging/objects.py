"""What an object of the stash is called."""

from __future__ import annotations

import re
from dataclasses import dataclass

FOLDER = "osgbatch"
"""Everything of ours in a stash lies below this."""
_SUFFIX = re.compile(r"(\.tar)?\.[A-Za-z0-9]{1,10}$")
_NAME = re.compile(r"([0-9a-f]{2})/(\1[0-9a-f]{62})((?:\.[A-Za-z0-9]{1,10}){0,2})")


@dataclass(frozen=True)
class Object:
    """A file as the stash knows it. sha256: of its content, hexadecimal; size: bytes."""

    sha256: str
    size: int
    suffix: str = ""

    @property
    def name(self) -> str:
        """`3f/3f…e2.tar.gz`, below the stash's own folder."""
        return f"{self.sha256[:2]}/{self.sha256}{self.suffix}"


def suffix_of(name: str) -> str:
    """What of a file's name its object keeps: `.tar.gz`, `.sif`, `.npy`; empty for odd ones.

    Programs go by it (an image must end in .sif); anything else in a name could be read as
    something else by a web server or by HTCondor.
    """
    found = _SUFFIX.search(name)
    return found[0] if found and found.start() else ""


def checksum_of(name: str) -> str:
    """The SHA-256 in the name of an object; empty when it is none of ours."""
    found = _NAME.fullmatch(name)
    return found[2] if found else ""

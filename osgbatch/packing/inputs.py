"""Packs the inputs whose names HTCondor cannot transfer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from osgbatch.packing.archive import Archive, Member, arrange, write_archive
from osgbatch.packing.tree import tree_members

KIND = "inputs"


def _keep_all(name: str, is_folder: bool) -> bool:
    """Data is brought as it is: no name in it is clutter."""
    return False


def inputs_archive(inputs: Iterable[tuple[Path, str]], folder: Path) -> Archive | None:
    """Pack files and folders, each under the name given with it, into one archive.

    inputs: (source, member name). Returns None when there is nothing to pack. Raises PackingError.
    """
    members: dict[str, Member] = {}
    for source, name in inputs:
        for member in tree_members(source, name, _keep_all):
            members[member.name] = member
    return write_archive(arrange(members.values()), folder, KIND) if members else None

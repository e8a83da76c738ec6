"""What of `results/` goes to the job that gathers, and how what it made comes into `results/`."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from osgbatch.collecting.collect import OLD_FOLDER
from osgbatch.collecting.files import file_sha256, listed, read_status
from osgbatch.collecting.gather import GatherError
from osgbatch.packing.archive import Member
from osgbatch.targets import TAKEN

_LEFT_OUT = frozenset([OLD_FOLDER, "report.html", "provenance"])
"""What lies in `results/` and is no result."""


def members(results: Path, made: Sequence[str], left_out: list[str]) -> Iterator[Member]:
    """All results but for what gathering has made before; no link is followed.

    left_out: is given what stays here, since it is a link that leads out, or no file.
    """
    top = os.path.realpath(results)
    for member in _all_members(results, made):
        path = f"{top}/{member.name}"
        if member.link is None:
            goes = member.is_folder or stat.S_ISREG(os.lstat(path).st_mode)
        else:
            real = os.path.realpath(path)
            goes = not member.link.startswith("/") and real.startswith(f"{top}/")
        if goes:
            yield member
        else:
            left_out.append(member.name)


def _all_members(results: Path, made: Sequence[str]) -> Iterator[Member]:
    for entry in sorted(os.listdir(results)):
        if entry in made or entry in _LEFT_OUT or entry.startswith("."):
            continue
        if os.path.islink(results / entry) or not os.path.isdir(results / entry):
            yield _member(results, entry)
            continue
        for above, below, files in os.walk(results / entry):
            links = [name for name in below if os.path.islink(f"{above}/{name}")]
            yield Member(os.path.relpath(above, results))
            for name in (*files, *links):
                yield _member(results, os.path.relpath(f"{above}/{name}", results))


def _member(results: Path, name: str) -> Member:
    path = results / name
    return Member(name, link=os.readlink(path)) if path.is_symlink() else Member(name, path)


def bring(
    source: Path, results: Path, earlier: Mapping[str, str], brought: dict[str, str]
) -> Iterator[str]:
    """Copy what the job has made into `results/`; gives notes.

    source: its own results, verified as those of any task. earlier: what such jobs have brought
    before, with its SHA-256: while it still has that content, it is replaced; any other file that
    is in the way is the user's, and kept aside. brought: is given the same of what is brought now.
    """
    told: Mapping[str, Any] = read_status(source)
    for name in listed(told, "links"):
        yield f"{name} is a link, and was not brought"
    for name, sha256 in listed(told, "files").items():
        if not name.startswith("outputs/"):
            continue
        place = name.removeprefix("outputs/")
        top = place.partition("/")[0]
        if top.isdigit() or top.lower() in TAKEN or top.startswith("."):
            yield f"{place} was not brought: in results/ that is osgbatch's own"
            continue
        target = results / place
        brought[place] = sha256
        if os.path.lexists(target):
            there = _content(target)
            if there == sha256:
                continue
            if not there or there != earlier.get(place):
                yield _aside(results, place)
        _copy(source / name, target)


def _content(path: Path) -> str:
    """The SHA-256 of a file; empty of what is none, or cannot be read."""
    try:
        return file_sha256(path) if stat.S_ISREG(os.lstat(path).st_mode) else ""
    except OSError:
        return ""


def _aside(results: Path, place: str) -> str:
    old = results / OLD_FOLDER
    old.mkdir(exist_ok=True)
    name = os.fsencode(place.replace("/", "-"))[:200].decode("utf-8", "ignore")
    number = 1
    while os.path.lexists(kept := old / f"{name}.{number}"):
        number += 1
    (results / place).rename(kept)
    return f"results/{place} was there, and is kept as results/{OLD_FOLDER}/{kept.name}"


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".new-{target.name}")
        shutil.copy2(source, fresh)
        fresh.replace(target)
    except OSError as error:
        raise GatherError(
            f"what the job has made cannot be brought: {error.strerror or error}",
            where=str(target),
            fix="See that there is room and nothing in the way, and run `osgbatch collect` again.",
        ) from error

"""What of a conda environment travels; conda-pack says which files, and what is rewritten."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Member, printable
from osgbatch.packing.environment import conda_relocate as relocate
from osgbatch.packing.environment.conda_check import (
    META,
    environment_files,
    installed_records,
    refuse_overwritten,
)
from osgbatch.packing.environment.conda_relocate import STAND_IN
from osgbatch.packing.environment.conda_unpack import UNPACK, Rewrite, unpack_program
from osgbatch.packing.environment.packages import UNSTABLE, relocate_pth, rewrite_record
from osgbatch.packing.environment.prefix_editable import editables
from osgbatch.packing.environment.venv_files import is_private
from osgbatch.urls import without_login

__all__ = ["META", "pack_conda_prefix"]

Say = Callable[[str], None]
Amend = Callable[[list[Member]], list[Member]]

META_KEYS = (
    *("name", "version", "build", "build_number", "subdir", "url", "sha256", "noarch", "files"),
)
"""What of a package's record travels: the rest says how, where and when it was installed."""


@dataclass
class _Packing:
    """What has been gathered of one environment so far."""

    prefix: Path
    say: Say
    members: dict[str, Member] = field(default_factory=dict)
    rewrites: list[Rewrite] = field(default_factory=list)
    unrewritten: list[str] = field(default_factory=list)

    def add(self, member: Member) -> None:
        self.members[member.name] = member

    def replace(self, member: Member) -> None:
        """Put a member, in which nothing is left to rewrite, in the place of another."""
        self.rewrites = [one for one in self.rewrites if one.name != member.name]
        self.members[member.name] = member


def pack_conda_prefix(
    prefix: Path, say: Say = lambda line: None, amend: Amend = list
) -> list[Member]:
    """Everything of a conda environment that travels, the same from whatever path it lies at.

    Its own path is replaced by placeholders; `bin/conda-unpack` among the members, run once after
    unpacking, puts the new one in their place.
    say: called with a line for each thing that the user should know. amend: leaves members out.
    Raises PackingError that names what cannot travel and says what to do.
    """
    prefix = Path(os.path.abspath(prefix))
    records = installed_records(prefix)
    files = environment_files(prefix)
    managed = {file.target for file in files if file.is_conda}
    refuse_overwritten(prefix, records, managed)
    if re.search(r"\s", str(prefix)):
        say(
            f"the path {printable(str(prefix))} has blanks: should a program of the environment "
            "not start, make the environment anew at a path without"
        )
    packing = _Packing(prefix, say)
    details = {
        detail["_path"]: detail
        for record in records.values()
        for detail in record.get("paths_data", {}).get("paths", ())
    }
    for file in files:
        if _travels(file.target, file.is_conda):
            _add_file(packing, file, details.get(file.target, {}))
    for name, record in records.items():
        packing.add(Member(f"{META}/{name}", data=_meta(record)))
    packing.add(Member(f"{META}/history", data=b""))  # conda looks for it
    _keep_inside(packing, _bring_editables(packing))
    _bring_records_in_line(packing, managed)
    left = {member.name: member for member in amend(list(packing.members.values()))}
    rewrites = [one for one in packing.rewrites if one.name in left]
    program = unpack_program(rewrites, "bin/python" in left)
    left[UNPACK] = Member(UNPACK, data=program, executable=True)
    if packing.unrewritten:
        say(
            f"{len(packing.unrewritten)} files hold the path {prefix} where it cannot be replaced: "
            + ", ".join(printable(name) for name in sorted(packing.unrewritten)[:3])
        )
    return list(left.values())


def _travels(name: str, is_conda: bool) -> bool:
    """Bytecode's times are those of other sources; conda-meta is written anew. What may hold
    passwords of channels and indexes stays at home.
    """
    top, _, rest = name.partition("/")
    if top == META or (top == "CACHEDIR.TAG" and not rest) or name == UNPACK:
        return False
    if "/__pycache__" in f"/{name}" or name.endswith((".pyc", ".pyo")):
        return False
    folder, _, base = name.rpartition("/")
    if is_private(name):
        return False
    return is_conda or not (base in UNSTABLE and folder.endswith(".dist-info"))


def _add_file(packing: _Packing, file: Any, detail: Mapping[str, Any]) -> None:
    """One file of conda-pack's list: as it is, or with placeholders and a note to rewrite it."""
    name = file.target
    here = packing.prefix / name
    source = here if file.source == str(here) else Path(file.source)
    status = os.lstat(here)
    if stat.S_ISLNK(status.st_mode):
        packing.add(Member(name, link=_link(packing, here, file.is_conda)))
        return
    if stat.S_ISDIR(status.st_mode):
        packing.add(Member(name))
        return
    if name in packing.members:  # two packages have it: what is there now counts
        source, file.file_mode = here, "unknown"
        packing.rewrites = [one for one in packing.rewrites if one.name != name]
    mode, placeholder = file.file_mode, file.prefix_placeholder
    if mode in ("text", "binary") and source != here and not _edited(here, source, detail):
        _add_with_placeholder(packing, name, source, None, placeholder, mode)
    elif mode is None and (source == here or _same(here, source)):
        packing.add(Member(name, source=here))  # beside it may be its bytecode
    else:
        _add_unknown(packing, name, here, status, detail)


def _link(packing: _Packing, path: Path, is_conda: bool) -> str:
    """Where a link leads, relative to it. Raises PackingError when that is elsewhere."""
    text = os.readlink(path)
    target = Path(os.path.normpath(path.parent / text))
    if target.is_relative_to(packing.prefix):
        return os.path.relpath(target, path.parent) if os.path.isabs(text) else text
    real = Path(os.path.realpath(path))
    if real.is_relative_to(os.path.realpath(packing.prefix)):
        return os.path.relpath(real, os.path.realpath(path.parent))
    if is_conda:
        packing.say(f"{path.relative_to(packing.prefix)} leads to {printable(text)} of the host")
        return text
    raise PackingError(
        f"the link leads out of the environment, to {printable(text)}",
        where=printable(str(path)),
        fix="Put what it leads to in its place (`cp -rL`), or remove the link.",
    )


def _same(here: Path, source: Path) -> bool:
    """Whether a file in the environment still is the one of its package."""
    one, other = here.stat(), source.stat()
    if (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino):
        return True
    return one.st_size == other.st_size and _digest(here) == _digest(source)


def _edited(here: Path, source: Path, detail: Mapping[str, Any]) -> bool:
    """Whether a file that conda has rewritten was changed after that."""
    noted = detail.get("sha256_in_prefix")
    return noted is not None and source != here and _digest(here) != noted


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _add_unknown(
    packing: _Packing, name: str, here: Path, status: os.stat_result, detail: Mapping[str, Any]
) -> None:
    """A file of which only the one in the environment is there: its path is found and taken out."""
    from conda_pack.core import is_binary_file

    prefix = os.fsencode(packing.prefix)
    placeholder, mode = detail.get("prefix_placeholder"), detail.get("file_mode")
    if not relocate.holds(here, prefix, status.st_size):
        packing.add(Member(name, source=here))
        return
    data = here.read_bytes()
    executable = bool(status.st_mode & 0o111)
    if placeholder and mode:
        original = relocate.restored(
            data, prefix, placeholder.encode(), mode, detail.get("sha256", "")
        )
        if original is not None:
            _add_with_placeholder(packing, name, here, original, placeholder, mode)
            return
    if is_binary_file(data):
        packing.unrewritten.append(name)
        packing.add(Member(name, source=here))
        return
    data = relocate.started_beside(data, name, str(packing.prefix))
    if prefix in data:
        data = data.replace(prefix, STAND_IN.encode())
        packing.rewrites.append(Rewrite(name, STAND_IN))
    packing.add(Member(name, data=data, executable=executable))


def _add_with_placeholder(
    packing: _Packing, name: str, source: Path, data: bytes | None, placeholder: str, mode: str
) -> None:
    """A file in which its package's placeholder stands. data: its bytes, if not the source's."""
    executable = bool(source.stat().st_mode & 0o111)
    content = source.read_bytes() if data is None else data
    if mode == "text":
        moved = relocate.started_beside(content, name, placeholder)
        if placeholder.encode() in moved:
            packing.rewrites.append(Rewrite(name, placeholder))
        if moved != content:
            data = moved
    else:
        spots = relocate.binary_spots(content, placeholder.encode())
        packing.rewrites.append(Rewrite(name, placeholder, spots))
    if data is None:
        packing.add(Member(name, source=source))
    else:
        packing.add(Member(name, data=data, executable=executable))


def _meta(record: Mapping[str, Any]) -> bytes:
    """A package's record without what differs from one installation to the next."""
    kept = {key: record[key] for key in META_KEYS if key in record}
    kept["url"] = without_login(kept.get("url") or "")
    kept["files"] = sorted(kept.get("files", ()))
    return (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode()


def _bring_editables(packing: _Packing) -> dict[str, bytes]:
    """Packages that are used from where they are written travel among the installed ones.

    Returns what is left of the .pth files that led there.
    """
    left: dict[str, bytes] = {}
    for site in sorted(packing.prefix.glob("lib/python3.*/site-packages")):
        below = site.relative_to(packing.prefix).as_posix()
        found = editables(site, packing.prefix)
        left |= {f"{below}/{name}": data for name, data in found.rewritten.items()}
        for name in found.dropped:
            packing.members.pop(f"{below}/{name}", None)
        for member in found.members:
            packing.replace(replace(member, name=f"{below}/{member.name}"))
        for package in found.packages:
            places = ", ".join(dict.fromkeys(printable(str(path)) for path in package.sources))
            packing.say(f"{package.name} is an editable install: packed as it is now in {places}")
    return left


def _keep_inside(packing: _Packing, rewritten: Mapping[str, bytes]) -> None:
    """.pth files name folders relative to them, or are refused. rewritten: name → content."""
    for name, member in list(packing.members.items()):
        if not name.endswith(".pth") or member.link is not None:
            continue
        folder = packing.prefix / Path(name).parent
        if folder.name != "site-packages":
            continue
        source = packing.prefix / name
        raw = rewritten[name] if name in rewritten else source.read_bytes()
        data = relocate_pth(raw, source, folder, packing.prefix)
        packing.replace(Member(name, data=data, executable=False))


def _bring_records_in_line(packing: _Packing, managed: set[str]) -> None:
    """RECORD files of what pip installed: sums of programs that were rewritten differ."""
    for name, member in list(packing.members.items()):
        if not name.endswith(".dist-info/RECORD") or name in managed or member.source is None:
            continue
        text = rewrite_record(member.source.read_text(encoding="utf-8"), name, packing.members)
        packing.add(Member(name, data=text.encode(), executable=False))

"""What has come from a host to its places here: never over a file that is not what was brought."""

from __future__ import annotations

import errno
import filecmp
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from osgbatch import names
from osgbatch.errors import OsgbatchError
from osgbatch.laptop.record import Got, Record
from osgbatch.provenance.layout import FAILED, locate
from osgbatch.provenance.layout import FOLDER as PROVENANCE
from osgbatch.provenance.verify import verify
from osgbatch.remote.connection import HostError

_FAILED = re.compile(rf"(.*/){FAILED}/(\d+)/.*", re.S)
"""What is left of a failed task; its place when it has succeeded."""
KEPT = -1
"""No time of a file here: the host's is known, and was not taken."""
ARRIVING = ".osgbatch-arriving"
"""Where files lie until all of them have come; a copy that was cut short goes on in it."""


@dataclass(frozen=True)
class Offered:
    """A file of the host: its name below a folder, bytes, ns since 1970; target: of a link."""

    name: str
    size: int
    time: int
    target: str | None = None


@dataclass
class Arrived:
    """What came of it. brought: files that are here now; kept: files of ours that are others.

    lacking: files that the host has, and that did not come.
    """

    brought: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    lacking: list[Path] = field(default_factory=list)
    size: int = 0


def offered(told: bytes, host: str) -> list[Offered]:
    """What a host says that it has. Raises HostError for what is no list of files in a folder."""
    found: list[Offered] = []
    for line in told.splitlines():
        try:
            name, size, time, *target = json.loads(line)
            one = Offered(str(name), int(size), int(time), str(target[0]) if target else None)
        except (ValueError, TypeError, IndexError):
            raise HostError(
                f"its list of results cannot be read: {line[:60]!r}",
                where=host,
                fix="See that osgbatch is of the same version there and here.",
            ) from None
        parts = one.name.split("/")
        if one.name.startswith("/") or "\0" in one.name or {"", ".", "..", ARRIVING} & set(parts):
            raise HostError(f"it offers a file outside of its folder: {one.name!r}", where=host)
        if one.target is None or _stays_inside(one):
            found.append(one)
    return found


def _stays_inside(one: Offered) -> bool:
    """Whether a link leads to something in the same folder of results, whatever else is a link.

    It goes up only where it begins: from real folders, for nothing is placed through a link. What
    goes up later could come from another link, and from there out of the folder.
    """
    parts = [part for part in (one.target or "/").split("/") if part not in ("", ".")]
    ups = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
    depth = one.name.count("/")
    return not (one.target or "/").startswith("/") and ups <= depth and ".." not in parts[ups:]


def wanted(files: Iterable[Offered], folder: Path, record: Record) -> list[Offered]:
    """Those that are not here as they are there, and that are the host's own."""
    got = record.got_below(folder)
    sent = set(record.sent_below(folder))
    found: list[Offered] = []
    for one in files:
        path = folder / one.name
        known = got.get(path)
        same = known is not None and (known.size, known.time) == (one.size, one.time)
        if path not in sent and not (same and os.path.lexists(path)):
            found.append(one)
    return found


def place(files: Iterable[Offered], folder: Path, record: Record) -> Arrived:
    """Put what lies in the folder ARRIVING of a folder where it belongs, and note it.

    What is here already, and is neither what was brought before nor the same, stays as it is.
    """
    from_ = folder / ARRIVING
    got = record.got_below(folder)
    arrived = Arrived()
    noted: dict[Path, Got] = {}
    for one in files:
        new, path = from_ / one.name, folder / one.name
        if one.target is None and not (new.is_file() and _link_above(new, folder) is None):
            continue  # it was gone there, meanwhile
        if link := _link_above(path, folder):
            if link not in arrived.kept:
                arrived.kept.append(link)
            continue
        if not _is_free(path, new, one.target, got.get(path)):
            arrived.kept.append(path)
            noted[path] = Got(one.size, one.time, KEPT)  # to be told once
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _move(new, path, one.target)
        except OSError as error:
            raise OsgbatchError(
                f"cannot be written: {error.strerror}",
                where=str(path),
                fix="Mend that, and give `collect` again: what has come is not copied again.",
            ) from None
        noted[path] = Got(one.size, one.time, os.lstat(path).st_mtime_ns)
        arrived.brought.append(path)
        arrived.size += one.size
        if len(noted) >= 1000:
            record.add_got(noted)
            noted = {}
    record.add_got(noted)
    shutil.rmtree(from_, ignore_errors=True)
    return arrived


def remove_outdated(files: Sequence[Offered], folder: Path, record: Record) -> None:
    """Remove what failed tasks left, where they have succeeded since; only what was brought.

    files: all that the host has. What somebody has removed there for room stays here.
    """
    offered_names = {one.name for one in files}
    folders = {os.path.dirname(name) for name in offered_names}
    folders |= {str(above) for one in list(folders) for above in PurePosixPath(one).parents}
    for path, got in record.got_below(folder).items():
        name = os.path.relpath(path, folder)
        found = _FAILED.fullmatch(name)
        if not found or name in offered_names or f"{found[1]}{found[2]}" not in folders:
            continue
        if (
            not found[1].endswith(f"{names.RESULTS}/")
            and f"{found[1]}{names.RESULTS_OF}" not in offered_names
        ):
            continue
        if _link_above(path, folder):
            continue
        with suppress(OSError):
            status = os.lstat(path)
            if (status.st_size, status.st_mtime_ns) == (got.size, got.own):
                os.unlink(path)
        with suppress(OSError):
            os.removedirs(path.parent)


def _link_above(path: Path, folder: Path) -> Path | None:
    """The first link between a folder and what lies below it, which would lead elsewhere."""
    for above in reversed(path.relative_to(folder).parents[:-1]):
        if (folder / above).is_symlink():
            return folder / above
    return None


def _is_free(path: Path, new: Path, target: str | None, got: Got | None) -> bool:
    """Whether a file may come to a path: nothing is there, or what was brought, or the same."""
    try:
        status = os.lstat(path)
    except OSError:
        return True
    if got is not None and (status.st_size, status.st_mtime_ns) == (got.size, got.own):
        return True
    if stat.S_ISREG(status.st_mode) and target is None:
        return filecmp.cmp(path, new, shallow=False)
    return path.is_symlink() and target is not None and os.readlink(path) == target


def _move(new: Path, path: Path, target: str | None) -> None:
    """Put a file that has come, or a link to a target, where it belongs."""
    part = path.with_name(f".{path.name}.arriving"[:200])
    if target is not None:
        part.unlink(missing_ok=True)
        os.symlink(target, part)
        os.replace(part, path)
        return
    try:
        os.replace(new, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part.unlink(missing_ok=True)  # results on another disk
        shutil.copy2(new, part, follow_symlinks=False)
        os.replace(part, path)


def damaged(arrived: Arrived) -> Iterator[str]:
    """What of the results that have come is not what they were, in words: each manifest is read."""
    for folder in sorted({one for path in arrived.brought for one in _crates(path)}):
        with suppress(OsgbatchError):  # it is not whole yet: `collect` there says so
            found = locate(folder)
            told = verify(found) if found else None
            bad = (told.missing.count + told.changed.count) if told else 0
            if told and bad:
                first = [*told.changed.first, *told.missing.first][0]
                yield (
                    f"{folder}: {bad} of {told.files} files are not what their checksums say, such "
                    f"as {first}; `osgbatch verify {folder}` names them"
                )


def _crates(path: Path) -> Iterator[Path]:
    """The batch folder, with results and their manifest, that a file belongs to."""
    for above in path.parents:
        if above.name in (names.RESULTS, PROVENANCE) and (above.parent / PROVENANCE).is_dir():
            yield above.parent
            return

"""Finds batches: by folder, by tag, by name, by the start of their id, or the newest.

The registry is a file of lines, each appended: where a batch is, or that it was removed. A later
line about a batch wins, so that one that was moved is entered again where it was found.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from osgbatch import names
from osgbatch.batches.folder import Batch, entries_of, load
from osgbatch.batches.tags import read_tags
from osgbatch.errors import BatchError
from osgbatch.places import state_folder

BELOW = "OSGBATCH_BELOW"
"""A variable that is set when a batch without a name is one below the current folder only."""
_MADE = re.compile(r"-\d{8}-\d{6}-[0-9a-f]{4}$")
"""What the name of a batch's folder has after the sweep's."""
SHORTEST_ID = 3
"""So many characters of an id name a batch."""


@dataclass
class Entry:
    """What the registry knows of a batch.

    folders: where it was found, the latest first; none once it was removed. archive: the file that
    it was put into before it was removed; empty when there is none. last: the last folder of all.
    """

    id: str
    folders: list[Path] = field(default_factory=list)
    archive: str = ""
    last: Path = Path()


def registry_path() -> Path:
    """Where all batches of this user are entered."""
    return state_folder() / "batches.jsonl"


def register(batch_id: str, folder: Path) -> None:
    """Enter a batch in the registry; one appended line, so that two at once do not meet.

    A registry that cannot be written costs only the finding by name, so it is no error.
    """
    _append({"id": batch_id, "folder": str(_plain(folder))})


def _plain(folder: Path) -> Path:
    """A whole path without `..`: with these it leads elsewhere once a folder on it was moved."""
    found = Path(os.path.abspath(folder))
    with suppress(OSError):
        if found.samefile(folder):
            return found
    return folder.resolve()  # `..` after a link


def unregister(batch_id: str, archive: Path | None = None) -> None:
    """Enter that a batch was removed; copies of it that are still there stay entered.

    archive: the file that it was put into.
    """
    left: list[Path] = []
    with suppress(OSError):
        left = [f for e in entries() if e.id == batch_id for f in e.folders if _holds(f, batch_id)]
    lines = [{"id": batch_id, "folder": str(folder)} for folder in reversed(left)]
    _append({"id": batch_id, "removed": True, "archive": str(archive or "")}, *lines)


def _append(*lines: object) -> None:
    with suppress(OSError):
        path = registry_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as stream:
            stream.write("".join(json.dumps(line) + "\n" for line in lines))


def entries() -> list[Entry]:
    """What the registry knows of each batch, the newest batch first.

    Lines that cannot be read are passed over. Raises OSError when there is a registry and it cannot
    be read at all.
    """
    found: dict[str, Entry] = {}
    try:
        lines = registry_path().read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            data = json.loads(line)
            batch_id = str(data["id"])
            folder = None if data.get("removed") else Path(data["folder"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        entry = found.setdefault(batch_id, Entry(batch_id))
        if folder is None:
            entry.folders, entry.archive = [], str(data.get("archive") or "")
        else:
            entry.folders = [folder, *(f for f in entry.folders if f != folder)]
            entry.last = folder
    return list(reversed(found.values()))


def registered() -> Iterator[Path]:
    """The folders of the registry, newest batch first; what cannot be read is passed over."""
    with suppress(OSError):
        yield from registered_surely()


def registered_surely() -> Iterator[Path]:
    """The same; raises OSError when there is a registry and it cannot be read at all."""
    for entry in entries():
        yield from entry.folders


def lost(found: Iterable[Path] = ()) -> list[Entry]:
    """The batches that are in none of the folders where they were, and were not removed by us.

    found: batch folders that are known otherwise; a batch that is one of them is not lost. What may
    not be entered, or cannot be read now, is not known to be gone.
    """
    gone: list[Entry] = []
    with suppress(OSError):
        gone = [e for e in entries() if e.folders and all(map(_is_gone, e.folders))]
    ids = {batch.id for batch in _readable(found)} if gone else set()
    return [entry for entry in gone if entry.id not in ids]


def _is_gone(folder: Path) -> bool:
    try:
        if (folder / names.WORKFLOW).is_file():
            return False
        return not stat.S_ISREG((folder / names.RESOLVED).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


_SHUT = (errno.EACCES, errno.EPERM, errno.ESTALE, errno.EIO)


def _is_batch(folder: Path) -> bool:
    try:
        return (folder / names.RESOLVED).is_file()
    except OSError as error:  # what cannot be looked into now is told, not passed over
        return error.errno in _SHUT


def batches_here(here: Path) -> list[Path]:
    """The batch folders under a folder, newest first.

    Those in its `batches/`, itself when it is one, and what the registry knows below it. Raises
    OSError when `batches/` cannot be read.
    """
    found = [p for p in entries_of(here / names.BATCHES) if _is_batch(p)]
    if _is_batch(here):
        found.append(here)
    tops = {here, here.resolve()}
    known = (p for p in registered() if any(top in p.parents for top in tops) and _is_batch(p))
    return sorted(_unique([*found, *known]), key=lambda p: (_made(p), p.name), reverse=True)


def batches_everywhere() -> list[Path]:
    """The batch folders that the registry knows, newest batch first, each batch once."""
    places: list[Path] = []
    with suppress(OSError):
        places = [p for e in entries() for p in list(filter(_is_batch, e.folders))[:1]]
    return _unique(places)


def _made(folder: Path) -> int:
    try:
        return (folder / names.RESOLVED).stat().st_mtime_ns
    except OSError:
        return 0


def find(what: str | None, here: Path) -> Batch:
    """The batch that `what` names: a folder, a folder's name, a tag, a spec's name, an id's start.

    None is the newest under the current folder, else the newest of all. A name or tag that several
    batches have is the newest of them; an id's start that several have is an error. A batch that
    was moved is entered in the registry where it was found.
    """
    if what is None:
        below = os.environ.get(BELOW)  # of `--host`: the folder stands for that of a laptop
        candidates = batches_here(here) or ([] if below else batches_everywhere())
        if not candidates:
            raise BatchError(
                "there is no batch here",
                where=str(here),
                fix="`osgbatch submit sweep.yaml` makes one.",
            )
        return _noted(load(candidates[0]))
    path = here / what
    if what and _is_batch(path):
        return _noted(load(_plain(path)))
    folders = _unique([*batches_here(here), *batches_everywhere()])
    for folder in folders:
        if what == folder.name:
            return _noted(load(folder))
    batches = list(_readable(folders))
    for batch in batches:
        if what in read_tags(batch):
            return _noted(batch)
    for batch in batches:
        if what == batch.name:
            return _noted(batch)
    if len(what) >= SHORTEST_ID:
        matching = [batch for batch in batches if batch.id.startswith(what)]
        if len({batch.id for batch in matching}) > 1:
            raise BatchError(
                f'several batches have an id that starts with "{what}"',
                fix="Write more of it; `osgbatch ls --all --json` shows whole ids.",
            )
        if matching:
            return _noted(matching[0])
    if path.is_dir():
        raise BatchError("this folder is no batch", where=str(path), fix=_HOW)
    raise _not_there(what)


def _not_there(what: str) -> BatchError:
    """Says where a batch went that was archived or has gone from its folder."""
    known: list[Entry] = []
    with suppress(OSError):
        known = entries()
    for entry in known:
        named = what in (entry.last.name, _MADE.sub("", entry.last.name))
        if not named and not (len(what) >= SHORTEST_ID and entry.id.startswith(what)):
            continue
        if entry.archive and not entry.folders:
            return BatchError(
                f'batch "{what}" was archived and removed',
                where=entry.archive,
                fix="Unpack that with tar -xzf, and name the folder.",
            )
        if entry.folders:
            return BatchError(
                f'batch "{what}" is no longer where it was',
                where=str(entry.last),
                fix="If it was moved, name its new folder once: then it is known there.",
            )
    return BatchError(
        f'there is no batch "{what}"',
        fix=_HOW + _gone_words([e for e in known if e.folders and all(map(_is_gone, e.folders))]),
    )


def _gone_words(gone: Sequence[Entry]) -> str:
    """Of batches that have gone from their folders, and with them their tags."""
    if not gone:
        return ""
    many = "One is" if len(gone) == 1 else f"{len(gone):,} are"
    was = "it was" if len(gone) == 1 else "they were"
    return (
        f" {many} no longer where {was} (the last: {gone[0].last}): if that was moved, name its "
        "new folder once."
    )


_HOW = (
    "Name its folder, a tag, its name, or three or more characters of its id; `osgbatch ls --all` "
    "shows them."
)


def _noted(batch: Batch) -> Batch:
    """The same; a batch of ours that is now elsewhere is entered there.

    A copy, whose original is still where it was, is not: names go on to mean the original.
    """
    with suppress(OSError):
        text = registry_path().read_text(errors="replace")
        if batch.id in text:
            entry = next((e for e in entries() if e.id == batch.id), None)
            if entry and not any(_holds(folder, batch.id) for folder in entry.folders):
                register(batch.id, batch.folder)
    return batch


def _holds(folder: Path, batch_id: str) -> bool:
    """Whether a folder is this very batch's."""
    try:
        return load(folder).id == batch_id
    except BatchError:
        return False


def _readable(folders: Iterable[Path]) -> Iterator[Batch]:
    """The batches that can be read: one that is damaged does not hide the others."""
    for folder in folders:
        try:
            yield load(folder)
        except BatchError:
            continue


def _unique(folders: Iterable[Path]) -> list[Path]:
    """Each folder that still is a batch, once, in order; two paths to one folder are one."""
    found: dict[tuple[int, int], Path] = {}
    for folder in folders:
        with suppress(OSError):
            try:
                status = (folder / names.RESOLVED).stat()
            except OSError as error:
                if error.errno not in _SHUT:
                    raise
                status = folder.stat()
            found.setdefault((status.st_dev, status.st_ino), folder)
    return list(found.values())

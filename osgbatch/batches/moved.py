"""A batch folder that was moved while jobs were queued: what is delivered to the old place.

HTCondor knows the paths that a round was submitted with. Seen on 25.14.1 after `mv` on one file
system: a job that runs goes on writing to the moved event log, but its archive goes to the old
place, where HTCondor makes the folders anew; a job that starts later is held (13.2), since its
files are gone, and a new event log is begun there, or, when there is no folder yet, the event is
lost. What is found there is linked or copied, nothing is taken away: HTCondor may be writing it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from osgbatch import names
from osgbatch.batches.folder import Batch
from osgbatch.batches.notes import LOCAL_RECORD, other_host, read_submitted
from osgbatch.model import Round

TAKEN = "moved.json"
"""How much of the event log at the old place is in the round's own; also the lock for that."""
_LOG = re.compile(r"^log\s*=\s*(/.*?)\s*$", re.M)
_HEAD = 100
"""So many bytes tell a log from another."""
_SETTLED_S = 5.0
"""An event that was not written whole for so long never will be."""


@dataclass(frozen=True)
class Place:
    """Another folder than the batch's own to which rounds deliver.

    exists: HTCondor has made it anew, or it never went: then it is the original of a copy.
    """

    folder: Path
    rounds: tuple[Round, ...]
    exists: bool
    is_original: bool


def other_places(batch: Batch) -> list[Place]:
    """Where rounds deliver that is not the batch's folder; none of a batch that stands still."""
    found: dict[Path, list[Round]] = {}
    for round_ in batch.rounds():
        folder = submitted_from(round_)
        if folder is None or folder == batch.folder or _same(folder, batch.folder):
            continue
        if not folder.exists() and other_host(round_):
            continue  # its file system may only be mounted elsewhere here
        if _was_submitted(round_, names.round_folder(folder, round_.number)):
            found.setdefault(folder, []).append(round_)
    places = []
    for folder, rounds in found.items():
        holder = _batch_id(folder)
        if holder in ("", batch.id):  # else another batch is there now
            places.append(Place(folder, tuple(rounds), folder.is_dir(), bool(holder)))
    return places


def submitted_from(round_: Round) -> Path | None:
    """The batch folder that a round's submit file names; None when it cannot be told."""
    try:
        match = _LOG.search((round_.folder / names.SUBMIT_FILE).read_text(errors="replace"))
    except OSError:
        return None
    if match is None:
        return None
    log = Path(match[1].replace("$(DOLLAR)", "$"))
    if log.parts[-3:] != (names.ROUNDS, round_.folder.name, names.EVENTS):
        return None
    return log.parents[2]


def as_moved(batch: Batch, noted: Path) -> Path:
    """A path that was noted when the batch was made; where all was moved together, as it is now."""
    made_at = batch.data.get("folder")
    if noted.exists() or not made_at:
        return noted
    now = Path(os.path.normpath(batch.folder / os.path.relpath(noted, str(made_at))))
    return now if now.exists() else noted


def results_outside(batch: Batch) -> Path | None:
    """The folder that a batch's results lie in, too (`results_to`); None when there is none."""
    told = batch.data.get("results_to")
    return as_moved(batch, Path(str(batch.data["spec_folder"]))) / str(told) if told else None


def take_over(place: Place) -> Iterator[str]:
    """Bring home what was delivered to another place; says what could not be brought."""
    for round_ in place.rounds if place.exists else ():
        there = names.round_folder(place.folder, round_.number)
        try:
            _take_files(there / names.RETURNED, round_.folder / names.RETURNED)
            _take_events(there, round_.folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            where = error.filename2 or error.filename or there
            yield f"what was delivered to {there} cannot be brought: {where}: {error.strerror}"


def told(place: Place, home: Path, *, may_come: bool) -> str:
    """What to say of another place; empty when nothing. may_come: jobs have not ended yet.

    Commands to type stand in lines of their own, which begin with blanks.
    """
    if place.is_original:
        return f"this is a copy of {place.folder}, to which its jobs deliver" if may_come else ""
    if may_come and all(_is_local(round_) for round_ in place.rounds):
        if all(_goes_on_here(round_) for round_ in place.rounds):
            return ""
        return (
            f"this folder was moved while its jobs ran. They deliver to {place.folder}; "
            "what comes there is taken from there. Those that had not started yet are held; when "
            f"none runs any more, `osgbatch release {quote(str(home))}` lets them go on here"
        )
    if may_come:
        aside = f"{place.folder}.aside"
        return (
            f"this folder was moved while its jobs were queued. They deliver to {place.folder}; "
            "what comes there is taken from there. Those that had not started yet are held. To let "
            "them go on, move it back, release them, and leave it there until all have ended:"
            + (f"\n    mv -T {quote(str(place.folder))} {quote(aside)}" if place.exists else "")
            # -T: never into a folder that a job makes there meanwhile
            + f"\n    mv -T {quote(str(home))} {quote(str(place.folder))}"
            + f"\n    osgbatch release {quote(str(place.folder))}"
        )
    if place.exists:
        return (
            "this folder was moved while its jobs were queued; all that they delivered to "
            f"{place.folder} is here now, and that folder can be removed"
        )
    return ""


def _goes_on_here(round_: Round) -> bool:
    """Whether the local runner was started again, by a release, after the folder was moved."""
    try:
        began = str(json.loads((round_.folder / LOCAL_RECORD).read_text())["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return _same(Path(began), round_.folder)


def _is_local(round_: Round) -> bool:
    noted = read_submitted(round_)
    return noted is not None and noted.backend == "local"


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _was_submitted(round_: Round, there: Path) -> bool:
    return (
        (round_.folder / names.SUBMITTED).exists()
        or (round_.folder / names.EVENTS).exists()
        or (there / names.EVENTS).exists()
    )


def _batch_id(folder: Path) -> str:
    """Of the batch whose folder this is; empty when it is none."""
    try:
        return str(json.loads((folder / names.RESOLVED).read_text())["batch_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _take_files(there: Path, here: Path) -> None:
    """Archives and what the shim said: each that is not here, or was not whole when it was."""
    for entry in _entries(there):
        if not (entry.name.isdigit() and entry.is_dir()):
            continue
        (here / entry.name).mkdir(parents=True, exist_ok=True)
        for file in _entries(Path(entry.path)):
            target = here / entry.name / file.name
            if file.is_file(follow_symlinks=False) and file.stat().st_size > _size(target):
                _take_file(Path(file.path), target)


def _take_file(source: Path, target: Path) -> None:
    """Under a name of its own first: a reader never meets half of it."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        try:
            os.link(source, temporary)  # what is still being written goes on to grow here, too
        except OSError:
            shutil.copy2(source, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _take_events(there: Path, here: Path) -> None:
    """Append the whole events of the log at the old place that are not here yet.

    An event that is there twice changes nothing; so two at once, or one that is killed, do no harm.
    """
    log, home = there / names.EVENTS, here / names.EVENTS
    with log.open("rb") as stream, (here / TAKEN).open("a+") as noted:
        fcntl.flock(noted, fcntl.LOCK_EX)
        head = stream.read(_HEAD).hex()
        noted.seek(0)
        start = _taken(noted.read(), head)
        if start is None:
            start = _in_common(log, home)
        if stream.seek(0, os.SEEK_END) == start or not _ends_whole(home):
            return
        stream.seek(start)
        new = stream.read()
        new = new[: new.rfind(b"\n...\n") + 5] if b"\n...\n" in new else b""
        if not new:
            return
        with home.open("ab") as out:
            out.write(new)
        noted.seek(0)
        noted.truncate()
        told = {"from": str(log), "head": head, "offset": start + len(new)}
        noted.write(json.dumps(told) + "\n")


def _taken(text: str, head: str) -> int | None:
    """How much of a log was taken; 0 when it was removed, and another begun; None at first."""
    try:
        data = json.loads(text)
        return int(data["offset"]) if head.startswith(data["head"]) else 0
    except (ValueError, KeyError, TypeError):
        return None


def _in_common(log: Path, home: Path) -> int:
    """How much of a log is here already: all that is here when it begins with that, else nothing.

    A copy of a batch begins so; what HTCondor begins anew at the old place does not.
    """
    with suppress(FileNotFoundError), home.open("rb") as mine, log.open("rb") as other:
        size = 0
        while block := mine.read(1 << 20):
            if other.read(len(block)) != block:
                return 0
            size += len(block)
        return size
    return 0


def _ends_whole(log: Path) -> bool:
    """Whether a log ends with a whole event; one that never will is ended here."""
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            if not size:
                return True
            stream.seek(max(0, size - 5))
            if stream.read().endswith(b"...\n"):
                return True
        if time.time() - log.stat().st_mtime < _SETTLED_S:
            return False
        with log.open("ab") as stream:
            stream.write(b"\n...\n")
    except FileNotFoundError:
        pass
    return True


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1

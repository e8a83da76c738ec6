"""From a batch to its crate: `provenance/`, whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.gathered import close_runs
from osgbatch.collecting.collect import results_folder
from osgbatch.errors import OsgbatchError
from osgbatch.model import TaskState
from osgbatch.provenance import layout
from osgbatch.provenance.layout import FOLDER
from osgbatch.provenance.manifest import walk
from osgbatch.results.crated_before import KEPT
from osgbatch.results.crated_inputs import MOST_READ
from osgbatch.staging.stage import Progress
from osgbatch.submission.staged import Silent
from osgbatch.sums import file_sum
from osgbatch.task_ranges import task_list

_OLD = f".{FOLDER}-old"


@dataclass(frozen=True)
class Crated:
    """A crate that was written. files: results in its manifest; notes: sentences for the user."""

    folder: Path
    files: int
    notes: tuple[str, ...] = ()


def after_collect(batch: Batch, states: Sequence[TaskState], *, changed: bool) -> list[str]:
    """Write the crate of a batch whose tasks have all ended, unless it is there and tells it all.

    changed: whether results were unpacked just now. Gives notes for the user; a crate that cannot
    be written is one of them, and never makes a collection fail.
    """
    try:
        crate = batch.folder / FOLDER
        if not changed and _stamp_there(crate) == _stamp(batch, states):
            return list(_damaged_manifest(crate))
        return list(write_crate(batch, states).notes)
    except OsgbatchError as error:
        return [f"no provenance was written: {error.what}{f' ({error.fix})' * bool(error.fix)}"]
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return [f"no provenance was written: {error.strerror or error}{where}"]
    except Exception as error:  # of a library that is not ours: the results are there all the same
        return [f"no provenance was written: {type(error).__name__}: {error}"]


def _damaged_manifest(crate: Path) -> Iterator[str]:
    from osgbatch.provenance.verify import check_manifest

    try:
        check_manifest(crate)
    except OsgbatchError as error:
        yield f"{error.where}: {error.what}; `osgbatch provenance` writes it anew"


def write_crate(
    batch: Batch,
    states: Sequence[TaskState],
    progress: Progress | None = None,
    *,
    most_input: int = MOST_READ,
) -> Crated:
    """Write `provenance/` of a batch, in place of the one that is there.

    states: of all its tasks. most_input: bytes of inputs that are read for their checksums. Whoever
    calls holds the batch's lock. A crate with files of the user's in it, or with checksums of
    results in whose place others have come, is kept aside, and told.
    Raises ProvenanceError where rocrate is missing, OSError when the disk is full.
    """
    target = batch.folder / FOLDER
    left = list(_clear(target))
    fresh = batch.folder / f".{FOLDER}-{os.getpid()}"
    fresh.mkdir()
    from osgbatch.results.crated_files import CrateFiles

    try:
        stamp = _stamp(batch, states)  # before all else: what changes meanwhile is seen
        writer = CrateFiles(batch, states, fresh)
        writer.write(stamp, progress or Silent(), most_input)
        notes = [*left, *_put(fresh, target, writer.replaced), *writer.notes]
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return Crated(target, writer.files, tuple(notes))


def _put(fresh: Path, target: Path, replaced: Sequence[int]) -> Iterator[str]:
    """Give a crate its place. Two renames: killed between them, the next collection writes it.

    replaced: tasks of which the old crate alone tells what they brought at first.
    """
    if not os.path.lexists(target):
        fresh.rename(target)
    elif (why := _not_ours(target)) or replaced:
        kept = _keep(target, target)
        fresh.rename(target)
        if why:
            yield _kept_as(why, kept)
        if replaced:
            yield _kept_for_results(kept, replaced)
    else:
        old = target.with_name(_OLD)
        target.rename(old)
        fresh.rename(target)
        old.rename(fresh)  # by this name it may be removed, also when that is interrupted
        shutil.rmtree(fresh, ignore_errors=True)


def _kept_for_results(kept: Path, replaced: Sequence[int]) -> str:
    one = len(replaced) == 1
    now = "1 task has another result" if one else f"{len(replaced):,} tasks have other results"
    return (
        f"{now} now than {'was' if one else 'were'} verified before ({_listed(replaced)}): the "
        f"checksums of {'that' if one else 'those'} are kept in {kept.name}"
    )


def _listed(tasks: Sequence[int]) -> str:
    text = task_list(tasks)
    return text if len(text) <= 40 else text[:40].rpartition(",")[0] + ",..."


def _clear(target: Path) -> Iterator[str]:
    """See to what a killed process has left beside a crate: what is not ours is never removed."""
    old = target.with_name(_OLD)
    if old.is_dir() and not os.path.lexists(target):  # killed between two renames
        old.rename(target)
    elif old.is_dir() and (why := _not_ours(old)):
        yield _kept_as(why, _keep(old, target))
    for left in target.parent.glob(f".{FOLDER}-*"):
        if left.name == _OLD or left.name.removeprefix(f".{FOLDER}-").isdigit():
            shutil.rmtree(left, ignore_errors=True)


def _keep(crate: Path, target: Path) -> Path:
    """Give a crate that is not to be removed another name."""
    number_ = 1
    while os.path.lexists(kept := target.with_name(f"{KEPT}{number_}")):
        number_ += 1
    crate.rename(kept)
    return kept


def _kept_as(why: str, kept: Path) -> str:
    return f"{why}; the old one is kept as {kept.name}"


def _not_ours(crate: Path) -> str:
    """Why a crate is more, or other, than what osgbatch has written; empty when it is just that."""
    from osgbatch.provenance.verify import described

    held = f"{FOLDER}/ held files of yours"
    if crate.is_symlink():
        return held
    try:
        told = described(crate)
        changed = ""
        for name, entry in walk(crate):
            if name != layout.METADATA and (entry.is_symlink() or name not in told):
                return held
            if name != layout.METADATA and told[name] != file_sum(entry.path)[0]:
                changed = f"{FOLDER}/{name} was changed or damaged"
    except (OsgbatchError, OSError):
        return f"{FOLDER}/ cannot be read"
    return changed


# --- whether a crate is still what would be written ----------------------------------------------


def _stamp(batch: Batch, states: Sequence[TaskState]) -> str:
    """What a crate follows from, but for the inputs: states, and what lies beside the tasks'."""
    digest = hashlib.sha256()
    for state in states:
        archive = state.archive.name if state.archive else ""
        digest.update(f"{state.index} {state.state} {state.round} {archive}\n".encode())
    with suppress(OSError):  # the gather script may have written into the tasks' folders
        digest.update(f"{(batch.folder / names.GATHERED).stat().st_mtime_ns}\n".encode())
    results = results_folder(batch.folder)
    with suppress(OSError), os.scandir(results) as found:
        for entry in sorted(found, key=lambda one: one.name):
            if entry.name in layout.LATER:
                continue
            if not entry.is_file(follow_symlinks=False):
                digest.update(os.fsencode(entry.name) + b"/\n")
            elif entry.name == names.RESULTS_TABLE:  # written anew by each collection
                digest.update(file_sum(entry.path)[0].encode())
            else:
                told = entry.stat(follow_symlinks=False)
                digest.update(f"{told.st_size} {told.st_mtime_ns} ".encode())
                digest.update(os.fsencode(entry.name) + b"\n")
    return digest.hexdigest()


def _stamp_there(crate: Path) -> str:
    try:
        return str(json.loads((crate / layout.FACTS).read_text())["stamp"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def crate_batch(batch: Batch, progress: Progress, *, all_inputs: bool = False) -> Crated:
    """Write the crate of a batch as it is now. Raises OsgbatchError, OSError."""
    from osgbatch.life.following import status

    with folders.locked(batch.folder, wait=True):
        close_runs(batch.folder, results_folder(batch.folder))
        now = status(batch, all_tasks=True)
        most = 1 << 62 if all_inputs else MOST_READ
        return write_crate(batch, now.states, progress, most_input=most)

"""The pictures that tasks and the gather script made, as a report embeds them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from osgbatch import names
from osgbatch.batches.folder import Batch
from osgbatch.collecting.collect import results_folder
from osgbatch.model import TaskState
from osgbatch.reporting.data import Picture
from osgbatch.results.result_rows import task_folder
from osgbatch.texts import number_of

KINDS = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}
_SIGNS = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF8",),
    "image/webp": (b"RIFF",),
    "image/svg+xml": (b"<svg", b"<?xml", b"<!--", b"<!DOCTYPE svg", b"\xef\xbb\xbf<"),
}
_ENDINGS = tuple(KINDS)
MOST = 24
"""Pictures in a report."""
OF_TASKS = 16
LOOKED_AT = 400
"""So many tasks are looked at for pictures."""
MOST_BYTES = 700 * 1024
ALL_BYTES = 2500 * 1024
"""Of one picture, and of all; base64 makes a third more of them."""


def pictures_of(
    batch: Batch, states: Sequence[TaskState]
) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """The pictures in `results/`: those of the gather script first, then those of tasks.

    Of tasks only those that succeeded, and files with the checksum that they came back with. The
    second: what was left out, in sentences.
    """
    results = results_folder(batch.folder)
    found: list[Picture] = []
    left = {"large": 0, "more": 0, "changed": 0}
    room = ALL_BYTES
    of_tasks = 0
    candidates = [(path, title, "", False) for path, title in _gathered(results)]
    for path, title, sha256, is_task in (*candidates, *_of_tasks(batch, states)):
        if len(found) >= MOST or (is_task and of_tasks >= OF_TASKS):
            left["more"] += 1
            continue
        data = _read(path)
        if data is None:
            continue
        kind = next(kind for end, kind in KINDS.items() if path.name.lower().endswith(end))
        if len(data) > min(MOST_BYTES, room):
            left["large"] += 1
        elif not data.lstrip().startswith(_SIGNS[kind]):
            continue
        elif sha256 and hashlib.sha256(data).hexdigest() != sha256:
            left["changed"] += 1
        else:
            found.append(Picture(title, kind, base64.b64encode(data).decode("ascii")))
            room -= len(data)
            of_tasks += is_task
    return tuple(found), tuple(_told(left))


def _told(left: dict[str, int]) -> Iterator[str]:
    if left["large"]:
        yield (
            f"{number_of(left['large'], 'picture')} left out, too large to be embedded "
            f"(more than {MOST_BYTES // 1024} kB, or {ALL_BYTES // 1024:,} kB together)"
        )
    if left["more"]:
        more = "1 more picture is" if left["more"] == 1 else f"{left['more']:,} more pictures are"
        yield f"{more} in {names.RESULTS}/"
    if left["changed"]:
        pictures = number_of(left["changed"], "picture")
        yield f"{pictures} left out, for what came back was changed since"


def _gathered(results: Path) -> Iterator[tuple[Path, str]]:
    """Pictures right in `results/`."""
    try:
        with os.scandir(results) as entries:  # there may be as many folders as tasks
            found = [entry for entry in entries if _is_picture(entry.name)]
    except OSError:
        return
    for entry in sorted(found, key=lambda entry: entry.name):
        if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
            yield Path(entry.path), entry.name


def _of_tasks(batch: Batch, states: Sequence[TaskState]) -> Iterator[tuple[Path, str, str, bool]]:
    """Those that status.json of a task tells of, with their checksums."""
    good = (state for state in states if state.state == "succeeded")
    for state in islice(good, LOOKED_AT):
        folder = task_folder(batch, state)
        if folder is None:
            continue
        try:
            files = json.loads((folder / "status.json").read_text())["files"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if not isinstance(files, dict):
            continue
        for name in sorted(map(str, files)):
            if _is_picture(name) and ".." not in name.split("/") and not name.startswith("/"):
                title = f"task {state.index}: {name.removeprefix('outputs/')}"
                yield folder / name, title, str(files[name]), True


def _is_picture(name: str) -> bool:
    return name.lower().endswith(_ENDINGS)


def _read(path: Path) -> bytes | None:
    """A regular file of no more than is embedded, and a byte; None when it is something else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return stream.read(MOST_BYTES + 1)

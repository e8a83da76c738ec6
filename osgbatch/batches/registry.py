"""Finds batches: by folder, by name, by the start of their id, or the newest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from osgbatch import names
from osgbatch.batches.folder import Batch, load
from osgbatch.errors import BatchError
from osgbatch.places import state_folder


def registry_path() -> Path:
    """Where all batches of this user are entered."""
    return state_folder() / "batches.jsonl"


def register(batch_id: str, folder: Path) -> None:
    """Enter a batch in the registry; one appended line, so that two at once do not meet.

    A registry that cannot be written costs only the finding by name, so it is no error.
    """
    line = json.dumps({"id": batch_id, "folder": str(folder)}) + "\n"
    try:
        path = registry_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as stream:
            stream.write(line)
    except OSError:
        return


def registered() -> Iterator[Path]:
    """The folders of the registry, newest first; what cannot be read is passed over."""
    with suppress(OSError):
        yield from registered_surely()


def registered_surely() -> Iterator[Path]:
    """The same; raises OSError when there is a registry and it cannot be read at all."""
    try:
        lines = registry_path().read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in reversed(lines):
        try:
            yield Path(json.loads(line)["folder"])
        except (ValueError, KeyError, TypeError):
            continue


def _below(folder: Path) -> list[Path]:
    """The batch folders under a folder's `batches/`, newest first."""
    found = [p.parent for p in (folder / names.BATCHES).glob(f"*/{names.RESOLVED}")]
    if (folder / names.RESOLVED).is_file():
        found.append(folder)
    return sorted(found, key=lambda p: (p / names.RESOLVED).stat().st_mtime_ns, reverse=True)


def find(what: str | None, here: Path) -> Batch:
    """The batch that `what` names: a folder, a folder's name, a spec's name, the start of an id.

    None is the newest under the current folder, else the newest of all. A name that several
    batches have is the newest of them; an id's start that several have is an error.
    """
    if what is None:
        candidates = _below(here) or [p for p in registered() if (p / names.RESOLVED).is_file()]
        if not candidates:
            raise BatchError(
                "there is no batch here",
                where=str(here),
                fix="`osgbatch submit sweep.yaml` makes one.",
            )
        return load(candidates[0])
    path = here / what
    if (path / names.RESOLVED).is_file():
        return load(path.absolute())
    batches = list(_readable(_unique([*_below(here), *registered()])))
    for batch in batches:
        if what in (batch.folder.name, batch.name):
            return batch
    if len(what) >= 3:
        matching = [batch for batch in batches if batch.id.startswith(what)]
        if len({batch.id for batch in matching}) > 1:
            raise BatchError(f'several batches have an id that starts with "{what}"')
        if matching:
            return matching[0]
    raise BatchError(
        f'there is no batch "{what}"',
        fix="Name its folder, its name, or three or more characters of its id.",
    )


def _readable(folders: list[Path]) -> Iterator[Batch]:
    """The batches that can be read: one that is damaged does not hide the others."""
    for folder in folders:
        try:
            yield load(folder)
        except BatchError:
            continue


def _unique(folders: list[Path]) -> list[Path]:
    """Each folder that still is a batch, once, in order."""
    return [p for p in dict.fromkeys(folders) if (p / names.RESOLVED).is_file()]

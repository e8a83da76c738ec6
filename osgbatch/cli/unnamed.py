"""A batch that nobody has named and that is of another folder: looks say so, acts refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from osgbatch import names, ui


def told(found: Any, here: Path, act: str = "") -> Any:
    """The newest batch, or workflow, where none was named; said where it is not below `here`.

    act: how a command that changes it begins, `cancel`; empty for one that looks. Raises BatchError
    for an act: what is changed elsewhere must be named.
    """
    top, folder = here.resolve(), found.folder.resolve()
    if top == folder or top in folder.parents:
        return found
    above = found.folder.parent
    place = above.parent if above.name in (names.BATCHES, names.STEPS) else above
    what = f"no batch in this folder; the newest of all: {found.name} in {place}"
    if not act:
        ui.say(what)
        return found
    from osgbatch.batches.folder import Batch
    from osgbatch.errors import BatchError
    from osgbatch.life.naming import ID_LENGTH, in_commands

    name = in_commands(found) if isinstance(found, Batch) else found.id[:ID_LENGTH]
    raise BatchError(
        what,
        fix=f"What changes a batch of another folder needs its name: `osgbatch {act} {name}`.",
    )

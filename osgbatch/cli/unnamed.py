"""A batch that nobody has named and that is of another folder: looks say so, acts refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from osgbatch import names, ui


def told(found: Any, here: Path, act: str = "", named: str = "") -> Any:
    """The newest batch, or workflow, of all or of a name; said where it is not below `here`.

    named: only by its sweep's name, which others may have. act: how a command that changes it
    begins, `cancel`; empty for one that looks. Raises BatchError for an act: what is changed
    elsewhere must be named.
    """
    top, folder = here.resolve(), found.folder.resolve()
    if top == folder or top in folder.parents:
        return found
    above = found.folder.parent
    place = above.parent if above.name in (names.BATCHES, names.STEPS) else above
    one, which = (f' "{named}"', "of that name") if named else ("", "of all")
    what = f"no batch{one} in this folder; the newest {which}: {found.name} in {place}"
    if not act:
        ui.say(what)
        return found
    from osgbatch.batches.folder import Batch
    from osgbatch.errors import BatchError
    from osgbatch.life.naming import ID_LENGTH, in_commands

    name = in_commands(found) if isinstance(found, Batch) else found.id[:ID_LENGTH]
    raise BatchError(
        what,
        fix=f"What changes a batch of another folder needs its id: `osgbatch {act} {name}`.",
    )

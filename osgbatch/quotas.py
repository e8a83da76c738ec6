"""Looked at before a byte moves: the room at home and in the stash, and the token that writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from osgbatch.errors import PackingError, StagingError
from osgbatch.model import Plan
from osgbatch.packing.environment import EnvironmentArchive
from osgbatch.places import cache_folder
from osgbatch.planned import planned_archives
from osgbatch.planning.grouping import size
from osgbatch.planning.placement import environment_why
from osgbatch.staging.quota import Room, room_left, warnings_of
from osgbatch.staging.store import quota_command
from osgbatch.staging.tokens import find_token, token_warning

HOME = "your home folder"
BATCHES = "the folder of the batches"


def look_ahead(plan: Plan, environment: EnvironmentArchive | None, batches: Path) -> list[str]:
    """What is worth a word before a plan is packed and staged; its environment is packed already.

    batches: where the batch folder will be made. Raises PackingError when what will lie there does
    not fit, StagingError when the token for the stash has expired.
    """
    needed = sum(archive.size for archive in planned_archives(plan))
    if environment is not None and not environment_why(plan, environment.size):
        needed += _copied(environment.path, batches, environment.size)
    room, where = _room_at_home(plan, batches)
    if not room.fits(needed):
        raise PackingError(
            f"the batch needs up to {size(needed)}, and {room.by} leaves {size(room.left or 0)}",
            where=str(batches),
            fix="Make room there, or leave out of `files` and `inputs` what tasks do not need; "
            "nothing was written.",
        )
    return [*warnings_of(room, needed, where, size), *_of_token(plan)]


def _of_token(plan: Plan) -> Iterator[str]:
    if plan.stash.kind == "pelican":
        told = token_warning(find_token())
        if told:
            yield told


def _copied(source: Path, batches: Path, count: int) -> int:
    """What an environment takes in a batch folder: nothing where it is a link to the cache."""
    above = batches
    while not above.exists() and above != above.parent:
        above = above.parent
    try:
        linked = source.resolve().is_relative_to(cache_folder().resolve())
        return 0 if linked and source.stat().st_dev == above.stat().st_dev else count
    except OSError:
        return count


def _room_at_home(plan: Plan, batches: Path) -> tuple[Room, str]:
    """The room where batch folders are made, and what that place is called.

    The quota command tells of the home folder (the profile's `home:`, else the user's own), and
    of nothing else.
    """
    profile = plan.spec.profile
    home = os.path.realpath(os.path.expanduser(profile.home or "~"))
    at_home = Path(os.path.realpath(batches)).is_relative_to(home)
    command = dict(profile.quotas).get("home", "") if at_home else ""
    return room_left(command, batches), HOME if at_home else BATCHES


def plan_warnings(plan: Plan, environment_size: int | None, batches: Path) -> list[str]:
    """What submit would refuse, or warn of; nothing is raised, and nothing but sizes is looked at.

    environment_size: bytes of the packed environment; None when it is not known yet. Of what goes
    to the stash some may be there already: this is the most that submit would bring.
    """
    found = []
    room, where = _room_at_home(plan, batches)
    needed = sum(archive.size for archive in planned_archives(plan))
    if not room.fits(needed):
        found.append(
            f"the batch needs up to {size(needed)} in {where}, and {room.by} leaves "
            f"{size(room.left or 0)}: submit will refuse it"
        )
    found += warnings_of(room, needed, where, size)
    try:
        found += _of_token(plan)
    except StagingError as error:
        found.append(f"{error.what} ({error.where})" if error.where else error.what)
    return [*found, *_of_stash(plan, environment_size)]


def _of_stash(plan: Plan, environment_size: int | None) -> Iterator[str]:
    """Of the room in the stash, which is not opened for it: that could need keys."""
    needed = sum(one.size for one in plan.placed)
    if environment_size and environment_why(plan, environment_size):
        needed += environment_size
    if not needed:
        return
    folder = Path(plan.stash.folder) if plan.stash.kind == "folder" else None
    room = room_left(quota_command(plan.stash, plan.spec.profile), folder)
    if not room.fits(needed):
        yield (
            f"up to {size(needed)} are to be staged, and {room.by} of the stash leaves "
            f"{size(room.left or 0)}: submit will refuse unless enough of it is there already"
        )
    yield from warnings_of(room, needed, "the stash", size)

"""Looked at before a byte moves: the room at home and in the stash, and the token that writes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from osgbatch import names
from osgbatch.errors import OsgbatchError, PackingError, StagingError
from osgbatch.packing.environment import EnvironmentArchive
from osgbatch.packing.folders import is_known
from osgbatch.places import cache_folder
from osgbatch.plan_model import Plan
from osgbatch.planning.placement import environment_why
from osgbatch.staging.quota import Room, room_left, warnings_of
from osgbatch.staging.store import quota_command
from osgbatch.staging.tokens import find_token, token_warning
from osgbatch.submission.buckets import check_keys, key_warning
from osgbatch.submission.planned import longest_s, planned_archives
from osgbatch.texts import duration, size

HOME = "your home folder"
BATCHES = "the folder of the batches"
CACHE = "osgbatch's cache"


def look_ahead(plan: Plan, environment: EnvironmentArchive | None, batches: Path) -> list[str]:
    """What is worth a word before a plan is packed and staged; its environment is packed already.

    batches: the folder in which that of the batch will be made. Raises PackingError when what will
    lie there, or in the cache, does not fit, StagingError when the token for the stash has expired,
    or when HTCondor could not use the keys of a bucket.
    """
    staged = environment is not None and bool(environment_why(plan, environment.size))
    check_keys(plan, staged=staged or bool(plan.placed))
    needed = sum(archive.size for archive in planned_archives(plan))
    if environment is not None and not environment_why(plan, environment.size):
        needed += _copied(environment, batches)
    room, where = _room_at(plan, batches, BATCHES)
    if not room.fits(needed):
        raise PackingError(
            f"the batch needs up to {size(needed)}, and {room.by} leaves {size(room.left or 0)}",
            where=str(batches),
            fix="Make room there, or leave out of `files` and `inputs` what tasks do not need; "
            "nothing was written.",
        )
    warnings = [*warnings_of(room, needed, where, size), *_of_cache(plan)]
    return [
        *dict.fromkeys(warnings),  # one quota command may be of no use for both
        *_of_token(plan),
        *_of_signatures(plan, environment),
    ]


def _of_token(plan: Plan) -> Iterator[str]:
    if plan.stash.kind == "pelican":
        told = token_warning(find_token())
        if told:
            yield told


def _of_signatures(plan: Plan, environment: EnvironmentArchive | None) -> Iterator[str]:
    """Of URLs that are signed in advance. Raises OsgbatchError when they would be of no use."""
    lifetime = plan.stash.presigned_s
    if not lifetime:
        return
    longest = longest_s(plan)
    if lifetime < longest:
        raise OsgbatchError(
            f"a job may take {duration(longest)}, and one that is tried again must fetch again",
            where=f"--allow-presigned {duration(lifetime)}",
            fix="Write the time within which the whole batch will have ended; 7 days at most.",
        )
    if plan.spec.environment.kind == "container" and environment is not None:
        raise OsgbatchError(
            "an image cannot be fetched by a URL that is signed in advance",
            where="--allow-presigned",
            fix="Use permanent keys, docker://…, or an image that a web server serves.",
        )
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + lifetime))
    yield (
        "the URLs of what is staged are signed in advance: until "
        f"{until} whoever may read a job's ad (condor_q -long) can fetch it; jobs that start "
        "later cannot"
    )


def _copied(environment: EnvironmentArchive, batches: Path) -> int:
    """What an environment takes in a batch folder: nothing where it is a link.

    It is one to the cache, or to the copy of another batch.
    """
    source = environment.path
    if any(batches.glob(f"*/{names.PAYLOAD}/*-{environment.sha256[:16]}.*")):
        return 0
    above = batches
    while not above.exists() and above != above.parent:
        above = above.parent
    try:
        linked = source.resolve().is_relative_to(cache_folder().resolve())
        same_disk = source.stat().st_dev == above.stat().st_dev
    except OSError:
        return environment.size
    return 0 if linked and same_disk else environment.size


def _room_at(plan: Plan, folder: Path, name: str) -> tuple[Room, str]:
    """The room in a folder, and what that place is called; name: where it is not at home.

    The quota command tells of the home folder (the profile's `home:`, else the user's own), and
    of nothing else.
    """
    profile = plan.spec.profile
    return room_at(profile.home, dict(profile.quotas).get("home", ""), folder, name)


def room_at(home: str, command: str, folder: Path, name: str) -> tuple[Room, str]:
    """The room in a folder, and what that place is called; name: where it is not at home.

    home, command: of a profile: the home folder (empty: the user's own) and its quota command.
    """
    real = os.path.realpath(os.path.expanduser(home or "~"))
    at_home = Path(os.path.realpath(folder)).is_relative_to(real)
    return room_left(command if at_home else "", folder), HOME if at_home else name


def _in_cache(plan: Plan) -> tuple[Room, int, str]:
    """The room for packed folders, the bytes that they take at most, and what the place is called.

    A folder is packed into the cache before it is staged, and its archive removed after that,
    before anything is written into the batch folder: the two are never there at once. One that was
    packed as it is now is as a rule in the stash, too; that is looked at when room is short only.
    Raises PackingError when a folder cannot be read.
    """
    folders = [one for one in plan.placed if not one.tree and one.source.is_dir()]
    if not folders:
        return Room(None), 0, CACHE
    room, where = _room_at(plan, cache_folder(), CACHE)
    needed = sum(one.size for one in folders)
    if room.fits(needed) and not room.nearly_full(needed):
        return room, needed, where
    fresh = [one.size for one in folders if not is_known(one.source, cache_folder())]
    return room, sum(fresh), where


def _folders(count: int) -> str:
    return f"the folders to be staged are packed first, which takes up to {size(count)}"


def plan_warnings(plan: Plan, environment_size: int | None, batches: Path) -> list[str]:
    """What submit would refuse, or warn of; nothing is raised, and nothing but sizes is looked at.

    environment_size: bytes of the packed environment; None when it is not known yet. Of what goes
    to the stash some may be there already: this is the most that submit would bring.
    """
    found = []
    room, where = _room_at(plan, batches, BATCHES)
    needed = sum(archive.size for archive in planned_archives(plan))
    if not room.fits(needed):
        found.append(
            f"the batch needs up to {size(needed)} in {where}, and {room.by} leaves "
            f"{size(room.left or 0)}: submit will refuse it"
        )
    found += warnings_of(room, needed, where, size)
    found += (warning for warning in _of_cache(plan) if warning not in found)
    try:
        found += _of_token(plan)
    except StagingError as error:
        found.append(f"{error.what} ({error.where})" if error.where else error.what)
    goes = environment_size and environment_why(plan, environment_size)
    found += filter(None, [key_warning(plan, staged=bool(plan.placed or goes))])
    return [*found, *_of_stash(plan, environment_size)]


def _of_cache(plan: Plan) -> Iterator[str]:
    """Of the room for packed folders. What cannot be read, packing tells better."""
    try:
        room, needed, where = _in_cache(plan)
    except PackingError:
        return
    if not room.fits(needed):  # archives are smaller than what they hold: it may fit after all
        yield (
            f"{_folders(needed)}, and {room.by} leaves {size(room.left or 0)} in {where}; "
            "`tree: true` packs no archive"
        )
    else:
        yield from warnings_of(room, needed, where, size)


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

"""Profiles as plain data, for `osgbatch profile` and its `--json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from osgbatch.errors import OsgbatchError
from osgbatch.spec import profiles
from osgbatch.spec.layers import chosen_profile, short_path
from osgbatch.spec.profile_facts import facts_of
from osgbatch.spec.profiles import PoolProfile


def listed() -> dict[str, Any]:
    """All profiles, and which of them holds here; one of the user's own is there if it does.

    Raises SpecErrors, OsgbatchError when what says which holds cannot be read.
    """
    here, chosen = chosen_profile(Path.cwd())
    found = [profiles.known_profile(name) for name in profiles.known_profiles()]
    if here.path not in [one.path for one in found]:
        found.append(here)
    return {
        "chosen_by": chosen,
        "profiles": [
            {
                "name": one.facts.name,
                "title": one.title,
                "hosts": list(one.hosts),
                "file": _file(one),
                "here": one.path == here.path,
            }
            for one in found
        ],
    }


def named(name: str | None) -> tuple[PoolProfile, str]:
    """A profile by its name or its file, and by what it was chosen; none: the one that holds here.

    Raises OsgbatchError when there is none, SpecErrors with all that is wrong in its file.
    """
    if name is None:
        return chosen_profile(Path.cwd())
    if profiles.is_profile_path(name):
        return profiles.profile_file(Path(name), name), ""
    if name not in profiles.known_profiles() and Path(name).is_file():
        raise OsgbatchError(
            f'"{name}" is a file, and a profile of one\'s own is named by its path',
            fix=f"Write ./{name}.",
        )
    return profiles.known_profile(name), ""


def shown(profile: PoolProfile, chosen: str) -> dict[str, Any]:
    """A profile with every key."""
    return {
        "name": profile.facts.name,
        "title": profile.title,
        "chosen_by": chosen,
        "file": str(profile.path),
        "keys": [
            {
                "key": fact.key,
                "value": fact.value,
                "text": fact.text,
                "meaning": fact.meaning,
                "from": fact.source,
            }
            for fact in facts_of(profile)
        ],
    }


def _file(profile: PoolProfile) -> str:
    return "osgbatch" if profile.path.parent == profiles.DATA else short_path(profile.whole.file)

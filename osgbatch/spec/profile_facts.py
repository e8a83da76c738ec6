"""A pool's profile, key by key: value, meaning, where it stands; and as a file to copy."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from osgbatch.spec.profiles import DATA, GENERIC, PoolProfile, known_profile

MEANINGS = {
    "title": "what the pool is called",
    "hosts": "names of its access points, as regular expressions",
    "input_size": "what a job should at most be brought; none for no limit",
    "stash_size": "one file above this belongs into the stash; none: nothing does by its size",
    "shared_size": "so does one above this that more than one job reads",
    "stash": "none, or {folder: DIR, url: URL}: the pool's stash, for those who have that folder; "
    "$USER and * may stand in DIR, {folder} in URL",
    "quotas": "home: and stash: commands that print the bytes that are left there",
    "many_jobs": "jobs in the queue above which max_idle is needed; 0: no limit",
    "max_idle": "then so many idle jobs are in the queue at a time",
    "home": "the folder that submissions should be made from",
    "longest": "a job that takes longer needs checkpoints",
    "glideins": "true: free slots follow demand, so that counting them says nothing",
    "avoid": "an attribute of the slots, such as Machine: where a job has just failed, it is not "
    "started again for an hour; none where there is only one place",
    "releases": "so often a job is released that is held because files could not be brought",
    "release_after": "the pause before the first release; twice, three times as long for the next",
    "bad_starts": "a job whose image or input cannot be had is held after so many starts; 0: never",
    "projects": "a file on its access points with a line for each user and their projects, for "
    "pools where each job needs one",
    "defaults": "settings of a sweep.yaml that hold in this pool unless something else is said",
}
"""Every key of a profile, in the order in which it is shown."""
_WIDTH = 96


@dataclass(frozen=True)
class Fact:
    """One key of a profile. text: its value as YAML in one line; source: where it stands."""

    key: str
    value: Any
    text: str
    meaning: str
    source: str


def facts_of(profile: PoolProfile) -> list[Fact]:
    """Every key of a profile, also those that its file leaves out."""
    return [
        Fact(key, value, _text(key, value, profile), MEANINGS[key], _source(profile, key))
        for key in MEANINGS
        for value in [_value(profile, key)]
    ]


def profile_yaml(profile: PoolProfile) -> str:
    """A profile as a file of one's own, with every key and what it means."""
    lines = [
        f"# A copy of osgbatch's profile {profile.facts.name}, to be changed. It holds where a",
        "# sweep.yaml, or your config.yaml, says `profile: ./FILE.yaml`.",
    ]
    for fact in facts_of(profile):
        lines += ["", *textwrap.wrap(fact.meaning, _WIDTH, initial_indent="# ",
                                     subsequent_indent="# ")]  # fmt: skip
        lines += _written(fact)
    return "\n".join(lines) + "\n"


def _written(fact: Fact) -> Iterator[str]:
    """A key and its value; `defaults:` can be long, and is a block of lines."""
    if fact.key == "defaults" and fact.value:
        yield from yaml.safe_dump({fact.key: fact.value}, sort_keys=False, allow_unicode=True,
                                  width=_WIDTH).splitlines()  # fmt: skip
    else:
        yield f"{fact.key}: {fact.text}"


def _value(profile: PoolProfile, key: str) -> Any:
    found = profile.whole.data.get(key)
    if found is not None:
        return found
    return profile.facts.name if key == "title" else _generic().whole.data[key]


@lru_cache(maxsize=1)
def _generic() -> PoolProfile:
    """The profile that names every key: what a file leaves out is as there (a test says so)."""
    return known_profile(GENERIC)


def _text(key: str, value: Any, profile: PoolProfile) -> str:
    """A value in one line of YAML; a scalar as it was written."""
    given = profile.whole if profile.whole.data.get(key) is not None else _generic().whole
    if not isinstance(value, (dict, list)):
        text = given.texts.get((key,), "")
        if text and yaml.safe_load(text) == value:  # it needs no quotes
            return text
    made: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    )
    return re.sub(r"\n(\.\.\.\n)?$", "", made)


def _source(profile: PoolProfile, key: str) -> str:
    """`ospool.yaml:6`, `default`."""
    if profile.whole.data.get(key) is None:
        return "default"
    file = profile.path.name if profile.path.parent == DATA else profile.whole.file
    return f"{file}:{profile.whole.place((key,), key=True).line}"

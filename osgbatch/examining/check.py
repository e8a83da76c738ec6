"""What a check is, what it finds, and on what: plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osgbatch import exits
from osgbatch.spec.profiles import PoolProfile
from osgbatch.spec_model import Resources, Stash

OK, WARNING, FAILURE, SKIPPED = "ok", "warning", "failure", "skipped"
STATES = (OK, WARNING, FAILURE, SKIPPED)
LIMIT_S = 8.0
"""Seconds after which a check that says nothing else has failed."""

MACHINE, FOLDERS, CLOCKS = "this machine", "folders", "clocks"
HTCONDOR, STASH, TOOLS, CANARY = "HTCondor", "stash", "tools", "canary"


@dataclass(frozen=True)
class Here:
    """What is examined. profile: of the pool, chosen: by what.

    fault: what is wrong with the settings. job: what a job asks for when its sweep.yaml says
    nothing; project: the one that it then has, as the settings say. stash: as it is found on this
    machine, its kind "none" where there is none; stash_fault: what is wrong with it. condor:
    whether HTCondor is meant to be used here. folder: the current one. token: a random word, of
    which whatever a check leaves for a moment is made.
    """

    profile: PoolProfile
    chosen: str
    folder: Path
    stash: Stash
    condor: bool
    token: str
    fault: str = ""
    stash_fault: str = ""
    known_host: str = ""
    job: Resources = field(default_factory=Resources)
    project: str = ""


@dataclass(frozen=True)
class Found:
    """What a check found. state: one of STATES; fix: what to do; data: for other programs."""

    state: str
    what: str
    fix: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


def ok(what: str, **data: Any) -> Found:
    """All is well."""
    return Found(OK, what, data=data)


def warning(what: str, fix: str, **data: Any) -> Found:
    """It works, and will not always."""
    return Found(WARNING, what, fix, data)


def failure(what: str, fix: str, **data: Any) -> Found:
    """It does not work."""
    return Found(FAILURE, what, fix, data)


def skipped(why: str, fix: str = "") -> Found:
    """There is nothing to look at, or no use in it."""
    return Found(SKIPPED, why, fix)


@dataclass(frozen=True)
class Check:
    """One thing that is looked at.

    meaning: what it tells, for docs/doctor.md; look: looks; limit_s: seconds that it may take;
    needs: checks that must not have failed or been skipped; after: what must be tidied up however
    `look` ended, also when it was killed.
    """

    name: str
    group: str
    meaning: str
    look: Callable[[Here], Found]
    limit_s: float = LIMIT_S
    needs: Sequence[str] = ()
    after: Callable[[Here], None] | None = None


@dataclass(frozen=True)
class Told:
    """What became of a check. seconds: that it took."""

    check: Check
    found: Found
    seconds: float


def exit_code(told: Sequence[Told]) -> int:
    """0 unless a check failed; then 5 for HTCondor, 4 for the stash, else 1."""
    groups = [one.check.group for one in told if one.found.state == FAILURE]
    if HTCONDOR in groups:
        return exits.HTCONDOR
    if STASH in groups:
        return exits.STAGING
    return exits.SOME_FAILED if groups else exits.OK

"""All checks, one after the other; what one finds decides whether others are of use."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from osgbatch import condor
from osgbatch.errors import OsgbatchError
from osgbatch.examining import folders, machine, pool, stash, tools
from osgbatch.examining.bounded import bounded, told_to_end
from osgbatch.examining.check import (
    CLOCKS,
    FAILURE,
    FOLDERS,
    HTCONDOR,
    MACHINE,
    SKIPPED,
    STASH,
    TOOLS,
    Check,
    Found,
    Here,
    Told,
    failure,
    ok,
)
from osgbatch.spec.document import parse_document
from osgbatch.spec.layers import chosen_profile, read_given
from osgbatch.spec.load import load_stash, spec_of
from osgbatch.spec.profiles import GENERIC, access_point, known_profile
from osgbatch.spec_model import Resources, Stash
from osgbatch.submission.planned import stash_here

GROUPS = (MACHINE, FOLDERS, HTCONDOR, STASH, CLOCKS, TOOLS)
"""In this order; clocks after what they are asked of."""
_TIDY_S = 20.0
_NOTHING = b"command: 'true'\n"
"""A sweep that says nothing, so that what holds is what the settings say."""


def checks() -> list[Check]:
    """All of them, in the order of their groups."""
    found = [check for part in (machine, folders, pool, stash, tools) for check in part.CHECKS]
    return sorted(found, key=lambda check: GROUPS.index(check.group))


def look_around(folder: Path) -> Here:
    """What is to be examined; mistakes in settings are noted, and found by a check.

    folder: the current one.
    """
    profile, chosen, fault, stash_fault, place = known_profile(GENERIC), "", "", "", Stash()
    spec = None
    try:
        profile, chosen = chosen_profile(folder)
        layered = read_given(parse_document(_NOTHING, "sweep.yaml"), folder)
        spec = spec_of(folder / "sweep.yaml", layered.document)
    except OsgbatchError as error:
        fault = str(error)
    try:
        place = stash_here(*load_stash(None), folder)
    except OsgbatchError as error:
        stash_fault = "" if fault else str(error)
    known = access_point()
    return Here(
        profile=profile,
        chosen=chosen,
        folder=folder,
        stash=place,
        condor=condor.configured(),
        token=secrets.token_hex(16),
        fault=fault,
        stash_fault=stash_fault,
        known_host=f"{known.host}, an access point of {known.profile.title}" if known else "",
        job=spec.resources if spec else Resources(),
        project=spec.project if spec else "",
    )


def examine(here: Here, tell: Callable[[Told], None], every: Sequence[Check] = ()) -> list[Told]:
    """Run the checks, each bounded in time; what one finds is told at once.

    every: those to be run, by default all.
    """
    found: dict[str, Told] = {}
    for check in every or checks():
        began = time.monotonic()
        needed = [found[name] for name in check.needs if name in found]
        absent = next((one for one in needed if one.found.state in (FAILURE, SKIPPED)), None)
        if absent:
            root = found[absent.found.data.get("needs", absent.check.name)]
            result = Found(SKIPPED, _why(root), data={"needs": root.check.name})
        else:
            with told_to_end():
                result = _look(check, here)
        found[check.name] = Told(check, result, time.monotonic() - began)
        tell(found[check.name])
    return list(found.values())


def _look(check: Check, here: Here) -> Found:
    try:
        return bounded(partial(check.look, here), check.limit_s)
    except OSError as error:  # no more processes, or open files
        return failure(f"it cannot be looked at: {error.strerror}", "End other programs first.")
    finally:
        if check.after is not None:
            with suppress(OSError):
                bounded(partial(_tidied, check.after, here), _TIDY_S)


def _tidied(after: Callable[[Here], None], here: Here) -> Found:
    after(here)
    return ok("")


def _why(absent: Told) -> str:
    name, state = absent.check.name, absent.found.state
    if state == FAILURE:
        return f'not looked at, for "{name}" failed'
    return {"commands": "there is no HTCondor here", "stash": "there is no stash"}.get(
        name, f'not looked at, for "{name}" was skipped'
    )

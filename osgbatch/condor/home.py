"""The schedd that has a round's jobs: nothing is asked of another one, as if it had none."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from osgbatch import names, personal_pool
from osgbatch.condor.commands import SYSTEM_CONFIGS
from osgbatch.condor.schedd import call_schedd, constraint_of, name_here
from osgbatch.errors import CondorError
from osgbatch.model import Round

_EARLIER_S = 11 * 86400
"""How much older than its round a job may look in the history (`leave_in_queue`, clocks)."""
_known: set[tuple[str, str, str]] = set()
"""Expressions that jobs meet, with the names of two schedds that were seen to be one."""


def check_home(round_: Round) -> None:
    """Raises CondorError when another schedd than the one that is used here has a round's jobs."""
    check_schedd(_noted(round_), constraint_of(round_), str(round_.folder))


def check_schedd(told: Mapping[str, Any], wanted: str, where: str) -> None:
    """Raises CondorError when another schedd than the one that is used here has some jobs.

    told: what was noted of their submission: `schedd`, `host`, `time`; wanted: the expression that
    they meet, and no others; where: for the message. Where nothing was noted, or the schedd here
    does not tell its name, nothing is refused. One schedd can have several names (its machine was
    renamed; SCHEDD_HOST is an alias): it is the same when its queue or its history has them.
    """
    noted = str(told.get("schedd") or "")
    here = name_here() if noted else ""
    if not noted or not here or noted.casefold() == here.casefold():
        return
    key = (wanted, noted, here)
    if key in _known:
        return
    if _has_jobs(wanted, float(told.get("time") or 0)):
        _known.add(key)
        return
    raise CondorError(
        f"its jobs are with the schedd {_named(noted)}, and this terminal uses {_named(here)}: "
        "nothing was done",
        where=where,
        fix=_fix(noted, str(told.get("host") or "")),
    )


def _noted(round_: Round) -> dict[str, Any]:
    """What was noted with its submission, as far as it can be read: others tell of damage."""
    with suppress(OSError, ValueError):
        told = json.loads((round_.folder / names.SUBMITTED).read_bytes())
        if isinstance(told, dict) and isinstance(told.get("time", 0), int | float):
            return told
    return {}


def _has_jobs(wanted: str, submitted: float) -> bool:
    """Whether the schedd here has, or had, such jobs."""
    since = f"EnteredCurrentStatus < {int(submitted) - _EARLIER_S}" if submitted else None

    def ask(htcondor: Any) -> bool:
        schedd = htcondor.Schedd()
        opts = htcondor.QueryOpt.IncludeClusterAd
        if schedd.query(constraint=wanted, projection=["ClusterId"], opts=opts):
            return True
        return bool(list(schedd.history(wanted, projection=["ClusterId"], match=1, since=since)))

    return bool(call_schedd(ask))


def _named(schedd: str) -> str:
    own = " (a personal pool)" if personal_pool.is_name(schedd) else ""
    return f'"{schedd}"{own}'


def _fix(noted: str, host: str) -> str:
    variable = personal_pool.CONFIG
    if personal_pool.is_name(noted):
        if personal_pool.another_named():
            how = f"Type `unset {variable}`, and `osgbatch pool up` if it is down"
        elif personal_pool.in_use():  # a user has as many as there are state folders
            how = "Let XDG_STATE_HOME be what it was where it was submitted"
        else:
            how = "Type `osgbatch pool up`"
        return f"{how}; then the same command again, on {host or 'its machine'}."
    system = next((path for path in SYSTEM_CONFIGS if Path(path).is_file()), "")
    how = "Run the same command where it was submitted"
    if host:
        how += f" (on {host})"
    mine = os.environ.get(variable) == str(personal_pool.config_file())
    if system and mine:
        return f"{how}: `export {variable}={system}` makes this terminal use that HTCondor."
    return f"{how}, with the {variable} of that terminal."

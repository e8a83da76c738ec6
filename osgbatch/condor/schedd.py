"""Calls the schedd of this machine through htcondor2, and finds the jobs of a round."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from osgbatch import names, personal_pool
from osgbatch.condor.commands import (
    PERSONAL_DOWN,
    PERSONAL_UP,
    or_personal,
    personal_down,
    run,
    version,
)
from osgbatch.errors import CondorError
from osgbatch.model import Round

_HOST, _AD_FILE = "SCHEDD_HOST", "SCHEDD_DAEMON_AD_FILE"
_CHECKS_ADDRESS = "SEC_FS_ENFORCE_CHANNEL_BINDING"


def call_schedd(call: Callable[[Any], Any], whom: str = "schedd") -> Any:
    """Call a function with the htcondor2 module; whatever fails is a CondorError.

    whom: the daemon that is asked, where it is another one.
    """
    personal_pool.use()  # before it is loaded: it reads CONDOR_CONFIG then
    try:
        import htcondor2
    except ImportError:
        raise CondorError(
            "the Python package htcondor is not installed", fix="pip install htcondor"
        ) from None
    if personal_pool.in_use() and htcondor2.param.get("LOCAL_DIR") != str(personal_pool.folder()):
        htcondor2.reload_config()  # it was loaded before the pool was up
    failures = (htcondor2.HTCondorException, RuntimeError, OSError, ValueError)
    try:
        try:
            return call(htcondor2)
        except failures:
            if not _as_older(htcondor2):
                raise
            return call(htcondor2)
    except failures as error:
        if personal_down():
            raise CondorError(PERSONAL_DOWN, fix=PERSONAL_UP) from None
        raise CondorError(
            f"the {whom} did not answer: {error}",
            fix=f"Try again, or see `condor_q`.{or_personal()}",
        ) from None


def _as_older(htcondor2: Any) -> bool:
    """Whether the bindings are newer than this HTCondor, and from now on log in as its commands do.

    Bindings of 25.14.1 refuse a login by files (FS) whose name does not hold the daemon's address,
    and those of 23.9.6 give none: each call fails, and `act` does not even say why. The commands
    of such a version do not look either, so nothing is lost against them.
    """
    if _CHECKS_ADDRESS in htcondor2.param:
        return False  # as configured, or given up before
    told = re.search(r"CondorVersion: (\d+(?:\.\d+)+)", htcondor2.version())
    try:
        here = version()
    except CondorError:
        return False
    if not told or not here or here >= tuple(map(int, told[1].split("."))):
        return False
    htcondor2.param[_CHECKS_ADDRESS] = "false"
    return True


_names: dict[str, str] = {}
"""By CONDOR_CONFIG, which personal_pool.use() may change: they are asked for at every act."""


def name_here() -> str:
    """The name of the schedd that HTCondor's commands speak to here; empty when it is not told."""
    personal_pool.use()
    config = os.environ.get(personal_pool.CONFIG, "")
    if not _names.get(config):
        _names[config] = _name_now()
    return _names[config]


def _name_now() -> str:
    found = {}
    for name in (_HOST, _AD_FILE):
        with suppress(CondorError):
            found[name] = run(["condor_config_val", name])[0].strip()
    return _name(found)


def schedd_of(htcondor2: Any, name: str) -> Any:
    """The schedd of a name, as it was noted with a submission; empty: that of this machine.

    Another one is found by the collector. Raises OSError when that does not know it.
    """
    if not name or name == _name(htcondor2.param):
        return htcondor2.Schedd()
    ad = htcondor2.Collector().locate(htcondor2.DaemonType.Schedd, name)
    if ad is None:
        raise OSError(f'its jobs are with the schedd "{name}", which the collector does not know')
    return htcondor2.Schedd(ad)


def _name(settings: Mapping[str, Any]) -> str:
    """By what is configured: a schedd elsewhere, else what that of this machine says of itself."""
    if settings.get(_HOST):
        return str(settings[_HOST])
    with suppress(OSError):
        text = Path(str(settings.get(_AD_FILE) or "/")).read_text(errors="replace")
        found = re.search(r'^Name = "(.*)"$', text, re.M)
        return found[1] if found else ""
    return ""


def constraint_of(round_: Round) -> str:
    """The ClassAd expression that the jobs of a round meet, and no others."""
    return f'{names.BATCH_ATTRIBUTE} == "{round_.batch_id}" && OSGBatchRound == {round_.number}'

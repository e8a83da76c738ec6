"""Calls the schedd of this machine through htcondor2, and finds the jobs of a round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from osgbatch import names
from osgbatch.errors import CondorError
from osgbatch.model import Round


def call_schedd(call: Callable[[Any], Any], whom: str = "schedd") -> Any:
    """Call a function with the htcondor2 module; whatever fails is a CondorError.

    whom: the daemon that is asked, where it is another one.
    """
    try:
        import htcondor2
    except ImportError:
        raise CondorError(
            "the Python package htcondor is not installed", fix="pip install htcondor"
        ) from None
    try:
        return call(htcondor2)
    except (htcondor2.HTCondorException, RuntimeError, OSError, ValueError) as error:
        raise CondorError(
            f"the {whom} did not answer: {error}", fix="Try again, or see `condor_q`."
        ) from None


def constraint_of(round_: Round) -> str:
    """The ClassAd expression that the jobs of a round meet, and no others."""
    return f'{names.BATCH_ATTRIBUTE} == "{round_.batch_id}" && OSGBatchRound == {round_.number}'

"""Holds what is left of a round, with the tasks that are not yet in the queue."""

from __future__ import annotations

from osgbatch.condor.schedd import call_schedd, constraint_of
from osgbatch.errors import CondorError
from osgbatch.model import Round


def hold_rest(round_: Round, cluster: int, reason: str) -> int:
    """Hold all jobs of a round that have not ended; a factory pauses with them.

    Gives how many jobs were held. Raises CondorError when the schedd does not let us.
    """
    constraint = f"ClusterId == {cluster} && {constraint_of(round_)} && JobStatus != 5"
    result = call_schedd(
        lambda htcondor: htcondor.Schedd().act(htcondor.JobAction.Hold, constraint, (reason, 1))
    )
    denied = int(result.get("TotalPermissionDenied", 0))
    if denied:
        raise CondorError(
            f"{denied} jobs of cluster {cluster} may not be held by you",
            fix="Is the batch another user's?",
        )
    return int(result.get("TotalSuccess", 0))

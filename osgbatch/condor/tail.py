"""What a running job has printed so far, through condor_tail."""

from __future__ import annotations

from osgbatch.condor.commands import run_bytes
from osgbatch.errors import CondorError, JobGoneError

LIMIT_BYTES = 150_000
"""More than the shim's echo holds."""
ANSWER_LIMIT_S = 20
"""Seconds. condor_tail asks again and again, without end, for a job that does not run (25.14.1)."""


def tail(cluster: int, proc: int) -> bytes:
    """The end of what a running job has printed on its own stdout, at most LIMIT_BYTES.

    Raises CondorError when it cannot be had: the job does not run (any more), or its execution
    point cannot be reached or refuses; JobGoneError when it is not in the queue.
    """
    job = f"{cluster}.{proc}"
    try:
        # As it is: what is no UTF-8, or ends within a character, must not look like another text.
        return run_bytes(["condor_tail", "-maxbytes", str(LIMIT_BYTES), job], limit=ANSWER_LIMIT_S)[
            0
        ]
    except CondorError as error:
        raise _explained(job, error) from None


def _explained(job: str, error: CondorError) -> CondorError:
    """What condor_tail's refusal means; each text was seen on 25.14.1."""
    if "No such job" in error.what:
        return JobGoneError(
            f"job {job} is not in the queue any more",
            fix="It has just ended, or was removed: try again in a moment.",
        )
    if "silent" in error.what:
        return CondorError(
            f"condor_tail had no answer about job {job} in {ANSWER_LIMIT_S} s",
            fix="It does not run any more, or its execution point cannot be reached from here. "
            "What its tasks print comes home when it has ended.",
        )
    if error.what.startswith("there is no"):
        return error
    return CondorError(
        error.what,
        where=f"job {job}",
        fix="What its tasks print comes home when it has ended.",
    )

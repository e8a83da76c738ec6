"""How long HTCondor lets a job run: the back-stop behind the time limits that the shim keeps."""

from __future__ import annotations

from osgbatch.spec_model import Spec

STOP_GRACE_S = 10
"""Seconds between TERM and KILL when a task is over its time."""
DURATION_MARGIN_S = 1800
"""What a job may take besides its tasks' own time before HTCondor holds it."""


def execute_limit(seconds: int, tasks: int, spec: Spec) -> int:
    """allowed_execute_duration of a job in seconds; 0 for none.

    seconds: what its tasks may take together, 0 for no limit; tasks: how many they are. HTCondor
    counts anew after each checkpoint (manual of condor_submit; seen on 23.9 and 25.14).
    """
    retries = spec.retries
    if spec.checkpoint and spec.checkpoint.every_s:
        seconds = min(seconds or spec.checkpoint.every_s, spec.checkpoint.every_s)
    if not seconds:
        return 0
    tries = 1 + (retries.times if retries.on == "codes" else 0)
    return (seconds + STOP_GRACE_S * tasks) * tries + DURATION_MARGIN_S

"""The embedded runner, writing HTCondor's text event log."""

from osgbatch.local.act import job_states, release, remove, requests_of
from osgbatch.local.backend import alive, await_entered, cancel, interrupted, runner_record, submit
from osgbatch.local.slots import SLOTS_VARIABLE

__all__ = [
    "SLOTS_VARIABLE",
    "alive",
    "await_entered",
    "cancel",
    "interrupted",
    "job_states",
    "release",
    "remove",
    "requests_of",
    "runner_record",
    "submit",
]

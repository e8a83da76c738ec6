"""The embedded runner, writing HTCondor's text event log."""

from osgbatch.local.backend import alive, cancel, interrupted, runner_record, submit

__all__ = ["alive", "cancel", "interrupted", "runner_record", "submit"]

"""The embedded runner, writing HTCondor's text event log."""

"""Resolved to submit file, item file and shim."""

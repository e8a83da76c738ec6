"""The first words of the keys of a sweep.yaml: whether the schema has to be loaded at all."""

from __future__ import annotations

KEYS = frozenset((
    "checkpoint", "command", "environment", "environment_variables", "extends", "files",
    "function", "gather", "gpus", "inputs", "libraries", "max_running", "name", "notify",
    "orcid", "outputs", "outputs_to", "profile", "project", "related", "requirements",
    "resources", "results_to", "retries", "script", "stash", "steps", "submit", "sweep", "tags",
    "tasks_per_job",
))  # fmt: skip
"""A test holds them to the schema."""

"""The table of all rules of the linter, in the order in which the documentation lists them."""

from __future__ import annotations

from osgbatch.linting import (  # noqa: F401  each enters its rules
    rules_classads,
    rules_files,
    rules_job,
    rules_names,
    rules_ospool,
    rules_queue,
    rules_refused,
    rules_syntax,
    rules_values,
)
from osgbatch.linting.rules import RULES as RULES

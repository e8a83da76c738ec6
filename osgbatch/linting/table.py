"""The table of all rules of the linter, in the order in which the documentation lists them."""

from __future__ import annotations

from osgbatch.linting import (  # noqa: F401  each enters its rules
    rules_classads,
    rules_files,
    rules_items,
    rules_job,
    rules_names,
    rules_ospool,
    rules_queue,
    rules_refused,
    rules_requirements,
    rules_streams,
    rules_syntax,
    rules_texts,
    rules_values,
)
from osgbatch.linting.rules import RULES as _ENTERED

RULES = dict(sorted(_ENTERED.items(), key=lambda entry: entry[1].check.__module__))
"""All rules by id, in the order of their modules, whichever of these was loaded first."""

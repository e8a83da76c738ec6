"""HTCondor's own parser of submit files and its ClassAds, for the tests that are judged by them.

What a submit file means is for HTCondor to say, not for us. There are machines without its bindings
(no wheel is made for macOS): a test that asks them is skipped there, and all others run.
"""

from __future__ import annotations

from typing import Any

import pytest


class Judge:
    """A module that is imported when a test first asks one of its classes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, attribute: str) -> Any:
        if not attribute[0].isupper():  # pytest looks at whatever a test module has
            raise AttributeError(attribute)
        module = pytest.importorskip(self.name, reason="HTCondor's bindings are the judge here")
        return getattr(module, attribute)


htcondor2 = Judge("htcondor2")
classad2 = Judge("classad2")

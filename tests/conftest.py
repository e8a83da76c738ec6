"""What all tests share: they leave the user's own registry and state alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_state_folder() -> Iterator[None]:
    """Batches that tests make are not entered in the user's registry."""
    with tempfile.TemporaryDirectory(prefix="osgbatch-state-") as folder:
        os.environ["XDG_STATE_HOME"] = folder
        yield

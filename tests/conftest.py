"""What all tests share: they leave the user's own registry and settings alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_folders() -> Iterator[None]:
    """Tests enter no batch in the registry of who runs them, and see none of their defaults."""
    with tempfile.TemporaryDirectory(prefix="osgbatch-state-") as folder:
        os.environ["XDG_STATE_HOME"] = folder
        os.environ["XDG_CONFIG_HOME"] = f"{folder}/config"
        os.environ["OSGBATCH_PROFILE"] = "generic"
        os.environ.pop("OSGBATCH_DEFAULTS", None)
        yield

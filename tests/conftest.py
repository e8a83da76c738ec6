"""What all tests share: the user's own registry and settings are left alone, no Python is got."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_folders() -> Iterator[None]:
    """Tests enter no batch in the registry of who runs them, and see none of their defaults.

    Environments are made with the Python that is here, whatever uv has or could get.
    """
    with tempfile.TemporaryDirectory(prefix="osgbatch-state-") as folder:
        os.environ["XDG_STATE_HOME"] = folder
        os.environ["XDG_CONFIG_HOME"] = f"{folder}/config"
        os.environ["OSGBATCH_PROFILE"] = "generic"
        os.environ.pop("OSGBATCH_DEFAULTS", None)
        # Where uv is on PATH, osgbatch would let it get a Python to pack: from the network.
        os.environ["UV_OFFLINE"] = "1"
        os.environ["UV_PYTHON_INSTALL_DIR"] = f"{folder}/uv"
        yield

"""What all tests share: the user's own registry and settings are left alone, no Python is got."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools" / "stash"))

import stashes
from registered import ENVIRONMENT


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


@pytest.fixture(autouse=True)
def own_pipes() -> Iterator[None]:
    """The command line, run in this process, lets a closed pipe end it: not the tests after it."""
    before = signal.getsignal(signal.SIGPIPE)
    yield
    signal.signal(signal.SIGPIPE, before)


@pytest.fixture(scope="session")
def calls_can_run() -> None:
    """Functions that tests send run in the python3 of this machine: it must be of our version."""
    here = "{}.{}".format(*sys.version_info[:2])
    code = "import sys; print('{}.{}'.format(*sys.version_info[:2]))"
    path = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    found = subprocess.run(
        ["python3", "-c", code], env=path, capture_output=True, text=True, check=False
    )
    if found.stdout.strip() != here:
        pytest.skip(f"python3 of this machine is {found.stdout.strip()}, and this is {here}")


@pytest.fixture(scope="session")
def stash() -> Iterator[stashes.Stash]:
    """A real S3 server, an OSDF-like origin and its cache: those of OSGBATCH_STASH, else its own.

    All tests share it, so each uses names of its own.
    """
    given = os.environ.get(ENVIRONMENT)
    if given:
        yield stashes.load(Path(given))
        return
    with stashes.running() as made:
        yield made

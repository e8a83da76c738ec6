"""What all tests share: the user's own registry and settings are left alone, no Python is got."""

from __future__ import annotations

import json
import os
import shlex
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
        os.environ.pop("OSGBATCH_HOST", None)
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


PLAIN_PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where tasks look for programs."""


@pytest.fixture(scope="session")
def fitting_python() -> Iterator[Path | None]:
    """Defaults of specs by which tasks have our version of Python, in a folder open to all.

    None where the python3 of this machine is of our version.
    """
    code = "import sys; print(*sys.version_info[:2])"
    found = subprocess.run(
        ["python3", "-c", code], env={"PATH": PLAIN_PATH}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if found.stdout.split() == [*map(str, sys.version_info[:2])]:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="osgbatch-python-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for program in ("python", "python3"):
            base = shlex.quote(os.path.realpath(sys.executable))
            (folder / program).write_text(f'#!/bin/sh\nexec {base} "$@"\n')
            (folder / program).chmod(0o755)
        path = json.dumps(f"{folder}:{PLAIN_PATH}")
        (folder / "defaults.yaml").write_text(f"environment_variables: {{PATH: {path}}}\n")
        yield folder / "defaults.yaml"


@pytest.fixture
def calls_can_run(
    fitting_python: Path | None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Functions that tests send are bytecode: they must run in a Python of our version."""
    if fitting_python is None:
        return
    above = Path(os.path.realpath(sys.executable)).parents
    closed = [folder for folder in above if not folder.stat().st_mode & 0o001]
    if request.node.get_closest_marker("pool") and closed:
        pytest.skip(f"jobs of the pool cannot run our Python: {closed[0]} is closed to others")
    monkeypatch.setenv("OSGBATCH_DEFAULTS", str(fitting_python))


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

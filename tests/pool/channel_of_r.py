"""A channel with R, and a cache of what was packed of it: fixtures of the tests that run R."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

import pytest
from test_find_peaks import ROOT

sys.path.insert(0, str(ROOT / "tests/unit"))

import conda_channel
import conda_channel_installed as installed
import r_channel
from conda_channel import Package


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what both pools' tests need is made and packed once; tools/run.py removes it."""
    given = os.environ.get("OSGBATCH_TEST_SHARED")
    folder = Path(given) / "r" if given else tmp_path_factory.mktemp("r")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def channel(shared: Path) -> Path:
    made = shared / "local"
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "made").exists():
            r_channel.add_r(made)
            # The local Python needs more glibc than the OSPool-like pool has, and brings it.
            python = installed.python_with_its_libraries(shared)
            for package in (python, Package("system-libraries", files={"share/none": b""})):
                conda_channel.write_package(made, package)
            conda_channel.index_channel(made)
            (shared / "made").touch()
    return made

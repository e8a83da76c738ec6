"""A disk that is soon full: a tmpfs of a few MB that only the processes of a test see."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_START = """
set -e
mount -t tmpfs -o size="$1k" none "$2"
shift
osgbatch() { "$python" -m osgbatch "$@"; }
make_room() { mount -o remount,size=200m none "$disk"; }
"""


def on_small_disk(
    disk: Path, kilobytes: int, script: str, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a shell script where `disk`, an empty folder, is a file system of its own, and small.

    In the script `$disk` is the folder, `osgbatch` runs osgbatch, and `make_room` makes the disk
    large. Fails the test, and never leaves it out, where this machine allows no such disk.
    """
    disk.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        **(variables or {}),
        "disk": str(disk),
        "python": sys.executable,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}",
        "COLUMNS": "250",
    }
    own = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--user", "--map-root-user"])]
    done = subprocess.run(
        [*own, "sh", "-c", f"{_START}echo there >&2; set +e\n{script}", "sh", str(kilobytes), disk],
        cwd=disk.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    first, _, rest = done.stderr.partition("\n")
    if first != "there":
        pytest.fail(f"no small disk can be made here, which these tests need: {done.stderr}")
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout, rest)

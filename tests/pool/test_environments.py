"""Every kind of environment starts on an execution point and holds what was asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Pool
from sweeps import ended_truly, osgbatch, run_sweep, write_sweep

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

import conda_channel

pytestmark = pytest.mark.pool

JOB = """\
import json, sys
import greeting
seen = {"word": greeting.WORD, "prefix": sys.prefix, "argument": sys.argv[1]}
json.dump(seen, open("outputs/seen.json", "w"))
"""
SPEC = """\
command: python job.py {{n}}
sweep: {{n: [1, 2]}}
files: job.py
environment: {environment}
outputs: outputs/seen.json
resources: {{memory: 300 MB, disk: 300 MB}}
"""


def virtualenv(folder: Path) -> Path:
    """A virtual environment with a package of our own, which is nowhere else."""
    wheel = conda_channel.write_wheel(
        folder, "greeting", "1.0", {"greeting.py": b"WORD = 'hello'\n"}
    )
    subprocess.run([sys.executable, "-m", "venv", folder / "my env"], check=True)
    python = folder / "my env/bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-index", wheel], check=True)
    return folder / "my env"


@pytest.mark.parametrize("kind", ["prefix", "archive", "conda"])
def test_tasks_run_in_the_environment(pool: Pool, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "sweep"
    if kind == "conda":
        (tmp_path / "scratch").mkdir()
        channel = conda_channel.make_channel(tmp_path / "channel", tmp_path / "scratch")
        package = conda_channel.Package(
            "greeting",
            depends=["python"],
            files={"site-packages/greeting.py": b"WORD = 'hello'\n"},
            noarch="python",
        )
        conda_channel.write_package(channel, package)
        conda_channel.index_channel(channel)
        environment = str(conda_channel.spec(tmp_path, channel, "python", "greeting"))
    else:
        environment = str(virtualenv(tmp_path))
        if kind == "archive":
            osgbatch("pack", "env", environment, "--out", tmp_path / "e.tar.gz", cwd=tmp_path)
            environment = str(tmp_path / "e.tar.gz")
    spec = write_sweep(folder, SPEC.format(environment=f'{{{kind}: "{environment}"}}'), {})
    (folder / "job.py").write_text(JOB)
    ran = run_sweep("condor", spec)
    assert ran.status["counts"] == {"succeeded": 2}, ran.status
    for index in range(2):
        seen = ran.result(index, "outputs/seen.json").decode()
        assert '"word": "hello"' in seen
        assert "/.osgbatch/env" in seen
        assert f'"argument": "{index + 1}"' in seen
    ended_truly(ran, pool, 0)

"""The templates of `osgbatch init` run in a pool as they stand: all submitted first, then awaited.

Those of conda and R are in test_environments.py and test_r.py, where such environments are made.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import Pool
from sweeps import osgbatch
from test_find_peaks import ROOT, check_ends

sys.path.insert(0, str(ROOT / "tools"))

import apptainer

pytestmark = [pytest.mark.pool, pytest.mark.once]


def begin(folder: Path, name: str, *more: str, env: Mapping[str, str] | None = None) -> Path:
    """Make a template's folder and submit it; returns the folder. more: options."""
    told = json.loads(osgbatch("init", name, "--json", cwd=folder).stdout)
    _, command, *words = told["next"][1].split()
    made = Path(told["folder"])
    osgbatch(command, "--pool", "condor", *more, *words, cwd=made, env=env)
    return made


def end(pool: Pool, folder: Path, jobs: int) -> Path:
    """Wait for a batch that has been begun so; returns it. All of it has succeeded."""
    (batch,) = (folder / "batches").iterdir()
    osgbatch("watch", batch, cwd=folder)
    osgbatch("collect", batch, cwd=folder)
    with (batch / "results/results.csv").open(newline="") as file:
        assert {row["state"] for row in csv.DictReader(file)} == {"succeeded"}
    check_ends(pool, batch, jobs)
    return batch


def test_the_templates_run_in_a_pool_as_they_stand(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_CONDOR_DAGMAN_USER_LOG_SCAN_INTERVAL", "1")
    foreach = begin(tmp_path, "foreach", "--no-wait")
    image = shutil.copyfile(apptainer.image("busybox"), tmp_path / "image.sif")
    path = {"PATH": f"{apptainer.provide().parent}:{os.environ['PATH']}"}
    # there is no network to get the image that it names
    container = begin(tmp_path, "container", "--set", f"environment={image}", env=path)
    begun = {name: begin(tmp_path, name) for name in ("checkpoint", "sweep", "files", "hello")}

    jobs = {"hello": 3, "sweep": 2, "files": 3, "checkpoint": 2}
    batches = {name: end(pool, begun[name], jobs[name]) for name in jobs}
    batches["container"] = end(pool, container, 2)
    assert len((batches["sweep"] / "results/table.csv").read_text().splitlines()) == 13
    assert "ran in: busybox alone" in (batches["container"] / "results/0/stdout").read_text()
    parts = (batches["checkpoint"] / "results/1/stdout").read_text()
    assert [f"begins with part {n} of 3" in parts for n in (1, 2, 3)] == [True] * 3
    (workflow,) = (foreach / "batches").iterdir()
    osgbatch("watch", workflow, cwd=foreach)
    osgbatch("collect", workflow, cwd=foreach)
    assert len((foreach / "squares/table.csv").read_text().splitlines()) == 6
    check_ends(pool, workflow / "steps/foreach", 5)

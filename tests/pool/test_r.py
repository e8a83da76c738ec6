"""R of conda packages, alone and beside Python, on whichever kind of execution point is there."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
from conftest import Pool
from sweeps import osgbatch
from test_find_peaks import ROOT, check_ends
from test_templates import begin, end

sys.path.insert(0, str(ROOT / "tests/unit"))

import channel_of_r
import conda_channel

pytestmark = [pytest.mark.pool, pytest.mark.environments]
shared, channel = channel_of_r.shared, channel_of_r.channel

NEEDS = ("--set", "resources.memory=400MB", "--set", "resources.disk=600MB")


def fitted(batch: Path) -> list[dict[str, str]]:
    """What the tasks of the example have written, in their order."""
    found = []
    for index in range(len(list((batch / "results").glob("*/outputs/fit.csv")))):
        with (batch / f"results/{index}/outputs/fit.csv").open(newline="") as stream:
            found += list(csv.DictReader(stream))
    return found


@pytest.mark.parametrize("kind", ["R alone", "R and Python"])
def test_the_example_runs(
    pool: Pool, tmp_path: Path, channel: Path, shared: Path, kind: str
) -> None:
    ignored = shutil.ignore_patterns("batches")
    folder = Path(shutil.copytree(ROOT / "examples/r_fit", tmp_path / "r_fit", ignore=ignored))
    alone = kind == "R alone"
    names = ["r-base"] if alone else ["r-base", "r-greet", "python"]
    environment = conda_channel.spec(tmp_path, channel, *names)
    # Alone as it is shipped; beside Python with Rscript named, and fewer tasks.
    more = [] if alone else ["--set", "command=Rscript fit.R {seed} {n}", "--set", "sweep.n=[20]"]
    kept = {"XDG_CACHE_HOME": str(shared / "cache")}
    words = ("--set", f"environment={environment}", *NEEDS)
    template = begin(tmp_path, "R", *words, env=kept) if alone and not pool.ospool else None
    osgbatch(
        *("submit", "--pool", "condor", "--watch", *words, *more, "sweep.yaml"),
        cwd=folder,
        env=kept,
    )
    (batch,) = (folder / "batches").iterdir()
    sizes = ("20", "200") if alone else ("20",)
    found = fitted(batch)
    assert [(row["seed"], row["n"]) for row in found] == [(s, n) for s in "1234" for n in sizes]
    for row in found:
        assert 1 < float(row["low"]) < float(row["slope"]) < float(row["high"]) < 3
    check_ends(pool, batch, 2 if alone else 1)
    listed = (batch / "environment.lock").read_text()
    assert "r-base-4.0.4" in listed and ("python" not in listed) == alone
    record = json.loads((batch / "results/0/status.json").read_text())["job"]
    assert ("Debian GNU/Linux 11" in record["os"]) == pool.ospool
    if template:
        slope = (end(pool, template, 2) / "results/7/outputs/slope.csv").read_text()
        assert 1 < float(slope.splitlines()[1].split(",")[2]) < 3

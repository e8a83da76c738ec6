"""`submit --reuse`: only what was never computed is given to jobs, by HTCondor's history."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Pool
from sweeps import osgbatch, write_sweep

from osgbatch.task_ranges import parse_task_ranges

pytestmark = [pytest.mark.pool, pytest.mark.once]  # of files here, whatever runs the jobs

SPEC = """\
command: sh job.sh {x}
sweep: {x: [0, 1, 2]}
files: [job.sh]
outputs: [outputs/x]
gather: gather.py
resources: {memory: 100 MB, disk: 50 MB}
"""
JOB = "echo result $1 >outputs/x; echo said $1\n"
GATHER = """\
import pathlib
texts = [p.read_text() for p in sorted(pathlib.Path(".").glob("[0-9]*/outputs/x"))]
pathlib.Path("all").write_text("".join(texts))
"""


def submitted(folder: Path, *more: str) -> dict[str, Any]:
    """Submit with --reuse, watch, collect; what submit told, with what it said besides."""
    arguments = ("submit", "--pool", "condor", "--reuse", "--json", "sweep.yaml", *more)
    said = osgbatch(*arguments, cwd=folder)
    told: dict[str, Any] = json.loads(said.stdout)
    osgbatch("watch", told["folder"], cwd=folder)
    osgbatch("collect", told["folder"], cwd=folder)
    return {**told, "said": said.stderr}


def ran(pool: Pool, told: dict[str, Any]) -> list[int]:
    """The tasks that HTCondor has run for a batch."""
    tasks: list[int] = []
    for proc in range(told["jobs"]):
        ad = pool.history_ad(told["cluster"], proc)
        assert ad["OSGBatchID"] == told["id"]
        assert ad["ExitCode"] == 0
        tasks += parse_task_ranges(ad["Arguments"].split(" ")[2])
    return sorted(tasks)


def rows(told: dict[str, Any]) -> list[tuple[str, str]]:
    """State and detail of each row of results.csv."""
    with (Path(told["folder"]) / "results/results.csv").open(newline="") as stream:
        return [(row["state"], row["detail"]) for row in csv.DictReader(stream)]


def test_only_what_was_never_computed_is_run(pool: Pool, tmp_path: Path) -> None:
    files = {"job.sh": JOB, "gather.py": GATHER}
    folder = write_sweep(tmp_path / "sweep", SPEC, files).parent
    first = submitted(folder)
    assert "no result of an earlier batch can be used" in first["said"]
    assert ran(pool, first) == [0, 1, 2]

    # two values more, one result damaged
    name = Path(first["folder"]).name
    (Path(first["folder"]) / "results/1/outputs/x").write_text("result 7\n")
    (folder / "sweep.yaml").write_text(SPEC.replace("[0, 1, 2]", "[0, 3, 1, 2, 4]"))
    second = submitted(folder)
    assert f"reuse: 2 of 5 tasks have succeeded before (batch {name})" in second["said"]
    assert "task 1: 'outputs/x' is not what came back" in second["said"]
    assert second["reused"] == 2
    assert ran(pool, second) == [1, 2, 4]
    old = {0: 0, 3: 2}
    details = [f"reused from {name} task {old[i]}" if i in old else "" for i in range(5)]
    assert rows(second) == [("succeeded", detail) for detail in details]
    results = Path(second["folder"]) / "results"
    assert (results / "all").read_text() == "".join(f"result {x}\n" for x in (0, 3, 1, 2, 4))
    assert (results / "3/stdout").read_text() == "said 2\n"

    # nothing is left to be run, also when nothing is in the cache
    third = submitted(folder)
    assert (third["jobs"], third["cluster"], third["reused"]) == (0, 0, 5)
    assert not pool.queue_ads(f'OSGBatchID == "{third["id"]}"')
    (Path(third["folder"]) / "state.db").unlink()
    now = json.loads(osgbatch("status", "--json", cwd=folder).stdout)
    assert (now["id"], now["counts"], now["ended"]) == (third["id"], {"succeeded": 5}, True)
    assert (Path(third["folder"]) / "results/all").is_file()
    assert "nothing to resubmit" in osgbatch("resubmit", cwd=folder).stdout
    said = osgbatch("submit", "--pool", "condor", "--reuse", "sweep.yaml", cwd=folder)
    assert "nothing was submitted" in said.stdout

    # other code computes all anew
    (folder / "job.sh").write_text(JOB.replace("said", "told"))
    (folder / "sweep.yaml").write_text(SPEC.replace("[0, 1, 2]", "[0, 1]"))
    fourth = submitted(folder)
    assert ran(pool, fourth) == [0, 1]
    assert fourth["reused"] == 0

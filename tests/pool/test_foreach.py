"""`osgbatch foreach` in a pool: three nodes of a DAG, and nothing that succeeded runs twice."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
from conftest import Event, Pool
from sweeps import osgbatch
from test_find_peaks import ROOT

sys.path.insert(0, str(ROOT / "tests/unit"))

import channel_of_r
import conda_channel

pytestmark = pytest.mark.pool
shared, channel = channel_of_r.shared, channel_of_r.channel

NEEDS = ("--pool", "condor", "--disk", "600MB")
SCRIPT = """
import helper

def get_foreach_args(*words):
    return {"elements": list(words), "extra_args": [helper.Mark("-")]}

def foreach(word, mark, element_index):
    with open(f"{word}.txt", "w") as file:
        file.write(str(element_index))
    if word == "c" and not helper.MENDED:
        raise ValueError("not yet")
    return helper.Mark(mark.text + word)

def gather(results, mark):
    print("".join(one.text for one in results), open("d.txt").read())
    with open("table.txt", "w") as file:
        file.write("made")
"""
HELPER = """
MENDED = False
class Mark:
    def __init__(self, text):
        self.text = text
"""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """DAGMan looks each second: each of its nodes waits for three looks, of 5 s else."""
    monkeypatch.setenv("_CONDOR_DAGMAN_USER_LOG_SCAN_INTERVAL", "1")


def ends(pool: Pool, workflow: Path, step: str) -> list[list[Event]]:
    """The terminate events of each round of a step."""
    rounds = sorted((workflow / "steps" / step / "rounds").glob("[0-9]*"))
    return [[e for e in pool.events(one / "events.log") if e.number == 5] for one in rounds]


@pytest.mark.once
@pytest.mark.both_versions
def test_a_failing_element_leaves_its_siblings_and_alone_runs_again(
    pool: Pool, tmp_path: Path
) -> None:
    tmp_path /= "it's, 1"
    code = tmp_path / "code"
    code.mkdir(parents=True)
    (code / "marks.py").write_text(SCRIPT)
    (code / "helper.py").write_text(HELPER)
    words = (*NEEDS, "--memory", "100MB", "--no-wait", "--json", "code/marks.py", *"abcd")
    begun = json.loads(osgbatch("foreach", "--set", "retries=0", *words, cwd=tmp_path).stdout)
    workflow = Path(begun["folder"])
    (code / "helper.py").write_text("raise SystemExit('edited while it runs')")
    # DAGMan goes from phase to phase by itself; this only looks
    watched = osgbatch("watch", workflow, cwd=tmp_path, check=1)
    assert "foreach  failed           4 tasks: 3 succeeded, 1 failed" in watched.stdout
    # inside a node a job that has brought its archive ends with 0, or DAGMan would end the others
    assert [[e.exit_code for e in one] for one in ends(pool, workflow, "foreach")] == [[0] * 4]
    why = osgbatch("why", workflow, cwd=tmp_path, check=None).stdout
    assert "osgbatch: element 2 failed:" in why and "ValueError: not yet" in why
    (code / "helper.py").write_text(HELPER.replace("False", "True"))
    said = osgbatch("resubmit", "--watch", workflow, cwd=tmp_path).stderr
    assert "step foreach: code/helper.py has changed and is taken anew" in said
    again = ends(pool, workflow, "foreach")
    assert [len(one) for one in again] == [4, 1]
    ad = pool.history_ad(again[1][0].cluster, again[1][0].proc)
    assert ad["ExitCode"] == 0 and " 0 2 ." in ad["Arguments"]
    assert [len(one) for one in ends(pool, workflow, "scatter")] == [1]
    assert [len(one) for one in ends(pool, workflow, "gather")] == [1]
    osgbatch("collect", workflow, cwd=tmp_path)
    assert (tmp_path / "marks/stdout.txt").read_text() == "-a-b-c-d 3\n"
    assert (tmp_path / "marks/table.txt").read_text() == "made"


@pytest.mark.once
@pytest.mark.environments
def test_the_example_in_r_runs(pool: Pool, tmp_path: Path, channel: Path, shared: Path) -> None:
    environment = conda_channel.spec(tmp_path, channel, "r-base")
    folder = Path(shutil.copytree(ROOT / "examples/foreach_r_models", tmp_path / "models"))
    done = osgbatch(
        *("foreach", *NEEDS, "--memory", "400MB", "--batch-size", "3"),
        *("--env", str(environment), "models.R"),
        cwd=folder,
        env={"XDG_CACHE_HOME": str(shared / "cache")},
    )
    assert "target" in done.stdout
    with (folder / "models/results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = ["Sepal.Length", "Sepal.Width", "Petal.Length", "Petal.Width"]
    assert [row["target"] for row in rows] == [*names, "setosa", "versicolor", "virginica"]
    assert all(0 < float(row["rmse"]) < 0.5 for row in rows)
    (workflow,) = (folder / "batches").iterdir()
    assert [e.exit_code for one in ends(pool, workflow, "foreach") for e in one] == [0] * 3

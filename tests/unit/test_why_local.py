"""`osgbatch why` of the local runner's batches: the same codes, and no schedd is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_cli import osgbatch

SPEC = """\
command: [sh, case.sh, "{case}"]
sweep:
  zip:
    case: [unreachable, good, bad, bad, silent, long]
    input: ["http://127.0.0.1:9/x.dat", case.sh, case.sh, case.sh, case.sh, case.sh]
    n: [0, 1, 2, 3, 4, 5]
files: [case.sh]
inputs: ["{input}"]
resources: {memory: 100 MB, disk: 10 MB, time: 1 s}
"""
CASE = """\
case $1 in
bad) printf 'so far\\n' ; printf 'one\\nMemoryError\\n\\n' >&2; exit 7 ;;
silent) echo 'only this'; kill -SEGV $$ ;;
long) sleep 30 ;;
esac
"""


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch that has ended; one of its inputs is a URL that nobody serves."""
    here = tmp_path_factory.mktemp("why")
    (here / "sweep.yaml").write_text(SPEC)
    (here / "case.sh").write_text(CASE)
    said = osgbatch("submit", "--pool", "local", "--json", "sweep.yaml", cwd=here)
    folder = Path(json.loads(said.stdout)["folder"])
    osgbatch("watch", folder, cwd=here)
    return folder


def why(batch: Path, *arguments: str, code: int = 1) -> dict[str, Any]:
    # Nothing is asked of HTCondor: its commands and its configuration lead nowhere.
    done = osgbatch(
        "why", batch, *arguments, "--json", cwd=batch.parents[1], CONDOR_CONFIG="/nonexistent"
    )
    assert done.returncode == code, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_held_and_failed_tasks_are_explained(batch: Path) -> None:
    found = why(batch)
    assert found["counts"] == {"held": 1, "succeeded": 1, "failed": 4}
    held, twice, *others = found["causes"]
    assert (held["tasks"], held["code"]) == ([0], "hold 13.256, TransferInputError")
    assert held["cause"] == "An input could not be fetched from its URL."
    assert "Connection refused" in held["told"]
    assert (twice["tasks"], twice["code"]) == ([2, 3], "exit code 7")
    assert (twice["stream"], twice["output"]) == ("stderr", ["one", "MemoryError"])
    assert twice["details"] == ["Its stderr suggests: the program ran out of memory."]
    assert twice["commands"][1].endswith('--tasks 2-3 --set "resources.memory=256MB"')
    assert sum(twice["hosts"].values()) == 2
    silent, long = sorted(others, key=lambda cause: cause["tasks"])
    assert (silent["tasks"], silent["code"]) == ([4], "signal 11 (SEGV)")
    assert (silent["stream"], silent["output"]) == ("stdout", ["only this"])
    assert (long["tasks"], long["code"]) == ([5], "shim code 111")
    assert found["suspects"] == []


def test_one_task_is_explained_alone(batch: Path) -> None:
    (cause,) = why(batch, "3")["causes"]
    assert (cause["tasks"], cause["output"]) == ([3], ["one", "MemoryError"])
    for index in ("0", "3", "5"):  # what is told of one task touches no other
        (cause,) = why(batch, index)["causes"]
        acting = [one for one in cause["commands"] if " logs " not in one]
        assert acting
        assert all(f" --tasks {index}" in one for one in acting)
        assert not any(" --failed" in one for one in acting)
    (cause,) = why(batch, "--task", "1", code=0)["causes"]
    assert cause["state"] == "succeeded"


def test_a_task_that_is_not_there_is_an_error(batch: Path) -> None:
    done = osgbatch("why", batch, "6", cwd=batch.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no task 6" in done.stderr
    assert "Tasks are 0 to 5." in done.stderr

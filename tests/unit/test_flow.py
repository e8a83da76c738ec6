"""What commands tell of a workflow: its plan, what is left of it, one thing to type next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import started

from osgbatch import load as osgbatch_load

SPEC = """\
environment_variables: {GOOD: FOLDER/good}
steps:
  - name: setup
    here: true
    command: [sh, -c, "printf 'x\\\\n1\\\\n2\\\\n' > outputs/r.csv"]
    outputs: outputs/r.csv
  - name: sim
    sweep: {table: "step:setup/0/outputs/r.csv"}
    command: [sh, -c, "test {x} != 2 || test -e $GOOD"]
  - name: last
    after: sim
    sweep: {k: [1, 2, 3]}
    command: [echo, "{k}"]
"""


def test_a_workflow_from_its_plan_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def osgbatch(*words: str, code: int = 0) -> tuple[str, str]:
        done = started.osgbatch(words, tmp_path)
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done.stdout, done.stderr

    (tmp_path / "wf.yaml").write_text(SPEC.replace("FOLDER", str(tmp_path)))
    planned, _ = osgbatch("plan", "wf.yaml", "--set", "resources.memory=3GB")
    assert "\n=== step setup, here\nsweep        wf-setup, from wf.yaml\n" in planned
    assert ", after setup\nis planned when setup has made what it reads\n" in planned
    assert planned.count("3 GB memory") == 2
    told = json.loads(osgbatch("submit", "--dry-run", "--json", "wf.yaml")[0])
    assert [step["plan"] and step["plan"]["tasks"] for step in told["steps"]] == [1, None, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["wf.yaml"]

    submit = ("submit", "--pool", "local", "wf.yaml")
    _, said = osgbatch(*submit, "--until", "setup")
    (flow,) = [path for path in (tmp_path / "batches").iterdir() if path.name.startswith("wf-")]
    assert f"next: osgbatch watch batches/{flow.name}, for the steps that are left\n" in said
    osgbatch(*submit, code=1)
    why, said = osgbatch("why", code=1)
    again = [line.strip() for line in (why + said).splitlines() if "osgbatch resubmit" in line]
    assert again == [f"osgbatch resubmit batches/{flow.name}"]  # and none of the step's batch
    monkeypatch.chdir(tmp_path)
    assert osgbatch_load("wf/sim").status() == {"succeeded": 1, "failed": 1}
    (tmp_path / "good").touch()
    osgbatch("resubmit")
    assert "nothing to cancel: workflow" in osgbatch("cancel", "--yes")[0]

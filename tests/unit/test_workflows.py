"""Workflows: what steps: may say, the DAG it makes, and its life with the local runner."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import started
from jsonschema import Draft202012Validator

from osgbatch.errors import SpecErrors
from osgbatch.rendering.dag import Node, config_text, dag_text, script_text
from osgbatch.spec.jsonschema import json_schema
from osgbatch.spec.steps import has_steps, read_steps
from osgbatch.task_ranges import parse_task_ranges
from osgbatch.workflows.advancing import advance
from osgbatch.workflows.folder import load_workflow
from osgbatch.workflows.starting import check_steps, start_workflow

ROOT = Path(__file__).resolve().parents[2]
SPEC = """\
files: job.sh
steps:
  - name: last
    inputs: ["step:run/*/outputs/y"]
    command: sh job.sh last
  - name: first
    command: sh job.sh first
    outputs: outputs/rows.csv
  - name: run
    sweep: {table: "step:first/0/outputs/rows.csv"}
    command: sh job.sh run {x}
"""


def told(folder: Path, text: str) -> list[tuple[int, str]]:
    """The lines and words of what is wrong with a spec."""
    (folder / "job.sh").write_text("")
    (folder / "flow.yaml").write_text(text)
    with pytest.raises(SpecErrors) as caught:
        check_steps(read_steps(folder / "flow.yaml"), folder / "batches/flow")
    return [(error.place.line, error.what) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("step:first/0", "step:frist/0", [(10, 'there is no step "frist"; did you mean "first"?')]),
        ("first/0/outputs/rows.csv", "first", [(10, '"step:first" names no file of a step')]),
        ("name: run", "name: first", [
            (4, 'there is no step "run"'),
            (9, 'there are two steps named "first"'),
        ]),
        ("    outputs:", "    after: [last]\n    outputs:", [
            (8, "steps wait for each other in a circle: first -> last -> run -> first"),
        ]),
        ("files: job.sh", "command: x", [
            (1, '"command" stands beside steps:, and belongs into one of the steps'),
        ]),
        ("    outputs:", "    here: 1\n    outputs:", [(8, "here: should be true or false")]),
        ("    outputs:", "    files: no.py\n    memory: 1 GB\n    outputs:", [
            (9, 'unknown key "memory"; memory stands under resources'),
        ]),
        ("    outputs:", "    files: no.py\n    outputs:", [(8, '"no.py" does not exist')]),
        ("sh job.sh first", "sh job.sh {y}", [(7, 'unknown name "y" in braces')]),
        ("name: run", "name: parent", [
            (4, 'there is no step "run"'),
            (9, "steps[2]: needs a name of letters, digits, _ and -"),
        ]),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_places(
    tmp_path: Path, old: str, new: str, expected: list[tuple[int, str]]
) -> None:
    found = told(tmp_path, SPEC.replace(old, new))
    assert found == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flow.yaml", "job.sh"]


def test_only_a_top_level_steps_makes_a_workflow(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for text, found in (
        (SPEC, True),
        ("{steps: [], name: x}", True),
        ("command: x\nsweep:\n  steps: [1, 2]\n", False),
        ("command: 'echo\n\n  steps: 3'\n", False),
    ):
        path.write_text(text)
        assert has_steps(path) is found
    os.mkfifo(tmp_path / "pipe")
    assert not has_steps(tmp_path / "pipe")


def test_the_dag_has_a_node_for_each_step_and_an_edge_for_each_need() -> None:
    nodes = [Node("a", 2), Node("b", 0, ("a", "setup")), Node("c", 1, ("a", "b"))]
    lines = dag_text("flow", nodes).splitlines()
    assert [line for line in lines if line.startswith(("JOB", "RETRY", "PARENT"))] == [
        "JOB a steps/a/node.submit",
        "RETRY a 2 UNLESS-EXIT 3",
        "JOB b steps/b/node.submit",
        "JOB c steps/c/node.submit",
        "RETRY c 1 UNLESS-EXIT 3",
        "PARENT a CHILD b",
        "PARENT a b CHILD c",
    ]
    assert "DAGMAN_USE_STRICT" in config_text(temporary=True)
    assert "DAGMAN_USE_STRICT" not in config_text(temporary=False)
    script = script_text(["/usr/bin/printf", "%s|"], {"ODD": "it's\n$x"})
    done = subprocess.run(
        ["sh", "-n", "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert not done.stderr


# --- with the local runner -----------------------------------------------------------------------

JOB = """\
[ "$3" != slowly ] || sleep 2
case $1$2 in
    first) printf 'x\\n1\\n2\\n3\\n' >outputs/rows.csv ;;
    run2) if [ -e "$GATE" ]; then echo 2 >outputs/y; else exit 3; fi ;;
    run*) echo "$2" >outputs/y ;;
    last) cat inputs/run/*/outputs/y >outputs/all ;;
esac
"""


def osgbatch(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return started.osgbatch(words, cwd)


def write(folder: Path, spec: str = SPEC) -> Path:
    folder.mkdir()
    (folder / "flow.yaml").write_text(
        spec.replace(
            "files: job.sh", f"files: job.sh\nenvironment_variables: {{GATE: {folder}/gate}}"
        )
    )
    (folder / "job.sh").write_text(JOB)
    return folder


def rounds(flow: Path, step: str) -> list[list[int]]:
    notes = sorted(flow.glob(f"steps/{step}/rounds/[0-9]*/round.json"))
    return [parse_task_ranges(json.loads(note.read_text())["tasks"]) for note in notes]


def counts(folder: Path) -> dict[str, Mapping[str, int]]:
    steps = json.loads(osgbatch("status", "--json", cwd=folder).stdout)["steps"]
    return {step["name"]: step["counts"] for step in steps}


def test_what_failed_is_run_again_and_nothing_else(tmp_path: Path) -> None:
    folder = write(tmp_path / "flow")
    done = osgbatch("submit", "--pool", "local", "flow.yaml", cwd=folder)
    assert done.returncode == 1, done.stderr
    assert counts(folder) == {
        "first": {"succeeded": 1},
        "run": {"succeeded": 2, "failed": 1},
        "last": {},
    }
    assert "task 1 failed: exit code 3" in osgbatch("why", cwd=folder).stdout
    spec = (folder / "flow.yaml").read_text()
    (folder / "flow.yaml").write_text(f"{spec}  - {{name: more, command: x}}\n")
    assert "are not what they were" in osgbatch("resubmit", cwd=folder).stderr
    (folder / "flow.yaml").write_text(spec.replace(f"{folder}/gate", f"{folder}/job.sh"))
    done = osgbatch("resubmit", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "step run: its spec has changed" in done.stderr
    (flow,) = (folder / "batches").iterdir()
    assert (flow / "steps/last/results/0/outputs/all").read_text() == "1\n2\n3\n"
    assert [rounds(flow, step) for step in ("first", "run", "last")] == [
        [[0]],
        [[0, 1, 2], [1]],
        [[0]],
    ]
    assert "flow-" in osgbatch("ls", cwd=folder).stdout
    assert osgbatch("tasks", "flow/run", "--ids", cwd=folder).stdout == "0-2\n"


def test_killed_in_a_step_it_goes_on_there(tmp_path: Path) -> None:
    folder = write(tmp_path / "flow", SPEC.replace("run {x}", "run {x} slowly"))
    (folder / "gate").touch()
    victim = subprocess.Popen(
        [sys.executable, "-m", "osgbatch", "submit", "--pool", "local", "flow.yaml"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not list(folder.glob("batches/*/steps/run/rounds/001/submitted.json")):
        assert time.monotonic() < deadline and victim.poll() is None
        time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    done = osgbatch("submit", "--pool", "local", "flow.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "continuing workflow" in done.stderr
    (flow,) = (folder / "batches").iterdir()
    assert (flow / "steps/last/results/0/outputs/all").read_text() == "1\n2\n3\n"
    assert [rounds(flow, step) for step in ("first", "run", "last")] == [
        [[0]],
        [[0, 1, 2]],
        [[0]],
    ]
    # As if it had been killed a moment earlier, before there was a runner.
    step = flow / "steps/run"
    (step / "rounds/001/events.log").unlink()
    (step / "state.db").unlink()
    noted = json.loads((step / "rounds/001/submitted.json").read_text())
    (step / "rounds/001/submitted.json").write_text(json.dumps({**noted, "cluster": 0}))
    for made in (step / "results", step / "rounds/001/returned", flow / "steps/last"):
        shutil.rmtree(made)
    assert "run    waiting" in osgbatch("status", "flow", cwd=folder).stdout
    done = osgbatch("submit", "--pool", "local", "flow.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "continuing workflow" in done.stderr
    assert list((folder / "batches").iterdir()) == [flow]
    assert (flow / "steps/last/results/0/outputs/all").read_text() == "1\n2\n3\n"


def test_a_program_may_start_one_and_later_steps_take_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text(JOB)
    said: list[str] = []
    document: dict[str, Any] = {
        "name": "by hand",
        "files": ["job.sh"],
        "environment_variables": {"GATE": "/nowhere"},
        "steps": [
            {"name": "first", "command": ["sh", "job.sh", "first"]},
            {
                "name": "run",
                "partial": True,
                "sweep": {"table": "step:first/0/outputs/rows.csv"},
                "command": ["sh", "job.sh", "run", "{x}"],
            },
            {
                "name": "last",
                "here": True,
                "inputs": ["step:run/*/outputs/y"],
                "command": ["sh", "job.sh", "last"],
            },
        ],
    }
    made = start_workflow(document, tmp_path, "local", said.append)
    assert not list(made.folder.glob("steps/*/rounds"))
    now = advance(load_workflow(made.folder), said.append, wait=True)
    assert [step.state for step in now.steps] == ["succeeded", "partial", "succeeded"]
    assert now.exit_code == 0
    assert (made.step_folder("last") / "results/0/outputs/all").read_text() == "1\n3\n"


def test_the_page_and_the_example_are_the_same_and_right(tmp_path: Path) -> None:
    page = (ROOT / "docs/workflows.md").read_text()
    block = page.partition("```yaml workflow.yaml\n")[2].partition("```")[0]
    example = ROOT / "examples/three_phases"
    (tmp_path / "page").mkdir()
    (tmp_path / "page/workflow.yaml").write_text(block)
    shutil.copy(example / "antenna.py", tmp_path / "page")
    found = []
    for folder in (tmp_path / "page", example):
        steps = read_steps(folder / "workflow.yaml")
        specs = check_steps(steps, folder / "batches/x")
        found.append([(s.name, s.here, s.after, specs[s.name].command) for s in steps.steps])
    told = [[(name, here, after) for name, here, after, _ in one] for one in found]
    assert told[0] == told[1]


def test_each_phase_of_the_example_runs_alone_and_once(tmp_path: Path) -> None:
    folder = tmp_path / "three_phases"
    shutil.copytree(ROOT / "examples/three_phases", folder)
    for phase in ("setup", "run", "extract"):
        words = ("submit", "--pool", "local", "workflow.yaml", "--until", phase)
        done = osgbatch(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
        (flow,) = (folder / "batches").iterdir()
        assert f"step {phase}: runs here" in done.stderr
        assert done.stderr.count("runs here") == 1
    peaks = (flow / "steps/extract/results/0/outputs/peaks.csv").read_text().split()
    assert peaks == ["simulation,peak", *(f"n{n}-d{d},{n}" for n in (1, 2, 4) for d in (0.25, 0.5))]
    assert osgbatch("report", cwd=folder).stderr.count("three-phases/run") == 1


def test_the_schema_knows_steps() -> None:
    validator = Draft202012Validator(json_schema())
    good = {"steps": [{"name": "a", "command": "x", "here": True, "after": ["b"]}]}
    assert validator.is_valid(good)
    wrong: list[Any] = [[], [{"command": "x"}], [{"name": "a", "no": 1}]]
    for steps in wrong:
        assert not validator.is_valid({"steps": steps})

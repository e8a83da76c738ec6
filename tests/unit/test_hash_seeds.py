"""Two processes order sets in different ways: what is recognised again must not depend on that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SWEEP = """\
command: sh work.sh {b} {a}
sweep: {a: [1, 2], b: [x, y], c: [p]}
files: [work.sh, one.txt, two.txt, three.txt]
environment_variables: {ALPHA: "1", BETA: "2", GAMMA: "3", DELTA: "4"}
tags: [red, green, blue, yellow]
outputs: [outputs/a, outputs/b]
tasks_per_job: 4
"""
FLOW = """\
name: flow
files: [work.sh, one.txt, two.txt, three.txt]
environment_variables: {ALPHA: "1", BETA: "2", GAMMA: "3"}
steps:
  - {name: first, command: "sh work.sh 1 1"}
  - {name: other, command: "sh work.sh 2 2"}
  - name: last
    inputs: ["step:first/*/outputs/a", "step:other/*/outputs/b"]
    command: sh work.sh 3 3
"""


def osgbatch(seed: str, folder: Path, *words: str) -> str:
    """Not a fork of a server, as other tests have it: all of those have one seed."""
    done = subprocess.run(
        [sys.executable, "-m", "osgbatch", *words],
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": seed},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_what_was_done_is_recognised_by_a_process_of_another_seed(tmp_path: Path) -> None:
    (tmp_path / "work.sh").write_text("echo $1 >outputs/a; echo $2 >outputs/b\n")
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.txt").write_text(name)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    (tmp_path / "flow.yaml").write_text(FLOW)
    local = ("--pool", "local")
    osgbatch("1", tmp_path, "submit", *local, "--watch", "sweep.yaml")
    assert "all has been computed before" in osgbatch(
        "2", tmp_path, "submit", *local, "--watch", "--reuse", "sweep.yaml"
    )
    osgbatch("1", tmp_path, "submit", *local, "flow.yaml")
    assert "has done this already" in osgbatch("2", tmp_path, "submit", *local, "flow.yaml")
    plans = [osgbatch(seed, tmp_path, "plan", "--json", "sweep.yaml") for seed in ("1", "2")]
    assert plans[0] == plans[1]

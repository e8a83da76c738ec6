"""Faults of workflows: killed at each step of their submission, and at each of DAGMan's scripts.

What must hold afterwards: one workflow and one DAGMan; each task in exactly one job, which ended
with 0, by the history; each ran to its end once, by the ledger; the last step read the results of
all others.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cases import KILL_AT
from daemons_of import json_of
from registry import case
from scene import COMPLETED, LIMIT_S, Scene, tasks_of

ELEMENTS = 3
SUBMIT = ("submit", "flow.yaml", "--pool", "condor", "--no-watch", "--json")
BUSY = (0, 6)
SPEC = """\
name: {name}
files: [step.sh]
resources: {{memory: 100 MB, disk: 50 MB}}
steps:
  - {{name: first, command: sh step.sh first 0, outputs: outputs/rows.csv}}
  - name: run
    sweep: {{table: "step:first/0/outputs/rows.csv"}}
    command: sh step.sh run {{x}}
    outputs: outputs/value
  - name: last
    inputs: ["step:run/*/outputs/value"]
    command: sh step.sh last 0
    outputs: outputs/value
"""
STEP = """\
case $1 in
    first) (echo x; seq 0 {last}) >outputs/rows.csv ;;
    run) echo "value $2" >outputs/value ;;
    last) cat inputs/run/*/outputs/value >outputs/value ;;
esac
echo "end $1 $2" >>'{ledger}'
"""
SCRIPT = """\
def done(*words):
    with open({ledger!r}, "a") as file:
        print("end", *words, file=file)

def get_foreach_args():
    done("scatter", 0)
    return {{"elements": list(range({count})), "extra_args": []}}

def foreach(element):
    done("foreach", element)
    return element

def gather(results):
    done("gather", 0)
    print(*(f"value {{one}}" for one in results), sep="\\n")
"""


class FlowScene(Scene):
    """A workflow in place of a sweep. words: the command that begins it and goes on with it."""

    steps: Mapping[str, int] = {"first": 1, "run": ELEMENTS, "last": 1}
    words: tuple[str, ...] = SUBMIT
    made = "steps/last/results/0/outputs/value"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.env["_CONDOR_DAGMAN_USER_LOG_SCAN_INTERVAL"] = "1"
        (self.folder / "sweep.yaml").unlink()
        self.write()

    def write(self) -> None:
        """Write what is submitted."""
        (self.folder / "flow.yaml").write_text(SPEC.format(name=self.name))
        text = STEP.format(last=ELEMENTS - 1, ledger=self.ledger)
        (self.folder / "step.sh").write_text(text)

    @property
    def flow(self) -> Path:
        """Its folder. Of those that were not made whole nothing but rubbish may be left."""
        found = [path.parent for path in self.folder.glob("batches/[!.]*/workflow.json")]
        if len(found) != 1:
            raise AssertionError(f"there are {len(found)} workflows")
        return found[0]

    def finish(self) -> None:
        """Give the command again, follow the workflow to its end, and check everything."""
        self.osgbatch(*self.words, allowed=BUSY)
        name = str(self.flow)
        watched = self.osgbatch("watch", name)
        collected = self.osgbatch("collect", name)
        told = json.loads(self.osgbatch("status", "--json", name).out)
        if (watched.code, collected.code, told["succeeded"]) != (0, 0, True):
            said = f"{watched.out} {watched.err} {collected.err}"
            self.wrong(f"it has not succeeded: {told['steps']} {said[-600:]}")
        self._check_jobs(told)
        lines = sorted(self.ledger.read_text().splitlines())
        expected = [f"end {step} {n}" for step, count in self.steps.items() for n in range(count)]
        if lines != sorted(expected):
            self.wrong(f"the tasks ran so: {lines}")
        path = self.flow / self.made
        text = "".join(f"value {n}\n" for n in range(ELEMENTS))
        if not path.is_file() or path.read_text() != text:
            self.wrong("what the last step has made is not of all that came before")

    def _check_jobs(self, told: Mapping[str, Any]) -> None:
        """By the queue and the history: DAGMan's own job, and one for each task."""
        ids = {told["id"]: "DAGMan"}
        for step in self.steps:
            resolved = json.loads((self.flow / "steps" / step / "resolved.json").read_text())
            ids[str(resolved["batch_id"])] = step
        deadline = time.monotonic() + LIMIT_S
        while self._queue(ids) and time.monotonic() < deadline:
            time.sleep(0.5)
        if left := self._queue(ids):
            self.wrong(f"{len(left)} jobs are in the queue still")
        where = " || ".join(f'OSGBatchID == "{one}"' for one in ids)
        answer = json_of("condor_history", "-json", "-constraint", where)
        found: dict[str, list[int]] = {}
        for ad in json.loads(answer) if answer.strip() else []:
            step = ids[ad["OSGBatchID"]]
            found.setdefault(step, []).extend([0] if step == "DAGMan" else tasks_of(ad))
            if ad["JobStatus"] != COMPLETED or ad.get("ExitCode") != 0:
                self.wrong(f"a job of {step} has JobStatus {ad['JobStatus']}")
        expected = {"DAGMan": [0], **{step: list(range(n)) for step, n in self.steps.items()}}
        if {step: sorted(tasks) for step, tasks in found.items()} != expected:
            self.wrong(f"the jobs have these tasks: {found}")

    def _queue(self, ids: Mapping[str, str]) -> list[Any]:
        where = " || ".join(f'OSGBatchID == "{one}"' for one in ids)
        answer = json_of("condor_q", "-allusers", "-json", "-constraint", where)
        return list(json.loads(answer)) if answer.strip() else []


class ForeachScene(FlowScene):
    """A foreach of as many elements."""

    steps: Mapping[str, int] = {"scatter": 1, "foreach": ELEMENTS, "gather": 1}
    made = "steps/gather/results/0/stdout"

    def write(self) -> None:
        """Write the script."""
        text = SCRIPT.format(ledger=str(self.ledger), count=ELEMENTS)
        (self.folder / f"{self.name}.py").write_text(text)
        needs = ("--memory", "100MB", "--disk", "50MB")
        options = ("--pool", "condor", "--no-wait", "--json", *needs)
        self.words = ("foreach", *options, f"{self.name}.py")


def killed(scene: FlowScene, step: int | str) -> None:
    """Kill what begins a workflow right before one of its effects, as kill_at.py counts them."""
    trace = str(scene.folder / "trace")
    victim = scene.start(str(step), trace, *scene.words, runner=(KILL_AT,))
    scene.end(victim, allowed=(0, -signal.SIGKILL))


_steps: dict[type, int] = {}
_counting = threading.Lock()


def steps_of(scene: FlowScene) -> int:
    """How many effects the command has that nobody kills, counted once."""
    with _counting:
        if type(scene) not in _steps:
            whole = type(scene)(scene.folder / "whole", scene.daemons, scene.rng, 0.1)
            killed(whole, 0)
            assert not whole.violations, whole.violations
            _steps[type(scene)] = len((whole.folder / "trace").read_text().splitlines())
            whole.osgbatch("cancel", "--yes", str(whole.flow))
        return _steps[type(scene)]


def at_a_step(scene: Scene) -> None:
    """Killed at any of its effects; what is left must be gone on with by the same command."""
    assert isinstance(scene, FlowScene)
    killed(scene, scene.rng.randrange(1, 1 + steps_of(scene)))


case("workflow killed at a step", scene=FlowScene)(at_a_step)
case("foreach killed at a step", scene=ForeachScene)(at_a_step)

SCRIPTS = ("prepare", "judge")
MOST_EFFECTS = {"prepare": 120, "judge": 12}
"""About how many effects they have; a later one is never met, and nothing is killed then."""


def script_killed(scene: FlowScene, what: str, step: str, effect: int | str) -> None:
    """Kill, once, what DAGMan runs before or after the node of a step, right before an effect."""
    scene.osgbatch("render", "flow.yaml")
    script = scene.flow / "node.sh"
    once = scene.flow / "once"
    words = [sys.executable, KILL_AT, str(effect), str(scene.folder / "trace"), "node", "."]
    text = script.read_text()
    assert "exec >>" in text
    struck = (
        f'if [ "$1 $2" = "{what} {step}" ] && mkdir {shlex.quote(str(once))}; then\n'
        f'    exec {shlex.join(words)} "$@"\nfi\n'
    )
    last = text.rindex("exec ")
    script.write_text(text[:last] + struck + text[last:])


@case("DAGMan's script killed at a step", scene=FlowScene)
def node_killed(scene: Scene) -> None:
    """The one before a node, or the one after it; DAGMan does the node again."""
    assert isinstance(scene, FlowScene)
    what = scene.rng.choice(SCRIPTS)
    step = scene.rng.choice(list(scene.steps))
    script_killed(scene, what, step, scene.rng.randrange(1, 1 + MOST_EFFECTS[what]))

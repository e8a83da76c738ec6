"""One small sweep on the real pool, run by the command line alone, and what of it must hold.

Whatever is done to it, at the end: every task is in exactly one job of each round (by the queue and
the history), none is lost, each state is what the job's ad says, nothing counts as succeeded that
did not run to its end (by a ledger that the tasks write), each task has one result, and no command
of osgbatch failed but in words.
"""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemons_of import Daemons, json_of
from disks import Disk

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import started

TASKS = 6
PER_JOB = 2
FAILS = TASKS - 1  # this task exits 3, all others 0
LIMIT_S = 180.0
REMOVED, COMPLETED = 3, 4
SPEC = """\
name: {name}
command: [sh, task.sh, "{{n}}"]
sweep: {{n: {{range: {tasks}}}}}
files: [task.sh]
outputs: [outputs/value]
tasks_per_job: {per_job}
resources: {{memory: 100 MB, disk: 50 MB}}
# Else a job whose execution point is lost is waited for for 40 minutes.
submit: {{job_lease_duration: 6}}
"""
SCRIPT = """\
until [ -e '{ledger}.go' ]; do sleep 0.1; done
echo "start $1" >> '{ledger}'
case $1 in {sleeps} esac
echo "value $1" > outputs/value
echo "end $1" >> '{ledger}'
[ "$1" != {fails} ] || exit 3
"""
OK_OR_FAILED = (0, 1)
PLAIN = ("-m", "osgbatch")
"""What Python is to run, where nothing strikes the command itself."""


@dataclass
class Said:
    """What a command of osgbatch said, and its exit code."""

    arguments: Sequence[str]
    code: int
    out: str
    err: str


@dataclass
class Scene:
    """One sweep in a folder of its own. seconds: about how long its tasks take, each.

    disk: on which it lies, all that osgbatch keeps for a user included; env: more variables for
    osgbatch; ledger: where the tasks write down what they do, an execution point's business. They
    begin when a submission has come to its end, so that none is over before it is tried again.
    """

    folder: Path
    daemons: Daemons
    rng: random.Random
    seconds: float = 1.0
    violations: list[str] = field(default_factory=list)
    batch: Path | None = None
    disk: Disk | None = None
    env: dict[str, str] = field(default_factory=dict)
    ledger: Path = Path("ledger")
    runner: Sequence[str] = PLAIN

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.name = f"f{self.rng.randrange(16**10):010x}"
        self.ledger = self.folder / self.ledger
        self.ledger.touch()
        if self.disk:
            for kept in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
                self.env[kept] = str(self.disk.path / kept.lower())
        sleeps = " ".join(
            f"{n}) sleep {self.rng.uniform(0.2, 2) * self.seconds:.2f} ;;" for n in range(TASKS)
        )
        script = SCRIPT.format(ledger=self.ledger, sleeps=sleeps, fails=FAILS)
        (self.folder / "task.sh").write_text(script)
        spec = SPEC.format(name=self.name, tasks=TASKS, per_job=PER_JOB)
        (self.folder / "sweep.yaml").write_text(spec)

    def start(
        self, *arguments: str, path: str = "", runner: Sequence[str] | None = None
    ) -> subprocess.Popen[str]:
        """Start osgbatch; path: folders to be searched before those of PATH.

        runner: what Python is to run, else that of the scene.
        """
        env = {**os.environ, **self.env}
        if path:
            env["PATH"] = f"{path}:{env['PATH']}"
        return subprocess.Popen(
            [sys.executable, "-B", *(runner or self.runner), *arguments],
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def end(
        self, process: subprocess.Popen[str], allowed: Sequence[int] | None = OK_OR_FAILED
    ) -> Said:
        """Wait for osgbatch. Another exit code, no end, or a traceback is a violation."""
        words = list(map(str, process.args))[2:]  # type: ignore[arg-type]
        arguments = words[words.index("osgbatch") + 1 :] if "osgbatch" in words else words[2:]
        try:
            out, err = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            self._hung(arguments, out)
        return self._said(arguments, process.returncode, out, err, allowed)

    def osgbatch(self, *arguments: str, allowed: Sequence[int] | None = OK_OR_FAILED) -> Said:
        """Run osgbatch to its end."""
        if self.runner != PLAIN:
            return self.end(self.start(*arguments), allowed)
        try:
            done = started.osgbatch(arguments, self.folder, {**os.environ, **self.env}, LIMIT_S)
        except subprocess.TimeoutExpired as late:
            self._hung(arguments, str(late.stdout))
            return self._said(arguments, -signal.SIGKILL, "", "", allowed)
        return self._said(arguments, done.returncode, done.stdout, done.stderr, allowed)

    def _hung(self, arguments: Sequence[str], out: str) -> None:
        self.wrong(f"osgbatch {arguments[0]} did not end in {LIMIT_S:g} s: {out[-300:]}")

    def _said(
        self, arguments: Sequence[str], code: int, out: str, err: str, allowed: Sequence[int] | None
    ) -> Said:
        """What a command said. Another exit code than the allowed, or a traceback, is wrong."""
        said = Said(arguments, code, out, err)
        if "Traceback" in err:
            self.wrong(f"osgbatch {arguments[0]} showed a traceback: {err[-400:]}")
        elif allowed is not None and said.code not in allowed:
            self.wrong(f"osgbatch {arguments[0]} exited with {said.code}: {err[-400:]}")
        return said

    def wrong(self, what: str) -> None:
        """Note a violation."""
        self.violations.append(" ".join(what.split()))

    def pause(self, most: float, least: float = 0.0) -> None:
        """Wait a random time, in seconds."""
        time.sleep(self.rng.uniform(least, most))

    def submit(self) -> Path:
        """Submit the sweep, also when that was cut short before; gives the batch's folder."""
        return self.submit_so("submit", "sweep.yaml", "--pool", "condor", "--no-watch", "--json")

    def submit_so(self, *arguments: str) -> Path:
        """The same by a command of its own."""
        said = self.osgbatch(*arguments, allowed=None)
        if said.code == 0:
            return self.submitted(Path(json.loads(said.out)["folder"]))
        found = sorted((self.folder / "batches").glob("*/rounds"))
        if "--again" not in said.err or len(found) != 1:
            raise AssertionError(f"submit exited with {said.code}: {said.err}")
        return self.submitted(found[0].parent)  # it had been submitted whole

    def submitted(self, batch: Path) -> Path:
        """Let the tasks begin."""
        self.batch = batch
        self._go.touch()
        return batch

    def stop(self) -> None:
        """Let tasks that are submitted from now on wait, until a submission is at its end."""
        self._go.unlink()

    @property
    def _go(self) -> Path:
        return self.ledger.with_name(f"{self.ledger.name}.go")

    @property
    def log(self) -> Path:
        """The event log."""
        assert self.batch is not None
        return self.batch / "rounds/001/events.log"

    @property
    def cluster(self) -> int:
        """The cluster of the first round."""
        assert self.batch is not None
        noted = json.loads((self.batch / "rounds/001/submitted.json").read_text())
        return int(noted["cluster"])

    def ads(self) -> list[dict[str, Any]]:
        """The ads of all jobs of the sweep, those in the queue first."""
        constraint = f'JobBatchName == "{self.name}"'
        found: list[dict[str, Any]] = []
        for command in ("condor_q", "condor_history"):
            who = ["-allusers"] if command == "condor_q" else []
            answer = json_of(command, *who, "-json", "-constraint", constraint)
            found += json.loads(answer) if answer.strip() else []
        return found

    def ended_in_ledger(self) -> set[int]:
        """The tasks that ran to their end, at least once."""
        words = [line.split() for line in self.ledger.read_text().splitlines()]
        return {int(line[1]) for line in words if len(line) == 2 and line[0] == "end"}

    def look(self, allowed: Sequence[int] = OK_OR_FAILED) -> None:
        """A look while the fault lasts: what it tells must be true, if not all."""
        said = self.osgbatch("status", "--json", allowed=allowed)
        if said.code not in OK_OR_FAILED:
            return
        ended = self.ended_in_ledger()
        try:
            tasks = json.loads(said.out)["tasks"]
        except ValueError:
            self.wrong(f"status is no JSON: {said.out[:200]}")
            return
        for task in tasks:
            index, state = task["index"], task["state"]
            if state in ("succeeded", "failed") and index not in ended:
                self.wrong(f"task {index} is told as {state} before it has ended")
            elif state == "failed" and index != FAILS:
                self.wrong(f"task {index} is told as failed: {task['reason']}")
            elif state == "removed":
                self.wrong(f"task {index} is told as removed, and nobody removes it")

    def finish(self) -> None:
        """Follow the batch to its end, collect it, and check everything."""
        watched = self.osgbatch("watch")
        collected = self.osgbatch("collect", "--no-gather")
        told = self.osgbatch("status", "--json")
        codes = {watched.code, collected.code, told.code}
        try:
            status = json.loads(told.out)
        except ValueError:
            self.wrong(f"status is no JSON: {told.out[:200]}")
            return
        tasks = {int(task["index"]): task for task in status["tasks"]}
        expected = 0 if set(status["counts"]) == {"succeeded"} else 1
        if codes != {expected}:
            self.wrong(f"exit codes {codes} with {status['counts']}")
        if sorted(tasks) != list(range(TASKS)):
            self.wrong(f"status tells of the tasks {sorted(tasks)}")
        ads = self.wait_for_history()
        self._each_once(ads)
        self._as_the_ads_say(ads, tasks)
        self._results(tasks)

    def wait_for_history(self) -> list[dict[str, Any]]:
        """The ads, once no job is in the queue but held ones."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            ads = self.ads()
            if all(ad["JobStatus"] in (REMOVED, COMPLETED, 5) for ad in ads):
                return ads
            if time.monotonic() > deadline:
                self.wrong(f"jobs wait or run still after {LIMIT_S:g} s")
                return ads
            time.sleep(0.5)

    def _each_once(self, ads: Sequence[Mapping[str, Any]]) -> None:
        """Each task in exactly one job of a round, all of one batch."""
        if len({ad["OSGBatchID"] for ad in ads}) != 1:
            self.wrong(f"jobs of {len({ad['OSGBatchID'] for ad in ads})} batches were submitted")
        seen: dict[tuple[int, int], set[str]] = {}
        for ad in ads:
            for index in tasks_of(ad):
                key = int(ad["OSGBatchRound"]), index
                seen.setdefault(key, set()).add(f"{ad['ClusterId']}.{ad['ProcId']}")
        for (number, index), jobs in sorted(seen.items()):
            if len(jobs) != 1:
                self.wrong(f"task {index} is in {len(jobs)} jobs of round {number}: {sorted(jobs)}")
        missing = set(range(TASKS)) - {index for _, index in seen}
        if missing:
            self.wrong(f"no job has the tasks {sorted(missing)}")

    def _as_the_ads_say(
        self, ads: Sequence[Mapping[str, Any]], tasks: Mapping[int, Mapping[str, Any]]
    ) -> None:
        ended = self.ended_in_ledger()
        for ad in ads:
            for index in tasks_of(ad):
                state, code = tasks[index]["state"], tasks[index]["exit_code"]
                job = f"its job {ad['ClusterId']}.{ad['ProcId']} has JobStatus {ad['JobStatus']}"
                fails = index == FAILS
                if ad["JobStatus"] == COMPLETED:
                    right = (state, code) == (("failed", 3) if fails else ("succeeded", 0))
                elif ad["JobStatus"] == REMOVED:
                    # Its archive may have come back just before.
                    right = state in ("removed", "failed" if fails else "succeeded")
                else:
                    right = state == "held"
                why = tasks[index]["reason"]
                if not right:
                    self.wrong(f"task {index} is told as {state} ({why}, code {code}), but {job}")
                if state == "succeeded" and index not in ended:
                    self.wrong(f"task {index} is told as succeeded, but it never ended")

    def check_results_so_far(self) -> None:
        """What a collect that was cut short has left: whole results, or none."""
        assert self.batch is not None
        for made in self.batch.glob("results/[0-9]*/outputs/value"):
            index = made.parents[1].name
            if made.read_text() != f"value {index}\n":
                self.wrong(f"a part of the result of task {index} is told as the result")

    def _results(self, tasks: Mapping[int, Mapping[str, Any]]) -> None:
        assert self.batch is not None
        results = self.batch / "results"
        try:
            with (results / "results.csv").open(newline="") as stream:
                rows = list(csv.DictReader(stream))
        except OSError as error:
            self.wrong(f"there is no table of results: {error}")
            return
        if [int(row["index"]) for row in rows] != list(range(TASKS)):
            self.wrong(f"results.csv has the rows {[row['index'] for row in rows]}")
            return
        for index, task in tasks.items():
            if rows[index]["state"] != task["state"]:
                self.wrong(f"task {index}: {task['state']}, results.csv: {rows[index]['state']}")
            made = results / str(index) / "outputs/value"
            if task["state"] == "succeeded":
                if not made.is_file() or made.read_text() != f"value {index}\n":
                    self.wrong(f"the result of task {index} is not what it wrote")
            elif made.exists():
                self.wrong(f"task {index} is {task['state']}, but has a result")


def tasks_of(ad: Mapping[str, Any]) -> list[int]:
    """The tasks of a job, from its arguments (CLUSTER PROC TASKS ROWS; `0-3+7`)."""
    words = str(ad.get("Arguments") or ad.get("Args")).split()
    found: list[int] = []
    for part in words[2].split("+"):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    if not re.fullmatch(r"[0-9+-]+", words[2]) or not found:
        raise AssertionError(f"no tasks in the arguments {words}")
    return found

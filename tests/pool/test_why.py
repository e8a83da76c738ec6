"""`osgbatch why` names the cause of what HTCondor really holds, lets wait or sees fail."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Pool, events
from sweeps import osgbatch, write_sweep

pytestmark = [pytest.mark.pool, pytest.mark.once]

CASES = ("good", "memory", "missing", "long", "user", "interpreter", "idle", "fails", "disk")
SPEC = f"""\
command: [sh, case.sh, "{{case}}"]
sweep:
  zip:
    case: [{", ".join(CASES)}]
    gb: [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 500, 0.1, 0.1]
    file: [d/a, d/a, d/gone, d/a, d/a, d/a, d/a, d/a, d/a]
files: [case.sh]
inputs: ["{{file}}"]
resources: {{memory: {{expr: "1 GB * gb"}}, disk: 50 MB, time: 10 min}}
requirements: {{expr: PartitionableSlot || Memory < 300}}
"""
"""HOLD_IF_MEMORY_EXCEEDED compares with what the slot has, which is more than was asked for where
an earlier job had claimed it: those of DAGMan's jobs stay claimed for 20 s (KeepClaimIdle; 25.14).
"""
CASE = """\
case $1 in
memory) (dd if=/dev/zero bs=1M count=400 2>/dev/null; sleep 160) | tail -n 1 >/dev/null ;;
long) sleep 60 ;;
user) touch "$OSGBATCH_SCRATCH/started"; sleep 60 ;;
disk) dd if=/dev/zero of=big bs=1M count=300 2>/dev/null; sleep 60 ;;
fails) echo "ModuleNotFoundError: No module named 'numpy'" >&2; exit 3 ;;
esac
"""


@dataclass(frozen=True)
class Broken:
    """A batch in which only the first task has succeeded. held: the cases that are."""

    folder: Path
    cluster: int
    held: tuple[str, ...]

    def why(self, *arguments: str) -> dict[str, Any]:
        """What `osgbatch why --json` says."""
        cwd = self.folder.parent
        said = osgbatch("why", self.folder, *arguments, "--json", cwd=cwd, check=1)
        found: dict[str, Any] = json.loads(said.stdout)
        return found


@pytest.fixture(scope="module")
def broken(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    """Its jobs enter the queue on hold, so that there is time to spoil what they need."""
    here = tmp_path_factory.mktemp("broken")
    spec = write_sweep(here, SPEC, {"case.sh": CASE, "d/a": "a", "d/gone": "b"})
    said = osgbatch("render", "--json", spec, cwd=here)
    folder = Path(json.loads(said.stdout)["folder"])
    first = folder / "rounds" / "001"
    text = (first / "job.submit").read_text()
    more = "hold = true\nqueue "
    cluster = pool.submit(text.replace("\nqueue ", f"\n{more}"), here)
    log = first / "events.log"
    (here / "d" / "gone").unlink()
    long = f"{cluster}.{CASES.index('long')}"
    pool.run("condor_qedit", long, "AllowedExecuteDuration", "5")
    soon = [f"{cluster}.{n}" for n, case in enumerate(CASES) if case != "interpreter"]
    pool.run("condor_release", *soon)
    started = ("good", "memory", "long", "user", "disk")
    for case in started:
        pool.event(1, log, cluster, CASES.index(case))
    pool.run("condor_hold", f"{cluster}.{CASES.index('user')}")
    shim = (first / "shim.sh").read_text().partition("\n")[2]
    (first / "shim.sh").write_text(f"#!/no/such/interpreter\n{shim}")
    pool.run("condor_release", f"{cluster}.{CASES.index('interpreter')}")
    held: tuple[str, ...] = ("memory", "missing", "long", "user", "interpreter", "disk")
    if "CondorVersion: 23." in pool.run("condor_version"):
        # 23.9.6 lets some of a dozen equal jobs run on, for no reason to be seen
        pool.run("condor_rm", f"{cluster}.{CASES.index('long')}")
        held = tuple(case for case in held if case != "long")
    for case in held:
        proc = CASES.index(case)
        pool.wait_for(lambda proc=proc: _holds(log, proc), what=f"a hold of {case}")  # type: ignore[misc]
    for case in ("good", "fails"):
        pool.terminate_event(log, cluster, CASES.index(case))
    _end_starter(pool, log)
    yield Broken(folder, cluster, held)
    pool.clear()


def _end_starter(pool: Pool, log: Path) -> None:
    """The starter of a job with such an interpreter lives on for 40 s (25.14.1), with its slot."""
    proc = CASES.index("interpreter")
    (held,) = [e for e in events(log) if (e.number, e.proc) == (12, proc)]
    slot = re.search(r"from (slot\w+)@", held.body)
    assert slot
    told = (pool.folder / "log" / f"StarterLog.{slot[1]}").read_text(errors="replace")
    pid = int(re.findall(r"\(pid:(\d+)\)", told)[-1])
    with suppress(OSError):
        if "condor_starter" in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(pid, signal.SIGKILL)


def _holds(log: Path, proc: int) -> bool:
    """Whether a job has been held since it was last released."""
    told = [e.number for e in events(log) if e.proc == proc and e.number in (12, 13)]
    return told[-1:] == [12]


def cause_of(found: dict[str, Any], case: str) -> dict[str, Any]:
    (cause,) = [c for c in found["causes"] if c["tasks"] == [CASES.index(case)]]
    assert isinstance(cause, dict)
    return cause


def test_each_cause_is_named_with_what_to_do(pool: Pool, broken: Broken) -> None:
    found = broken.why()
    assert found["counts"]["held"] == len(broken.held)
    assert {found["counts"][state] for state in ("succeeded", "failed", "waiting")} == {1}
    name = broken.folder.name
    long, none = CASES.index("long"), CASES.index("interpreter")
    expected = {
        "memory": ("hold", "more memory than it asked for", f"osgbatch release {name} --memory"),
        "missing": ("hold 13.2", "is not there any more", f"osgbatch release {name}"),
        "long": ("hold 47.0", "ran for longer", f"osgbatch resubmit {name} --tasks {long} --set"),
        "user": ("hold 1.0", "by hand", f"osgbatch release {name}"),
        # `resubmit --held` would take away all that are held
        "interpreter": ("hold 6.2", "the interpreter", f"osgbatch cancel {name} --tasks {none}"),
        "disk": ("hold", "more disk than it asked for", f"osgbatch release {name} --disk"),
        "fails": ("exit code 3", "the command itself", f"osgbatch logs {name} --task 7"),
    }
    assert sum(len(cause["tasks"]) for cause in found["causes"]) == len(expected)
    for case in (*broken.held, "fails"):
        code, cause, command = expected[case]
        told = cause_of(found, case)
        assert told["code"].startswith(code)
        assert cause.lower() in told["cause"].lower()
        commands = told["commands"]
        assert any(c.replace(found["id"][:6], name).startswith(command) for c in commands), commands
    # it asked for 0.1 GB, and used some 400 MB
    assert re.search(r"--memory (256MB|512MB|768MB|1GB) ", cause_of(found, "memory")["commands"][0])
    ads = {ad["ProcId"]: ad for ad in pool.queue_ads(f"ClusterId == {broken.cluster}")}
    for case in broken.held:
        ad = ads[CASES.index(case)]
        told = cause_of(found, case)
        assert told["code"].startswith(f"hold {ad['HoldReasonCode']}.{ad['HoldReasonSubCode']}")
        assert told["told"].split("arguments")[0] in ad["HoldReason"]


def test_of_a_failed_task_the_last_lines_and_their_meaning_are_shown(broken: Broken) -> None:
    told = cause_of(broken.why(str(CASES.index("fails"))), "fails")
    assert told["output"] == ["ModuleNotFoundError: No module named 'numpy'"]
    assert told["details"] == ["Its stderr suggests: a Python module is not in the environment."]
    assert told["todo"].startswith("Add it to `environment:`")
    assert len(told["hosts"]) == 1


def test_a_waiting_task_is_told_what_no_slot_has(pool: Pool, broken: Broken) -> None:
    proc = CASES.index("idle")
    (told,) = broken.why(str(proc))["causes"]
    assert told["state"] == "waiting"
    assert "not even when nothing else runs there" in told["cause"]
    assert told["details"][0] == "memory: it asks for 500.0 GB; the largest slot has 64.0 GB"
    assert f"condor_q -better-analyze {broken.cluster}.{proc}" in told["commands"]
    own = pool.run("condor_q", "-better-analyze", f"{broken.cluster}.{proc}")
    assert "No machines matched" in own


def test_the_text_fits_a_terminal_of_80_columns(broken: Broken) -> None:
    cwd = broken.folder.parents[1]  # from where the start of its id finds it
    for task, code in (([], 1), (["0"], 0)):
        said = osgbatch("why", broken.folder, *task, cwd=cwd, check=code, env={"COLUMNS": "80"})
        assert max(map(len, said.stdout.splitlines())) <= 80
    assert "task 0 succeeded" in said.stdout

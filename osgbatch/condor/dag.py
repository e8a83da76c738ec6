"""DAGMan: submit a DAG once, find it again, see how it is getting on, remove it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osgbatch import names
from osgbatch.condor.act import REASON
from osgbatch.condor.commands import run
from osgbatch.condor.home import check_schedd
from osgbatch.condor.schedd import call_schedd
from osgbatch.errors import CondorError

_TERSE = re.compile(r"^(\d+)\.(\d+) - (\d+)\.(\d+)$", re.M)
_EVENT = re.compile(rb"^(\d{3}) \((\d+)\.\d+\.\d+\)", re.M)
_EXIT = re.compile(rb"\(1\) Normal termination \(return value (\d+)\)")
SCHEDULER_UNIVERSE = 7
GONE_LIMIT_S = 60.0
"""How long a removed DAGMan may take to end its nodes' jobs and leave the queue."""


@dataclass(frozen=True)
class DagState:
    """What the log of a DAGMan's own job tells: `waiting`, `running`, `held`, `ended`, `removed`.

    `interrupted`: whether it was submitted is not known.

    exit_code: of one that has ended; 0: all nodes have succeeded.
    """

    state: str
    exit_code: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether it does nothing any more."""
        return self.state in ("ended", "removed")


def submit_dag(
    folder: Path, dag: str, workflow_id: str, name: str, lock: int, *, rescue: bool = True
) -> int:
    """Give a DAG to DAGMan; its cluster.

    rescue: the newest rescue file of it is heeded, as condor_submit_dag does.

    folder: of the DAG; dag: the name of its file; workflow_id: by which it is found in the queue;
    lock: a file descriptor that condor_submit inherits. Raises CondorError.
    """
    described = folder / f"{dag}.condor.sub"
    described.unlink(missing_ok=True)
    own = f'+{names.BATCH_ATTRIBUTE} = "{workflow_id}"'
    words = ["-no_submit", "-update_submit", "-batch-name", name, "-append", own]
    words += [dag] if rescue else ["-autorescue", "0", dag]
    run(["condor_submit_dag", *words], cwd=folder)
    said, _ = run(["condor_submit", "-terse", described.name], cwd=folder, limit=None, keep=[lock])
    match = _TERSE.search(said)
    if match is None:
        raise CondorError(f"condor_submit gave no cluster: {said.strip()}", where=str(described))
    return int(match[1])


def last_words(folder: Path, dag: str) -> list[str]:
    """What DAGMan's own log says went wrong, the last of it."""
    try:
        with (folder / f"{dag}.dagman.out").open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - 100_000))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    found = [line for line in lines if re.search(r"\bERROR\b|\bError\b|[Ff]ailed|Warning", line)]
    return ["".join(c if c.isprintable() else "?" for c in line[:300]) for line in found[-5:]]


def find_dag(workflow_id: str, told: Mapping[str, Any] | None = None) -> int:
    """The newest DAGMan of a workflow in the queue; 0 when there is none.

    told: what was noted of its submission (`schedd`, `host`, `time`). Raises CondorError when there
    is no answer, or another schedd was given it.
    """
    wanted = f'{names.BATCH_ATTRIBUTE} == "{workflow_id}" && JobUniverse == {SCHEDULER_UNIVERSE}'
    found = call_schedd(
        lambda htcondor: htcondor.Schedd().query(constraint=wanted, projection=["ClusterId"])
    )
    newest = max((int(ad["ClusterId"]) for ad in found), default=0)
    if told and not newest:
        check_schedd(told, wanted, f"workflow {workflow_id}")
    return newest


def dag_in_log(folder: Path, dag: str) -> int:
    """The cluster of the DAGMan that was submitted last, by its log; 0 when there was none."""
    try:
        text = (folder / f"{dag}.dagman.log").read_bytes()
    except OSError:
        return 0
    found = [int(cluster) for number, cluster in _EVENT.findall(text) if number == b"000"]
    return found[-1] if found else 0


def dag_state(folder: Path, dag: str, cluster: int) -> DagState:
    """How a DAGMan is getting on, by the event log of its own job."""
    try:
        text = (folder / f"{dag}.dagman.log").read_bytes()
    except OSError:
        return DagState("waiting")
    state = DagState("waiting")
    for block in text.split(b"\n...\n"):
        match = _EVENT.search(block)
        if match is None or int(match[2]) != cluster:
            continue
        number = int(match[1])
        if number == 5:
            code = _EXIT.search(block)
            state = DagState("ended", int(code[1]) if code else None)
        elif number in _STATES:
            state = DagState(_STATES[number])
    return state


_STATES = {0: "waiting", 1: "running", 4: "waiting", 9: "removed", 12: "held", 13: "waiting"}


def remove_dag(workflow_id: str, cluster: int) -> None:
    """Remove a DAGMan and with it the jobs of its nodes; it writes a rescue file first.

    Raises CondorError when it is still there after a while.
    """
    ours = f'ClusterId == {cluster} && {names.BATCH_ATTRIBUTE} == "{workflow_id}"'
    run(["condor_rm", "-reason", REASON, "-constraint", ours])
    deadline = time.monotonic() + GONE_LIMIT_S
    while find_dag(workflow_id) == cluster:
        if time.monotonic() > deadline:
            raise CondorError(
                f"DAGMan (cluster {cluster}) was told to end, and is still in the queue",
                fix="See `condor_q`; then cancel again.",
            )
        time.sleep(0.5)

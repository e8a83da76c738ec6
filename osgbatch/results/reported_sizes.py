"""Right-sizing of a batch: what its tasks used against what was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from osgbatch import names
from osgbatch.batches.folder import Batch
from osgbatch.condor.hold_codes import DISK, MEMORY, explain_hold
from osgbatch.model import TaskState
from osgbatch.reporting.data import Cost
from osgbatch.reporting.quantities import KIB, MIB
from osgbatch.reporting.sizing import Sized, Wanted, block, sized
from osgbatch.returned import number

Columns = Mapping[str, Sequence[Any]]
"""The columns of results.csv, by name."""
Used = Mapping[str, Sequence[float | None]]
"""What each task took, by the names of UNITS; None where it is not known."""
UNITS = {"run time": "s", "memory": "bytes", "disk": "bytes"}


@dataclass(frozen=True)
class Sizing:
    """found: of each resource; resources: the text for a spec.

    ladder: what catches the largest tasks when less is asked for. cores: how many a job asked for,
    and the most that one kept busy. cost: what cores were held for.
    """

    found: tuple[Sized, ...]
    resources: str
    ladder: str
    cores: tuple[int, float] | None = None
    cost: Cost = field(default_factory=Cost)


def sizing_of(
    batch: Batch,
    states: Sequence[TaskState],
    columns: Columns,
    used: Used,
    seconds: Mapping[int, float],
) -> Sizing:
    """What to ask for next time.

    columns: of results.csv; used: see used_by_tasks; seconds: how long each task's part of its jobs
    held a slot.
    """
    asked = spec_resources(batch)
    indices = [state.index for state in states]
    whole = all(state.state == "succeeded" for state in states)
    requested = [value or 0 for value in columns["memory_requested_mb"]]
    stopped = _stopped(states)
    rows = (
        ("memory", used["memory"], [n * MIB for n in requested]),
        ("disk", used["disk"], [asked["disk_kb"] * KIB] * len(states)),
        ("time", used["run time"], [float(asked["time_s"])] * len(states)),
    )
    found = []
    for name, values, limits in rows:
        kept = [
            (index, value, limit, seconds.get(index, 0.0))
            for index, value, limit in zip(indices, values, limits, strict=True)
            if value is not None
        ]
        columns_of = list(zip(*kept, strict=True)) if kept else [(), (), (), ()]
        told = (columns_of[0], columns_of[1], columns_of[2], columns_of[3])
        one = sized(Wanted(name, *told, stopped=stopped[name], whole_sweep=whole))
        if one is not None:
            found.append(one)
    ladder = next(
        (
            f"retries:\n  memory: x2 up to {_up_to(one)}\n"
            for one in found
            if one.smaller_setting and one.name == "memory"
        ),
        "",
    )
    return Sizing(tuple(found), block(found, int(asked["cpus"]), int(asked["gpus"])), ladder)


def _up_to(one: Sized) -> str:
    """The next double of the smaller request that is enough for all."""
    most = one.smaller
    while most < one.peak:
        most *= 2
    megabytes = round(most / MIB)
    return f"{megabytes // 1024} GB" if megabytes % 1024 == 0 else f"{megabytes} MB"


def used_by_tasks(batch: Batch, states: Sequence[TaskState], columns: Columns) -> Used:
    """What each task took, by its record; of memory also what HTCondor saw of its job."""
    # One of several tasks in a job is not told by what HTCondor saw of the job.
    alone = int(batch.data["jobs"]) == batch.tasks
    found: dict[str, list[float | None]] = {name: [] for name in UNITS}
    known = zip(columns["wall_s"], columns["memory_mb"], columns["disk_mb"], strict=True)
    for state, (took, memory, disk) in zip(states, known, strict=True):
        seen = state.job.memory_mb if alone and state.job else 0
        used: float | None = None
        if disk is not None:
            used = disk * MIB
            if disk < 10:  # the table has tenths of a MiB
                used = (number(state.record, "disk_kb") or 0.0) * KIB
        found["run time"].append(None if took is None else max(0.0, took))
        found["memory"].append(max(seen, memory or 0.0) * MIB or None)
        found["disk"].append(None if used is None else max(0.0, used))
    return found


def _stopped(states: Sequence[TaskState]) -> dict[str, list[int]]:
    """The tasks that were stopped since they wanted more than was asked for."""
    found: dict[str, list[int]] = {"memory": [], "disk": [], "time": []}
    for state in states:
        if state.state == "held" and state.job:
            row = explain_hold(state.job.hold_code, state.job.hold_subcode, state.reason)
            for name, command in (("memory", MEMORY), ("disk", DISK)):
                if command in row.commands:
                    found[name].append(state.index)
        elif state.reason == "time":
            found["time"].append(state.index)
    return found


def spec_resources(batch: Batch) -> dict[str, int]:
    """What a task asks for, as the spec has it: disk and time of one task, not of its job's."""
    resolved = batch.data.get("resources") or {}
    found = {name: int(resolved.get(name) or 0) for name in ("cpus", "memory_mb", "gpus")}
    one = max(1, -(-batch.tasks // int(batch.data["jobs"])))
    found |= {name: int(resolved.get(name) or 0) // one for name in ("disk_kb", "time_s")}
    try:
        planned = json.loads((batch.folder / names.PLAN).read_text())["resources"]
        found |= {name: int(planned[name]) for name in ("disk_kb", "time_s") if name in planned}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return found

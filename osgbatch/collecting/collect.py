"""Returned archives to verified results: what is new is unpacked, what is there is left alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from osgbatch import names
from osgbatch.collecting.unpack import unpack_task
from osgbatch.errors import ResultError
from osgbatch.model import TaskState

STATUS = "status.json"
FAILED_FOLDER = "failed"
"""What failed tasks returned lies apart, so that `results/*/outputs` holds only successes."""


@dataclass(frozen=True)
class Collected:
    """What a collection did: the tasks' states after verification, and how many were unpacked."""

    states: list[TaskState]
    unpacked: int


def collect(results: Path, states: Sequence[TaskState]) -> Collected:
    """Unpack every task that has ended and is not in `results/` yet.

    A success whose archive does not verify becomes `unknown`, with the reason: nothing that failed
    is ever shown as succeeded.
    """
    results.mkdir(exist_ok=True)
    after: list[TaskState] = []
    unpacked = 0
    for state in states:
        if state.archive is None:
            after.append(state)
            continue
        target = _target(results, state)
        told = _status(state)
        if _already(target, told):
            after.append(state)
            continue
        try:
            _place(state, target, told)
            unpacked += 1
            after.append(state)
            if state.state == "succeeded":
                shutil.rmtree(results / FAILED_FOLDER / str(state.index), ignore_errors=True)
        except ResultError as error:
            worse = "unknown" if state.state == "succeeded" else state.state
            after.append(replace(state, state=worse, reason="damaged", detail=error.what))
    return Collected(after, unpacked)


def _target(results: Path, state: TaskState) -> Path:
    folder = results if state.state == "succeeded" else results / FAILED_FOLDER
    return folder / str(state.index)


def _status(state: TaskState) -> dict[str, object]:
    assert state.archive is not None
    return {
        "index": state.index,
        "state": state.state,
        "reason": state.reason,
        "archive": f"{state.archive.parent.name}/{state.archive.name}",
        "task": dict(state.record),
        "job": dict(state.job_record),
    }


def _already(target: Path, told: dict[str, object]) -> bool:
    try:
        return bool(json.loads((target / STATUS).read_text()) == told)
    except (OSError, ValueError):
        return False


def _place(state: TaskState, target: Path, told: dict[str, object]) -> None:
    """Unpack beside the target and swap, so that a result that is there is never half replaced."""
    assert state.archive is not None
    fresh = target.with_name(f".new-{target.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    if state.record:
        unpack_task(state.archive, state.index, fresh)
    else:
        fresh.mkdir(parents=True)
    (fresh / STATUS).write_text(json.dumps(told, indent=1) + "\n")
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def results_folder(batch: Path) -> Path:
    """Where the results of a batch are."""
    return batch / names.RESULTS

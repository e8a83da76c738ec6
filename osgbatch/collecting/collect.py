"""Returned archives to verified results: what is new is unpacked, what is there is left alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from osgbatch import names
from osgbatch.collecting.unpack import unpack_tasks
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
    fresh: dict[Path, list[TaskState]] = {}
    for state in states:
        if state.archive is not None and not _already(_target(results, state), _status(state)):
            fresh.setdefault(state.archive, []).append(state)
    refused: dict[int, str] = {}
    unpacked = 0
    for archive, of_archive in fresh.items():
        errors = _unpack(archive, of_archive, results)
        refused.update(errors)
        unpacked += len(of_archive) - len(errors)
    return Collected([_verified(state, refused.get(state.index)) for state in states], unpacked)


def _verified(state: TaskState, refused: str | None) -> TaskState:
    if refused is None:
        return state
    worse = "unknown" if state.state == "succeeded" else state.state
    return replace(state, state=worse, reason="damaged", detail=refused)


def _unpack(archive: Path, states: Sequence[TaskState], results: Path) -> dict[int, str]:
    """Unpack what an archive holds of these tasks; gives why a task was refused."""
    targets = {s.index: _fresh(_target(results, s)) for s in states if s.record}
    for folder in targets.values():
        shutil.rmtree(folder, ignore_errors=True)
    try:
        errors = unpack_tasks(archive, targets)
    except ResultError as error:
        return {state.index: error.what for state in states}
    for state in states:
        if state.index not in errors:
            _place(state, results)
    return {index: error.what for index, error in errors.items()}


def _place(state: TaskState, results: Path) -> None:
    """Swap in what was unpacked beside the target: a result is never half replaced."""
    target = _target(results, state)
    fresh = _fresh(target)
    fresh.mkdir(parents=True, exist_ok=True)
    (fresh / STATUS).write_text(json.dumps(_status(state), indent=1) + "\n")
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    if state.state == "succeeded":
        shutil.rmtree(results / FAILED_FOLDER / str(state.index), ignore_errors=True)


def _fresh(target: Path) -> Path:
    return target.with_name(f".new-{target.name}")


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


def results_folder(batch: Path) -> Path:
    """Where the results of a batch are."""
    return batch / names.RESULTS

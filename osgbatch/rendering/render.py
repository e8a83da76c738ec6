"""Resolved to the files of a round: `job.submit`, `jobs.items`, `shim.sh`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from osgbatch import names
from osgbatch.model import Resolved, Retries, Round, Spec, TaskPlan
from osgbatch.rendering.rows import MAX_ITEM_BYTES, encode_rows, rows_fragment
from osgbatch.rendering.templates import fill
from osgbatch.task_ranges import task_ranges
from osgbatch.version import VERSION

RETRIED_CODES = tuple(range(101, 110))
"""The shim's codes for failures of the execution point (docs/architecture.md)."""
STOP_GRACE_S = 10
"""Seconds between TERM and KILL when a task is over its time."""
DURATION_MARGIN_S = 1800
"""What a job may take besides its tasks' own time before HTCondor holds it."""
MEDIUM_S = 10 * 3600
"""The OSPool's JobDurationCategory Medium expects jobs of up to 10 h (reference 1.3)."""


@dataclass(frozen=True)
class Item:
    """One line of the item file: which tasks, their rows as one word, their input files."""

    tasks: str
    rows: str
    inputs: tuple[str, ...]


def job_items(resolved: Resolved) -> Iterator[Item]:
    """The items of all jobs, in order."""
    plan = resolved.plan
    for indices in plan.jobs:
        tasks = [plan.tasks[index] for index in indices]
        yield Item(task_ranges(indices), encode_rows(rows_fragment(tasks)), _carried(tasks))


def _carried(tasks: Sequence[TaskPlan]) -> tuple[str, ...]:
    """What HTCondor transfers for these tasks beside the payload, each path once."""
    return tuple(
        dict.fromkeys(file.carried for task in tasks for file in task.inputs if not file.archived)
    )


@dataclass(frozen=True)
class ItemFiles:
    """The text of the item file and, where rows are too long for it, of the file of rows."""

    items: bytes
    rows: bytes
    names: tuple[str, ...]


def item_files(resolved: Resolved) -> ItemFiles:
    """Write the items down. When any job's rows are too long, all rows travel as one file."""
    items = list(job_items(resolved))
    as_file = any(len(item.rows) > MAX_ITEM_BYTES for item in items)
    with_inputs = any(item.inputs for item in items)
    lines: list[str] = []
    for item in items:
        fields = [item.tasks, "@" if as_file else item.rows]
        if with_inputs:
            fields.append(",".join(item.inputs))
        lines.append(" ".join(fields).rstrip() + "\n")
    rows = "".join(f"{item.tasks} {item.rows}\n" for item in items) if as_file else ""
    variables = ("tasks", "rows", "inputs") if with_inputs else ("tasks", "rows")
    return ItemFiles("".join(lines).encode(), rows.encode(), variables)


ROWS_FILE = "rows.items"
"""The name of the file of rows, in the payload folder and in the scratch folder."""


def shim_text(resolved: Resolved, round_: Round) -> str:
    """The text of the round's shim."""
    spec = resolved.plan.spec
    return fill(
        "shim.sh.j2",
        {
            "version": VERSION,
            "batch_id": round_.batch_id,
            "round": round_.number,
            "payload": [
                {
                    "file": os.path.relpath(item.path, round_.initialdir),
                    "sha256": item.sha256,
                    "kind": item.kind,
                }
                for item in resolved.payload
            ],
            "outputs": [
                {"pattern": output.pattern.fill({}), "optional": output.optional}
                for output in spec.outputs
                if not output.pattern.names
            ],
            "time_limit": spec.resources.time_s,
            "disk_needed_kb": _disk_needed(resolved),
            "has_environment": any(p.kind == "environment" for p in resolved.payload),
            "environment_variables": [
                {"name": name, "value": value.fill({})}
                for name, value in spec.environment_variables
            ],
            "retry_codes": spec.retries.codes,
            "retry_any": False,
            "retry_times": spec.retries.times if spec.retries.on == "codes" else 0,
        },
    )


def _disk_needed(resolved: Resolved) -> int:
    """KiB that unpacking takes: what the self-test wants to see free before it starts."""
    return -(-sum(payload.unpacked_size for payload in resolved.payload) // 1024)


def submit_text(resolved: Resolved, round_: Round, items: ItemFiles) -> str:
    """The text of `job.submit`."""
    plan = resolved.plan
    spec = plan.spec
    resources = resolved.resources
    execute = execute_seconds(resolved)
    transfer = [os.path.relpath(item.path, round_.initialdir) for item in resolved.payload]
    if "inputs" in items.names:
        transfer.append("$(inputs)")
    returned = round_.folder / names.RETURNED
    return fill(
        "job.submit.j2",
        {
            "version": VERSION,
            "batch_id": round_.batch_id,
            "batch_name": round_.batch_name,
            "round": round_.number,
            "tasks": sum(len(tasks) for tasks in plan.jobs),
            "jobs": len(plan.jobs),
            "initialdir": str(round_.initialdir),
            "shim": str(round_.folder / names.SHIM),
            "events": str(round_.folder / names.EVENTS),
            "returned": str(returned),
            "returned_relative": os.path.relpath(returned, round_.initialdir),
            "per_folder": names.JOBS_PER_RETURN_FOLDER,
            "transfer_input": transfer,
            "out_archive": names.OUT_ARCHIVE,
            "cpus": resources.cpus,
            "memory_mb": resources.memory_mb,
            "disk_kb": resources.disk_kb,
            "gpus": resources.gpus,
            "retry_times": job_retries(spec).times,
            "retry_any": job_retries(spec).on == "any",
            "retry_codes": job_retries(spec).codes,
            "execute_seconds": execute,
            "duration_category": "Medium" if execute <= MEDIUM_S else "Long",
            "max_idle": resolved.max_idle,
            "item_names": items.names,
            "items": str(round_.folder / names.ITEMS),
        },
    )


def job_retries(spec: Spec) -> Retries:
    """After which exit codes, and how often, the job as a whole is started again.

    Retries on a task's own exit codes are the shim's work, without moving data again; the job's
    are then the default ones, for failures of the execution point.
    """
    times = spec.retries.times if spec.retries.on != "codes" else Retries().times
    return Retries(times, spec.retries.on, RETRIED_CODES)


def execute_seconds(resolved: Resolved) -> int:
    """allowed_execute_duration of a job in seconds: its tasks' time and a margin; 0 for none."""
    spec = resolved.plan.spec
    if not spec.resources.time_s:
        return 0
    tries = 1 + (spec.retries.times if spec.retries.on == "codes" else 0)
    most_tasks = max(len(tasks) for tasks in resolved.plan.jobs)
    return (spec.resources.time_s + STOP_GRACE_S) * most_tasks * tries + DURATION_MARGIN_S

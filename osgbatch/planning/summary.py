"""A plan as data: `plan.json`, and what `osgbatch plan --json` prints."""

from __future__ import annotations

from typing import Any

from osgbatch.model import Plan, TaskPlan


def plan_data(plan: Plan) -> dict[str, Any]:
    """The plan for programs. Sizes in bytes, memory in MiB, disk in KiB, time in seconds."""
    resources = plan.spec.resources
    return {
        "name": plan.spec.name,
        "tasks": len(plan.table),
        "jobs": len(plan.jobs),
        "environment": plan.spec.environment.kind,
        "input_bytes": plan.input_bytes,
        "resources": {
            "cpus": resources.cpus,
            "memory_mb": resources.memory_mb,
            "disk_kb": resources.disk_kb,
            "gpus": resources.gpus,
            "time_s": resources.time_s,
        },
        "first": _task_data(plan.tasks[0]),
        "last": _task_data(plan.tasks[len(plan.tasks) - 1]),
        "warnings": list(plan.warnings),
    }


def _task_data(task: TaskPlan) -> dict[str, Any]:
    return {
        "index": task.index,
        "command": list(task.argv),
        "parameters": dict(task.params),
        "inputs": [file.task_path for file in task.inputs],
    }

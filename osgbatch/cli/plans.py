"""A plan as text and as data."""

from __future__ import annotations

import shlex
from typing import Any

from osgbatch import ui
from osgbatch.model import Plan, TaskPlan


def plan_data(plan: Plan) -> dict[str, Any]:
    """What `osgbatch plan --json` prints. Sizes in bytes, memory in MiB, disk in KiB."""
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


def plan_text(plan: Plan) -> str:
    """What `osgbatch plan` prints."""
    spec, resources = plan.spec, plan.spec.resources
    wanted = [
        f"{resources.cpus} cpu{'s' * (resources.cpus != 1)}",
        f"{ui.size(resources.memory_mb * 1024**2)} memory",
        f"{ui.size(resources.disk_kb * 1024)} disk",
    ]
    if resources.gpus:
        wanted.append(f"{resources.gpus} gpu")
    if resources.time_s:
        wanted.append(f"{resources.time_s / 60:g} min")
    environment = spec.environment.path.text if spec.environment.path else "none"
    facts = [
        ("sweep", f"{spec.name}: {len(plan.table)} tasks in {len(plan.jobs)} jobs"),
        ("environment", environment),
        ("libraries", ", ".join(p.text for p in spec.libraries) or "none"),
        ("files", ", ".join(p.text for p in spec.files) or "none"),
        ("inputs", f"{ui.size(plan.input_bytes)} in all"),
        ("each task", ", ".join(wanted)),
    ]
    lines = [f"{name:<12} {value}" for name, value in facts]
    for task in dict.fromkeys((0, len(plan.tasks) - 1)):
        command = shlex.join(plan.tasks[task].argv)
        lines.append(
            f"{'task ' + str(task):<12} {command if len(command) < 400 else command[:400] + '...'}"
        )
    lines += [f"{'warning':<12} {warning}" for warning in plan.warnings]
    return "\n".join(lines)

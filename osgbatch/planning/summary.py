"""A plan as data: `plan.json`, and what `osgbatch plan --json` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from osgbatch.plan_model import Plan, Resolved, TaskPlan
from osgbatch.planning.placement import placed_payload
from osgbatch.planning.resolve import resolve
from osgbatch.spec_model import Requirements, Resources


def plan_data(plan: Plan, resolved: Resolved | None = None) -> dict[str, Any]:
    """The plan for programs. Sizes in bytes, memory in MiB, disk in KiB, time in seconds.

    resolved: tells what jobs ask for with what is brought, and which archives are staged; without
    it `job_resources` is what the tasks alone want.
    """
    spec = plan.spec
    return {
        "name": spec.name,
        "source": str(spec.path),
        "tasks": len(plan.table),
        "jobs": len(plan.jobs),
        "grouping": list(plan.grouping),
        "columns": [column.name for column in plan.table.columns],
        "program": plan.program,
        "environment": spec.environment.kind,
        "input_bytes": plan.input_bytes,
        "job_input_bytes": plan.job_bytes,
        "resources": _resources_data(spec.resources),
        "job_resources": _resources_data(resolved.resources if resolved else plan.demand),
        "varying": list(plan.varying),
        "core_hours": core_hours(plan),
        "requirements": requirement_words(spec.requirements),
        "environment_variables": [name for name, _ in spec.environment_variables],
        "staged": _staged_data(plan, resolved),
        "retries": {
            "times": spec.retries.times,
            "on": list(spec.retries.codes) if spec.retries.on == "codes" else spec.retries.on,
            **{
                f"{name}_{unit}": ladder.steps(getattr(plan.demand, f"{name}_{unit}"))
                for name, unit, ladder in (
                    ("memory", "mb", spec.retries.memory),
                    ("disk", "kb", spec.retries.disk),
                )
                if ladder
            },
        },
        "checkpoint": asdict(spec.checkpoint) if spec.checkpoint else None,
        "tags": list(spec.tags),
        "profile": spec.profile.name,
        "max_idle": resolve(plan, ()).max_idle,
        "max_running": spec.max_running,
        "first": _task_data(plan.tasks[0]),
        "last": _task_data(plan.tasks[len(plan.tasks) - 1]),
        "warnings": list(plan.warnings),
    }


def core_hours(plan: Plan) -> float | None:
    """The most that the tasks can take: their time limits times their cores; None without them.

    A task tried again, and what a job does besides its tasks, come on top.
    """
    each, cpus = plan.each, plan.demand.cpus
    if each.time_s:
        cores = each.cpus or [cpus] * len(each.time_s)
        return sum(s * c for s, c in zip(each.time_s, cores, strict=True)) / 3600
    if not plan.demand.time_s:
        return None
    seconds = plan.spec.resources.time_s
    if each.cpus:
        counts = zip(plan.jobs, each.cpus, strict=True)
        return sum(len(tasks) * c for tasks, c in counts) * seconds / 3600
    return len(plan.table) * cpus * seconds / 3600


def requirement_words(wanted: Requirements) -> list[str]:
    """What an execution point must be like, in the words of the spec."""
    named = {
        "os": " or ".join(wanted.os),
        "arch": " or ".join(wanted.arch),
        "microarch": wanted.microarch and f"{wanted.microarch} or newer",
        "cvmfs": ", ".join(wanted.cvmfs),
        "sites": ", ".join(wanted.only_sites) and f"only {', '.join(wanted.only_sites)}",
        "not at": ", ".join(wanted.avoid_sites),
        "expr": wanted.expr,
    }
    return [f"{name}: {text}" for name, text in named.items() if text]


def _staged_data(plan: Plan, resolved: Resolved | None) -> list[dict[str, Any]]:
    """What goes through the stash, and why: inputs, and archives that are made."""
    found = [
        staged_entry("inputs", str(one.source), one.size, one.why, tree=one.tree)
        for one in plan.placed
    ]
    made = [item for item in resolved.payload if item.url] if resolved else []
    whys = placed_payload(plan, made)
    return found + [
        staged_entry(item.kind, str(item.path), item.size, whys.get(item.path, "")) for item in made
    ]


def staged_entry(
    kind: str, path: str, count: int, why: str, *, tree: bool = False
) -> dict[str, Any]:
    """Something that goes through the stash. count: its bytes; tree: each file is an object."""
    return {"kind": kind, "path": path, "bytes": count, "why": why, "tree": tree}


def _resources_data(resources: Resources) -> dict[str, int]:
    return {
        "cpus": resources.cpus,
        "memory_mb": resources.memory_mb,
        "disk_kb": resources.disk_kb,
        "gpus": resources.gpus,
        "time_s": resources.time_s,
    }


def _task_data(task: TaskPlan) -> dict[str, Any]:
    return {
        "index": task.index,
        "command": list(task.argv),
        "parameters": dict(task.params),
        "inputs": [file.task_path for file in task.inputs],
    }

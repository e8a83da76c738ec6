"""A plan as text."""

from __future__ import annotations

import shlex

from osgbatch import ui
from osgbatch.model import Plan


def plan_text(plan: Plan, environment_size: int | None) -> str:
    """What `osgbatch plan` prints.

    environment_size: bytes of the packed environment, None when it is not packed yet.
    """
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
    environment = "none: what the execution point has"
    if spec.environment.path:
        packed = (
            f"packed before, {ui.size(environment_size)}"
            if environment_size is not None
            else "not packed yet; submit does it"
        )
        environment = f"{spec.environment.path.text} ({packed})"
    facts = [
        ("sweep", f"{spec.name}: {ui.work(len(plan.table), len(plan.jobs))}"),
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

"""Plan and packed archives to Resolved: what the jobs must ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from osgbatch.model import Payload, Plan, Resolved

LARGE_SWEEP = 10_000
"""Jobs above which the OSPool asks for max_idle (reference 1.4)."""
MAX_IDLE = 2_000
"""What the OSPool's documentation recommends."""


def resolve(plan: Plan, payload: Sequence[Payload]) -> Resolved:
    """Decide what a job requests: disk is the tasks' sum plus what is brought and unpacked."""
    wanted = plan.spec.resources
    most_tasks = max(len(tasks) for tasks in plan.jobs)
    brought = sum(item.size + item.unpacked_size for item in payload)
    disk_kb = wanted.disk_kb * most_tasks + -(-brought // 1024)
    return Resolved(
        plan=plan,
        payload=tuple(payload),
        resources=replace(wanted, disk_kb=disk_kb),
        max_idle=MAX_IDLE if len(plan.jobs) > LARGE_SWEEP else 0,
    )

"""Plan and packed archives to Resolved: what the jobs must ask for."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace

from osgbatch.plan_model import Payload, Plan, Resolved


def resolve(plan: Plan, payload: Sequence[Payload], microarch: str = "") -> Resolved:
    """Decide what a job requests: disk is the tasks' sum plus what is brought, also unpacked.

    microarch: the CPU level that the packed environment needs; empty when any will do.
    A sweep of more jobs than the pool takes at once is put into the queue little by little.
    """
    archives = sum(item.size + item.unpacked_size for item in payload)
    brought = -(-(archives + plan.job_bytes) // 1024)
    each = plan.each
    if each.disk_kb:
        each = replace(each, disk_kb=array("q", (kb + brought for kb in each.disk_kb)))
    profile = plan.spec.profile
    many = bool(profile.many_jobs) and len(plan.jobs) > profile.many_jobs
    return Resolved(
        plan=plan,
        payload=tuple(payload),
        resources=replace(plan.demand, disk_kb=plan.demand.disk_kb + brought),
        each=each,
        max_idle=profile.max_idle if many else 0,
        microarch=microarch,
    )

"""What the jobs of a plan ask of the pool, as text."""

from __future__ import annotations

from collections.abc import Sequence

from osgbatch import ui
from osgbatch.packing.container import is_elsewhere
from osgbatch.plan_model import Plan
from osgbatch.planning.summary import core_hours, requirement_words
from osgbatch.spec_model import Checkpoint, Profile, Resources, Retries, Spec
from osgbatch.submission.planned import PlannedArchive, expected, longest_s
from osgbatch.submit_language import duration_category
from osgbatch.texts import duration, size

Fact = tuple[str, str]
"""A label, and what is said; lines that begin with a blank are not wrapped."""


def asked_facts(plan: Plan, archives: Sequence[PlannedArchive]) -> list[Fact]:
    """What jobs ask for, and where they may run; each a label and what is said."""
    spec = plan.spec
    resolved = expected(plan, archives)
    facts = [("each job", _resources(plan, resolved.resources))]
    if plan.job_s:
        one = spec.resources.time_s
        limit = duration(plan.job_s)
        if one != plan.job_s:
            limit += " for a job" + (f", {duration(one)} for a task" if _same_time(plan) else "")
        if spec.profile.glideins or spec.profile.longest_s:  # others have no such categories
            limit += f" (category {duration_category(longest_s(plan))})"
        facts.append(("time", f"at most {limit}"))
    hours = core_hours(plan)
    if hours is not None:
        facts.append(("core hours", f"at most {_hours(hours)}"))
    wanted = requirement_words(spec.requirements)
    if spec.gpus.min_memory_mb:
        wanted.append(f"GPU memory: {size(spec.gpus.min_memory_mb * 1024**2)} or more")
    if spec.gpus.min_capability:
        wanted.append(f"GPU capability: {spec.gpus.min_capability} or newer")
    if wanted:
        facts.append(("requires", "; ".join(wanted)))
    if spec.retries != Retries():
        facts.append(("retries", _retries(spec.retries)))
    if spec.checkpoint:
        facts.append(("checkpoint", _checkpoint(spec.checkpoint)))
    if spec.tags:
        facts.append(("tags", some(spec.tags)))
    if spec.submit:
        facts.append(("submit", "\n".join(f"{name} = {value}" for name, value in spec.submit)))
    if spec.project:
        facts.append(("project", spec.project))
    facts.append(("profile", _profile(spec.profile)))
    if resolved.max_idle:
        facts.append(("max_idle", f"{resolved.max_idle:,} jobs wait in the queue at a time"))
    if spec.max_running:
        facts.append(("max_running", f"{spec.max_running:,} jobs are in the queue at a time"))
    return facts


def _resources(plan: Plan, asked: Resources) -> str:
    """What a job asks for; disk with what is unpacked."""
    wanted = [
        ui.number_of(asked.cpus, "cpu"),
        f"{size(asked.memory_mb * 1024**2)} memory",
        f"{size(asked.disk_kb * 1024)} disk",
    ]
    if asked.gpus:
        wanted.append(ui.number_of(asked.gpus, "gpu"))
    text = ", ".join(wanted)
    if environment_travels(plan.spec):
        text += ", and disk for the environment"
    if plan.varying:
        named = [name.split("_")[0] for name in plan.varying]
        text += (
            f" (the largest; {listed(named)} {'differ' if named[1:] else 'differs'} between jobs)"
        )
    return text


def _retries(retries: Retries) -> str:
    """How often and after what a failure is tried again."""
    after = {"infrastructure": "failures of the execution point", "any": "any failure"}.get(
        retries.on, f"exit code {' or '.join(map(str, retries.codes))}"
    )
    found = [f"{retries.times:,} at most, after {after}" if retries.times else "none"]
    for name, ladder, unit in (
        ("memory", retries.memory, 1024**2),
        ("disk", retries.disk, 1024),
    ):
        if ladder:
            step = f"x{ladder.factor:g} up to " if ladder.factor else ""
            sizes = ", then ".join(size(amount * unit) for amount in ladder.sizes)
            found.append(f"after too much {name}: {step}{sizes}")
    return "; ".join(found)


def _checkpoint(checkpoint: Checkpoint) -> str:
    every = f", every {duration(checkpoint.every_s)}" if checkpoint.every_s else ""
    return f"{some(checkpoint.files)}{every}"


def _same_time(plan: Plan) -> bool:
    return bool(plan.spec.resources.time_s) and not any(
        expression.resource == "time" for expression in plan.spec.expressions
    )


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _profile(profile: Profile) -> str:
    facts = [f"inputs up to {size(profile.input_bytes)} for a job"] * (profile.input_bytes > 0)
    if profile.longest_s:
        facts.append(f"jobs up to {duration(profile.longest_s)}")
    if profile.many_jobs:
        facts.append(f"max_idle above {profile.many_jobs:,} jobs")
    return profile.name + (f" ({', '.join(facts)})" if facts else "")


def environment_travels(spec: Spec) -> bool:
    """Whether jobs are brought an environment or an image from here."""
    path = spec.environment.path
    return path is not None and not (
        spec.environment.kind == "container" and is_elsewhere(path.text)
    )


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def some(names: Sequence[str], limit: int = 8) -> str:
    """`a, b and 7 more`."""
    shown = ", ".join(ui.one_line(name) for name in names[:limit])
    return shown + (f" and {len(names) - limit:,} more" if len(names) > limit else "")

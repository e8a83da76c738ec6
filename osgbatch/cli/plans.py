"""A plan as text: what a person wants to see before submitting."""

from __future__ import annotations

import os
import shlex
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from osgbatch import ui
from osgbatch.cli.plan_rows import shown_rows
from osgbatch.errors import SpecError, SpecErrors
from osgbatch.model import (
    Checkpoint,
    Column,
    Plan,
    Profile,
    Resources,
    Retries,
    Spec,
    Table,
    TaskPlan,
    Template,
)
from osgbatch.names import RESULT_FILE
from osgbatch.packing.container import is_elsewhere
from osgbatch.planned import PlannedArchive, expected, longest_s, planned_archives
from osgbatch.planning.grouping import duration, size
from osgbatch.planning.placement import environment_why
from osgbatch.planning.summary import core_hours, requirement_words
from osgbatch.staging.store import stash_url
from osgbatch.submit_language import duration_category

LABEL = 13
"""Characters before the facts: the longest label and two blanks."""
MAX_LINES = 6
"""Lines of a command or a script that are shown."""
MAX_INPUTS = 5
"""Inputs of task 0 that are shown."""
_CHOOSING = ("where", "exclude", "sample")


def plan_text(plan: Plan, environment_size: int | None, width: int = 0) -> str:
    """What `osgbatch plan` prints.

    environment_size: bytes of the packed environment, None when it is not packed yet; width: of
    the terminal in characters, 0 asks it.
    """
    width = max(50, width or shutil.get_terminal_size().columns)
    archives = planned_archives(plan)
    sections = (
        _sweep(plan, width - LABEL),
        _brought(plan, archives, environment_size),
        _asked(plan, archives),
        [("warning", warning) for warning in plan.warnings],
    )
    return "\n\n".join(_facts(section, width) for section in sections if section)


Fact = tuple[str, str]
"""A label, and what is said; lines that begin with a blank are not wrapped."""


# --- the sweep ----------------------------------------------------------------------------------


def _sweep(plan: Plan, width: int) -> list[Fact]:
    spec = plan.spec
    facts = [("sweep", f"{spec.name}, from {_near(spec)}")]
    facts.append(("tasks", _tasks(plan)))
    lines = plan.grouping or (ui.work(len(plan.table), len(plan.jobs)),)
    facts.append(("jobs", "\n".join(lines)))
    if plan.table.columns:
        facts.append(("rows", "\n".join(f" {line}" for line in shown_rows(plan, width - 1))))
    facts.append(("task 0 runs", _command(spec, plan.tasks[0], width)))
    brought = "\n".join(_arrivals(plan))
    if brought:
        facts.append(("task 0 gets", brought))
    return facts


def _tasks(plan: Plan) -> str:
    """`60 = 30 mass x 2 file`, `228 of 252 (12 a x 21 b), chosen by where`."""
    count = f"{len(plan.table):,}"
    choosing = [kind for kind in _CHOOSING if any(s.kind == kind for s in plan.spec.sources)]
    whole = (_all_rows(plan.spec) if choosing else None) or plan.table
    blocks = [block for block in whole.blocks if len(block[0].cells) > 1]
    parts = [f"{len(block[0].cells):,} {_names(block)}" for block in blocks]
    parts += [f"{whole.copies:,} copies"] * (whole.copies > 1)
    product = " x ".join(parts) if len(parts) > 1 else ""
    if whole is not plan.table:
        count += f" of {len(whole):,}" + (f" ({product})" if product else "")
    elif product:
        count += f" = {product}"
    return count + (f", chosen by {_listed(choosing)}" if choosing else "")


def _all_rows(spec: Spec) -> Table | None:
    """The rows before any is chosen; None where they cannot be counted."""
    from osgbatch.sweep.expand import expand

    sources = tuple(source for source in spec.sources if source.kind not in _CHOOSING)
    try:
        return expand(replace(spec, sources=sources))
    except (SpecError, SpecErrors):  # more rows than a sweep may have, before a sample of them
        return None


def _arrivals(plan: Plan) -> Iterator[str]:
    """Where the first task finds its inputs, its own before those that all share."""
    files = plan.tasks[0].inputs
    shared = set(plan.tasks.shared)
    files = tuple(sorted(files, key=lambda file: file in shared))
    start = os.path.realpath(plan.spec.folder)
    for file in files[:MAX_INPUTS]:
        source = file.url
        if not source:
            relative = os.path.relpath(file.source, start)
            source = str(file.source) if relative.startswith("../..") else relative
        yield f"{file.task_path} from {source}"
    if len(files) > MAX_INPUTS:
        yield f"and {len(files) - MAX_INPUTS:,} more"


def _near(spec: Spec) -> str:
    """The spec's path, as one would type it from here."""
    relative = os.path.relpath(spec.path)
    return str(spec.path) if relative.startswith("../..") else relative


def _names(block: Sequence[Column]) -> str:
    """A column's name, or those of columns that go side by side."""
    names = [column.name for column in block]
    return names[0] if len(names) == 1 else f"({_some(names, 3)})"


def _head(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _command(spec: Spec, task: TaskPlan, width: int) -> str:
    if spec.script:
        lines = spec.script.written.strip("\n").splitlines()
        shown = [f" {_head(line, width)}" for line in lines[:MAX_LINES]]
        more = [f"... ({len(lines)} lines in all)"] * (len(lines) > MAX_LINES)
        return "\n".join(["bash -eo pipefail, of the script", *shown, *more])
    if spec.function:
        given = ", ".join(f"{name}={value!r}" for name, value in task.params)
        text = f"{spec.function.module}:{spec.function.name}({given})"
    elif spec.command:
        text = shlex.join(task.argv)
    else:
        return "the container's own run script"
    lines = textwrap.wrap(ui.one_line(text), width, break_on_hyphens=False)
    if len(lines) > MAX_LINES:
        lines[MAX_LINES:] = [f"... ({len(text):,} characters in all)"]
    return "\n".join(lines)


# --- what is packed and moved -------------------------------------------------------------------


def _brought(
    plan: Plan, archives: Sequence[PlannedArchive], environment_size: int | None
) -> list[Fact]:
    spec = plan.spec
    environment = "none: what the execution point has"
    if spec.environment.path:
        environment = f"{spec.environment.path.text} ({_packed(spec, environment_size)})"
    facts = [("environment", environment)]
    for archive in archives:
        if archive.kind != "inputs":
            what = f"{ui.number_of(archive.files, 'file')}, {size(archive.size)}"
            facts.append((archive.kind, f"{_some(archive.names)} ({what})"))
    facts += _inputs(plan)
    facts += _staged(plan, environment_size)
    facts.append(("to a job", _moved(plan, archives, environment_size)))
    facts += _variables(spec)
    facts.append(("comes back", _outputs(plan)))
    if spec.gather:
        facts.append(("gather", f"{spec.gather.text}, here, when all tasks have succeeded"))
    return facts


def _packed(spec: Spec, environment_size: int | None) -> str:
    """What is known of the environment that travels, or of the image."""
    if not environment_travels(spec):
        return "each execution point gets the image itself"
    is_image = spec.environment.kind == "container"
    if environment_size is None:
        return f"not {'built' if is_image else 'packed'} yet, submit does it"
    return size(environment_size) if is_image else f"packed before, {size(environment_size)}"


def environment_travels(spec: Spec) -> bool:
    """Whether jobs are brought an environment or an image from here."""
    path = spec.environment.path
    return path is not None and not (
        spec.environment.kind == "container" and is_elsewhere(path.text)
    )


def _inputs(plan: Plan) -> Iterator[Fact]:
    """Local inputs by their size, URLs by their number in a task."""
    parts = [f"{size(plan.input_bytes)} of different files"] * (plan.input_bytes > 0)
    urls = _urls(plan)
    if urls:
        parts.append(f"{ui.number_of(len(urls), 'URL')} for a task, such as {urls[0]}")
    if parts:
        yield "inputs", "; ".join(parts)


def _staged(plan: Plan, environment_size: int | None) -> Iterator[Fact]:
    """What goes through the stash, and why."""
    if plan.stash.kind == "none":
        return
    home = plan.spec.folder
    words = []
    for one in plan.placed:
        inside = one.source.is_relative_to(home)
        name = str(one.source.relative_to(home)) if inside else one.source.name
        words.append(f"{name} ({size(one.size)}, {one.why})")
    if environment_size is not None and environment_travels(plan.spec):
        why = environment_why(plan, environment_size)
        words += [f"the environment ({size(environment_size)}, {why})"] if why else []
    yield "stash", stash_url(plan.stash)
    yield "", f"for {_some(words)}" if words else "nothing of this sweep belongs there"


def _urls(plan: Plan) -> list[str]:
    return [file.url for file in plan.tasks[0].inputs if file.url]


def _variables(spec: Spec) -> Iterator[Fact]:
    """Environment variables of a task, as the spec has them."""
    if spec.environment_variables:
        given = [f"{name}={_written(value)}" for name, value in spec.environment_variables]
        yield "variables", _some(given)


def _outputs(plan: Plan) -> str:
    """What must or may come back, as the spec has it, and what that comes to for task 0."""
    spec = plan.spec
    patterns = [_written(o.pattern) + " (optional)" * o.optional for o in spec.outputs]
    if spec.function:
        patterns.append(f"{RESULT_FILE} (what the function returns)")
    text = _some(patterns)
    if not spec.outputs:
        text += ", and whatever is in outputs/" if text else "whatever is in outputs/"
    filled = [output.pattern for output in spec.outputs if output.pattern.names]
    if filled:
        names = {name for pattern in filled for name in pattern.names}
        seen = {name: plan.tasks.texts(name, 0, 1)[0] for name in names}
        text += f"\nof task 0: {_some([pattern.fill(seen) for pattern in filled])}"
    return text + (f"\nnot here but to {spec.outputs_to}" if spec.outputs_to else "")


def _written(template: Template) -> str:
    """A template as the spec has it."""
    parts = enumerate(template.parts)
    return "".join(f"{{{part}}}" if number % 2 else part for number, part in parts)


def _moved(plan: Plan, archives: Sequence[PlannedArchive], environment_size: int | None) -> str:
    """What one job is brought, and all jobs; archives count as if nothing were compressed."""
    each = plan.job_bytes + sum(archive.size for archive in archives) + (environment_size or 0)
    unknown: list[str] = []
    if environment_travels(plan.spec) and environment_size is None:
        unknown.append("the environment")
    if _urls(plan):
        unknown.append("what URLs lead to")
    if not each:
        return " and ".join(unknown) or "nothing but its parameters"
    jobs = len(plan.jobs)
    total = f", {size(each * jobs)} for {ui.number_of(jobs, 'job')}" if jobs > 1 else ""
    return f"at most {size(each)}{total}" + (f", and {' and '.join(unknown)}" if unknown else "")


def _listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _some(names: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(ui.one_line(name) for name in names[:limit])
    return shown + (f" and {len(names) - limit:,} more" if len(names) > limit else "")


# --- what is asked of the pool --------------------------------------------------------------------


def _asked(plan: Plan, archives: Sequence[PlannedArchive]) -> list[Fact]:
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
        facts.append(("tags", _some(spec.tags)))
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
            f" (the largest; {_listed(named)} {'differ' if named[1:] else 'differs'} between jobs)"
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
    return f"{_some(checkpoint.files)}{every}"


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


# --- the page -----------------------------------------------------------------------------------


def _facts(facts: Iterable[Fact], width: int) -> str:
    """Labels and facts in two columns; facts are wrapped, never cut."""
    lines: list[str] = []
    for label, text in facts:
        start = label
        for part in text.split("\n"):
            indented = part.startswith(" ")
            clean = ui.one_line(part)
            wrapped = (
                [clean[1:]]
                if indented
                else textwrap.wrap(clean, width - LABEL, break_on_hyphens=False)
            )
            for line in wrapped or [""]:
                lines.append(f"{start:<{LABEL}}{line}".rstrip())
                start = ""
    return "\n".join(lines)

"""A plan as text: what a person wants to see before submitting."""

from __future__ import annotations

import os
import shlex
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from osgbatch import names, ui
from osgbatch.cli.plan_asked import Fact, asked_facts, environment_travels, listed, some
from osgbatch.cli.plan_rows import shown_rows
from osgbatch.errors import SpecError, SpecErrors
from osgbatch.names import RESULT_FILE
from osgbatch.plan_model import Plan, TaskPlan
from osgbatch.planning.placement import environment_why
from osgbatch.spec_model import Gather, Spec, Template
from osgbatch.staging.store import stash_url
from osgbatch.submission.planned import PlannedArchive, planned_archives
from osgbatch.tables import Column, Table
from osgbatch.texts import size

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
        asked_facts(plan, archives),
        [("warning", warning) for warning in plan.warnings],
    )
    return "\n\n".join(_facts(section, width) for section in sections if section)


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
    return count + (f", chosen by {listed(choosing)}" if choosing else "")


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
    if spec.path.name == names.RUN_SPEC:
        return "the command line"
    relative = os.path.relpath(spec.path)
    return str(spec.path) if relative.startswith("../..") else relative


def _names(block: Sequence[Column]) -> str:
    """A column's name, or those of columns that go side by side."""
    names = [column.name for column in block]
    return names[0] if len(names) == 1 else f"({some(names, 3)})"


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
            facts.append((archive.kind, f"{some(archive.names)} ({what})"))
    facts += _inputs(plan)
    facts += _staged(plan, environment_size)
    facts.append(("to a job", _moved(plan, archives, environment_size)))
    facts += _variables(spec)
    facts.append(("comes back", _outputs(plan)))
    if spec.gather:
        facts.append(("gather", _gather(spec.gather)))
    return facts


def _gather(gather: Gather) -> str:
    """Where it runs; what an access point is not for is said before it is met."""
    if gather.in_pool:
        return f"{gather.text}, as a last job of the pool, when all tasks have succeeded"
    text = f"{gather.text}, here, when all tasks have succeeded"
    return f"{text} (above 1 GB of results, or 10 min, better `in: pool`)"


def _packed(spec: Spec, environment_size: int | None) -> str:
    """What is known of the environment that travels, or of the image."""
    if not environment_travels(spec):
        return "each execution point gets the image itself"
    is_image = spec.environment.kind == "container"
    if environment_size is None:
        return f"not {'built' if is_image else 'packed'} yet, submit does it"
    return size(environment_size) if is_image else f"packed before, {size(environment_size)}"


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
    yield "", f"for {some(words)}" if words else "nothing of this sweep belongs there"


def _urls(plan: Plan) -> list[str]:
    return [file.url for file in plan.tasks[0].inputs if file.url]


def _variables(spec: Spec) -> Iterator[Fact]:
    """Environment variables of a task, as the spec has them."""
    if spec.environment_variables:
        given = [f"{name}={_written(value)}" for name, value in spec.environment_variables]
        yield "variables", some(given)


def _outputs(plan: Plan) -> str:
    """What must or may come back, as the spec has it, and what that comes to for task 0."""
    spec = plan.spec
    patterns = [
        _written(o.pattern)
        + " (optional)" * o.optional
        + (f" -> results/{_written(o.to)}" if o.to else "")
        for o in spec.outputs
    ]
    if spec.function:
        patterns.append(f"{RESULT_FILE} (what the function returns)")
    text = some(patterns)
    if not spec.outputs:
        rest = "whatever the program makes or changes" if spec.changed_only else ""
        rest = rest or "whatever is in outputs/"
        text += f", and {rest}" if text else rest
    elif spec.changed_only:
        text += "\nof that only what the program makes or changes"
    if spec.exclude:
        text += f"\nnot {some(spec.exclude)}"
    filled = [output.pattern for output in spec.outputs if output.pattern.names]
    if filled:
        names = {name for pattern in filled for name in pattern.names}
        seen = {name: plan.tasks.texts(name, 0, 1)[0] for name in names}
        text += f"\nof task 0: {some([pattern.fill(seen) for pattern in filled])}"
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

"""A plan as text: what a person wants to see before submitting."""

from __future__ import annotations

import os
import shlex
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from osgbatch import ui
from osgbatch.model import Column, Plan, Profile, Resources, Spec, TaskPlan
from osgbatch.packing.container import is_elsewhere
from osgbatch.planned import PlannedArchive, expected, longest_s, planned_archives
from osgbatch.planning.grouping import duration, size
from osgbatch.planning.summary import core_hours, requirement_words
from osgbatch.submit_language import duration_category

LABEL = 13
"""Characters before the facts: the longest label and two blanks."""
FIRST_ROWS = 3
MAX_CELL = 26
WIDE = 90
"""Characters of a terminal below which cells are shown shorter."""
MAX_LINES = 6
"""Lines of a command or a script that are shown."""


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
    tasks = f"{len(plan.table):,}"
    blocks = [block for block in plan.table.blocks if len(block[0].cells) > 1]
    parts = [f"{len(block[0].cells):,} {_names(block)}" for block in blocks]
    parts += [f"{plan.table.copies:,} copies"] * (plan.table.copies > 1)
    if len(parts) > 1:
        tasks += " = " + " x ".join(parts)
    facts.append(("tasks", tasks))
    lines = plan.grouping or (ui.work(len(plan.table), len(plan.jobs)),)
    facts.append(("jobs", "\n".join(lines)))
    if plan.table.columns:
        facts.append(("rows", "\n".join(f" {line}" for line in _rows(plan, width - 1))))
    facts.append(("task 0 runs", _command(spec, plan.tasks[0], width)))
    return facts


def _near(spec: Spec) -> str:
    """The spec's path, as one would type it from here."""
    relative = os.path.relpath(spec.path)
    return str(spec.path) if relative.startswith("../..") else relative


def _names(block: Sequence[Column]) -> str:
    """A column's name, or those of columns that go side by side."""
    names = [column.name for column in block]
    return names[0] if len(names) == 1 else f"({_some(names, 3)})"


def _rows(plan: Plan, width: int) -> Iterator[str]:
    """The first and the last rows of parameters, as many columns as there is room for."""
    total = len(plan.tasks)
    shown = [*range(min(FIRST_ROWS, total)), *([total - 1] if total > FIRST_ROWS else [])]
    columns = plan.table.columns
    header = ["task", *(column.name for column in columns)]
    limit = MAX_CELL if width >= WIDE else MAX_CELL - 6
    grid = [[_cut(text, limit) for text in header]]
    for index in shown:
        task = plan.tasks[index]
        seen = dict(task.params)
        cells = [
            str(seen[column.name]) if column.is_file else cell.text
            for column, cell in zip(columns, task.row, strict=True)
        ]
        grid.append([str(index), *(_cut(text, limit) for text in cells)])
    if total > FIRST_ROWS + 1:
        grid.insert(FIRST_ROWS + 1, ["..."])
    widths = [max(len(row[i]) for row in grid if len(row) > i) for i in range(len(header))]
    fits = _fitting(widths, width)
    for number, row in enumerate(grid):
        line = "  ".join(cell.ljust(w) for cell, w in zip(row[:fits], widths, strict=False))
        more = len(header) - fits if number == 0 else 0
        yield f"{line}  {_more(more)}".rstrip() if more else line.rstrip()


def _fitting(widths: Sequence[int], width: int) -> int:
    """How many columns fit, with the count of those that do not; the task and one at least."""
    for fits in range(len(widths), 2, -1):
        left = len(widths) - fits
        used = sum(widths[:fits]) + 2 * (fits - 1)
        if used + (len(_more(left)) + 2 if left else 0) <= width:
            return fits
    return min(2, len(widths))


def _more(count: int) -> str:
    return f"(+ {count} more)"


def _cut(text: str, limit: int) -> str:
    """A cell on one line; of what is long, both ends."""
    text = _printable(text)
    if len(text) <= limit:
        return text
    tail = (limit - 3) // 2
    return f"{text[: limit - 3 - tail]}...{text[-tail:]}"


def _head(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _command(spec: Spec, task: TaskPlan, width: int) -> str:
    if spec.script:
        lines = spec.script.text.strip("\n").splitlines()
        shown = [f" {_head(line, width)}" for line in lines[:MAX_LINES]]
        more = [f"... ({len(lines)} lines in all)"] * (len(lines) > MAX_LINES)
        return "\n".join(["bash, with the parameters as variables:", *shown, *more])
    if spec.function:
        given = ", ".join(f"{name}={value!r}" for name, value in task.params)
        text = f"{spec.function.module}:{spec.function.name}({given})"
    elif spec.command:
        text = shlex.join(task.argv)
    else:
        return "the container's own run script"
    lines = textwrap.wrap(_printable(text), width, break_on_hyphens=False)
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
            what = f"{_of(archive.files, 'file')}, {size(archive.size)}"
            facts.append((archive.kind, f"{_some(archive.names)} ({what})"))
    facts += _inputs(plan)
    facts.append(("to a job", _moved(plan, archives, environment_size)))
    facts.append(("comes back", _some(_outputs(plan)) or "whatever is in outputs/"))
    if spec.gather:
        facts.append(("gather", f"{spec.gather.text}, here, when all tasks have succeeded"))
    return facts


def _packed(spec: Spec, environment_size: int | None) -> str:
    """What is known of the environment that travels, or of the image."""
    if not _travels(spec):
        return "each execution point gets the image itself"
    is_image = spec.environment.kind == "container"
    if environment_size is None:
        return f"not {'built' if is_image else 'packed'} yet, submit does it"
    return size(environment_size) if is_image else f"packed before, {size(environment_size)}"


def _travels(spec: Spec) -> bool:
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
        parts.append(f"{_of(len(urls), 'URL')} for a task, such as {urls[0]}")
    if parts:
        yield "inputs", "; ".join(parts)


def _urls(plan: Plan) -> list[str]:
    return [file.url for file in plan.tasks[0].inputs if file.url]


def _outputs(plan: Plan) -> list[str]:
    """What must or may come back, as the spec has it."""
    found: list[str] = []
    for output in plan.outputs:
        parts = enumerate(output.pattern.parts)
        text = "".join(f"{{{part}}}" if number % 2 else part for number, part in parts)
        found.append(f"{text} (optional)" if output.optional else text)
    return found


def _moved(plan: Plan, archives: Sequence[PlannedArchive], environment_size: int | None) -> str:
    """What one job is brought, and all jobs; archives count as if nothing were compressed."""
    each = plan.job_bytes + sum(archive.size for archive in archives) + (environment_size or 0)
    unknown: list[str] = []
    if _travels(plan.spec) and environment_size is None:
        unknown.append("the environment")
    if _urls(plan):
        unknown.append("what URLs lead to")
    if not each:
        return " and ".join(unknown) or "nothing but its parameters"
    jobs = len(plan.jobs)
    total = f", {size(each * jobs)} for {_of(jobs, 'job')}" if jobs > 1 else ""
    return f"at most {size(each)}{total}" + (f", and {' and '.join(unknown)}" if unknown else "")


def _of(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _some(names: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(_printable(name) for name in names[:limit])
    return shown + (f" and {len(names) - limit:,} more" if len(names) > limit else "")


# --- what is asked of the pool --------------------------------------------------------------------


def _asked(plan: Plan, archives: Sequence[PlannedArchive]) -> list[Fact]:
    spec = plan.spec
    resolved = expected(plan, archives)
    facts = [("each job", _resources(plan, resolved.resources))]
    if plan.job_s:
        category = duration_category(longest_s(plan))
        one = spec.resources.time_s
        limit = duration(plan.job_s)
        if one != plan.job_s:
            limit += " for a job" + (f", {duration(one)} for a task" if _same_time(plan) else "")
        facts.append(("time", f"at most {limit} (category {category})"))
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
        _of(asked.cpus, "cpu"),
        f"{size(asked.memory_mb * 1024**2)} memory",
        f"{size(asked.disk_kb * 1024)} disk",
    ]
    if asked.gpus:
        wanted.append(_of(asked.gpus, "gpu"))
    text = ", ".join(wanted)
    if _travels(plan.spec):
        text += ", and disk for the environment"
    if plan.varying:
        named = [name.split("_")[0] for name in plan.varying]
        listed = " and ".join(filter(None, [", ".join(named[:-1]), named[-1]]))
        text += f" (the largest; {listed} {'differ' if named[1:] else 'differs'} between jobs)"
    return text


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
            clean = _printable(part)
            wrapped = (
                [clean[1:]]
                if indented
                else textwrap.wrap(clean, width - LABEL, break_on_hyphens=False)
            )
            for line in wrapped or [""]:
                lines.append(f"{start:<{LABEL}}{line}".rstrip())
                start = ""
    return "\n".join(lines)


def _printable(text: str) -> str:
    """Text without what a terminal would take for a command."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)

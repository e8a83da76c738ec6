"""Rules about jobs that condor_submit refuses, though it can read their lines.

Each was seen on condor_submit 25.14.1 and 23.9.6 with -dry-run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from osgbatch.linting.job import Job
from osgbatch.linting.lines import Statement
from osgbatch.linting.rules import ERROR, WARNING, Found, rule
from osgbatch.linting.rules_classads import own
from osgbatch.linting.rules_names import meant
from osgbatch.linting.rules_values import COUNTS, EXPRESSIONS, SIZES, STRING, quotes_problem


@rule(
    "environment-entry", ERROR, "an entry of environment that is not NAME=value",
    "condor_submit refuses the file. With quotes around the whole, entries are separated by "
    "blanks; without quotes, by ;.",
)  # fmt: skip
def environment_entry(job: Job) -> Iterator[Found]:
    for statement in job.all("environment"):
        value = (job.plain(statement) or "").strip()
        if quotes_problem(value):
            continue  # `arguments-quotes` tells of these
        for entry in _entries(value):
            if re.match("[^=]+=", entry):
                continue
            blanks = re.search(r"\w\s+=|=\s+\w", value)
            fix = f"Write {entry}=value; getenv = {entry} takes the value of your shell."
            if value.startswith('"') and blanks:
                fix = "Write NAME=value without blanks around the =."
            elif not re.fullmatch(r"\w+", entry):
                fix = "Write NAME=value; a value with blanks stands in single quotes: N='a b'."
            yield Found(statement.at, f'"{entry}" in {statement.key} is not NAME=value', fix)
            break


def _entries(value: str) -> list[str]:
    """The entries of an environment, as HTCondor takes them apart."""
    if not value.startswith('"'):
        return [entry.strip() for entry in value.split(";") if entry.strip()]
    return re.findall(r"(?:'[^']*'|[^\s'])+", value[1:-1].replace('""', "_"))


@rule(
    "dollar-dollar", ERROR, "$$(...) in an expression",
    "$$(Name) is filled in when the job has a slot, and in texts only; condor_submit refuses an "
    "expression with it.",
)  # fmt: skip
def dollar_dollar(job: Job) -> Iterator[Found]:
    wanted = {id(s) for s in job.all(*f"{EXPRESSIONS} {SIZES} {COUNTS}".split())}
    for statement in job.settings:
        attribute = own(statement.key)
        if id(statement) not in wanted and not attribute:
            continue
        found = re.search(r"\$\$\(([^()]*)\)", STRING.sub("", statement.value))
        if not found:
            continue
        name = found[1].partition(":")[0].strip("[] ")
        fix = f"Write TARGET.{name} for the slot's attribute, MY.{name} for the job's."
        if attribute:
            fix = f'Write "{found[0]}", in quotes.'
        yield Found(statement.at, f"{found[0]} is no part of an expression", fix)


_NEEDS = {
    "container": (
        ("container_image", "docker_image"),
        "Add container_image = docker://NAME, or the name of a .sif file.",
    ),
    "docker": (("docker_image",), "Add docker_image = NAME."),
    "parallel": (("machine_count", "node_count"), "Add machine_count = 2, say."),
    "java": (("arguments",), "Add arguments = ClassName: the class with main()."),
    "grid": (("grid_resource",), "Add grid_resource = batch slurm, say."),
}
"""What a universe does not do without, and what to write."""


@rule(
    "universe-needs", ERROR, "a universe without the command that it needs",
    "condor_submit refuses the file: the container universe needs an image, parallel a "
    "machine_count, grid a grid_resource, java the name of a class.",
)  # fmt: skip
def universe_needs(job: Job) -> Iterator[Found]:
    universe = (job.value("universe") or "").lower()
    if not job.whole or not universe:
        return
    statement = job.all("universe")[-1]
    names, fix = _NEEDS.get(universe, ((), ""))
    if names and not any(_given(job, name) for name in names):
        old = next((s for s in job.settings if own(s.key).lower() == "singularityimage"), None)
        if old and universe == "container":
            image = old.value.strip('"')
            fix = f"Write container_image = {image} instead of {old.key}."
        elif universe == "docker" and _given(job, "container_image"):
            fix = "Write universe = container, or leave that line out."
        yield Found(statement.at, f"universe = {universe} needs {' or '.join(names)}", fix)
    elif universe == "docker" and _given(job, "container_image"):
        yield Found(
            statement.at, "universe = docker does not go with container_image",
            "Write universe = container, or leave that line out.",
        )  # fmt: skip


def _given(job: Job, name: str) -> bool:
    """Whether a command is set to something, here or by the queue statement."""
    lines: list[Statement] = job.all(name)
    return any(line.value.strip() for line in lines) or (not lines and job.sets(name))


@rule(
    "executable-none", WARNING, "no executable",
    "condor_submit refuses a job without a program to run. An interactive one (condor_submit -i), "
    "and one in a container that has its own program, may do without.",
)  # fmt: skip
def executable_none(job: Job) -> Iterator[Found]:
    instead = ["shell", "container_image", "docker_image", "vm_type", "interactive_executable"]
    if not job.whole or job.sets("executable", *instead, "+IsBuildJob"):
        return
    if any(meant(s.key)[0] == "executable" for s in job.settings if not job.known(s)):
        return  # `unknown-command` tells of it
    if (job.value("universe") or "").lower() != "vm":
        yield Found(
            job.queues[0].statement.where, "no executable is named", "Add executable = my_job.sh."
        )

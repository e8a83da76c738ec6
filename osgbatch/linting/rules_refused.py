"""Rules about jobs that condor_submit refuses, though it can read their lines.

Each was seen on condor_submit 25.14.1 and 23.9.6 with -dry-run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from osgbatch.linting.job import Job
from osgbatch.linting.lines import Statement
from osgbatch.linting.rules import ERROR, WARNING, Found, renamed, replaced, rule
from osgbatch.linting.rules_classads import own
from osgbatch.linting.rules_names import meant
from osgbatch.linting.rules_values import (
    COUNTS,
    EXPRESSIONS,
    SIZES,
    STRING,
    UNIVERSES,
    quotes_problem,
)


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
    for place, value in job.queued("environment"):
        wrong = [entry for entry in _entries(value) if not re.match("[^=]+=", entry)]
        if wrong and "$" not in value and not quotes_problem(value):
            yield Found(
                place, f'"{wrong[0]}" in this line of the list is not NAME=value',
                f"Write {wrong[0]}=value.",
            )  # fmt: skip


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
    "mpi": (("machine_count", "node_count"), "Add machine_count = 2, say."),
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
    if universe.isdigit():
        universe = UNIVERSES.get(int(universe), universe)
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
    if not job.whole or _given(job, "executable") or job.sets(*instead, "+IsBuildJob"):
        return
    if any(meant(s.key)[0] == "executable" for s in job.settings if not job.known(s)):
        return  # `unknown-command` tells of it
    if (job.value("universe") or "").lower() != "vm":
        yield Found(
            job.queues[0].statement.where, "no executable is named", "Add executable = my_job.sh."
        )


_GRIDS = frozenset(
    ["condor", "batch", "arc", "ec2", "gce", "azure", "blah", "pbs", "lsf", "sge", "nqs", "naregi"]
)
"""Types of grid_resource; the last six are old names of batch."""
_GRIDS_GONE = {
    "amazon": "ec2", "slurm": "batch slurm", "nordugrid": "arc", "cream": "arc", "gt2": "condor",
    "gt5": "condor", "globus": "condor",
}  # fmt: skip


@rule(
    "grid-type", ERROR, "a grid_resource of a type that is unknown, or gone",
    "condor_submit refuses it: the types are condor, batch, arc, ec2, gce and azure.",
)  # fmt: skip
def grid_type(job: Job) -> Iterator[Found]:
    if (job.value("universe") or "").lower() not in ("grid", "9"):
        return
    for statement, value in job.words("grid_resource"):
        kind = (value.split() or [""])[0].strip('"')
        if not kind or (kind.lower() in _GRIDS and not value.startswith('"')):
            continue
        now = _GRIDS_GONE.get(kind.lower(), "")
        fix = f"Write {now} and what it needs." if now else "Write batch slurm, say."
        if kind.lower() in _GRIDS:
            fix = f"Write {value.strip(chr(34))}, without quotes."
        yield Found(statement.at, f"{kind} is no type of a grid_resource", fix)


_NAMED = """ABRT ALRM BUS CHLD CONT FPE HUP ILL INT IO KILL PIPE PROF QUIT SEGV STOP SYS TERM TRAP
    TSTP TTIN TTOU URG USR1 USR2 WINCH XCPU XFSZ"""
_SIGNALS = frozenset(_NAMED.split())
_NUMBERS = frozenset(range(1, 32)) - {16, 26, 30}
"""The signals that condor_submit 25.14.1 takes on Linux, by name and by number."""


@rule(
    "signal", ERROR, "a signal that HTCondor does not know",
    "condor_submit refuses it: write a name such as SIGTERM, or a number from 1 to 31.",
    mends=True,
)  # fmt: skip
def signal(job: Job) -> Iterator[Found]:
    for statement, value in job.words("kill_sig remove_kill_sig hold_kill_sig"):
        number = re.match(r"[+-]?\d+", value)
        if not value or (number and int(number[0]) in _NUMBERS):
            continue
        name = value.strip("\"'").upper()
        if name.removeprefix("SIG") in _SIGNALS:
            right = "SIG" + name.removeprefix("SIG")
            if value.upper() == right:
                continue
            yield Found(
                statement.at, f"{value} is no signal", f"Write {right}.",
                replaced(statement, right) if value == statement.value else (),
            )  # fmt: skip
        else:
            yield Found(statement.at, f"{value} is no signal", "Write SIGTERM, say.")


@rule(
    "group-blanks", ERROR, "blanks in the name of an accounting group or of its user",
    "condor_submit refuses such a name.",
)  # fmt: skip
def group_blanks(job: Job) -> Iterator[Found]:
    for statement, value in job.words("accounting_group accounting_group_user"):
        if re.search(r"\S\s+\S", value) and "#" not in value:  # `name-comment` tells of those
            yield Found(
                statement.at, f"{statement.key} has a blank in it",
                f"Write {value.split()[0]}, if that is the name.",
            )  # fmt: skip


@rule(
    "limits-quotes", ERROR, "concurrency_limits in quotes",
    "condor_submit refuses the quotes as a part of the name.", mends=True,
)  # fmt: skip
def limits_quotes(job: Job) -> Iterator[Found]:
    for statement in job.all("concurrency_limits"):
        found = re.fullmatch(r'"([^"]*)"', statement.value)
        if found:
            yield Found(
                statement.at, "the quotes are taken for a part of the name",
                f"Write {found[1]}.", replaced(statement, found[1]),
            )  # fmt: skip


@rule(
    "proxy-flag", ERROR, "use_x509userproxy with the name of a file",
    "use_x509userproxy is true or false, and condor_submit refuses anything else; the file is "
    "named by x509userproxy.", mends=True,
)  # fmt: skip
def proxy_flag(job: Job) -> Iterator[Found]:
    for statement in job.all("use_x509userproxy"):
        path = job.plain(statement)
        shell = re.fullmatch(r"\$ENV\((\w*PROXY\w*)\)", statement.value.strip(), re.IGNORECASE)
        if not shell and not (path and "/" in path):
            continue
        free = not job.sets("x509userproxy")
        yield Found(
            statement.at, f"{statement.key} is true or false, and no file's name",
            f"Write x509userproxy = {statement.value}." if free
            else "Write use_x509userproxy = true.",
            renamed(statement, "x509userproxy") if free else replaced(statement, "true"),
            # What a variable of the shell holds is not known here.
            WARNING if shell else "",
        )  # fmt: skip

"""Rules about the names of commands."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher, get_close_matches

from osgbatch.linting.job import Job, canonical
from osgbatch.linting.lines import Statement
from osgbatch.linting.rules import ADVICE, WARNING, Found, renamed, rule
from osgbatch.submit_language import KNOWN_COMMANDS

_TYPOS = {
    "request_cpu": "request_cpus", "requests_cpus": "request_cpus", "cpu": "request_cpus",
    "cpus": "request_cpus", "ncpus": "request_cpus", "request_gpu": "request_gpus",
    "gpus": "request_gpus", "memory": "request_memory", "mem": "request_memory",
    "request_mem": "request_memory", "request_ram": "request_memory", "disk": "request_disk",
    "requirement": "requirements", "argument": "arguments", "exec": "executable",
    "executables": "executable", "logs": "log", "err": "error", "errors": "error",
    "eror": "error", "erro": "error",
    "out": "output", "outputs": "output", "outfile": "output", "errfile": "error",
    "logfile": "log", "transfer_file": "transfer_input_files",
    "transferfiles": "should_transfer_files",
    "transfer_files": "transfer_input_files", "input_files": "transfer_input_files",
    "transfer_inputs_files": "transfer_input_files", "output_files": "transfer_output_files",
    "transfer_input_file": "transfer_input_files", "transfer_output_file": "transfer_output_files",
    "should_transfer_file": "should_transfer_files", "should_transfer": "should_transfer_files",
    "should_transfer_input_files": "should_transfer_files", "enviroment": "environment",
    "env_vars": "environment", "request_gpu_memory": "gpus_minimum_memory",
    "request_gpus_memory": "gpus_minimum_memory", "when_to_transfer": "when_to_transfer_output",
    "when_to_transfer_files": "when_to_transfer_output", "container": "container_image",
    "singularity_image": "container_image",
    "universes": "universe", "retry": "max_retries", "retries": "max_retries",
    "when_to_transfer_outputs": "when_to_transfer_output", "batchname": "batch_name",
    "walltime": "allowed_execute_duration", "max_walltime": "allowed_execute_duration",
    "email": "notify_user", "mail": "notify_user",
}  # fmt: skip
_POOLS = """JobDurationCategory JobFlavour MaxRuntime RequestRuntime WantFlocking WantGlideIn
    WantGPULab GPUJobLength SingularityImage DESIRED_Sites UNDESIRED_Sites JobQueue is_resumable
    LongJob SingularityBindCVMFS WantGPUHomeMounted"""
_TYPOS |= {name.lower(): f"+{name}" for name in _POOLS.split()}
"""Names seen in real files, or near to them, that are no commands, and what was meant. The last
ones are attributes of the OSPool, CHTC, CERN and DESY, which begin with +.

`err` and `out`: condor_submit 25.14 knows neither."""
_WHETHER = ("YES", "NO", "IF_NEEDED", "ALWAYS", "NEVER", "TRUE", "FALSE", "AUTO")
"""The values of should_transfer_files: no names of files."""
_RESOURCES = ("request_cpus", "request_memory", "request_disk", "request_gpus")


def meant(key: str) -> tuple[str, bool]:
    """The command that an unknown name was surely or perhaps meant for, and whether surely."""
    name = key.lower()
    if name in _TYPOS:
        return _TYPOS[name], True
    near = get_close_matches(name, KNOWN_COMMANDS, n=1, cutoff=0.86)
    return (near[0], False) if near and len(name) > 4 else ("", False)


def _unused(job: Job) -> list[Statement]:
    return [s for s in job.settings if not job.known(s)]


@rule(
    "unknown-command", WARNING, "a name that is no submit command, and is near to one",
    "condor_submit takes any name for a macro, so a misspelt command is ignored: the job runs "
    "without it.", mends=True,
)  # fmt: skip
def unknown_command(job: Job) -> Iterator[Found]:
    for statement in _unused(job):
        name, _ = meant(statement.key)
        if not name:
            continue
        if name == "transfer_input_files" and statement.value.upper() in _WHETHER:
            name = "should_transfer_files"
        free = not job.sets(name)
        yield Found(
            statement.where, f"{statement.key} is no submit command; did you mean {name}?",
            f"Write {name}." if free else f"{name} is set elsewhere: leave this line out.",
            renamed(statement, name) if free and _safe(statement, name) else (),
        )  # fmt: skip


def _safe(statement: Statement, name: str) -> bool:
    """Whether a new name is surely what was meant: it differs by a letter or two."""
    alike = SequenceMatcher(None, statement.key.lower(), name.lower()).ratio()
    return alike >= 0.86 and statement.where.start >= 0


@rule(
    "resource-misspelt", WARNING, "a request of a resource that is near to a usual one",
    "request_NAME asks for a resource NAME that only few pools have: a job that misspells memory "
    "waits for ever, or does without.", mends=True,
)  # fmt: skip
def resource_misspelt(job: Job) -> Iterator[Found]:
    for statement in job.settings:
        name = statement.key.lower()
        if not name.startswith("request_") or name in KNOWN_COMMANDS or not job.known(statement):
            continue
        near = get_close_matches(name, _RESOURCES, n=1, cutoff=0.85)
        if near and not job.sets(near[0]) and name not in job.macros:
            yield Found(
                statement.where, f"{statement.key}: did you mean {near[0]}?",
                f"Write {near[0]}.", renamed(statement, near[0]),
            )  # fmt: skip


@rule(
    "unused-name", ADVICE, "a name that is no submit command and is used nowhere",
    "condor_submit ignores it, and asks whether it is a typo. An attribute of the job's own "
    "begins with + or MY.",
)  # fmt: skip
def unused_name(job: Job) -> Iterator[Found]:
    if not job.whole:
        return
    for statement in _unused(job):
        if statement.value.startswith(("= ", "?=", "!=")):
            continue  # `double-equals` tells of it
        if not meant(statement.key)[0] and not statement.key.startswith("-"):
            yield Found(
                statement.where, f"{statement.key} is no submit command, and used nowhere",
                f"Leave it out, use it as $({statement.key}), or write +{statement.key}.",
            )  # fmt: skip


_SUFFIXES = {
    "err": "error", "error": "error", "stderr": "error", "out": "output", "output": "output",
    "stdout": "output", "log": "log",
}  # fmt: skip
"""What the last part of a file's name says of what is in it."""


@rule(
    "set-twice", WARNING, "a command that is set twice",
    "The later line wins, without a word; of two names for one command the same one wins in any "
    "order.",
)  # fmt: skip
def set_twice(job: Job) -> Iterator[Found]:
    seen: dict[str, Statement] = {}
    for statement in job.statements:
        if statement.kind == "queue" or (statement.kind == "odd" and "{%" in statement.value):
            seen.clear()  # a template may choose between what is above and below
        if statement.kind != "set" or statement.depth or not job.known(statement):
            continue
        name = canonical(statement.key)
        first = seen.get(name)
        itself = f"$({statement.key.lower()})" in statement.value.lower()
        used = first is not None and first.key.lower() in job.macros
        if first is not None and not itself and not used:
            same = first.value == statement.value
            fix = "Keep one of them."
            suffix = statement.value.lower().rpartition(".")[2]
            other = _SUFFIXES.get(suffix, "")
            if name in ("log", "output", "error") and other and not job.sets(other):
                fix = f"Write {other} = {statement.value}, if that was meant."
            what = f"{statement.key} is set on line {first.where.line}, too"
            if first.key.lower() != statement.key.lower():  # request_memory, RequestMemory
                what = (
                    f"{statement.key} and {first.key}, on line {first.where.line}, are one command"
                )
            elif not same:
                what += f"; that value ({first.value[:30]}) is lost"
            yield Found(statement.where, what, fix, severity=ADVICE if same else WARNING)
        seen[name] = statement

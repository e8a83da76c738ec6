"""What goes into the submit file besides the tasks: tags, notify, and `submit:`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches

from osgbatch.spec.document import Loc
from osgbatch.spec.reading import Reading
from osgbatch.spec.schema import NotifyModel, SpecModel
from osgbatch.spec_model import Notify
from osgbatch.submit_language import (
    KNOWN_COMMANDS,
    custom_attribute,
    joined_name,
    known_command,
    one_name,
)

_COMES_BACK = "What a task writes comes back by itself; name it in `outputs:`."
_BROUGHT = "Name what a task is brought in `files:`, `inputs:` or `libraries:`."
_RUNS = "Write `command:`, `script:` or `function:`."
_RETRIED = "Write `retries: {times: 2, on: any}`."
_VARIABLES = "Write `environment_variables: {NAME: value}`."
_NO_CONTAINERS = "Containers are not supported by this version of osgbatch."
_CHECKPOINTS = "Write `checkpoint: {files: [state.npz]}`."
_LADDERS = "Write `retries: {memory: x2 up to 16 GB}`."
_MAX_IDLE = "Write `max_running: 100`; for large sweeps osgbatch sets max_idle."
_GPUS = "Write `gpus: {count: 1, min_memory: 8 GB, min_capability: 7.0}`."

_OWNED = {
    "queue": "Write `sweep:`; osgbatch makes the jobs from it.",
    "executable cmd arguments arguments2 args shell": _RUNS,
    "input stdin in": "Name the file in `inputs:`, and write `script: program < inputs/file`.",
    "universe job_universe": "osgbatch's jobs are in the vanilla universe.",
    "should_transfer_files": "osgbatch always transfers files.",
    "when_to_transfer_output": "osgbatch always brings back what there is.",
    "preserve_relative_paths": "osgbatch always keeps the tree of the inputs.",
    "transfer_output_files transfer_output transfer_out transfer_output_remaps": _COMES_BACK,
    "output_destination output_directory file_remaps": _COMES_BACK,
    "public_input_files common_input_files": _BROUGHT,
    "checkpoint_exit_code success_checkpoint_exit_code transfer_checkpoint": _CHECKPOINTS,
    "transfer_checkpoint_files checkpoint_destination": _CHECKPOINTS,
    "log user_log ulog": "The event log is rounds/001/events.log of the batch folder.",
    "log_xml user_log_use_xml": "osgbatch reads the event log as text.",
    "output stdout out": "What a task printed comes back with its results, in stdout.",
    "error stderr err": "What a task printed comes back with its results, in stderr.",
    "initialdir iwd job_iwd": "Paths start from the spec's folder.",
    "remote_initialdir remote_iwd": "Paths start from the spec's folder.",
    "batch_name job_batch_name": "Write `name: find-peaks`.",
    "request_cpus": "Write `resources: {cpus: 2}`.",
    "request_memory": "Write `resources: {memory: 2 GB}`.",
    "request_disk": "Write `resources: {disk: 4 GB}`.",
    "retry_request_memory retry_request_memory_increase retry_request_memory_max": _LADDERS,
    "retry_request_disk": "Write `retries: {disk: x2 up to 40 GB}`.",
    "request_gpus": "Write `gpus: 1`.",
    "gpus_minimum_memory gpus_minimum_capability gpus_min_memory gpus_min_capability": _GPUS,
    "requirements": "Write `requirements: {expr: ...}`.",
    "environment environment2 env": _VARIABLES,
    "getenv": f"What is set on the access point does not reach a task. {_VARIABLES}",
    "max_retries job_max_retries retry_until": _RETRIED,
    "success_exit_code job_success_exit_code": _RETRIED,
    "max_idle materialize_max_idle job_materialize_max_idle": _MAX_IDLE,
    "max_materialize job_materialize_limit": "Write `max_running: 100`.",
    "notification job_notification": "Write `notify: {email: me@example.org, when: error}`.",
    "notify_user": "Write `notify: me@example.org`.",
    "allowed_execute_duration": "Write `resources: {time: 20 min}`, for each task.",
    "container_image docker_image": _NO_CONTAINERS,
    "project_name": "Write `project: name`.",
    "OSGBatchID OSGBatchRound": "osgbatch finds its jobs by it.",
    "OSGBatchTags": "Write `tags: [pilot]`.",
    "cluster_id proc_id job_status owner user global_job_id": "HTCondor gives each job its own.",
}
"""Commands that osgbatch or HTCondor writes, and what to write in the spec instead.

The attribute behind a command, as in +RequestMemory, would change it as well: a name here is
refused with and without the plus, and with and without its underscores.
"""

_HELD = (
    "HTCondor ignores it where a large sweep enters the queue little by little. Try a few tasks "
    "first, with `sample: 3`, or hold the jobs with condor_hold."
)
_BREAKS = {
    "noop_job is_noop_job noop_job_exit_code noop_job_exit_signal": "Leave it out.",
    "skip_if_dataflow": "Leave it out.",
    "hold": _HELD,
}
"""Commands with which a batch would bring nothing home."""

_INSTEAD = {joined_name(name): fix for names, fix in _OWNED.items() for name in names.split()}
_NEVER = {joined_name(name): fix for names, fix in _BREAKS.items() for name in names.split()}
_INSTEAD_OF_ALL = {"transfer": _BROUGHT, "onexit": _RETRIED}
_REQUESTS = ["request_cpus", "request_memory", "request_disk", "request_gpus"]

_WORDS = re.compile(r"[A-Za-z_][\w.]*(?:(?:\s*,\s*|\s+)[\w.]+)*")
_LITERALS = {"true", "false", "undefined", "error"}


def read_submit(reading: Reading, model: SpecModel) -> Iterator[tuple[str, str]]:
    """`submit:`, each command as it was written."""
    seen: dict[str, str] = {}
    for key, written in model.submit.items():
        loc: Loc = ("submit", key)
        name = re.sub(r"^my\.", "+", key.lower())
        same = one_name(key)
        problem, fix = _key_problem(key, name)
        if not problem and same in seen:
            problem, fix = f'"{key}" is "{seen[same]}" again', "Leave one of them out."
        seen.setdefault(same, key)
        if problem:
            reading.fail(problem, reading.key(loc), fix)
            continue
        value = reading.text(loc, written).strip()
        problem, fix = _value_problem(key, name, value)
        if problem:
            reading.fail(problem, reading.place(loc), fix)
        else:
            yield key, value


def _key_problem(key: str, name: str) -> tuple[str, str]:
    """What is wrong with a command's name, and what to write; empty when nothing is.

    name: in lower case, with + for my.
    """
    fix = _instead(name)
    if fix:
        return f'"{key}" is written by osgbatch itself', fix
    breaks = _NEVER.get(joined_name(name.removeprefix("+")))
    if breaks:
        return f'"{key}" does not go with a batch: its jobs would bring nothing home', breaks
    if name.startswith(("+", "my.")):
        if custom_attribute(key):
            return "", ""
        return f'"{key}" cannot name an attribute', "Use letters, digits and _ after the +."
    known = name in KNOWN_COMMANDS
    near = [] if known else get_close_matches(name, _REQUESTS, n=1, cutoff=0.85)
    if known or (known_command(name) and not near):
        return "", ""
    near = near or get_close_matches(name, sorted(KNOWN_COMMANDS), n=1)
    if near:
        return f'"{key}" is no submit command; did you mean "{near[0]}"?', _instead(near[0])
    attribute = re.sub(r"[^A-Za-z0-9_]", "", key)
    return f'"{key}" is no submit command', f"An attribute of the job is written +{attribute}."


def _instead(name: str) -> str:
    """What to write in place of a command of osgbatch's own; empty when it is not."""
    joined = joined_name(name.removeprefix("+"))
    starts = (fix for start, fix in _INSTEAD_OF_ALL.items() if joined.startswith(start))
    return _INSTEAD.get(joined) or next(starts, "")


def _value_problem(key: str, name: str, value: str) -> tuple[str, str]:
    """What is wrong with a command's value, and what to write; empty when nothing is."""
    if not value:
        return f"{key} is empty", "Give it a value, or leave it out."
    if re.search(r"[\n\r\v\f]", value):
        return f"{key}: should be in one line", "Write `>-` and not `|` to fold lines into one."
    if value.endswith("\\"):
        return f"{key}: a backslash at the end would join the next line to it", "Leave it out."
    curly = re.search(r"[“”‘’]", value)
    if curly:
        what = f"{key}: {curly[0]} is a curly quote, which HTCondor does not know"
        return what, 'Write straight ones, ".'
    placeholder = re.search(r"(?<![\w{])\{[A-Za-z_]\w*\}", value)
    if placeholder:
        what = f"{key}: placeholders such as {placeholder[0]} are not known in submit"
        return what, "A submit command is the same for all jobs."
    bare = _WORDS.fullmatch(value)
    if name.startswith("+") and bare and not _is_expression(value):
        return f"{key}: {value} without quotes names an attribute", f"Write '\"{value}\"' for text."
    return "", ""


def _is_expression(words: str) -> bool:
    """Whether words are one to HTCondor: a literal, my.Attribute, x is undefined."""
    low = words.lower()
    return (
        low in _LITERALS
        or low.startswith(("my.", "target."))
        or bool(re.search(r"\s(is|isnt)\s", low))
    )


def read_tags(reading: Reading, model: SpecModel) -> tuple[str, ...]:
    """`tags:`, each once."""
    entries = reading.entries("tags", model.tags)
    return tuple(dict.fromkeys(reading.text(loc, tag).strip() for loc, tag in entries))


def read_notify(model: SpecModel) -> Notify | None:
    """`notify:`, when there is one."""
    if isinstance(model.notify, NotifyModel):
        return Notify(model.notify.email, model.notify.when)
    return Notify(model.notify) if model.notify else None

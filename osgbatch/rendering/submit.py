"""Resolved to the submit file of a round, `job.submit`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from osgbatch import names
from osgbatch.errors import OsgbatchError
from osgbatch.model import Round
from osgbatch.plan_model import Resolved
from osgbatch.rendering.again import again, avoidance
from osgbatch.rendering.container import CONTAINER, MOUNTS, container_image
from osgbatch.rendering.limits import execute_limit
from osgbatch.rendering.requirements import (
    classad_string,
    desired_sites,
    requirements_expression,
    undesired_sites,
)
from osgbatch.rendering.templates import fill, submit_value
from osgbatch.returned.codes import RETRIED_CODES
from osgbatch.spec_model import Retries, Spec
from osgbatch.submit_language import MEDIUM_S, duration_category
from osgbatch.version import VERSION

CHECKPOINT_CODE = 85
"""With which a program, and the shim, says that it has saved its state and wants to go on."""

_DIRECTIVES = frozenset(["queue", "if", "elif", "else", "endif", "include", "use"])
"""What begins a line of the submit language and is no command."""


def submit_text(resolved: Resolved, round_: Round, item_names: Sequence[str]) -> str:
    """The text of `job.submit`. Raises OsgbatchError for what cannot be written into one."""
    plan = resolved.plan
    spec = plan.spec
    returned = round_.folder / names.RETURNED
    retries = job_retries(spec)
    delivery = resolved.delivery
    repeated = again(resolved)
    text = fill(
        "job.submit.j2",
        {
            "version": VERSION,
            "batch_id": round_.batch_id,
            "batch_name": round_.batch_name,
            "round": round_.number,
            "tasks": sum(len(tasks) for tasks in plan.jobs),
            "jobs": len(plan.jobs),
            "initialdir": str(round_.initialdir),
            "shim": str(round_.folder / names.SHIM),
            "events": str(round_.folder / names.EVENTS),
            "returned": str(returned),
            "returned_relative": os.path.relpath(returned, round_.initialdir),
            "per_folder": names.JOBS_PER_RETURN_FOLDER,
            "transfer_input": _transferred(resolved, round_, item_names),
            "out_archive": names.OUT_ARCHIVE,
            "retry_times": retries.times,
            "retry_any": retries.on == "any",
            "retry_codes": retries.codes,
            "max_idle": resolved.max_idle,
            "max_running": spec.max_running,
            "item_names": item_names,
            "items": str(round_.folder / names.ITEMS),
            **_requests(resolved, item_names),
            **_duration(resolved, item_names),
            **_placement(spec, resolved.microarch, repeated["avoid"]),
            **repeated,
            "checkpoint": names.CHECKPOINT if spec.checkpoint else "",
            "checkpoint_code": CHECKPOINT_CODE,
            **_people(spec),
            "container_image": container_image(resolved),
            "mounts": MOUNTS,
            "fetching": tuple(
                dict([*resolved.commands, *(delivery.commands if delivery else ())]).items()
            ),
            "delivered_to": delivery.url if delivery else "",
            "data_archive": names.DATA_ARCHIVE,
            "own": own_commands(spec),
        },
    )
    _refuse_joined_lines(text)
    return text


def _transferred(resolved: Resolved, round_: Round, item_names: Sequence[str]) -> list[str]:
    """What is brought: archives, what all tasks are brought, and what differs between jobs.

    HTCondor brings the image of a container by itself. With max_idle those before 24.12.14 brought
    it to the first job alone (HTCONDOR-3092); named here too it comes to all, and only once.
    """
    images = [item for item in resolved.payload if item.kind == CONTAINER]
    archives = [item for item in resolved.payload if item.kind != CONTAINER]
    found = [item.url or item.carried(round_.initialdir) for item in archives]
    found += [item.url or str(item.path) for item in images if resolved.max_idle]
    found += [file.transferred for file in resolved.plan.tasks.shared if not file.archived]
    own = ["$(inputs)"] if "inputs" in item_names else []
    return [*map(submit_value, dict.fromkeys(found)), *own]


def _requests(resolved: Resolved, item_names: Sequence[str]) -> dict[str, Any]:
    """What a job asks for; what differs between jobs stands in the item file."""
    resources, gpus = resolved.resources, resolved.plan.spec.gpus

    def value(name: str, same: int) -> str:
        return f"$({name})" if name in item_names else str(same)

    return {
        "cpus": value("cpus", resources.cpus),
        "memory_mb": value("memory_mb", resources.memory_mb),
        "disk_kb": value("disk_kb", resources.disk_kb),
        "gpus": value("gpus", resources.gpus) if resources.gpus or "gpus" in item_names else "",
        "gpu_memory_mb": gpus.min_memory_mb,
        "gpu_capability": gpus.min_capability,
    }


def _duration(resolved: Resolved, item_names: Sequence[str]) -> dict[str, Any]:
    """The back-stop on a job's time, and the category that follows from it."""
    longest = execute_seconds(resolved)
    varies = "execute_s" in item_names
    given = {_attribute(key) for key, _ in resolved.plan.spec.submit}
    return {
        "execute_seconds": "$(execute_s)" if varies else longest,
        # Whether all jobs are Medium is known; else each job's own time decides, in HTCondor.
        "duration_varies": varies and longest > MEDIUM_S,
        "duration_category": duration_category(longest),
        "duration_given": "jobdurationcategory" in given,
        "medium_s": MEDIUM_S,
    }


def _placement(spec: Spec, microarch: str, avoid: str) -> dict[str, Any]:
    """Where jobs may run.

    microarch: the CPU level that the packed environment needs; avoid: the attribute that names the
    places which a job that has just failed there avoids; empty for none.

    Raises OsgbatchError when the sweep says so in two ways, of which HTCondor would drop one.
    """
    expression = requirements_expression(spec.requirements, microarch)
    if expression and any(key.lower() == "requirements" for key, _ in spec.submit):
        raise OsgbatchError(
            "requirements are given both in `requirements:` and in `submit:`, "
            "and condor_submit would heed only the latter",
            where="submit.requirements",
            fix="Put the expression into `requirements: {expr: …}`.",
        )
    if avoid:
        expression = " && ".join(part for part in (expression, avoidance(avoid)) if part)
    desired, undesired = desired_sites(spec.requirements), undesired_sites(spec.requirements)
    return {
        "requirements": expression,
        "desired_sites": classad_string(desired) if desired else "",
        "undesired_sites": classad_string(undesired) if undesired else "",
    }


def _people(spec: Spec) -> dict[str, Any]:
    """Who the work is for, and who hears of it."""
    tags = ",".join(spec.tags)
    for name, text in (("project", spec.project), ("tags", tags)):
        _require_one_line(name, text)
    if spec.notify:
        _require_one_line("notify", spec.notify.email)
    return {
        "project": classad_string(spec.project) if spec.project else "",
        "tags": classad_string(tags) if tags else "",
        "notify_user": spec.notify.email if spec.notify else "",
        "notification": spec.notify.when.capitalize() if spec.notify else "",
    }


def own_commands(spec: Spec) -> list[tuple[str, str]]:
    """What `submit:` adds, as it was written.

    Raises OsgbatchError for what would be more than one command: a value of several lines, or that
    joins the next line to its own, and a key that begins another kind of line.
    """
    found = []
    for key, value in spec.submit:
        if not re.fullmatch(r"\+?[A-Za-z_][A-Za-z0-9_.]*", key) or key.lower() in _DIRECTIVES:
            raise OsgbatchError(f'"{key}" is not a submit command', where=f"submit.{key}")
        value = value.strip()
        _require_one_line(f"submit.{key}", value)
        if value.endswith("\\"):
            raise OsgbatchError(
                "the value ends in a backslash, which joins the next line to it",
                where=f"submit.{key}",
                fix="Write a value that ends otherwise.",
            )
        found.append((key, value))
    return found


def _attribute(key: str) -> str:
    """The job attribute that a key of `submit:` sets, in lower case; empty for a command."""
    found = re.fullmatch(r"(?:\+|my\.)(.+)", key, re.IGNORECASE)
    return found[1].lower() if found else ""


def _require_one_line(where: str, text: str) -> None:
    if re.search(r"[\n\r\0]", text):
        raise OsgbatchError("the value must be one line", where=where)


def _refuse_joined_lines(text: str) -> None:
    """A path can end in a backslash, too; condor_submit would take the next line as part of it."""
    for line in text.splitlines():
        if line.rstrip().endswith("\\"):
            raise OsgbatchError(
                f"a line of the submit file would end in a backslash: {line.strip()}",
                fix="Rename the folder or file so that its name does not end in a backslash.",
            )


def job_retries(spec: Spec) -> Retries:
    """After which exit codes, and how often, the job as a whole is started again.

    Retries on a task's own exit codes are the shim's work, without moving data again; the job's
    are then the default ones, for failures of the execution point.
    """
    times = spec.retries.times if spec.retries.on != "codes" else Retries().times
    return Retries(times, spec.retries.on, RETRIED_CODES)


def execute_seconds(resolved: Resolved) -> int:
    """allowed_execute_duration of the longest job, in seconds; 0 for none."""
    plan = resolved.plan
    return execute_limit(plan.demand.time_s, max(map(len, plan.jobs)), plan.spec)

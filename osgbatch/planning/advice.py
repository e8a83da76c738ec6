"""What a plan's sizes, times and places will cost: warnings, and what the pool would not run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from osgbatch.plan_model import Plan
from osgbatch.spec_model import Input, Place, Resources, Spec
from osgbatch.submit_language import MEDIUM_S, duration_category
from osgbatch.texts import duration, size

SHORT_JOB_S = 600
"""A job of less than this spends much of its life on being started and brought its files."""
MANY_SHORT_JOBS = 100
"""Fewer short jobs than this are not worth a word."""
LARGE_MEMORY_MB = 40 * 1024
LARGE_DISK_KB = 100 * 1024**2
MANY_CPUS = 8
"""The OSPool has few slots of so much memory or disk, or so many cores (reference 1.3)."""
_INTERPRETED = re.compile(r"python[\d.]*|.+\.py|(?P<r>R|Rscript|.+\.[rR])")


ELSEWHERE = "an execution point need not have"
"""With this begins what does not concern the local runner."""


@dataclass(frozen=True)
class Advice:
    """Something to know before submitting; error: it would not run, so it must not be submitted.

    place: of what the text is about, when it is one place in the spec.
    """

    text: str
    error: bool = False
    place: Place | None = None


def advise(
    spec: Spec,
    *,
    jobs: int,
    job_s: int,
    job_bytes: int,
    largest_input: tuple[str, int] | None,
    demand: Resources | None = None,
    stash: bool = False,
) -> list[Advice]:
    """What the pool's profile has to say about the jobs, errors first.

    job_s: seconds of the longest job's tasks together, 0 when not known; job_bytes: the largest
    input of a job; largest_input: name and bytes of the largest single file, both without what is
    staged; demand: the largest that a job asks for, the spec's resources when not given. stash:
    whether there is one.
    """
    found = [
        *_long(spec, job_s),
        *_useless_steps(spec, demand or spec.resources),
        *_elsewhere(spec),
        *_large_inputs(spec, job_bytes, largest_input, stash),
        *_rare_slots(spec, demand or spec.resources),
        *_short(spec, jobs, job_s),
        *_many(spec, jobs),
        *_bare(spec),
    ]
    return sorted(found, key=lambda advice: not advice.error)


def _long(spec: Spec, job_s: int) -> Iterator[Advice]:
    profile = spec.profile
    by_row = next((e.place for e in spec.expressions if e.resource == "time"), None)
    place = by_row or spec.time_place
    one_is_fine = 0 < spec.resources.time_s <= profile.longest_s and by_row is None
    if spec.checkpoint:  # a job is as long as what lies between two
        job_s = spec.checkpoint.every_s
    if 0 < profile.longest_s < job_s:
        yield Advice(
            f"a job may take {duration(job_s)}, over the {duration(profile.longest_s)} after which "
            f"{profile.name} wants checkpoints: "
            + ("let a job run fewer tasks (tasks_per_job)" if one_is_fine else "make tasks shorter")
            + ", or lower resources.time; or let the program save its state (checkpoint)",
            error=True,
            place=place,
        )
    elif duration_category(job_s) == "Long" and (profile.longest_s or profile.glideins):
        yield Advice(
            f"a job may take {duration(job_s)}: JobDurationCategory is Long, which far fewer slots "
            f"take than Medium (up to {duration(MEDIUM_S)})",
            place=place,
        )


def _useless_steps(spec: Spec, demand: Resources) -> Iterator[Advice]:
    """What would be asked for after too much was used, and is not more than what is asked for."""
    for name, ladder, first, unit in (
        ("memory", spec.retries.memory, demand.memory_mb, 1024**2),
        ("disk", spec.retries.disk, demand.disk_kb, 1024),
    ):
        if ladder and not ladder.steps(first):
            yield Advice(
                f"retries.{name} does nothing: up to {size(ladder.most * unit)} is not more than "
                f"the {size(first * unit)} that a job asks for at first"
            )


def _bare(spec: Spec) -> Iterator[Advice]:
    """A program in Python or R where nothing brings its interpreter."""
    image = any("container" in key.lower() or "image" in key.lower() for key, _ in spec.submit)
    here = spec.profile.name in ("local", "personal")  # what this machine has, jobs have
    if spec.environment.kind != "none" or image or here or spec.script:
        return
    if not spec.command or spec.command[0].names:
        return
    program = spec.command[0].fill({})
    called = _INTERPRETED.fullmatch(os.path.basename(program))
    if called and not program.startswith("/"):
        yield Advice(
            f"{ELSEWHERE} {'R' if called['r'] else 'Python'}; name an `environment:`",
            place=spec.command[0].place,
        )


def _elsewhere(spec: Spec) -> Iterator[Advice]:
    home = spec.profile.home
    if not home:
        return
    top = os.path.realpath(os.path.expanduser(home))
    if not Path(os.path.realpath(spec.folder)).is_relative_to(top):
        yield Advice(
            f"{spec.folder} is not below {home}, and {spec.profile.name} wants jobs to be "
            "submitted from there: move the sweep's folder"
        )


def _large_inputs(
    spec: Spec, job_bytes: int, largest_input: tuple[str, int] | None, stash: bool
) -> Iterator[Advice]:
    profile = spec.profile
    # who reads this for the first time has not heard of a stash
    way = (
        "Ask who runs this access point for one" if spec.stash is None else "Let `stash:` name one"
    )
    none = (
        f"a stash, a place from which jobs fetch files, but {_no_stash(spec)}. {way} "
        "(docs/stash.md), or try with less data"
    )
    if largest_input is not None and 0 < profile.stash_bytes < largest_input[1]:
        name, count = largest_input
        over = f"{name} has {size(count)}: a file over {size(profile.stash_bytes)} should go"
        yield Advice(
            f"{over} through the stash (shared: true)" if stash else f"{over} through {none}"
        )
        none = "a stash"
    if 0 < profile.input_bytes < job_bytes:
        over = (
            f"a job is brought up to {size(job_bytes)} of inputs, over the "
            f"{size(profile.input_bytes)} that are good for a job:"
        )
        fewer = "" if spec.tasks_per_job == 1 else "let a job run fewer tasks, or "
        go = "let what is large or shared go through"
        yield Advice(f"{over} {fewer}{go} {'the stash (shared: true)' if stash else none}")


def _rare_slots(spec: Spec, demand: Resources) -> Iterator[Advice]:
    if not spec.profile.glideins:
        return
    wanted: list[str] = []
    if demand.cpus >= MANY_CPUS:
        wanted.append(f"{demand.cpus} cpus")
    if demand.disk_kb > LARGE_DISK_KB:
        wanted.append(f"{size(demand.disk_kb * 1024)} of disk")
    if demand.memory_mb > LARGE_MEMORY_MB:
        wanted.append(f"{size(demand.memory_mb * 1024**2)} of memory")
    if wanted:
        places = [e.place for e in spec.expressions if e.resource in ("cpus", "memory")]
        yield Advice(
            f"few slots of {spec.profile.name} have {' and '.join(wanted)}: jobs may wait long",
            place=places[0] if places else None,
        )


def _short(spec: Spec, jobs: int, job_s: int) -> Iterator[Advice]:
    if spec.tasks_per_job and 0 < job_s < SHORT_JOB_S and jobs >= MANY_SHORT_JOBS:
        yield Advice(
            f"{jobs:,} jobs of at most {duration(job_s)}: starting a job takes about as long; "
            "raise tasks_per_job, or write `tasks_per_job: auto`"
        )


def _many(spec: Spec, jobs: int) -> Iterator[Advice]:
    profile = spec.profile
    if 0 < profile.many_jobs < jobs:
        yield Advice(
            f"{jobs:,} jobs are over {profile.many_jobs:,}: max_idle = {profile.max_idle:,} is "
            "set, so condor_q shows only part of them at a time"
        )


def stash_notes(plan: Plan) -> Iterator[str]:
    """What the spec says of staging an input that comes to nothing."""
    entries = plan.spec.inputs
    if plan.stash.kind == "none":
        if plan.spec.profile.name == "local":
            return  # the local runner reads files where they are
        told = [entry for entry in entries if entry.shared or entry.tree]
        if told:
            word = "`shared: true`" if told[0].shared else "`tree: true`"
            yield (
                f"{word} of {_source(told[0])}{_and_more(told)} comes to nothing: "
                f"{_no_stash(plan.spec)}, so it travels with each job"
            )
        return
    if any(entry.tree for entry in entries):
        files = [file for file in plan.tasks[0].inputs if file.tree and file.source.is_file()]
        if files:
            yield (
                f"`tree: true` of {files[0].source.name}{_and_more(files)} comes to nothing: it "
                "is for folders, and this is a file"
            )


def _no_stash(spec: Spec) -> str:
    """Why there is no stash, and what to write where nobody has said that there should be none."""
    if spec.stash is not None:
        return "the settings say `stash: none`"
    pools = spec.profile.stash
    if pools.kind == "folder":
        return f"you have no folder {pools.folder} here, and `stash:` names no other one"
    return "there is no stash (`stash:` names one)"


def _source(entry: Input) -> str:
    """What an entry brings, as the spec has it."""
    parts = enumerate(entry.source.parts)
    return "".join(f"{{{part}}}" if number % 2 else part for number, part in parts)


def _and_more(found: Sequence[object]) -> str:
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""

"""Spec and table to Plan: what every task runs and is brought, and which jobs run the tasks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from osgbatch.errors import OsgbatchError, SpecError, SpecErrors
from osgbatch.names import METRICS_FILE, RESULT_ARRAYS, RESULT_FILE
from osgbatch.plan_model import InputFile, Plan
from osgbatch.planning.advice import Advice, advise
from osgbatch.planning.brought import Brought, check_job, paths, read_entries
from osgbatch.planning.checks import (
    long_values,
    missing_files,
    no_whole_numbers,
    unknown_names,
)
from osgbatch.planning.chunks import Chunks
from osgbatch.planning.demand import job_demand, row_resources
from osgbatch.planning.grouping import group
from osgbatch.planning.inputs import common_folder, forget, real_path, travels_plainly
from osgbatch.planning.placement import placed_inputs
from osgbatch.planning.placing import check_targets
from osgbatch.planning.program_checks import command_slips, function_errors, function_slips
from osgbatch.planning.table_notes import table_notes
from osgbatch.planning.tasks import Tasks
from osgbatch.spec_model import Input, Output, Place, Resources, Spec, Stash, Template
from osgbatch.tables import Table
from osgbatch.urls import scheme

_CHUNK = 4096
_NO_STASH = Stash()
_NOTHING: Mapping[str, tuple[int, str]] = MappingProxyType({})

_T = TypeVar("_T")
CountSlots = Callable[[Resources], int]
"""How many jobs that ask for this the pool could start now."""


def make_plan(
    spec: Spec,
    table: Table,
    batch_root: Path | None = None,
    count_slots: CountSlots | None = None,
    stash: Stash = _NO_STASH,
    listing: Mapping[str, tuple[int, str]] = _NOTHING,
) -> Plan:
    """Work out what follows from the spec alone; nothing is written.

    batch_root: the folder in which the batch folder will be, when it is not the spec's own.
    stash: where big and shared inputs are to be staged. listing: size and MD5 of URLs that are
    known. count_slots: asked where the number of
    jobs is to fit the pool (`--fit-pool`).
    Raises SpecError, or SpecErrors for several at once: unknown names in braces, files that are not
    there, resources that cannot be asked for.
    """
    forget()
    errors = [
        *unknown_names(spec, table),
        *missing_files(spec),
        *long_values(spec, table),
        *no_whole_numbers(spec, table),
        *function_errors(spec, table),
    ]
    resources = _noting(errors, lambda: row_resources(spec, table)) or {}
    entries = read_entries(spec, errors.append)
    initialdir = _initial_folder(spec, table, entries, batch_root)
    brought = Brought(spec, table, entries, initialdir, errors.append, listing)
    _raise(errors)
    alike = check_targets(spec, table)
    outputs = _outputs(spec)
    tasks = Tasks(spec, table, outputs, brought, resources)
    check_job(brought.shared, spec)
    shared_bytes = _bytes(brought.shared, brought)
    row_bytes = sum(_bytes(files, brought) for files in _row_inputs(tasks))
    wanted, _ = job_demand(spec.resources, resources, [range(len(table))])
    one = replace(wanted, disk_kb=spec.resources.disk_kb, time_s=spec.resources.time_s)
    if "time" in resources:
        one = replace(one, time_s=-(-sum(resources["time"]) // len(table)))
    grouping = group(
        len(table),
        spec.tasks_per_job,
        task_s=one.time_s,
        average="time" in resources,
        shared_bytes=shared_bytes,
        task_bytes=-(-row_bytes // len(table)),
        profile=spec.profile,
        slots=count_slots(one) if count_slots else None,
    )
    jobs = Chunks(len(table), grouping.jobs)
    demand, each = job_demand(spec.resources, resources, jobs)
    row_bytes_of_job = _largest_job(tasks, jobs, brought)
    plan = Plan(
        spec=spec,
        table=table,
        tasks=tasks,
        jobs=jobs,
        initialdir=initialdir,
        archived_inputs=tuple(brought.archived.values()),
        input_bytes=sum(brought.sizes.values()),
        outputs=outputs,
        demand=demand,
        each=each,
        grouping=grouping.lines,
        job_bytes=shared_bytes + row_bytes_of_job,
        sizes=brought.sizes,
        stash=stash,
        listing=listing,
        buckets=(*brought.buckets.values(), *_image(spec)),
    )
    plan = replace(plan, placed=placed_inputs(plan))
    advice = _advice(plan, tasks, brought)
    nowhere = Place(str(spec.path), 1, 1)
    _raise([SpecError(found.text, found.place or nowhere) for found in advice if found.error])
    return replace(
        plan,
        warnings=(
            *_other_name(spec),
            *_left_at_home(spec, tasks),
            *_odd_names(plan),
            *alike,
            *(found.text for found in advice),
            *table_notes(spec, table),
        ),
    )


def _advice(plan: Plan, tasks: Tasks, brought: Brought) -> list[Advice]:
    """What the pool's profile has to say of the jobs. What is staged is no burden to them."""
    staged = {placed.source for placed in plan.placed}
    sizes = {source: count for source, count in plan.sizes.items() if source not in staged}
    job_bytes = plan.job_bytes
    if staged:
        shared = [file for file in plan.tasks.shared if file.source not in staged]
        job_bytes = _bytes(shared, brought) + _largest_job(tasks, plan.jobs, brought, staged)
    archived = [file.source for file in plan.archived_inputs if file.source not in staged]
    return advise(
        plan.spec,
        jobs=len(plan.jobs),
        job_s=plan.demand.time_s,
        job_bytes=job_bytes + sum(sizes[source] for source in archived),
        largest_input=_largest_input(sizes),
        demand=plan.demand,
        stash=plan.stash.kind != "none",
    )


def _raise(errors: Sequence[SpecError]) -> None:
    """Raise them in the order of their places, those in the spec itself first."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        first = errors[0].place.file
        raise SpecErrors(sorted(errors, key=lambda error: _order(error.place, first)))


def _order(place: Place, first: str) -> tuple[bool, str, int, int]:
    return place.file != first, place.file, place.line, place.column


def _noting(errors: list[SpecError], work: Callable[[], _T]) -> _T | None:
    try:
        return work()
    except SpecErrors as several:
        errors += several.errors
    except SpecError as error:
        errors.append(error)
    return None


def _outputs(spec: Spec) -> tuple[Output, ...]:
    """What must come back; of a function also its result, and always a task's own figures."""
    outputs = spec.outputs
    named = {output.pattern.parts for output in outputs}
    if outputs and named.isdisjoint([("outputs",), ("outputs/",), (METRICS_FILE,)]):
        outputs = (*outputs, Output(Template((METRICS_FILE,)), optional=True))
    if not outputs and spec.changed_only:  # whatever the command has made, wherever
        outputs = tuple(Output(Template((p,)), optional=True) for p in ("*", ".[!.]*"))
    if not spec.function:
        return outputs
    return (
        *(outputs or [Output(Template(("outputs",)), optional=True)]),
        Output(Template((RESULT_FILE,))),
        Output(Template((RESULT_ARRAYS,)), optional=True),
    )


def _row_inputs(tasks: Tasks) -> Iterator[tuple[InputFile, ...]]:
    """What each task is brought of its own, for all tasks in order; nothing where none is."""
    if not tasks.brought.by_row:
        return
    for start in range(0, len(tasks), _CHUNK):
        yield from tasks.brought.rows(start, min(start + _CHUNK, len(tasks)))


def _image(spec: Spec) -> Iterator[tuple[str, Place]]:
    """The image that jobs fetch from a bucket, if they do."""
    image = spec.environment.path
    if spec.environment.kind == "container" and image and scheme(image.text) == "s3":
        yield image.text, image.place


def _bytes(files: Iterable[InputFile], brought: Brought) -> int:
    """Bytes of those that travel as they are; what a URL leads to is not known."""
    return sum(brought.sizes[f.source] for f in files if not (f.url or f.archived))


def _largest_input(sizes: Mapping[Path, int]) -> tuple[str, int] | None:
    """Name and bytes of the largest input."""
    if not sizes:
        return None
    source = max(sizes, key=sizes.__getitem__)
    return source.name, sizes[source]


def _largest_job(
    tasks: Tasks,
    jobs: Sequence[Sequence[int]],
    brought: Brought,
    staged: Collection[Path] = (),
) -> int:
    """The most bytes that a job is brought for its own tasks; checks that nothing meets there.

    staged: sources that do not count.
    """
    rows = _row_inputs(tasks)
    shared_urls = any(file.url for file in tasks.shared)
    largest = 0
    for job in jobs if tasks.brought.by_row else ():
        # A file may be brought to several tasks of a job; HTCondor transfers it once.
        files = list({(f.carried, f.url): f for _ in job for f in next(rows)}.values())
        travelling = [f for f in files if f.source not in staged] if staged else files
        largest = max(largest, _bytes(travelling, brought))
        if shared_urls or any(file.url for file in files):
            check_job((*tasks.shared, *files), tasks.spec)
    return largest


def _initial_folder(
    spec: Spec, table: Table, entries: Sequence[Input], batch_root: Path | None
) -> Path:
    """Where transferred paths start from: the spec's folder, or the parent of all that travels.

    The way from there to the batch folder stands in submit commands, so it must be plain; if it
    is not, the inputs outside of the spec's folder travel in an archive.
    """
    sources: set[Path] = set()
    for column in table.columns:
        if column.is_file:
            texts = set(column.texts(0, len(column.cells)))
            sources.update(real_path(text, spec.folder) for text in texts)
    for text in paths(entries, table):
        sources.add(real_path(text, spec.folder))
    root = batch_root or spec.folder
    nearest = common_folder(spec.folder, [root])
    top = common_folder(nearest, sources)
    for candidate in (top, nearest):
        if set("\n\r") & set(str(root)) or str(candidate) != str(candidate).strip():
            # no submit command can hold a line break; condor_submit strips blanks at the ends
            break
        if candidate == root or travels_plainly(str(root.relative_to(candidate))):
            return candidate
    raise OsgbatchError(
        "the batch folder's path has characters that HTCondor cannot be given",
        where=str(root),
        fix="Choose a folder inside the spec's own, or one with a plainer name.",
    )


def _left_at_home(spec: Spec, tasks: Tasks) -> Iterator[str]:
    """What the command or the function names, and no task is brought."""
    yield from function_slips(spec)
    if spec.command:
        first = tasks[0]
        yield from command_slips(spec, first.inputs, first.argv)


def _odd_names(plan: Plan) -> Iterator[str]:
    """Inputs whose names HTCondor cannot transfer."""
    staged = {placed.source for placed in plan.placed}
    archived = [file for file in plan.archived_inputs if file.source not in staged]
    if archived:
        size = sum(plan.sizes[file.source] for file in archived)
        yield (
            f"{_odd_told(len(archived), archived[0].source.name)} in one archive "
            f"({size} bytes unpacked) with every job"
        )


def _odd_told(count: int, name: str) -> str:
    if count == 1:
        return (
            f"the input {name!r} has a name, or lies in a folder, that HTCondor cannot transfer; "
            "it travels"
        )
    return (
        f"{count:,} inputs such as {name!r} have names, or lie in folders, that HTCondor cannot "
        "transfer; they travel"
    )


def _other_name(spec: Spec) -> Iterator[str]:
    """That the batch is called otherwise than the user wrote."""
    if spec.written_name and spec.written_name != spec.name:
        yield (
            f"name: {spec.written_name!r} becomes {spec.name}: letters, digits and . _ - are kept, "
            "60 at most"
        )

"""Whether a workflow that has ended would come out the same: nothing that its steps read is new."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.keys import read_digest
from osgbatch.errors import OsgbatchError
from osgbatch.packing.environment import EnvironmentArchive, known_environment
from osgbatch.places import cache_folder
from osgbatch.plan_model import Plan
from osgbatch.submission.keyed import archive_sums
from osgbatch.submission.packed import pack_environment
from osgbatch.submission.planned import plan_sweep
from osgbatch.submission.rendered import pack
from osgbatch.workflows.folder import StepNote, Workflow
from osgbatch.workflows.looks import newest
from osgbatch.workflows.rounds import choices_for, step_path


def what_changed(workflow: Workflow) -> str:
    """What is not as it was when the steps ran, in words; empty when all is.

    The user's own files are compared by content, inputs, which may be large, by time, tables of
    tasks row by row. Raises nothing: what cannot be compared has changed.
    """
    for step in workflow.steps:
        batch = workflow.batch(step.name)
        try:
            found = "it has not run" if batch is None else _changed(workflow, step, batch)
        except OsgbatchError as error:
            found = error.what  # without its place: this is part of a sentence
        except OSError as error:
            found = str(error)
        if found:
            return f"step {step.name}: {found}"
    return ""


def _changed(workflow: Workflow, step: StepNote, batch: Batch) -> str:
    choices = choices_for(workflow, step, workflow.settings)
    plan = plan_sweep(step_path(workflow, step), batch.folder.parent, choices)
    table = b"".join(folders.tasks_csv(plan.table))
    if table != (batch.folder / names.TASKS).read_bytes():
        return "its table of tasks is another"
    since = (batch.folder / names.RESOLVED).stat().st_mtime_ns
    for source in _own_inputs(workflow, plan):
        if newest(source) >= since:
            return f"{source} is newer"
    digests = {read_digest(round_.folder) for round_ in batch.rounds()}
    if len(digests) > 1:
        return "its files were changed between its rounds"
    environment = _environment(plan)
    # Where the same was written before there is room for it. The environment is not copied.
    with tempfile.TemporaryDirectory(prefix=".", dir=workflow.folder) as folder:
        fresh = sorted(archive_sums(pack(plan, environment, "-" * bool(environment), Path(folder))))
    if fresh != folders.payload_sums(batch.data):
        return "its files or its environment have changed"
    return ""


def _environment(plan: Plan) -> EnvironmentArchive | None:
    """The environment as it was packed before: where it was not it is another."""
    if plan.spec.environment.kind == "container":
        return pack_environment(plan, lambda text: None)
    return known_environment(plan.spec.environment, plan.spec.folder, cache_folder())


def _own_inputs(workflow: Workflow, plan: Plan) -> Iterator[Path]:
    """The inputs from here, but for what earlier steps have made."""
    inputs = plan.tasks.inputs(0, len(plan.table)) or []
    files = {file.source: file for row in (plan.tasks.shared, *inputs) for file in row}
    made = workflow.folder.resolve()
    for source, file in files.items():
        if not file.url and not source.resolve().is_relative_to(made):
            yield source

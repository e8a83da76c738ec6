"""When a task or its job is tried again, and with what it goes on."""

from __future__ import annotations

from osgbatch.spec.document import Loc
from osgbatch.spec.outputs import output_problem
from osgbatch.spec.reading import Reading
from osgbatch.spec.schema import SpecModel
from osgbatch.spec.schema_retries import CheckpointModel, RetriesModel
from osgbatch.spec_model import Checkpoint, Retries


def read_retries(model: SpecModel) -> Retries:
    """`retries:`; a number says only how often."""
    found = model.retries
    if not isinstance(found, RetriesModel):
        return Retries(found)
    ladders = found.memory, found.disk
    if isinstance(found.on, list):
        return Retries(found.times, "codes", tuple(sorted(set(found.on))), *ladders)
    return Retries(found.times, found.on, (), *ladders)


def read_checkpoint(reading: Reading, model: SpecModel) -> Checkpoint | None:
    """`checkpoint:`; a job then runs one task, so that it can go on elsewhere as a whole."""
    found = model.checkpoint
    if found is None:
        return None
    if model.tasks_per_job != 1:
        what = "with `checkpoint:` a job runs one task"
        reading.fail(what, reading.place(("tasks_per_job",)), "Leave tasks_per_job out.")
    whole = CheckpointModel(files=[found]) if isinstance(found, str) else found
    whole = CheckpointModel(files=whole) if isinstance(whole, list) else whole
    here: Loc = ("checkpoint",)
    written = reading.document.data.get("checkpoint")
    if isinstance(written, dict):
        here, written = ("checkpoint", "files"), written.get("files")
    for i, text in enumerate(whole.files):
        loc = (*here, i) if isinstance(written, list) else here
        problem, fix = output_problem(text)
        if not problem and ("{" in text or "}" in text):
            problem, fix = "placeholders are not known in checkpoint", "Use a pattern, such as *."
        if problem:
            problem = problem.replace("an output must", "what is saved must")
            reading.fail(
                problem, reading.place(loc), fix.replace("outputs/result.csv", "state.npz")
            )
    return Checkpoint(tuple(whole.files), whole.every)

"""From a spec with `steps:` to a workflow's folder, all checked, nothing submitted yet."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches import registry
from osgbatch.batches.half_made import half_made
from osgbatch.errors import BatchError, OsgbatchError, SpecError, SpecErrors
from osgbatch.local.container import check_program
from osgbatch.packing.disk_full import BATCH_FIX, told_when_full
from osgbatch.plan_model import Plan
from osgbatch.planning.checks import missing_files
from osgbatch.rendering.dag import (
    CONFIG_FILE,
    SCRIPT_FILE,
    Node,
    config_text,
    dag_text,
    script_text,
)
from osgbatch.spec.steps import (
    Step,
    Steps,
    check_step,
    read_steps,
    step_spec,
    steps_of_data,
)
from osgbatch.spec_model import Spec
from osgbatch.submission.packed import pack_spec_environment
from osgbatch.submission.planned import AS_WRITTEN, Choices, plan_sweep, warnings_for
from osgbatch.submission.submitting import choose_backend
from osgbatch.workflows.folder import SPEC, StepNote, Workflow, write_workflow
from osgbatch.workflows.kept import keep

Say = Callable[[str], None]
LONGEST_RETRIES = 20
_EXPORTED = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
    "XDG_STATE_HOME", "XDG_DATA_HOME", "OSGBATCH_DEFAULTS", "OSGBATCH_PROFILE", "PYTHONPATH",
    "VIRTUAL_ENV", "CONDOR_CONFIG",
)  # fmt: skip
"""The variables with which osgbatch finds in a DAG what it found when the DAG was made."""


def submit_workflow(
    path: Path,
    pool: str,
    say: Say,
    choices: Choices = AS_WRITTEN,
    *,
    asked: bool = True,
) -> Workflow:
    """Make the workflow of a spec with `steps:`; `advance` then runs it.

    asked: whether the pool must answer. Raises SpecErrors with all that is wrong, other
    OsgbatchErrors; then nothing was made.
    """
    steps = read_steps(path)
    backend = choose_backend(pool, say) if asked else pool
    return make_workflow(steps, backend, say, choices)


def check_until(steps: Steps, until: str) -> None:
    """Raises OsgbatchError unless a workflow has the step that it is to go to."""
    known = [step.name for step in steps.steps]
    if until and until not in known:
        what = f'there is no step "{until}"'
        raise OsgbatchError(what, where="--until", fix=f"There are {', '.join(known)}.")


def start_workflow(
    document: Mapping[str, Any],
    folder: Path,
    pool: str,
    say: Say,
    choices: Choices = AS_WRITTEN,
) -> Workflow:
    """The same, of what such a spec would hold. folder: where its relative paths start from."""
    return make_workflow(steps_of_data(document, folder), choose_backend(pool, say), say, choices)


def make_workflow(steps: Steps, backend: str, say: Say, choices: Choices = AS_WRITTEN) -> Workflow:
    """Check every step as far as it can be, pack its environment, and write the folder."""
    workflow_id = folders.new_id()
    name = folders.folder_name(steps.name, workflow_id, time.time())
    folder = steps.folder / names.BATCHES / name
    notes = noted_steps(steps, backend)
    workflow = Workflow(
        folder,
        workflow_id,
        steps.name,
        backend,
        steps.folder,
        notes,
        tuple(choices.settings),
        steps.path.name,
    )
    if backend == "condor" and "$(" in str(folder.resolve()):  # seen on 25.14.1 and 23.9.6
        raise BatchError(
            "its path holds $(, which DAGMan would expand",
            where=str(folder.parent),
            fix="Copy the spec to a folder with a plainer name.",
        )
    plans: dict[str, Plan] = {}
    specs = check_steps(steps, folder, say, backend=backend, plans=plans)
    for note in notes:  # not when the pool has done its part
        if workflow.backend(note) == "local" and specs[note.name].environment.kind == "container":
            check_program()
    packed: dict[str, str] = {}
    for spec in specs.values():
        if (key := str(spec.environment)) not in packed:
            environment = pack_spec_environment(spec, say)
            packed[key] = environment.sha256 if environment else ""
    environments = {name: packed[str(spec.environment)] for name, spec in specs.items()}
    for half in half_made(folder.parent):
        if (half / names.STEPS).is_dir():  # what a batch may have prepared elsewhere is not ours
            folders.remove(half)
    folders.create(folder)
    try:
        with told_when_full(folder, BATCH_FIX), folders.locked(folder):
            (folder / names.PAYLOAD).rmdir()
            _write(workflow, steps)
            for note in notes:
                of_it = "" if choices.settings else environments[note.name]
                keep(workflow, note, say, plan=plans.get(note.name), environment=of_it)
            write_workflow(workflow)
    except BaseException:
        folders.remove(folder)
        raise
    registry.register(workflow_id, folder)
    return workflow


def check_steps(
    steps: Steps,
    folder: Path,
    say: Say = lambda text: None,
    *,
    backend: str = "local",
    plans: dict[str, Plan] | None = None,
    instead: Callable[[str, Spec], Spec] = lambda name, spec: spec,
) -> Mapping[str, Spec]:
    """Every step as a Spec. Raises SpecErrors with all that is wrong in any of them.

    folder: of the workflow; what earlier steps will make need not be there. Steps whose rows are
    known are planned as they will be; plans is given these plans. instead: of a step, given its
    name, what is checked in place of what is written.
    """
    errors: list[SpecError] = []
    found: dict[str, Spec] = {}
    for step in steps.steps:
        try:
            spec = check_step(steps, step, lambda name: results_of(steps, folder, name))
            spec = instead(step.name, spec)
            found[step.name] = spec
            if step.uses:
                errors += [e for e in missing_files(spec) if not _will_be_there(e, folder)]
                continue
            local = step.here or backend == "local"
            plan = plan_sweep(spec.path, folder.parent, Choices(staging=not local, spec=spec))
            if plans is not None:
                plans[step.name] = plan
        except (SpecError, SpecErrors) as error:
            errors += error.errors if isinstance(error, SpecErrors) else [error]
            continue
        for warning in warnings_for(plan, "local" if local else backend):
            say(f"warning: step {step.name}: {warning}")
    if errors:
        unique = {(e.place.file, e.place.line, e.place.column, e.what): e for e in errors}
        raise SpecErrors([unique[key] for key in sorted(unique)])
    return found


def _will_be_there(error: SpecError, folder: Path) -> bool:
    """Whether a missing file is one of the results of an earlier step."""
    return folder.name in error.what and f"/{names.RESULTS}/" in error.what


def results_of(steps: Steps, folder: Path, name: str) -> str:
    """Where the results of a step will lie, as its specs name it."""
    results = folder / names.STEPS / name / names.RESULTS
    return results.relative_to(steps.folder).as_posix()


def noted_steps(steps: Steps, backend: str) -> tuple[StepNote, ...]:
    """The steps with their stages: a stage is run here or in the pool, as a whole."""
    stages: dict[str, int] = {}
    where = {step.name: step.here or backend == "local" for step in steps.steps}
    found = []
    for step in steps.steps:
        stage = 0 if where[step.name] else 1
        for above in step.after:
            stage = max(stage, stages[above] + (where[above] != where[step.name]))
        stages[step.name] = stage
        retries = _retries(step)
        note = StepNote(step.name, step.here, step.partial, step.after, step.uses, stage, retries)
        found.append(note)
    return tuple(found)


def _retries(step: Step) -> int:
    told = step.document.data.get("retries", 2)
    times = told.get("times", 2) if isinstance(told, dict) else told
    return min(times, LONGEST_RETRIES) if isinstance(times, int) and times >= 0 else 2


def _write(workflow: Workflow, steps: Steps) -> None:
    folder = workflow.folder
    (folder / names.STEPS).mkdir()
    folders.write_bytes(folder / SPEC, steps.text)
    write_step_specs(workflow, steps)
    pools = [step for step in workflow.steps if workflow.backend(step) == "condor"]
    if not pools:
        return
    for stage in sorted({step.stage for step in pools}):
        nodes = [Node(s.name, s.retries, s.after) for s in pools if s.stage == stage]
        text = dag_text(workflow.name, nodes)
        folders.write_bytes(folder / workflow.dag_file(stage), text.encode())
    temporary = _is_temporary(folder)
    folders.write_bytes(folder / CONFIG_FILE, config_text(temporary=temporary).encode())
    variables = {name: os.environ[name] for name in _EXPORTED if name in os.environ}
    script = script_text([sys.executable, "-c", _program()], variables)
    folders.write_bytes(folder / SCRIPT_FILE, os.fsencode(script), 0o755)


def write_step_specs(workflow: Workflow, steps: Steps) -> None:
    """Write the spec of each step."""
    for step in steps.steps:
        text = step_spec(steps, step, lambda name: results_of(steps, workflow.folder, name))
        folders.write_bytes(workflow.step_spec(step.name), text)


def _program() -> str:
    """Runs this osgbatch, also from a checkout, and lets nothing in the workflow's folder in."""
    package = str(Path(names.__file__).parents[1])
    return (
        f"import sys; sys.path[:] = [p for p in sys.path if p]; sys.path.append({package!r}); "
        "from osgbatch.cli.app import run; sys.exit(run())"
    )


def _is_temporary(folder: Path) -> bool:
    """Whether DAGMan warns of logs there. Source: seen on 25.14.1, which looks for /tmp."""
    real = folder.resolve()
    places = {Path("/tmp"), Path("/var/tmp"), Path(tempfile.gettempdir()).resolve()}
    return any(real.is_relative_to(place) for place in places)

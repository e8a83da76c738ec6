"""The folder of a workflow: `workflow.json`, its DAG, and a batch folder for each step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.errors import BatchError

SPEC = "workflow.yaml"
"""The spec as the user wrote it."""
DAG_NOTE = "dag.json"
"""Which DAGMan was asked to run which DAG, written before it was."""

CANCELLED = "cancelled"
"""Says that it was cancelled, and goes on only when it is resubmitted."""


@dataclass(frozen=True)
class StepNote:
    """What is noted of a step: see spec.steps.Step. stage: steps of one stage are done together.

    retries: how often its node is done again.
    """

    name: str
    here: bool = False
    partial: bool = False
    after: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    stage: int = 0
    retries: int = 0


@dataclass(frozen=True)
class Workflow:
    """A workflow as its folder tells it. pool: "condor" or "local". spec: the name of its file."""

    folder: Path
    id: str
    name: str
    pool: str
    spec_folder: Path
    steps: tuple[StepNote, ...]
    settings: tuple[str, ...] = ()
    spec: str = ""

    def step(self, name: str) -> StepNote:
        """A step by its name. Raises BatchError."""
        for step in self.steps:
            if step.name == name:
                return step
        known = ", ".join(step.name for step in self.steps)
        raise BatchError(f'there is no step "{name}"', where=str(self.folder),
                         fix=f"Its steps are {known}.")  # fmt: skip

    def step_folder(self, name: str) -> Path:
        """The batch folder of a step, which is made when the step begins."""
        return self.folder / names.STEPS / name

    def step_spec(self, name: str) -> Path:
        """The spec of a step; its relative paths start from `spec_folder`."""
        return self.folder / names.STEPS / f"{name}.yaml"

    def step_log(self, name: str) -> Path:
        """What preparing and judging the step's node said."""
        return self.folder / names.STEPS / f"{name}.log"

    def batch(self, name: str) -> Batch | None:
        """The batch of a step; None when there is none yet."""
        folder = self.step_folder(name)
        return folders.load(folder) if (folder / names.RESOLVED).is_file() else None

    def backend(self, step: StepNote) -> str:
        """Who runs a step."""
        return "local" if step.here or self.pool == "local" else "condor"

    def stages(self) -> list[list[StepNote]]:
        """The steps that are done together, in the order in which they are."""
        numbers = sorted({step.stage for step in self.steps})
        return [[step for step in self.steps if step.stage == number] for number in numbers]

    def dag_file(self, stage: int) -> str:
        """The name of the DAG of a stage in the pool."""
        pools = sorted({step.stage for step in self.steps if self.backend(step) == "condor"})
        position = pools.index(stage)
        return f"workflow-{position + 1}.dag" if position else "workflow.dag"


def write_workflow(workflow: Workflow) -> None:
    """Write `workflow.json`: only with it is a folder a workflow."""
    data = {
        "version": 1,
        "id": workflow.id,
        "name": workflow.name,
        "pool": workflow.pool,
        "spec_folder": str(workflow.spec_folder),
        "settings": list(workflow.settings),
        "spec": workflow.spec,
        "steps": [asdict(step) for step in workflow.steps],
    }
    folders.write_json(workflow.folder / names.WORKFLOW, data)


def is_workflow(folder: Path) -> bool:
    """Whether a folder is a workflow's."""
    try:
        return (folder / names.WORKFLOW).is_file()
    except OSError:
        return False


def load_workflow(folder: Path) -> Workflow:
    """Read a workflow. Raises BatchError when it is none, or is damaged."""
    path = folder / names.WORKFLOW
    try:
        data: Mapping[str, Any] = json.loads(path.read_text())
        steps = tuple(
            StepNote(**{**step, "after": tuple(step["after"]), "uses": tuple(step["uses"])})
            for step in data["steps"]
        )
        spec_folder = _spec_folder(folder.absolute(), Path(data["spec_folder"]))
        return Workflow(
            _as_planned(folder.absolute(), spec_folder),
            str(data["id"]),
            str(data["name"]),
            str(data["pool"]),
            spec_folder,
            steps,
            tuple(data["settings"]),
            str(data["spec"]),
        )
    except OSError as error:
        raise BatchError(
            f"this workflow cannot be read: {error.strerror}", where=str(path)
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise BatchError(
            f"this workflow cannot be read: {error}",
            where=str(path),
            fix="It is damaged; its steps are batch folders that can still be named by themselves.",
        ) from None


def _spec_folder(folder: Path, noted: Path) -> Path:
    """Where the spec lies; the folder that holds it all may have been moved."""
    if not noted.is_dir() and folder.parent.name == names.BATCHES:
        return folder.parent.parent
    return noted


def _as_planned(folder: Path, spec_folder: Path) -> Path:
    """The folder by its path beside the spec, also where `batches/` is a link."""
    beside = spec_folder / names.BATCHES / folder.name
    return beside if beside.resolve() == folder.resolve() else folder


@dataclass(frozen=True)
class DagNote:
    """Which DAG was given to DAGMan. cluster: 0 while its answer is not known.

    before: the cluster that the same DAG had when it was submitted the last time. over: it is known
    to do nothing any more, whatever its log says. schedd: whose it is; empty when not known.
    """

    stage: int
    cluster: int
    host: str
    time: float
    before: int = 0
    over: bool = False
    schedd: str = ""


def write_dag_note(workflow: Workflow, note: DagNote) -> None:
    """Note what DAGMan is, or was, asked."""
    folders.write_json(workflow.folder / DAG_NOTE, asdict(note))


def read_dag_note(workflow: Workflow) -> DagNote | None:
    """What DAGMan was asked last."""
    try:
        return DagNote(**json.loads((workflow.folder / DAG_NOTE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def note_cancelled(workflow: Workflow) -> None:
    """Note that nothing of a workflow is to begin any more, until it is resubmitted."""
    folders.write_bytes(workflow.folder / CANCELLED, b"")


def is_cancelled(workflow: Workflow) -> bool:
    """Whether that is noted."""
    return (workflow.folder / CANCELLED).exists()


def forget_cancelled(workflow: Workflow) -> None:
    """It is to go on."""
    (workflow.folder / CANCELLED).unlink(missing_ok=True)


def forget_dag_note(workflow: Workflow) -> None:
    """DAGMan was asked nothing."""
    (workflow.folder / DAG_NOTE).unlink(missing_ok=True)

"""Finds workflows: by folder, by name, by the start of their id, or the newest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from osgbatch import names
from osgbatch.batches import registry
from osgbatch.batches.folder import Batch
from osgbatch.batches.registry import SHORTEST_ID
from osgbatch.errors import BatchError
from osgbatch.workflows.folder import Workflow, is_workflow, load_workflow


def find_workflow(what: str | None, here: Path) -> Workflow | None:
    """The workflow that `what` names; None when it names none, but perhaps a batch.

    None is the newest under the current folder, where no batch there is newer.
    """
    if what is None:
        return _newest(here)
    path = here / what
    if what and is_workflow(path):
        return load_workflow(path.absolute())
    if "/" in what:
        return None
    known = [*workflows_here(here), *workflows_everywhere()]
    for folder in known:
        if folder.name == what:
            return load_workflow(folder)
    for workflow in _readable(known):
        if workflow.name == what or (len(what) >= SHORTEST_ID and workflow.id.startswith(what)):
            return workflow
    return None


def find_step(what: str | None, here: Path) -> Batch | None:
    """The batch of a step, `WORKFLOW/STEP`; None when it is none.

    Raises BatchError when the workflow has no such step, or it has not begun.
    """
    name, slash, step = (what or "").rpartition("/")
    workflow = find_workflow(name, here) if slash and name and step else None
    if workflow is None:
        return None
    workflow.step(step)
    batch = workflow.batch(step)
    if batch is None:
        raise BatchError(f'step "{step}" has not begun', where=str(workflow.folder))
    return batch


def workflows_here(here: Path) -> list[Path]:
    """The workflows in a folder's `batches/`, and itself when it is one, newest first."""
    found = [path.parent for path in (here / names.BATCHES).glob(f"[!.]*/{names.WORKFLOW}")]
    if is_workflow(here):
        found.append(here)
    return sorted(found, key=lambda p: (_made(p, names.WORKFLOW), p.name), reverse=True)


def workflows_everywhere() -> list[Path]:
    """The workflows that the registry knows, newest first."""
    try:
        entries = registry.entries()
    except OSError:
        return []
    return [folder for entry in entries for folder in entry.folders if is_workflow(folder)]


def _newest(here: Path) -> Workflow | None:
    found = workflows_here(here)
    batches = registry.batches_here(here)
    if not found and not batches:
        found, batches = workflows_everywhere(), registry.batches_everywhere()
    if not found:
        return None
    if batches and _made(batches[0], names.RESOLVED) > _made(found[0], names.WORKFLOW):
        return None
    return load_workflow(found[0])


def _made(folder: Path, name: str) -> int:
    try:
        return (folder / name).stat().st_mtime_ns
    except OSError:
        return 0


def _readable(folders: list[Path]) -> Iterator[Workflow]:
    for folder in folders:
        try:
            yield load_workflow(folder)
        except BatchError:
            continue

"""A foreach from its first phase to its results: begun once, gone on with, brought to a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from osgbatch import names
from osgbatch.batches.folder import write_json
from osgbatch.batches.keys import read_digest
from osgbatch.collecting.outside import Outside, check_free, claim, owner_of
from osgbatch.errors import BatchError, OsgbatchError, SpecErrors
from osgbatch.foreach.asked import PHASES, Asked, check
from osgbatch.foreach.document import COMPLETE, ELEMENTS, RUNNER, Earlier, workflow_of
from osgbatch.foreach.outcomes import outcome
from osgbatch.foreach.signature import check_words
from osgbatch.life.following import status
from osgbatch.life.naming import shown_path
from osgbatch.planning.checks import missing_files
from osgbatch.results.finishing import collect_batch
from osgbatch.spec.document import parse_document
from osgbatch.spec.from_words import Told
from osgbatch.spec.load import load_spec
from osgbatch.spec.steps import steps_of_data
from osgbatch.submission.planned import AS_WRITTEN, Choices
from osgbatch.submission.running import spec_of_run
from osgbatch.workflows.alone import held
from osgbatch.workflows.finding import workflows_here
from osgbatch.workflows.folder import SPEC, Workflow, load_workflow
from osgbatch.workflows.kept import changed, changed_inputs, look, named, read_kept, step_as_written
from osgbatch.workflows.starting import start_workflow
from osgbatch.workflows.telling import WorkflowStatus, workflow_status

Say = Callable[[str], None]
NOTE = names.FOREACH_NOTE
_OURS = frozenset(
    f"outputs/{name}"
    for name in (COMPLETE, ELEMENTS, "results.values", "results.rds", "failed_files.txt")
)
"""What a task of the foreach phase leaves for gather. Source: templates/foreach.py and .R."""


@dataclass(frozen=True)
class Begun:
    """A foreach that has begun. results: the folder that its results are brought to.

    again: it has failed before, and what has not succeeded is to be run once more. scatter,
    elements: the batch folders of the first phases, which may be those of an earlier foreach.
    """

    workflow: Workflow
    results: Path
    again: bool = False
    scatter: Path = Path()
    elements: Path = Path()


def shared_of(told: Told, here: Path, settings: Sequence[str] = ()) -> Mapping[str, Any]:
    """The keys of a spec that options shared with `osgbatch run` are.

    settings: of --set, which are only looked at. Raises OsgbatchError that names the option of what
    is wrong.
    """
    whole = replace(told, name="x", results_to="x", command=("true",))
    with spec_of_run(whole, here, keep=False) as made:
        missing = list(missing_files(load_spec(made.path, settings, made.text)))
        if missing:
            raise SpecErrors(missing)
        data = parse_document(made.text, "foreach").data
    kept = ("libraries", "environment", "resources")
    return {key: data[key] for key in kept if key in data}


def begin(
    asked: Asked,
    here: Path,
    pool: str,
    say: Say,
    out: str = "",
    choices: Choices = AS_WRITTEN,
) -> Begun:
    """Begin what is asked for, or find where it has begun already: nothing is begun twice.

    here: where paths start, and where `batches/` is made. out: the folder for the results; empty
    for one of the work's name. Raises OsgbatchError; then nothing was begun.
    """
    check(asked)
    check_words(asked)
    with held(here):
        return _begin(asked, here, pool, say, out, choices)


def _begin(
    asked: Asked,
    here: Path,
    pool: str,
    say: Say,
    out: str,
    choices: Choices,
    whole: WorkflowStatus | None = None,
) -> Begun:
    """The same, for who holds the lock. whole: of which the first phases are used, and no other."""
    earlier = _earlier(asked, here, whole)
    document = workflow_of(asked, here, earlier)
    text = steps_of_data(document, here, choices.settings).text
    settings = tuple(choices.settings)
    alike = [one for one in _workflows(here) if _text(one) == text and one.settings == settings]
    found = next((one for one in alike if not _changed_in(one, workflow_status(one))), None)
    if found is None and asked.partial and asked.start_at == PHASES[0] and whole is None:
        whole = _whole(asked, here, choices)
        if whole is not None and whole.succeeded:
            found, earlier = whole.workflow, Earlier()
        elif whole is not None:
            name = shown_path(whole.workflow.folder)
            say(f"of {name} what there is is gathered; no element runs again")
            only_gather = replace(asked, start_at="gather")
            return _begin(only_gather, here, pool, say, out, choices, whole)
    if found is not None:
        now = workflow_status(found)
        word = "goes on" if now.runs else "goes on from where it was"
        if now.succeeded:
            word = "has done this already"
        elif now.failed and now.ended:
            word = "has failed: what has not succeeded runs once more"
        say(f"workflow {found.id[:6]} {word}: {shown_path(found.folder)}")
        again = not now.succeeded and not now.runs  # also when it was cancelled
        return _noted(found, _place(asked, here, out, found.id), here, earlier, again=again)
    if alike:
        _tell_of_changed(alike[0], say)
    _tell_of_failed(asked, document, here, say)
    results = _place(asked, here, out)
    made = start_workflow(document, here, pool, say, choices)
    return _noted(made, results, here, earlier)


def _whole(asked: Asked, here: Path, choices: Choices) -> WorkflowStatus | None:
    """The same without --partial, if its elements have ended, and none of its files is another."""
    document = workflow_of(replace(asked, partial=False), here)
    text = steps_of_data(document, here, choices.settings).text
    for one in _workflows(here):
        if _text(one) == text and one.settings == tuple(choices.settings):
            now = workflow_status(one)
            ended = now.succeeded or (not now.runs and "foreach" in now.failed)
            return now if ended and not _changed_in(one, now) else None
    return None


def _tell_of_changed(workflow: Workflow, say: Say) -> None:
    """Say of the last one of the same words how it is not the same."""
    now = workflow_status(workflow)
    name, found = shown_path(workflow.folder), _changed_in(workflow, now)
    what = f"{named(found)} {'is' if len(found) == 1 else 'are'} not what"
    if now.succeeded:
        say(f"note: {name} has done the same, but {what} all of it ran with: this begins anew")
    elif now.runs:
        say(
            f"note: {name} runs still, and {what} it was begun with: this begins anew, beside it. "
            f"`osgbatch cancel {name}` ends the other"
        )


def _changed_in(workflow: Workflow, now: WorkflowStatus) -> list[str]:
    """The files that are not what a foreach of the same words runs, or has run with.

    One that runs, or has failed, goes by what its last phase is to run with, which `resubmit` may
    have taken anew; one that has succeeded is the same only if all phases had the same files.
    """
    found: set[str] = set()
    for step in workflow.steps if now.succeeded else workflow.steps[-1:]:
        try:
            kept = read_kept(workflow, step)
            files = look(step_as_written(workflow, step, workflow.settings))
        except OsgbatchError as error:
            return [error.what]
        # what calls the script's functions is osgbatch's own, another one in the next version
        names_ = changed(kept, files) if kept is not None else ["its script"]
        found.update(one for one in names_ if one.partition("/")[0] != RUNNER)
        found.update(changed_inputs(kept) if kept is not None and now.succeeded else ())
        batch = workflow.batch(step.name) if now.succeeded else None
        if batch and len({read_digest(one.folder) for one in batch.rounds()}) > 1:
            found.add("what it ran with before it was resubmitted")
    return sorted(found)


def _tell_of_failed(asked: Asked, document: Mapping[str, Any], here: Path, say: Say) -> None:
    """Say how the last one of this name and these words, with other files, could be gone on with.

    document: the workflow that is to begin.
    """
    last = next((one for one in _workflows(here) if one.name == asked.title), None)
    if last is None or asked.start_at != PHASES[0]:
        return
    if _first_command(last) == document["steps"][0]["command"] and workflow_status(last).failed:
        name = shown_path(last.folder)
        say(
            f"note: this begins anew. `osgbatch resubmit {name}` would run only what has failed "
            "there, with your files as they are now"
        )


def _first_command(workflow: Workflow) -> Any:
    """The command of a workflow's first step, in which the script's words are."""
    try:
        return parse_document(_text(workflow), "foreach").data["steps"][0]["command"]
    except (OsgbatchError, LookupError, TypeError):
        return None


def _noted(
    workflow: Workflow, results: Path, here: Path, earlier: Earlier, *, again: bool = False
) -> Begun:
    """Note where the results are to go, for whoever collects them."""
    own = {step.name for step in workflow.steps}
    scatter, elements = (
        workflow.step_folder(name) if name in own else (here / where).parent
        for name, where in (("scatter", earlier.scatter), ("foreach", earlier.foreach))
    )
    told = {"version": 1, "results": str(results), "elements": str(elements)}
    write_json(workflow.folder / NOTE, told)
    return Begun(workflow, results, again, scatter, elements)


def failed_elsewhere(workflow: Workflow) -> Path | None:
    """The workflow whose elements this foreach has gathered, when some of them have failed."""
    try:
        told = json.loads((workflow.folder / NOTE).read_text())
        folder = Path(told["elements"])
        if folder.parent.parent != workflow.folder and outcome(folder, folder).failures:
            return folder.parent.parent
    except (OSError, ValueError, KeyError, TypeError, OsgbatchError):
        pass
    return None


def bring_noted(workflow: Workflow, say: Say) -> str:
    """Bring the results of a foreach, which have been collected, to their folder.

    Returns where they are, in words; empty where there is nothing, or the workflow is no foreach.
    """
    try:
        results = Path(json.loads((workflow.folder / NOTE).read_text())["results"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    for problem in bring(Begun(workflow, results)):
        say(f"note: {problem}")
    return f"{shown_path(results)}/" if results.is_dir() else ""


def is_brought(workflow: Workflow) -> bool:
    """Whether the results of a foreach lie in their folder; another workflow brings none there."""
    if not (workflow.folder / NOTE).exists():
        return True
    try:
        results = Path(json.loads((workflow.folder / NOTE).read_text())["results"])
        return owner_of(results)[0] == workflow.id
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _workflows(here: Path) -> Iterator[Workflow]:
    """The workflows that began here, the newest first."""
    for folder in workflows_here(here):
        with suppress(BatchError):  # a damaged one is no hindrance
            yield load_workflow(folder)


def _text(workflow: Workflow) -> bytes:
    try:
        return (workflow.folder / SPEC).read_bytes()
    except OSError:
        return b""


def _earlier(asked: Asked, here: Path, only: WorkflowStatus | None = None) -> Earlier:
    """The results of the phases that are not run again. Raises OsgbatchError without any.

    only: the foreach that they are to be of.
    """
    if asked.start_at == PHASES[0]:
        return Earlier()
    for workflow in _workflows(here):
        if workflow.name != asked.title or (only and only.workflow.id != workflow.id):
            continue
        more = ("partial", "failed") if asked.partial else ()
        found = Earlier(
            _results(workflow, "scatter", here), _results(workflow, "foreach", here, *more)
        )
        if found.scatter and (found.foreach or asked.start_at == "foreach"):
            collect_steps(workflow, lambda text: None)
            return found
    what = "scatter has" if asked.start_at == "foreach" else "scatter and foreach have"
    raise OsgbatchError(
        f'there is no foreach "{asked.title}" here whose {what} ended well',
        where=f"--start-at {asked.start_at}",
        fix="Leave it out, or give the earlier one's name: -n NAME.",
    )


def _results(workflow: Workflow, step: str, here: Path, *states: str) -> str:
    """The folder of a step's results, from here; empty unless it has succeeded, or is in states."""
    told = next((one for one in workflow_status(workflow).steps if one.name == step), None)
    if told is None or told.state not in ("succeeded", *states):
        return ""
    folder = workflow.step_folder(step) / names.RESULTS
    return os.path.relpath(folder, here.resolve())


def _place(asked: Asked, here: Path, out: str, owner: str = "") -> Path:
    """The folder for the results: the one that was named, else the first free one of its name.

    owner: the id of a workflow whose results may be there already.
    """
    if out:
        check_free(here / out, owner)
        return here / out
    number = 1
    free: Path | None = None
    while True:
        place = here / (asked.title + (f"-{number}" if number > 1 else ""))
        if owner and owner_of(place)[0] == owner:
            return place
        if not place.exists():
            return free or place
        if free is None and place.is_dir() and not any(place.iterdir()):
            free = place
        number += 1


class _Flat(Outside):
    """What gather's one task has brought, right in the folder, without what is osgbatch's own.

    Nor what would make the folder a package: it has the name of the script it lies beside, and
    would be imported instead of it, though it comes from an execution point.
    """

    def _all(self, above: str, index: int) -> Iterator[tuple[Path, str, str, str]]:
        if above:
            return
        for folder, name, place, sha256 in super()._all(above, index):
            inner = place.partition("/")[2]
            if inner.lower().startswith("__init__."):
                kept = shown_path(folder / name)
                self.problems[index] = f"{kept} stays there: here it would hide the script"
            elif name != f"outputs/{COMPLETE}":
                yield folder, name, inner, sha256


class _Elements(Outside):
    """What elements have written: without what is osgbatch's own, which gather reads elsewhere."""

    def _all(self, above: str, index: int) -> Iterator[tuple[Path, str, str, str]]:
        for one in super()._all(above, index):
            if one[1] not in _OURS:
                yield one


def collect_steps(workflow: Workflow, say: Say) -> None:
    """Collect the results of all steps that have begun, of those that failed too."""
    for step in workflow.steps:
        if (made := workflow.batch(step.name)) is not None:
            _, collected, _ = collect_batch(made, say, gather=False, quiet=True)
            for note in collected.notes:
                say(f"note: {step.name}: {note}")


def bring(begun: Begun) -> tuple[str, ...]:
    """Give what gather has made, without it what the elements have, other names in the folder.

    The steps have been collected. Returns what could not be placed, and why. Nothing that is there
    already is written over; where there is nothing to bring no folder is made.
    """
    workflow, folder = begun.workflow, begun.results
    last = workflow.steps[-1].name
    batch = workflow.batch(last)
    if batch is None:
        return ()
    states = status(batch, all_tasks=True).states
    if last == "gather":
        states = [state for state in states if state.state == "succeeded"]
    if not any(state.state in ("succeeded", "failed") for state in states):
        return ()
    claim(folder, workflow.id, workflow.folder)
    kind = _Flat if last == "gather" else _Elements
    for earlier in batch.folder.parent.glob(f"{last}.earlier-*"):  # of what has changed since
        for state in states:
            kind(earlier / names.RESULTS, folder).withdraw(state, folder)
    placer = kind(batch.folder / names.RESULTS, folder)
    for state in states:
        placer.place(state)
    return tuple(placer.problems.values())

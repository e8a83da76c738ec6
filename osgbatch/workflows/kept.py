"""The files of a workflow as they were when it was submitted: kept, and used by all its steps."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.errors import BatchError, OsgbatchError, PackingError
from osgbatch.life.naming import shown_path
from osgbatch.packing.archive import Member
from osgbatch.packing.files import entries_of, files_members
from osgbatch.packing.libraries import libraries_members
from osgbatch.plan_model import Plan
from osgbatch.spec.load import load_spec
from osgbatch.spec_model import ColumnSource, Place, Spec, UserPath
from osgbatch.submission.packed import pack_spec_environment
from osgbatch.workflows.folder import StepNote, Workflow
from osgbatch.workflows.looks import is_program, looks, of_file, sums, unreadable

Say = Callable[[str], None]
VERSION = 2
FOLDER = "files"
"""Of a workflow: the copies, in a folder for each content."""
MOST_INPUTS = 1000
"""Of so many inputs it is noted what they looked like; of more, when they were looked at."""
LARGE = 100 << 20
"""Of so many bytes of files it is said that they are copied."""
_LARGEST = 16 << 20
"""No description of an environment has so many bytes."""


@dataclass(frozen=True)
class Kept:
    """What a step runs with. tree: the folder of the copies in `files/`, empty for none.

    sums: SHA-256 of each of its files, by its name in the task. others: of its libraries and of the
    file that describes its environment, by their paths. environment: of the packed one. table: of
    the tasks, where they are known before it begins. inputs: bytes and time of the user's own.
    """

    tree: str = ""
    sums: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    environment: str = ""
    table: str = ""
    inputs: Mapping[str, Sequence[int]] = field(default_factory=dict)


def keep(
    workflow: Workflow,
    step: StepNote,
    say: Say,
    *,
    plan: Plan | None = None,
    environment: str = "",
    files_of: Kept | None = None,
) -> Kept:
    """Keep a step's files, and note what else it is to run with.

    plan: of a step that can be planned before others have run. environment: the checksum of the
    packed one, where that is known. files_of: whose copies stay what is used, as the user's own
    are not there. Raises PackingError when a file is not there, StagingError.
    """
    spec = step_as_written(workflow, step, workflow.settings)
    if files_of is None:
        kept = look(spec)
        kept = replace(kept, tree=_copied(workflow, step, kept, say), environment=environment)
    else:
        others = look(replace(spec, files=())).others
        kept = Kept(files_of.tree, files_of.sums, others, environment)
    if plan is not None and not workflow.settings:
        paths = list(own_inputs(workflow, plan))
        seen = {os.fspath(path): looks(path) for path in paths[:MOST_INPUTS]}
        kept = replace(kept, table=_table(plan), inputs=seen)
    folders.write_json(_note(workflow, step), {"version": VERSION, **asdict(kept)})
    return kept


def look(spec: Spec) -> Kept:
    """What a step's files and libraries are now.

    Raises PackingError when one is not there, or cannot be read, StagingError.
    """
    try:
        return _look(spec)
    except OSError as error:
        raise unreadable(error, spec.folder) from None


def _look(spec: Spec) -> Kept:
    others = {
        one.text: _digest(libraries_members([one.text], spec.folder)) for one in spec.libraries
    }
    described = spec.environment.path
    if described is not None:
        path = spec.folder / Path(described.text).expanduser()
        if path.is_file() and path.stat().st_size < _LARGEST:
            others[described.text] = hashlib.sha256(path.read_bytes()).hexdigest()
    return Kept(sums=_sums_of(spec.files, spec.folder), others=others)


def _sums_of(files: Sequence[UserPath], folder: Path) -> dict[str, str]:
    return dict(sums(files_members(entries_of(files), folder)))


def as_kept(workflow: Workflow, step: StepNote, settings: Sequence[str]) -> Spec | None:
    """A step's spec, with the copies in place of the user's files; None where none were kept.

    Raises BatchError when the copies are not what was kept.
    """
    kept = read_kept(workflow, step)
    if kept is None:
        return None
    spec = step_as_written(workflow, step, settings)
    files = copies(workflow, kept, spec)
    return replace(spec, files=files, written_files=_unchanged(spec, kept))


def copies(workflow: Workflow, kept: Kept, spec: Spec) -> tuple[UserPath, ...]:
    """What stands in place of `files:` of a step. Raises BatchError: it is not what was kept."""
    tree = workflow.folder / FOLDER / kept.tree
    try:
        found = sorted(os.listdir(tree)) if kept.tree else []
    except OSError as error:
        raise _unusable(workflow, tree, f"cannot be read: {error.strerror}") from None
    place = Place(str(spec.path), 1, 1)
    above = os.path.relpath(tree, spec.folder)
    files = tuple(UserPath(f"{above}/{name}", place, name) for name in found)
    try:
        others = changed(Kept(sums=kept.sums), Kept(sums=_sums_of(files, spec.folder)))
    except (OsgbatchError, OSError) as error:
        what = error.what if isinstance(error, OsgbatchError) else error.strerror
        raise _unusable(workflow, tree, f"cannot be read: {what}") from None
    if others:
        raise _unusable(workflow, tree, f"are not what was copied: {named(others)}")
    return files


def _unusable(workflow: Workflow, place: Path, what: str) -> BatchError:
    return BatchError(
        f"the copies of the step's files {what}",
        where=str(place),
        fix=f"`osgbatch resubmit {shown_path(workflow.folder)}` takes your files as they are.",
    )


def _unchanged(spec: Spec, kept: Kept) -> tuple[UserPath, ...]:
    """The user's files, of whose commit git is asked, where they are what was kept."""
    try:
        return spec.files if dict(look(spec).sums) == kept.sums else ()
    except OsgbatchError:
        return ()


def read_kept(workflow: Workflow, step: StepNote) -> Kept | None:
    """What was noted of a step; None where an earlier osgbatch made the workflow.

    Raises BatchError when the note cannot be read.
    """
    note = _note(workflow, step)
    try:
        told = json.loads(note.read_text())
        if told["version"] != VERSION:
            raise ValueError(f"its version is {told['version']}")
        found = Kept(**{key: told[key] for key in Kept.__dataclass_fields__})
        if not all(isinstance(one, Mapping) for one in (found.sums, found.others, found.inputs)):
            raise TypeError("it is damaged")
        return found
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BatchError(
            f"what step {step.name} is to run with cannot be read: {error}",
            where=str(note),
            fix=f"`osgbatch resubmit {shown_path(workflow.folder)}` takes your files as they are.",
        ) from None


# --- what has changed ----------------------------------------------------------------------------


def changed(before: Kept, now: Kept) -> list[str]:
    """The names of what is not the same, sorted."""
    found = []
    for was, is_ in ((before.sums, now.sums), (before.others, now.others)):
        found += [name for name in {*was, *is_} if was.get(name) != is_.get(name)]
    return sorted(found)


def changed_inputs(kept: Kept) -> list[str]:
    """The inputs of the user's that do not look as they did."""
    found = []
    for name, was in kept.inputs.items():
        path = Path(name)
        try:
            same = looks(path) == list(was)
        except PackingError:  # it has gone, or cannot be read any more
            same = False
        if not same:
            found.append(shown_path(path))
    return found


def changed_since(workflow: Workflow, steps: Iterable[str]) -> list[str]:
    """The names of the user's files that are not as they were kept for these steps."""
    found: set[str] = set()
    for name in steps:
        step = workflow.step(name)
        try:
            if (kept := read_kept(workflow, step)) is None:
                continue
            found.update(changed(kept, look(step_as_written(workflow, step, workflow.settings))))
        except OsgbatchError as error:
            found.add(error.what)
    return sorted(found)


def named(found: Sequence[str], most: int = 4) -> str:
    """Some names, in words."""
    more = f" and {len(found) - most:,} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def check_same(workflow: Workflow, step: StepNote, spec: Spec) -> None:
    """Raises BatchError when what is not kept, for its size, is another than at the submission.

    These are libraries and the environment. spec: that of `as_kept`.
    """
    kept = read_kept(workflow, step)
    if kept is None:
        return
    now = look(replace(spec, files=()))
    for name, digest in kept.others.items():
        if now.others.get(name) != digest:
            raise _differs(workflow, name)
    if kept.environment:
        packed = pack_spec_environment(spec, lambda text: None)
        if packed is None or packed.sha256 != kept.environment:
            path = spec.environment.path
            raise _differs(workflow, f"the environment {path.text if path else ''}".rstrip())


def check_inputs(workflow: Workflow, step: StepNote, plan: Plan, *, rows: bool = True) -> None:
    """Raises BatchError when inputs of the user's have changed since the submission.

    rows: the table of the tasks, too. What was not noted then must not be newer than the note.
    """
    kept = read_kept(workflow, step)
    if kept is None:
        return
    if rows and kept.table and kept.table != _table(plan):
        raise _differs(workflow, f"the table of step {step.name}'s tasks")
    since = _note(workflow, step).stat().st_mtime_ns
    for path in own_inputs(workflow, plan):
        was = kept.inputs.get(os.fspath(path))
        now = looks(path)
        if now[1] > since if was is None else list(was) != now:
            raise _differs(workflow, shown_path(path))


def _differs(workflow: Workflow, what: str) -> BatchError:
    return BatchError(
        f"{what} has changed since the workflow was submitted",
        where=str(workflow.folder),
        fix=f"Undo that, or `osgbatch resubmit {shown_path(workflow.folder)}`: what has not run "
        "then takes it as it is now.",
    )


def own_inputs(workflow: Workflow, plan: Plan) -> Iterator[Path]:
    """What a step reads from here, inputs and tables, but for what earlier steps have made."""
    inputs = plan.tasks.inputs(0, len(plan.table)) or []
    files = {file.source: file for row in (plan.tasks.shared, *inputs) for file in row}
    sources = [file.source for file in files.values() if not file.url]
    sources += [plan.spec.folder / name for name in _tables(plan.spec.sources) if "://" not in name]
    made = workflow.folder.resolve()
    for source in sources:
        if source.exists() and not source.resolve().is_relative_to(made):
            yield source


def _tables(sources: Iterable[ColumnSource]) -> Iterator[str]:
    for source in sources:
        if source.kind in ("table", "lines"):
            yield from (path.text for path in source.paths)
        yield from _tables(source.parts)


# --- how it is kept ------------------------------------------------------------------------------


def step_as_written(workflow: Workflow, step: StepNote, settings: Sequence[str]) -> Spec:
    """A step's spec with the user's own files."""
    path = workflow.spec_folder / f".{workflow.name}-{step.name}.yaml"
    return load_spec(path, settings, workflow.step_spec(step.name))


def _note(workflow: Workflow, step: StepNote) -> Path:
    return workflow.folder / names.STEPS / f"{step.name}.kept.json"


def _copied(workflow: Workflow, step: StepNote, kept: Kept, say: Say) -> str:
    """Copy a step's files, once for each content; the name of the folder."""
    if not kept.sums:
        return ""
    told = json.dumps(sorted(kept.sums.items())).encode()
    name = hashlib.sha256(told).hexdigest()[:16]
    above = workflow.folder / FOLDER
    if (above / name).is_dir():
        with suppress(BatchError):  # else they are made anew
            copies(workflow, replace(kept, tree=name), step_as_written(workflow, step, ()))
            return name
        shutil.rmtree(above / name)
    half = above / f".{name}"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    spec = step_as_written(workflow, step, workflow.settings)
    members = files_members(entries_of(spec.files), spec.folder)
    size = sum(one.source.stat().st_size for one in members if one.source is not None)
    if size > LARGE:
        say(
            f"warning: step {step.name}: its files: are {size / 1e6:,.0f} MB, and all of it is "
            "copied into the folder of the workflow: large data belong to inputs:"
        )
    if {one.name: _copy(one, half / one.name) for one in members} != kept.sums:
        raise PackingError(
            "files: were changed while they were copied",
            where=str(spec.folder),
            fix="Submit again when nothing writes to them.",
        )
    half.rename(above / name)
    return name


def _copy(member: Member, target: Path) -> str:
    """Copy one thing; what tells the content that was read, as `sums` does."""
    if member.source is None:
        if member.is_folder:
            target.mkdir(exist_ok=True)
        elif member.link is not None:
            target.symlink_to(member.link)
        else:
            target.write_bytes(member.data or b"")
        ((_, told),) = sums([member])
        return told
    digest = hashlib.sha256()
    with member.source.open("rb") as source, target.open("wb") as copy:
        while part := source.read(1 << 20):
            digest.update(part)
            copy.write(part)
    target.chmod(0o755 if is_program(member.source) else 0o644)
    return hashlib.sha256(of_file(member.source, digest.hexdigest())).hexdigest()


def _digest(members: Iterable[Member]) -> str:
    told = json.dumps(list(sums(members))).encode()
    return hashlib.sha256(told).hexdigest()


def _table(plan: Plan) -> str:
    digest = hashlib.sha256()
    for part in folders.tasks_csv(plan.table):
        digest.update(part)
    return digest.hexdigest()

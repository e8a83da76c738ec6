"""Spec and table to Plan: what every task runs and is brought, and which jobs run the tasks."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import overload

from osgbatch.errors import OsgbatchError, SpecError
from osgbatch.model import InputFile, Place, Plan, Spec, Table, TaskPlan, Template, UserPath
from osgbatch.names import escape_glob, task_path
from osgbatch.planning.chunks import Chunks
from osgbatch.planning.inputs import common_folder, place_input, real_path, travels_plainly

LARGE_INPUT = 1024**3
"""Bytes of one input above which the OSPool asks for the stash (reference 1.2)."""


def make_plan(spec: Spec, table: Table, batch_root: Path | None = None) -> Plan:
    """Work out what follows from the spec alone; nothing is written.

    batch_root: the folder in which the batch folder will be, when it is not the spec's own.
    Raises SpecError for an unknown placeholder and for a file that is not there.
    """
    _check_names(spec, table)
    for path in (*spec.files, *spec.libraries):
        _check_exists(path, spec.folder)
    for optional in (spec.environment.path, spec.gather):
        if optional:
            _check_exists(optional, spec.folder, want_file=True)
    tasks = Tasks(spec, table, _initial_folder(spec, table, batch_root))
    archived: dict[Path, InputFile] = {}
    sizes: dict[Path, int] = {}
    for task in tasks:
        for file in task.inputs:
            if file.source not in sizes:
                sizes[file.source] = _size(file.source)
            if file.archived:
                archived[file.source] = file
    return Plan(
        spec=spec,
        table=table,
        tasks=tasks,
        jobs=Chunks.of_size(len(table), spec.tasks_per_job),
        initialdir=tasks.initialdir,
        archived_inputs=tuple(archived.values()),
        input_bytes=sum(sizes.values()),
        warnings=(*_left_at_home(spec), *_warnings(archived.values(), sizes)),
    )


class Tasks(Sequence[TaskPlan]):
    """The tasks of a sweep, each worked out when it is asked for, so that memory stays flat."""

    def __init__(self, spec: Spec, table: Table, initialdir: Path) -> None:
        self.spec = spec
        self.table = table
        self.columns = table.columns
        self.initialdir = initialdir

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, index: int) -> TaskPlan: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[TaskPlan]: ...

    def __getitem__(self, index: int | slice) -> TaskPlan | Sequence[TaskPlan]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        row = self.table.row(index)
        written = {"index": str(index)}
        seen = {"index": str(index)}
        for column, cell in zip(self.columns, row, strict=True):
            written[column.name] = cell.text
            seen[column.name] = task_path(cell.text) if column.is_file else cell.text
        escaped = {name: escape_glob(text) for name, text in seen.items()}
        return TaskPlan(
            index=index,
            row=row,
            params=tuple(
                (column.name, seen[column.name] if column.is_file else cell.value)
                for column, cell in zip(self.columns, row, strict=True)
            ),
            argv=tuple(template.fill(seen) for template in self.spec.command),
            inputs=tuple(self._inputs(written)),
            outputs=tuple(
                (output.pattern.fill(escaped), output.optional)
                for output in self.spec.outputs
                if output.pattern.names
            ),
        )

    def _inputs(self, written: dict[str, str]) -> Iterator[InputFile]:
        """The inputs of one task: shared ones, and those that its row names."""
        spec = self.spec
        places: dict[str, tuple[Path, str]] = {}
        named = [(written[c.name], _no_place(spec)) for c in self.columns if c.is_file]
        named += [(i.source.fill(written), i.source.place or _no_place(spec)) for i in spec.inputs]
        for text, place in named:
            file = place_input(text, spec.folder, self.initialdir)
            other = places.get(file.task_path)
            if other is None:
                problem = _input_problem(file.source)
                if problem:
                    raise SpecError(
                        f'input "{text}" {problem}',
                        place,
                        fix=f"Paths start from the spec's folder, {spec.folder}.",
                    )
                places[file.task_path] = (file.source, text)
                yield file
            elif other[0] != file.source:
                raise SpecError(
                    f'"{other[1]}" and "{text}" would both be {file.task_path} in the task',
                    place,
                    fix="Rename one of them, or bring their common folder.",
                )


def _input_problem(source: Path) -> str:
    """Why a file or folder cannot be brought; empty when it can."""
    if not source.exists():
        return "does not exist"
    if not (source.is_file() or source.is_dir()):
        return "is neither a file nor a folder"
    readable = os.access(source, os.R_OK | (os.X_OK if source.is_dir() else 0))
    return "" if readable else "cannot be read: permission denied"


def _no_place(spec: Spec) -> Place:
    return Place(str(spec.path), 1, 1)


def _initial_folder(spec: Spec, table: Table, batch_root: Path | None) -> Path:
    """Where transferred paths start from: the spec's folder, or the parent of all that travels.

    The way from there to the batch folder stands in submit commands, so it must be plain; if it
    is not, the inputs outside of the spec's folder travel in an archive.
    """
    sources: set[Path] = set()
    for column in table.columns:
        if column.is_file:
            sources.update(real_path(cell.text, spec.folder) for cell in column.cells)
    for entry in spec.inputs:
        if not entry.source.names:
            sources.add(real_path(entry.source.fill({}), spec.folder))
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


def _check_names(spec: Spec, table: Table) -> None:
    known = [*(column.name for column in table.columns), "index"]
    templates: list[Template] = [
        *spec.command,
        *(i.source for i in spec.inputs),
        *(o.pattern for o in spec.outputs),
    ]
    for template in templates:
        for name in template.names:
            if name in known:
                continue
            place = template.place or _no_place(spec)
            near = get_close_matches(name, known, n=1)
            raise SpecError(
                f'unknown name "{name}" in braces'
                + (f'; did you mean "{near[0]}"?' if near else ""),
                place.at("{" + name + "}"),
                fix="" if near else f"Known are {', '.join(known)}. Write {{{{ for a brace.",
            )


def _check_exists(path: UserPath, folder: Path, *, want_file: bool = False) -> None:
    source = folder / path.text
    if not source.exists():
        if not want_file and glob.glob(path.text, root_dir=folder, recursive=True):
            return
        raise SpecError(
            f'"{path.text}" does not exist',
            path.place.at(path.text),
            fix=f"Paths start from the spec's folder, {folder}.",
        )
    if want_file and not source.is_file():
        raise SpecError(f'"{path.text}" is not a file', path.place.at(path.text))
    if not os.access(source, os.R_OK | (os.X_OK if source.is_dir() else 0)):
        raise SpecError(
            f'"{path.text}" cannot be read: permission denied', path.place.at(path.text)
        )


def _size(source: Path) -> int:
    if not source.is_dir():
        return source.stat().st_size
    total = 0
    for folder, _, names in os.walk(source):
        total += sum(os.lstat(os.path.join(folder, name)).st_size for name in names)
    return total


def _left_at_home(spec: Spec) -> Iterator[str]:
    """The first mistake of everybody: a script beside the spec that no task is brought."""
    brought = [Path(path.text) for path in spec.files]
    for template in spec.command:
        word = template.parts[0]
        if template.names or word.startswith(("/", "-", "inputs/")) or "." not in word:
            continue
        path = Path(word)
        if (spec.folder / path).is_file() and not any(
            path.is_relative_to(b) or path.match(str(b)) for b in brought
        ):
            yield f"the command names {word}, which no task is brought: add it to files: [{word}]"


def _warnings(archived: Iterable[InputFile], sizes: dict[Path, int]) -> Iterator[str]:
    names = [file.source.name for file in archived]
    if names:
        size = sum(sizes[file.source] for file in archived)
        yield (
            f"{len(names)} input(s) such as {names[0]!r} have names that HTCondor cannot transfer; "
            f"they travel in one archive ({size} bytes unpacked) with every job"
        )
    large = [source for source, size in sizes.items() if size > LARGE_INPUT]
    if large:
        yield (
            f"{len(large)} input(s) such as {large[0].name!r} are over 1 GB: "
            "the OSPool wants such files in the stash"
        )

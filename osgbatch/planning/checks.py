"""What can be wrong with a spec beside what it says: unknown names in braces, missing files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from glob import glob
from pathlib import Path

from osgbatch.errors import SpecError
from osgbatch.model import Environment, Place, Spec, Table, Template, UserPath


def unknown_names(spec: Spec, table: Table) -> Iterator[SpecError]:
    """Placeholders that no column of the sweep stands behind."""
    known = [*(column.name for column in table.columns), "index"]
    for name, place in _used_names(spec):
        if name in known:
            continue
        near = get_close_matches(name, known, n=1)
        yield SpecError(
            f'unknown name "{name}" in braces' + (f'; did you mean "{near[0]}"?' if near else ""),
            place.at("{" + name + "}"),
            fix="" if near else f"Known are {', '.join(known)}. Write {{{{ for a brace.",
        )


def used_names(spec: Spec) -> set[str]:
    """The columns that placeholders name."""
    return {name for name, _ in _used_names(spec)}


def _used_names(spec: Spec) -> Iterator[tuple[str, Place]]:
    inputs = [t for entry in spec.inputs for t in (entry.source, entry.target) if t]
    templates: list[Template] = [
        *spec.command,
        *inputs,
        *(output.pattern for output in spec.outputs),
        *(value for _, value in spec.environment_variables),
    ]
    nowhere = Place(str(spec.path), 1, 1)
    for template in templates:
        yield from ((name, template.place or nowhere) for name in template.names)
    if spec.script:
        yield from ((name, spec.script.place) for name in spec.script.names)


def missing_files(spec: Spec) -> Iterator[SpecError]:
    """Files that the spec names for all tasks, and that are not there or cannot be read."""
    for path in (*spec.files, *spec.libraries):
        yield from _missing(path, spec.folder)
    if spec.environment.path and not _is_elsewhere(spec.environment):
        want = {"prefix": "folder", "container": ""}.get(spec.environment.kind, "file")
        yield from _missing(spec.environment.path, spec.folder, want, is_pattern=False)
    if spec.gather:
        yield from _missing(spec.gather, spec.folder, "file", is_pattern=False)


def _is_elsewhere(environment: Environment) -> bool:
    """Whether it is an image that only execution points have to reach."""
    path = environment.path.text if environment.path else ""
    return environment.kind == "container" and ("://" in path or path.startswith("/cvmfs/"))


def _missing(
    path: UserPath, folder: Path, want: str = "", *, is_pattern: bool = True
) -> Iterator[SpecError]:
    """want: "file" or "folder", where only that will do."""
    source = folder / Path(path.text).expanduser()
    place = path.place.at(path.text)
    if not source.exists():
        if not is_pattern or not glob(path.text, root_dir=folder, recursive=True):
            fix = f"Paths start from the spec's folder, {folder}."
            yield SpecError(f'"{path.text}" does not exist', place, fix=fix)
    elif want == "file" and not source.is_file():
        yield SpecError(f'"{path.text}" is not a file', place)
    elif want == "folder" and not source.is_dir():
        yield SpecError(f'"{path.text}" is not a folder', place)
    elif not os.access(source, os.R_OK | (os.X_OK if source.is_dir() else 0)):
        yield SpecError(f'"{path.text}" cannot be read: permission denied', place)

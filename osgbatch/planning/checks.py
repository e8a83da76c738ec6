"""What can be wrong with a spec beside what it says: unknown names in braces, missing files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from glob import glob, has_magic
from pathlib import Path

from osgbatch.errors import SpecError
from osgbatch.model import Place, Spec, Table, Template, UserPath


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
    for optional in (spec.environment.path, spec.gather):
        if optional:
            yield from _missing(optional, spec.folder, want_file=True)


def _missing(path: UserPath, folder: Path, *, want_file: bool = False) -> Iterator[SpecError]:
    source, place = folder / path.text, path.place
    if not source.exists():
        if want_file or not glob(path.text, root_dir=folder, recursive=True):
            pattern = has_magic(path.text) and not want_file
            what = f'no file matches "{path.text}"' if pattern else f'"{path.text}" does not exist'
            yield SpecError(what, place, fix=f"Paths start from the spec's folder, {folder}.")
    elif want_file and not source.is_file():
        yield SpecError(f'"{path.text}" is not a file', place)
    elif not os.access(source, os.R_OK | (os.X_OK if source.is_dir() else 0)):
        yield SpecError(f'"{path.text}" cannot be read: permission denied', place)

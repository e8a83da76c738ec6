"""What can be wrong with a spec beside what it says: unknown names, missing files, long values."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from glob import glob, has_magic
from pathlib import Path

from osgbatch.errors import SpecError
from osgbatch.expression_tree import short
from osgbatch.names import SCRIPT_VARIABLE
from osgbatch.spec_model import Environment, Place, Spec, Template, UserPath
from osgbatch.tables import Column, Table


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


LONGEST_WORD = 131_071
"""Bytes of one argument, or of one variable with its name: Linux's MAX_ARG_STRLEN without its NUL.

What is longer ends on the execution point with "Argument list too long".
"""
_CHUNK = 16_384


def long_values(spec: Spec, table: Table) -> Iterator[SpecError]:
    """Values that no program can be given: as a word of the command, or as a variable."""
    where: dict[str, tuple[int, str, Place]] = {}
    nowhere = Place(str(spec.path), 1, 1)
    for name, around, what, place in _given(spec):
        if name not in where or around > where[name][0]:
            where[name] = (around, what, place or nowhere)
    for column in table.columns:
        if column.name not in where:
            continue
        around, what, place = where[column.name]
        for number, text in _longer(column, (LONGEST_WORD - around) // 4):
            count = len(text.encode("utf-8", "surrogateescape"))
            if count + around > LONGEST_WORD:
                yield SpecError(
                    f'a value of column "{column.name}" has {count:,} bytes (its value {number + 1}'
                    f", {text[:20]!r}...), and {what} can have no more than "
                    f"{LONGEST_WORD - around:,}",
                    place.at(f"{{{column.name}}}"),
                    fix="Put long values into files, and the files' names into the sweep.",
                )
                break


_WHOLE = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|[0-9]+)|")
"""What a script lets bash calculate with; an empty cell is for the script to look at first."""


def no_whole_numbers(spec: Spec, table: Table) -> Iterator[SpecError]:
    """Values with which a script lets bash calculate, and that are no whole numbers."""
    script = spec.script
    rows = table.copies
    for block in reversed(table.blocks if script and script.whole else ()):
        for column in block:
            if script and column.name in script.whole:
                found = _not_whole(column)
                if found is not None:
                    position, text = found
                    yield SpecError(
                        f"bash calculates with {{{column.name}}}, so it must be a whole number, "
                        f"and in task {position * rows:,} it is {short(text)}",
                        script.place.at(f"{{{column.name}}}"),
                        fix="Let a program calculate that can: awk -v "
                        f"n={{{column.name}}} 'BEGIN {{print n + 1}}'.",
                    )
        rows *= len(block[0].cells)


def _not_whole(column: Column) -> tuple[int, str] | None:
    """Position and text of the first cell that is no whole number; None when there is none."""
    for start in range(0, len(column.cells), _CHUNK):
        texts = column.texts(start, start + _CHUNK)
        if not all(map(_WHOLE.fullmatch, texts)):
            return next(
                (start + i, text) for i, text in enumerate(texts) if not _WHOLE.fullmatch(text)
            )
    return None


def _given(spec: Spec) -> Iterator[tuple[str, int, str, Place | None]]:
    """Columns that a program is given: the name, the bytes around the value, what it is part of."""
    for word in spec.command:
        yield from ((n, _bytes_around(word), "a word of a command", word.place) for n in word.names)
    for name, value in spec.environment_variables:
        around = len(f"{name}=") + _bytes_around(value)
        yield from ((n, around, "a variable", value.place) for n in value.names)
    if spec.script:
        for name in spec.script.names:
            yield name, len(f"{SCRIPT_VARIABLE}{name}="), "a variable", spec.script.place


def _bytes_around(template: Template) -> int:
    return sum(len(text.encode("utf-8", "surrogateescape")) for text in template.parts[::2])


def _longer(column: Column, limit: int) -> Iterator[tuple[int, str]]:
    """The cells of a column with more than `limit` characters, and their numbers."""
    for start in range(0, len(column.cells), _CHUNK):
        texts = column.texts(start, start + _CHUNK)
        if max(map(len, texts)) > limit:
            yield from ((start + i, text) for i, text in enumerate(texts) if len(text) > limit)


def used_names(spec: Spec) -> set[str]:
    """The columns that placeholders name."""
    return {name for name, _ in _used_names(spec)}


def _used_names(spec: Spec) -> Iterator[tuple[str, Place]]:
    inputs = [t for entry in spec.inputs for t in (entry.source, entry.target) if t]
    templates: list[Template] = [
        *spec.command,
        *inputs,
        *(output.pattern for output in spec.outputs),
        *(output.to for output in spec.outputs if output.to),
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
    if spec.gather and not spec.gather.function:
        script = UserPath(spec.gather.text, spec.gather.place)
        yield from _missing(script, spec.folder, "file", is_pattern=False)
        yield from _not_run(script, spec.environment)
    for path in spec.gather.inputs if spec.gather else ():
        if "://" not in path.text and not path.text.startswith("@"):
            yield from _missing(path, spec.folder)


_NO_PYTHON = (".sh", ".bash", ".jl", ".m", ".pl", ".rmd", ".qmd", ".ipynb")
"""Ends of the names of files that are no Python scripts."""


def _not_run(gather: UserPath, environment: Environment) -> Iterator[SpecError]:
    """A gather script that nothing here would run, known before the jobs have run."""
    suffix = Path(gather.text).suffix.lower()
    if suffix in _NO_PYTHON:
        yield SpecError(
            f'"{gather.text}" is no Python script, and gather runs Python, or a .R script',
            gather.place,
            fix="Write a Python script that calls it (subprocess.run), or run it yourself when "
            "`osgbatch collect` has ended.",
        )
    elif suffix == ".r" and environment.kind not in ("conda", "prefix", "archive"):
        yield SpecError(
            f'"{gather.text}" needs R, and the environment of this sweep brings none for it',
            gather.place,
            fix="Let environment: be an environment.yml with r-base among its dependencies, or "
            "write the script in Python.",
        )


def _is_elsewhere(environment: Environment) -> bool:
    """Whether it is an image that only execution points have to reach."""
    path = environment.path.text if environment.path else ""
    return environment.kind == "container" and ("://" in path or path.startswith("/cvmfs/"))


def _missing(
    path: UserPath, folder: Path, want: str = "", *, is_pattern: bool = True
) -> Iterator[SpecError]:
    """want: "file" or "folder", where only that will do."""
    source = folder / Path(path.text).expanduser()
    place = path.place
    if not source.exists():
        if not is_pattern or not glob(path.text, root_dir=folder, recursive=True):
            pattern = has_magic(path.text) and is_pattern
            what = f'no file matches "{path.text}"' if pattern else f'"{path.text}" does not exist'
            yield SpecError(what, place, fix=f"Paths start from the spec's folder, {folder}.")
    elif want == "file" and not source.is_file():
        yield SpecError(f'"{path.text}" is not a file', place)
    elif want == "folder" and not source.is_dir():
        yield SpecError(f'"{path.text}" is not a folder', place)
    elif not os.access(source, os.R_OK | (os.X_OK if source.is_dir() else 0)):
        yield SpecError(f'"{path.text}" cannot be read: permission denied', place)

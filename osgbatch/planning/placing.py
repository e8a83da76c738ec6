"""Where outputs are to lie in `results/` (`to:`): no two at one place, for all tasks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from osgbatch import targets
from osgbatch.errors import SpecError, SpecErrors
from osgbatch.spec_model import Output, Place, Spec
from osgbatch.tables import Table

_CHUNK = 4096


def check_targets(spec: Spec, table: Table) -> list[str]:
    """See that every task's outputs have places of their own; gives what is worth a warning.

    Where a pattern may match several files, only their folder is known, and may be shared. Raises
    SpecError, or SpecErrors, for a place that is osgbatch's own, leads out, or is that of another
    task.
    """
    errors: list[SpecError] = []
    seen: dict[int, int] = {}
    folded: dict[int, int] = {}
    folders: dict[int, int] = {}
    alike: list[str] = []
    for output in spec.outputs:
        if output.to is None:
            continue
        place = output.to.place or Place(str(spec.path), 1, 1)
        exact = not re.search(r"[*?[]", "".join(output.pattern.parts[::2]))
        for index, target, pattern in _of_tasks(output, spec, table):
            problem = targets.problem(target)
            if problem:
                errors.append(SpecError(f"to: of task {index}, {problem}", place, fix=targets.FIX))
                break
            if not exact:
                folders.setdefault(hash(target.rstrip("/")), index)
                continue
            path = targets.place_of(target, pattern, targets.plain(pattern))
            key = hash(path)
            if key in seen:
                other = seen[key]
                what = f'to: "{path}" is the place of task {other}, and of task {index}'
                if other == index:
                    what = f'to: "{path}" is the place of two outputs of task {index}'
                fix = "Let its name tell them apart: every column that differs, or {index}."
                errors.append(SpecError(what, place, fix=fix))
                break
            seen[key] = index
            key = hash(unicodedata.normalize("NFC", path).casefold())
            if folded.setdefault(key, index) != index and not alike:
                alike.append(
                    f'to: "{path}" of task {index} and that of task {folded[key]} differ only in '
                    "case, or in how letters are encoded: on some file systems they are one file"
                )
            for end in _slashes(path):
                folders.setdefault(hash(path[:end]), index)
    both = min(seen.keys() & folders.keys(), key=seen.__getitem__, default=None)
    if both is not None and not errors:
        place = next(o.to.place for o in spec.outputs if o.to) or Place(str(spec.path), 1, 1)
        what = (
            f"to: the output of task {seen[both]} would be a file where that of task "
            f"{folders[both]} needs a folder"
        )
        errors.append(SpecError(what, place, fix="Give one of them another name."))
    if len(errors) > 1:
        raise SpecErrors(errors)
    if errors:
        raise errors[0]
    return alike


def _slashes(path: str) -> Iterator[int]:
    return (match.start() for match in re.finditer("/", path))


def _of_tasks(output: Output, spec: Spec, table: Table) -> Iterator[tuple[int, str, str]]:
    """Index, place in `results/` and pattern of an output, of each task."""
    assert output.to is not None
    bases = targets.bases(spec.sources)
    wanted = {*output.to.names, *output.pattern.names}
    files = {column.name for column in table.columns if column.is_file}
    for start in range(0, len(table), _CHUNK):
        stop = min(start + _CHUNK, len(table))
        columns: dict[str, Sequence[str]] = {"index": [str(i) for i in range(start, stop)]}
        for name in wanted - {"index"}:
            columns[name] = table.texts(name, start, stop)
        for row in range(stop - start):
            values = {name: texts[row] for name, texts in columns.items()}
            words, seen = targets.texts_of(values, files, bases)
            yield start + row, output.to.fill(words), output.pattern.fill(seen)

"""What a task brings back: `outputs:`, as entries or as include, exclude and changed_only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from osgbatch import targets
from osgbatch.names import TAKEN_OUTPUTS
from osgbatch.spec.document import Loc
from osgbatch.spec.reading import Reading
from osgbatch.spec.schema import OutputModel, OutputsModel, SpecModel
from osgbatch.spec_model import Output, Template


def read_outputs(reading: Reading, model: SpecModel) -> tuple[Output, ...]:
    """What must, or may, come back."""
    given = model.outputs
    if isinstance(given, OutputsModel):
        entries = reading.entries("outputs", given.include, "include")
    else:
        entries = reading.entries("outputs", given)
    return tuple(found for loc, entry in entries for found in _output(reading, entry, loc))


def read_exclude(reading: Reading, model: SpecModel) -> tuple[str, ...]:
    """The patterns of what stays away, without a slash at their ends."""
    if not isinstance(model.outputs, OutputsModel):
        return ()
    found = []
    for loc, text in reading.entries("outputs", model.outputs.exclude, "exclude"):
        place = reading.place(loc)
        problem, fix = output_problem(text, "*.tmp or outputs/scratch")
        template = reading.template(text, place)
        if problem:
            reading.fail(problem, place, fix)
        elif template and template.names:
            name = f"{{{template.names[0]}}}"
            what = f"what is excluded is the same for all tasks, and {name} differs"
            reading.fail(what, place.at(name), "Write * for it.")
        elif template:
            pattern = template.fill({}).rstrip("/").removeprefix("./")
            found.append(pattern)
            for _, entry in reading.entries("outputs", model.outputs.include, "include"):
                path = entry.path if isinstance(entry, OutputModel) else entry
                if _is_excluded(path, pattern):
                    what = f'nothing that "{path}" stands for would come back: all is excluded'
                    reading.fail(what, place, "Leave one of the two out.")
                    break
    return tuple(found)


_ANY = "\1\1\1"


def _is_excluded(path: str, pattern: str) -> bool:
    """Whether a pattern surely covers all that another, or a name, can stand for."""
    plain = path.rstrip("/").removeprefix("./")
    if plain == pattern:
        return True
    if "[" in plain or "[" in pattern:
        return False  # it may
    # What stands for anything is only covered by a star.
    parts = re.sub(r"\{[^{}]*\}|\*", _ANY, plain).replace("?", "\1").split("/")
    wanted = pattern.split("/")
    if len(wanted) == 1:  # it holds in every folder
        return any(_covers(pattern, part) for part in parts)
    return len(wanted) <= len(parts) and all(map(_covers, wanted, parts))


def _covers(pattern: str, part: str) -> bool:
    return fnmatchcase(part, pattern) and not part.startswith(".")


def changed_only(model: SpecModel) -> bool:
    """Whether only what the command made or changed comes back."""
    return isinstance(model.outputs, OutputsModel) and model.outputs.changed_only


def _output(reading: Reading, entry: str | OutputModel, loc: Loc) -> Iterator[Output]:
    optional, to = False, None
    text = entry
    if isinstance(entry, OutputModel):
        if entry.to is not None:
            to = _target(reading, entry.to, entry.path, (*loc, "to"))
        text, optional, loc = entry.path, entry.optional, (*loc, "path")
    assert isinstance(text, str)
    problem, fix = output_problem(text)
    if problem:
        reading.fail(problem, reading.place(loc), fix)
    elif template := reading.template(text, reading.place(loc)):
        yield Output(template, optional, to)


def _target(reading: Reading, text: str, path: str, loc: Loc) -> Template | None:
    """Where an output lies in `results/`, relative to that; None (noted) if nowhere."""
    place = reading.place(loc)
    template = reading.template(text.removeprefix("./").removeprefix("results/"), place)
    if template is None:
        return None
    # a placeholder stands for some name here; what it comes to is looked at for each task
    problem = targets.problem(template.fill(dict.fromkeys(template.names, "x")))
    if problem:
        reading.fail(f"to: {problem}", place, targets.FIX)
    elif re.search(r"[*?[]", path) and not template.parts[-1].endswith("/"):
        what = "to: a pattern may match several files, and this is the name of one"
        reading.fail(what, place, f'Write "{text}/" for a folder of that name.')
    return template


def output_problem(text: str, example: str = "outputs/result.csv") -> tuple[str, str]:
    """What is wrong with a path or pattern in the task's folder, and what to write."""
    if text.startswith("/") or ".." in text.split("/"):
        fix = f"Write it relative to the task's folder, such as {example}."
        return "an output must lie in the task's own folder", fix
    if text.split("/")[0] in TAKEN_OUTPUTS:
        fix = f"Write it into outputs/, such as outputs/{text.split('/')[0]}."
        if text in ("stdout", "stderr"):
            fix = "What a task prints comes back by itself: leave it out."
        return f'"{text}" would meet what osgbatch itself keeps of a task', fix
    if "**" in text:
        return '"**" is not known in outputs', "Name the folder instead."
    return "", ""

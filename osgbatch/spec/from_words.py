"""What `osgbatch run` is told, as the text of a sweep.yaml; nothing is read."""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from osgbatch.errors import OsgbatchError, SpecError
from osgbatch.names import column_problem
from osgbatch.spec.document import Loc, plain_value
from osgbatch.spec.environment_kinds import environment_kind
from osgbatch.spec.writing import spec_text

HEAD = "Made by `osgbatch run`; `osgbatch submit` does the same with it."
RESOURCES = ("cpus", "memory", "disk", "gpus", "time")
_OPTIONS = {
    "name": "-n", "command": "COMMAND", "files": "--push", "libraries": "--lib",
    "environment": "--env", "resources": "--cpus, --memory, --disk, --gpus or --time",
    "results_to": "-n or --out", "outputs": "COMMAND",
}  # fmt: skip
_SWEEP = {"count": "--count", "table": "--params"}


@dataclass(frozen=True)
class Told:
    """What the command line says of a run.

    name, results_to: of the batch, and where its results go. command: its words. sweeps: `x=1,2`,
    `x=file:*.npy`. pushed: paths with their names in the task, empty where that is the path.
    resources: by RESOURCES, as they were written; only those that were given.
    """

    name: str
    results_to: str
    command: Sequence[str] = ()
    count: int = 0
    params: str = ""
    sweeps: Sequence[str] = ()
    pushed: Sequence[tuple[str, str]] = ()
    libraries: Sequence[str] = ()
    environment: str = ""
    image: str = ""
    resources: Mapping[str, str] = field(default_factory=dict)


class _Texts:
    """The data of a spec, and its numbers as they were written."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.texts: dict[Loc, str] = {}

    def value(self, text: str, loc: Loc) -> Any:
        """A number where the text is one, else the text."""
        value = plain_value(text)
        if isinstance(value, (bool, int, float)):
            self.texts[loc] = text
            return value
        return text


def text_of(told: Told) -> bytes:
    """The text of the spec. Raises OsgbatchError, naming the option, for what can be in none."""
    made = _Texts()
    data = made.data
    data["name"] = told.name
    if told.command:
        data["command"] = list(told.command)
    if sweep := _sweep(told, made):
        data["sweep"] = sweep
    if told.pushed:
        data["files"] = [{path: name} if name else path for path, name in told.pushed]
    if told.libraries:
        data["libraries"] = list(told.libraries)
    if environment := _environment(told):
        data["environment"] = environment
    # nothing is required; what the command makes or changes comes back, wherever it is
    data["outputs"] = {"changed_only": made.value("true", ("outputs", "changed_only"))}
    if told.resources:
        given = told.resources.items()
        data["resources"] = {key: made.value(text, ("resources", key)) for key, text in given}
    data["results_to"] = told.results_to
    try:
        return spec_text(data, made.texts, HEAD)
    except UnicodeEncodeError as error:
        word = error.object[max(0, error.start - 20) : error.end + 20]
        raise OsgbatchError(
            f"not UTF-8: {word!r}",
            where="osgbatch run",
            fix="Put such bytes into a file, and --push that.",
        ) from None


def _sweep(told: Told, made: _Texts) -> dict[str, Any]:
    """The rows: a number of tasks, a table, columns."""
    if told.count and (told.params or told.sweeps):
        raise OsgbatchError(
            "--count is for tasks without columns",
            where="--count",
            fix=f"To run every row {told.count} times: --set sweep.repeat={told.count}.",
        )
    if told.count:
        return {"count": told.count}
    sweep: dict[str, Any] = {"table": told.params} if told.params else {}
    for text in told.sweeps:
        name, equals, values = text.partition("=")
        name = name.strip()
        problem = "" if equals else "should be NAME=VALUE,VALUE,..."
        problem = problem or column_problem(name)
        if name in sweep:
            problem = f'column "{name}" is given twice'
        if problem:
            example = "--sweep x=1,2,3, or --sweep 'x=file:data/*.npy'"
            raise OsgbatchError(problem, where=f"--sweep {text}", fix=f"Write {example}.")
        for word in ("file:", "files:"):
            if values.startswith(word):
                sweep[name] = {"files": values.removeprefix(word)}
        if name not in sweep:
            cells = _cells(values, text)
            sweep[name] = [made.value(c, ("sweep", name, i)) for i, c in enumerate(cells)]
    return sweep


def _cells(values: str, option: str) -> list[str]:
    """`1,2,3`; quotes as in CSV keep commas and blanks."""
    if '"' not in values:
        return [value.strip() for value in values.split(",")]
    try:
        (row,) = csv.reader(io.StringIO(values, newline=""), skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        raise OsgbatchError(
            "the quotes in it do not match",
            where=f"--sweep {option}",
            fix='Quote as in CSV: --sweep \'x="a, b",c\', and "" for a quote in it.',
        ) from None
    return row


def _environment(told: Told) -> Any:
    if told.environment and told.image:
        raise OsgbatchError(
            "--env and --image do not go together",
            where="--image",
            fix="An image has its own programs: leave --env out.",
        )
    if not told.image:
        return told.environment
    known = "://" in told.image or told.image.startswith(("/", "./", "../"))
    known = known or environment_kind(told.image) == "container"
    return {"container": told.image if known else f"docker://{told.image}"}


_IN_OPTIONS: tuple[tuple[str, str], ...] = (
    (r"write `script:` for lines that a shell runs", "for a shell write `-- sh -c '...'`"),
    (r"name an `environment:`", "name one with `--env` or `--image`"),
    (r"and it is not beside the spec", "and it is not here"),
    (r': add inputs: ".*", and write inputs/.*', ": bring the files with `--push`"),
    (r"; bring it, and write (.+)", r"; `--push \1`, and write \1"),
    (
        r": add it to (?:files|inputs): \[(.+?)\](?:, and write inputs/.*)?$",
        r": `--push \1` brings it",
    ),
)
"""What warnings say of a spec's keys, and what it is for who has typed options."""


def worded(warning: str, name: str, text: bytes, program: str = "") -> str:
    """A warning of the spec in the words of who has typed options.

    name: of the file that the text stands for; a warning that points elsewhere stays as it is, but
    for the keys that it names. program: the first word of the command.
    """
    told = warning
    place = rf"(warning: )?(?:.*?/)?{re.escape(name)}:(\d+):(\d+): (.*)"
    if found := re.fullmatch(place, warning, re.S):
        option = _option_at(int(found[2]), int(found[3]), text)
        of_it = "" if option == _OPTIONS["command"] else f"{option}: "
        told = f"{found[1] or ''}{of_it}{found[4]}"
    for pattern, words in _IN_OPTIONS:
        told = re.sub(pattern, words, told)
    if program and "/" not in program and f"names {program}, which" in told:
        told = told.replace("brings it", f"brings it, and it is called ./{program}")
    return re.sub(r"--push ([^`]+)`", lambda path: f"--push {shlex.quote(path[1])}`", told)


def option_of(error: SpecError, text: bytes) -> str:
    """The option that a line of the text was made of. error: points at that line."""
    return _option_at(error.place.line, error.place.column, text)


def _option_at(number: int, column: int, text: bytes) -> str:
    lines = text.decode().splitlines()[:number]
    key = below = ""
    for line in lines:
        word = line.partition(":")[0]
        if line[:1] not in (" ", "-", "#", ""):
            key, below = word, ""
            if "{" in line:  # all on one line: what stands before the column
                start = line[: max(column - 1, line.index("{") + 1)]
                below = start.rpartition("{")[2].split(",")[-1].partition(":")[0]
        elif key in ("resources", "sweep") and line[:2] == "  " and line[2:3] not in (" ", "-"):
            below = word
    below = below.strip()
    if key == "resources" and below in RESOURCES:
        return f"--{below}"
    if key == "sweep":
        return _SWEEP.get(below, f"--sweep {below}".strip())
    return _OPTIONS.get(key, "osgbatch run")

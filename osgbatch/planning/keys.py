"""What a task's result follows from, as one short word: by it `submit --reuse` knows a task again.

A key is of the task's row and of what it alone is brought; what all tasks of a round share has one
digest of its own. Resources, retries, tags and numbers of tasks are in neither.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from osgbatch.plan_model import InputFile, Plan
from osgbatch.spec_model import Template
from osgbatch.urls import is_object, scheme

MOST_TASKS = 100_000
"""Larger sweeps have no keys: to make them would slow every submission."""
NO_KEY = "-"
"""In place of the key of a task whose inputs may be others the next time."""
KEY_LENGTH = 20
"""Hexadecimal digits. Of two sweeps of 100,000 tasks keys meet by chance once in 10^14 times."""
_CHUNK = 4096

Identity = Callable[[InputFile], str]
"""What tells the content of a file that lies here; empty when nothing does."""


@dataclass(frozen=True)
class Keys:
    """The keys of some tasks.

    tasks: which, in order; rows: the key of each, or NO_KEY. common: what all tasks share but for
    the archives they are brought. problem: why no task can be known again; then there are no rows.
    """

    tasks: Sequence[int] = ()
    rows: Sequence[str] = ()
    common: str = ""
    problem: str = ""

    def digest(self, archives: Iterable[tuple[str, str]]) -> str:
        """SHA-256 of all that tasks share. archives: kind and SHA-256 of those that all see."""
        text = json.dumps([self.common, sorted(map(list, archives))])
        return hashlib.sha256(text.encode()).hexdigest()


NONE = Keys(problem="none were made")


def plan_keys(plan: Plan, tasks: Sequence[int], identity: Identity) -> Keys:
    """The keys of tasks of a plan. Files are looked at, and nothing is read."""
    if len(plan.table) > MOST_TASKS:
        return Keys(problem=f"the sweep has more than {MOST_TASKS:,} tasks")
    image = _image(plan)
    if image is None:
        assert plan.spec.environment.path is not None
        return Keys(
            problem="execution points get the image themselves, and it may be another the next "
            f"time: {plan.spec.environment.path.text}"
        )
    shared = [file_word(file, identity) for file in plan.tasks.shared]
    for word, file in zip(shared, plan.tasks.shared, strict=True):
        if not word:
            what = file.url or file.source
            return Keys(problem=f"what is there may be another file the next time: {what}")
    rows = [key for start, stop in _runs(tasks) for key in _row_keys(plan, start, stop, identity)]
    return Keys(tasks, rows, json.dumps([_program(plan), image, shared]))


def file_word(file: InputFile, identity: Identity) -> str:
    """What a task is brought, and where it finds it; empty when its content is not known."""
    if not file.url:
        known = identity(file)
    elif file.is_object or is_object(file.url) or scheme(file.url) == "osdf":
        known = file.url  # written once, and never over
    else:
        known = f"{file.url} {file.size} {file.md5}" if file.md5 else ""  # which the shim compares
    return f"{file.task_path}\0{known}" if known else ""


def _image(plan: Plan) -> str | None:
    """What is known of an image that does not travel; None when it may change."""
    wanted = plan.spec.environment
    if wanted.kind != "container" or wanted.path is None:
        return wanted.kind
    text = wanted.path.text
    if "://" not in text and not text.startswith("/cvmfs/"):
        return wanted.kind  # its archive tells
    return text if scheme(text) == "osdf" or "@sha256:" in text else None


def _program(plan: Plan) -> list[object]:
    """What a task runs, with a row's values left open, and what it must bring."""
    spec = plan.spec
    function = spec.function
    return [
        [list(word.parts) for word in spec.command],
        spec.script.text if spec.script else "",
        [function.module, function.name] if function else [],
        [[name, list(value.parts)] for name, value in spec.environment_variables],
        [[list(output.pattern.parts), output.optional] for output in plan.outputs],
        [column.name for column in plan.table.columns],
        *([[list(spec.exclude), spec.changed_only]] if spec.exclude or spec.changed_only else []),
    ]


def _names_index(plan: Plan) -> bool:
    """Whether what a task does depends on its number, as far as the spec tells."""
    spec = plan.spec
    templates: list[Template] = [
        *spec.command,
        *(value for _, value in spec.environment_variables),
        *(output.pattern for output in plan.outputs),
    ]
    if any("index" in template.names for template in templates):
        return True
    return spec.script is not None and (
        "index" in spec.script.names or "OSGBATCH_TASK" in spec.script.text
    )


def _row_keys(plan: Plan, start: int, stop: int, identity: Identity) -> Iterator[str]:
    columns: list[Sequence[str]] = []
    if _names_index(plan):
        columns.append([str(index) for index in range(start, stop)])
    for column in plan.table.columns:
        columns.append(_kinds(plan, column.name, column.is_file, start, stop))
        columns.append(plan.tasks.texts(column.name, start, stop))
    inputs = plan.tasks.inputs(start, stop) or [()] * (stop - start)
    rows = zip(*columns, strict=True) if columns else [()] * (stop - start)
    for row, files in zip(rows, inputs, strict=True):
        words = [file_word(file, identity) for file in files]
        if not all(words):
            yield NO_KEY
            continue
        text = "\0".join((*row, *words))
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape"))
        yield digest.hexdigest()[:KEY_LENGTH]


def _kinds(plan: Plan, name: str, is_file: bool, start: int, stop: int) -> Sequence[str]:
    """Of each cell whether it is a text or not: 1 and "1" are not the same to a program."""
    kind = "text" if is_file else plan.table.kind(name, start, stop)
    if kind:
        return [kind] * (stop - start)
    values = plan.table.values(name, start, stop)
    return ["text" if isinstance(value, str) else "number" for value in values]


def _runs(tasks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Neighbours together, some thousand at a time."""
    start = stop = -1
    for index in tasks:
        if index != stop or stop - start == _CHUNK:
            if stop > start:
                yield start, stop
            start = index
        stop = index + 1
    if stop > start:
        yield start, stop

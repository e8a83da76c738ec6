"""What the shell is told when Tab is pressed: batches, numbers of tasks; quick, and no errors.

The commands and options typer completes by itself. Only the registry and names of folders are read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from osgbatch import names

VARIABLE = "_OSGBATCH_COMPLETE"
"""Set by the shell's function when it asks."""
MOST = 200
_STAMP = re.compile(r"-\d{8}-\d{6}-[0-9a-f]{4}$")
"""What stands behind the name in the name of a batch's folder."""
_NUMBERS = 100
_LONGEST_SPEC = 1 << 20
_STEP = re.compile(r"(?:^|[\s{,-])name:\s*[\"']?([A-Za-z][\w-]*)")


def words(environment: Mapping[str, str]) -> list[str]:
    """The words of the command line that is completed, without `osgbatch`; none when none is.

    Sources: the scripts of typer for bash (COMP_WORDS), for zsh and fish (_TYPER_COMPLETE_ARGS).
    """
    if VARIABLE not in environment:
        return []
    line = environment.get("COMP_WORDS") or environment.get("_TYPER_COMPLETE_ARGS", "")
    return line.split()[1:]


def batches(incomplete: str) -> list[str]:
    """Batches as commands name them: below the current folder, else all that are known.

    Of each its folder's name, and the sweep's, which means the newest of them. Workflows, too;
    behind the slash of `WORKFLOW/` its steps.
    """
    return _quietly(lambda: _batches(incomplete))


def _batches(incomplete: str) -> Iterator[str]:
    from osgbatch.batches.registry import batches_everywhere, batches_here
    from osgbatch.workflows.finding import workflows_everywhere, workflows_here

    flow, slash, _ = incomplete.rpartition("/")
    if slash:
        yield from _steps(flow, incomplete)
        return
    here = Path.cwd()
    folders = [*batches_here(here), *workflows_here(here)]
    folders = folders or [*batches_everywhere(), *workflows_everywhere()]
    found = [folder.name for folder in folders if folder.parent.name != names.STEPS]
    short = dict.fromkeys(_STAMP.sub("", name) for name in found)
    # A name is enough until it is typed whole; then which of its batches is the question.
    for name in (*short, *found):
        if name.startswith(incomplete) and (name != incomplete or name in found):
            yield name


def _steps(flow: str, incomplete: str) -> Iterator[str]:
    """The steps of a workflow that have begun, as commands name them."""
    from osgbatch.workflows.finding import find_workflow

    workflow = find_workflow(flow, Path.cwd())
    for step in workflow.steps if workflow else ():
        word = f"{flow}/{step.name}"
        if word.startswith(incomplete) and workflow and workflow.step_folder(step.name).is_dir():
            yield word


def tasks(ctx: typer.Context, incomplete: str) -> list[str]:
    """The numbers of the tasks of the batch that was named, else of the newest."""
    return _quietly(lambda: _numbers(ctx.params, incomplete, ""))


def task_ranges(ctx: typer.Context, incomplete: str) -> list[str]:
    """The same behind the last comma or dash: `0,2,4-7`."""
    head = incomplete[: max(incomplete.rfind(","), incomplete.rfind("-")) + 1]
    return _quietly(lambda: _numbers(ctx.params, incomplete.removeprefix(head), head))


def _numbers(params: Mapping[str, Any], incomplete: str, head: str) -> Iterator[str]:
    from osgbatch.batches.registry import find

    if incomplete and not (incomplete.isascii() and incomplete.isdecimal()):
        return
    count = find(params.get("name") or _named(), Path(os.getcwd())).tasks
    for index in range(min(count, _NUMBERS)) if not incomplete else _beginning(incomplete, count):
        yield f"{head}{index}"


def _named() -> str | None:
    """The batch of a line that ends in an option without its value: then nothing else is parsed."""
    after = words(os.environ)[1:]
    return after[0] if after and not after[0].startswith("-") else None


def _beginning(start: str, count: int) -> Iterator[int]:
    """The numbers below count that begin so, the shortest first."""
    first, width = int(start), 1
    if start != str(first):
        return
    while first < count:
        yield from range(first, min(first + width, count))
        if not int(start):
            return
        first, width = first * 10, width * 10


def pools() -> list[str]:
    """What --pool may be."""
    return ["auto", "condor", "local"]


def gathers() -> list[str]:
    """What --gather may be."""
    return ["pool", "here", "none"]


def phases() -> list[str]:
    """What --start-at may be."""
    return ["scatter", "foreach", "gather"]


def streams() -> list[str]:
    """What --stream may be."""
    return ["stdout", "stderr", "both"]


def steps_of_spec(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names of the steps of the spec on the line; it is looked through, not parsed."""
    return _quietly(lambda: _named_steps(ctx.params, incomplete))


def _named_steps(params: Mapping[str, Any], incomplete: str) -> Iterator[str]:
    asked = [params.get("spec"), *(one for one in words(os.environ)[1:] if one[:1] != "-")]
    spec = next(path for path in map(Path, filter(None, asked)) if path.is_file())
    text = spec.read_text(encoding="utf-8", errors="replace")[:_LONGEST_SPEC]
    _, _, steps = (
        text.partition("\nsteps:") if not text.startswith("steps:") else ("", "", text[6:])
    )
    for name in _STEP.findall(re.split(r"\n(?=[A-Za-z])", steps)[0]):
        if name.startswith(incomplete):
            yield name


def hosts() -> list[str]:
    """What --host may be: the names in the user's config.yaml."""

    def look() -> list[str]:
        from osgbatch.laptop.hosts import known_names

        return known_names()

    return _quietly(look)


def _quietly(look: Any) -> list[str]:
    try:
        found: Iterable[str] = look()
        return list(islice(found, MOST))
    except Exception:  # whatever is wrong, the user is typing: the command itself will say it
        return []

"""`osgbatch why`: why tasks are held, failed or wait, and what to do."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from osgbatch import exits, ui
from osgbatch.cli.batch_names import BatchName, TaskOption, find_flow, find_for_task
from osgbatch.cli.completing import tasks
from osgbatch.cli.spec_commands import Json

if TYPE_CHECKING:
    from osgbatch.life.causes import Cause, Suspect
    from osgbatch.life.why import Why

PLACES = 3
"""How many hosts or sites of a group are named."""
OVER_TIME = 111
"""The shim's code of a task over its time: how much that is says more than the code's meaning."""
TOLD = 600
"""Characters of HTCondor's own words that are shown; --json has all."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="Say why tasks are held, failed or wait.")(why)


def why(
    name: BatchName = None,
    task: Annotated[
        int | None,
        typer.Argument(
            help="Only this task; of one that waits, HTCondor is asked.",
            metavar="TASK",
            autocompletion=tasks,
        ),
    ] = None,
    chosen: TaskOption = None,
    as_json: Json = False,
) -> int:
    """Say why tasks are held, failed or wait, like causes together, and what to do."""
    from osgbatch.life.following import exit_code_so_far
    from osgbatch.life.why import explain

    index = chosen if task is None else task
    if index is None and (flow := find_flow(name)):
        return int(flow.why(as_json))
    found = explain(find_for_task(name, index, "why"), index)
    if as_json:
        ui.out_json(why_data(found))
    else:
        ui.out(why_text(found))
    if found.task is not None and found.task.state == "succeeded":
        return exits.OK
    return exit_code_so_far(found.status)


def why_data(found: Why) -> dict[str, Any]:
    """What `osgbatch why --json` prints."""
    now = found.status
    return {
        "id": now.batch.id,
        "name": now.batch.name,
        "folder": str(now.batch.folder),
        "counts": now.counts,
        "causes": [
            {
                "state": cause.state,
                "code": cause.code,
                "cause": cause.cause,
                "tasks": list(cause.tasks),
                "example": cause.example,
                "told": cause.told,
                "details": list(cause.details),
                "hosts": dict(cause.hosts),
                "sites": dict(cause.sites),
                "todo": cause.todo,
                "commands": list(cause.commands),
                "stream": cause.stream,
                "output": list(cause.output),
            }
            for cause in found.causes
        ],
        "suspects": [vars(suspect) for suspect in found.suspects],
        "notes": list(found.notes),
    }


def why_text(found: Why, width: int = 0) -> str:
    """What `osgbatch why` prints. width: of the terminal in characters; 0 asks it."""
    from osgbatch.cli.reports import head, is_stalled

    width = min(width or shutil.get_terminal_size().columns, 100)
    now = found.status
    counts = f"{ui.number_of(now.batch.tasks, 'task')}: {ui.counts(now.counts)}"
    parts = ["\n".join([head(now), counts])]
    parts += ["\n".join(_cause(cause, width)) for cause in found.causes]
    parts += ["\n".join(_suspect(suspect, width)) for suspect in found.suspects]
    if not found.causes:
        waits = any(now.counts.get(state) for state in now.counts if state != "succeeded")
        parts.append("Nothing has gone wrong so far." if waits else "All tasks have succeeded.")
    notes = list(found.notes)
    told = any(now.stalled in cause.cause for cause in found.causes)
    if is_stalled(now) and not told:
        notes.insert(0, now.stalled)
    if notes:
        parts.append("\n".join(line for note in notes for line in _note(note, width)))
    if found.hint:
        parts.append(f"Why a task waits is told on request:\n    {found.hint}")
    return "\n\n".join(parts)


def _cause(cause: Cause, width: int) -> Iterator[str]:
    from osgbatch.cli.reports import listed
    from osgbatch.task_ranges import task_list

    many = ui.number_of(len(cause.tasks), "task")
    room = max(10, width - len(f"{many} {cause.state} ()") - len(cause.code) - 2)
    indices = task_list(cause.tasks) if len(cause.tasks) == 1 else listed(cause.tasks, room)
    title = f"{many} {cause.state} ({indices})"
    if len(cause.tasks) == 1:
        title = f"task {indices} {_is(cause.state)}"
    words = _shim_words(cause)
    in_title = bool(words) and len(f"{title}: {words} ({cause.code})") <= width
    heading = f"{words} ({cause.code})" if in_title else cause.code
    yield f"{title}: {heading}" if heading else title
    if not (in_title and _same(words, cause.cause)):
        yield from _wrapped(cause.cause, width)
    if cause.told and not (in_title and _same(words, cause.told)):
        who = f"task {cause.example}: " if len(cause.tasks) > 1 else ""
        told = cause.told if len(cause.told) <= TOLD else cause.told[: TOLD - 3] + "..."
        yield from _wrapped(f'{who}"{told}"', width)
    for detail in cause.details:
        yield from _wrapped(detail, width, first="  - ", rest="    ")
    where = " ".join(filter(None, [_places("on", cause.hosts), _places("at", cause.sites)]))
    if where:
        yield from _wrapped(f"{_who_ran(cause)} ran {where}.", width)
    if cause.output:
        yield f"  the last lines of {cause.stream} of task {cause.example}:"
        for line in cause.output:
            yield from _quoted(line, width)
    if cause.todo:
        yield from _wrapped(f"What to do: {cause.todo}", width)
    for command in cause.commands:
        yield f"    {ui.one_line(command)}"


def _shim_words(cause: Cause) -> str:
    """What one of the shim's codes means, as `status` has it; empty for all else."""
    if not cause.code.startswith("shim code "):
        return ""
    if cause.code == f"shim code {OVER_TIME}":
        return cause.told if len(cause.tasks) == 1 and cause.told else "over their time limit"
    return f"{cause.cause[:1].lower()}{cause.cause[1:]}".rstrip(".")


def _same(words: str, text: str) -> bool:
    return words.casefold() == text.casefold().rstrip(".")


def _who_ran(cause: Cause) -> str:
    """`They`, or how many of them: those that wait for their first start ran nowhere."""
    ran = sum(cause.hosts.values()) or sum(cause.sites.values())
    if ran < len(cause.tasks):
        return f"{ran:,} of them"
    return "It" if ran == 1 else "They"


def _is(state: str) -> str:
    return {
        "waiting": "waits",
        "running": "runs",
        "failed": "failed",
        "succeeded": "succeeded",
    }.get(state, f"is {state}")


def _suspect(suspect: Suspect, width: int) -> Iterator[str]:
    yield f"suspect: {suspect.kind} {ui.one_line(suspect.name)}"
    of = "none" if not suspect.elsewhere_bad else f"{suspect.elsewhere_bad:,}"
    text = (
        f"All {suspect.bad:,} tasks that came to an end there went wrong; elsewhere it was "
        f"{of} of {suspect.elsewhere:,}."
    )
    yield from _wrapped(text, width)
    if suspect.command:
        yield from _wrapped("What to do: run them elsewhere.", width)
        yield f"    {suspect.command}"


def _places(word: str, places: Mapping[str, int]) -> str:
    if not places:
        return ""
    if len(places) == 1:
        return f"{word} {next(iter(places))}"
    most = list(places.items())[:PLACES]
    named = [f"{place} ({count:,})" if count > 1 else place for place, count in most]
    more = f" and {len(places) - PLACES:,} more" if len(places) > PLACES else ""
    return f"{word} {', '.join(named)}{more}"


def _wrapped(text: str, width: int, first: str = "  ", rest: str = "  ") -> Iterator[str]:
    yield from textwrap.wrap(
        ui.one_line(text), width, initial_indent=first, subsequent_indent=rest,
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip


def _note(note: str, width: int) -> Iterator[str]:
    """A note; the commands in it stay whole, to be copied."""
    text, *commands = note.split("\n")
    yield from _wrapped(f"note: {text}", width, first="")
    yield from (f"    {ui.one_line(command.strip())}" for command in commands)


def _quoted(line: str, width: int) -> Iterator[str]:
    """A line that a task wrote, cut to the width, with nothing that a terminal would obey."""
    shown = ui.one_line(line.expandtabs(4).rstrip())
    yield f"  | {ui.cut(shown, width - 4)}"

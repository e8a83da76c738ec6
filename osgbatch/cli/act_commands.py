"""The commands that act on a batch's jobs: `cancel`, `release` and `prioritize`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from osgbatch import exits, ui
from osgbatch.cli.asking import agreed
from osgbatch.cli.batch_names import BatchName, Tasks, find, find_flow, named
from osgbatch.cli.spec_commands import Json
from osgbatch.errors import OsgbatchError

if TYPE_CHECKING:
    from osgbatch.life.acting import Cancelling, Choice

LARGEST = 2**31 - 1
"""Priorities are 32-bit integers; condor_qedit takes larger ones and keeps another number."""


def register(app: typer.Typer) -> None:
    """Make the commands known."""
    app.command(short_help="Remove the jobs of one batch, or some of them.")(cancel)
    app.command(short_help="Let held jobs run, with more memory if need be.")(release)
    app.command(
        short_help="Let a batch go before your others, or after them.",
        context_settings={"ignore_unknown_options": True},  # so that -5 is a number
    )(prioritize)


def cancel(
    name: BatchName = None,
    tasks: Tasks = None,
    held: Annotated[bool, typer.Option("--held", help="Only those that are held.")] = False,
    idle: Annotated[
        bool, typer.Option("--idle", help="Only those that wait, also those not yet queued.")
    ] = False,
    most: Annotated[
        int | None,
        typer.Option(
            "--max", min=1, metavar="N", show_default=False,
            help="At most so many tasks, those first that have done least.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Remove the jobs of one batch, and of no other: all, or the tasks chosen."""
    from osgbatch.life.acting import Choice
    from osgbatch.task_ranges import named_tasks

    if not (tasks or held or idle or most) and (flow := find_flow(name, act="cancel")):
        return int(flow.cancel(yes, as_json))
    batch = find(name, "cancel")
    choice = Choice(named_tasks(tasks, batch.tasks), held, idle, most or 0)
    if choice.all:
        return _cancel_all(batch, yes, as_json)
    return _cancel_some(batch, choice, yes, as_json)


def _cancel_all(batch: Any, yes: bool, as_json: bool) -> int:
    from osgbatch.life.acting import cancel_batch, open_gathering, open_tasks

    if not yes and _terminal():
        tasks, gathering = open_tasks(batch), len(open_gathering(batch))
        found = " and ".join(_left(tasks, gathering))
        have = "has" if tasks + gathering == 1 else "have"
        text = f"cancel {named(batch)}, of which {found} {have} not ended?"
        if found and not _agreed(text):
            return exits.OK
    done = cancel_batch(batch)
    found = " and ".join(_left(done.tasks, done.gathering))
    if as_json:
        told = {"id": batch.id, "cancelled": done.tasks, "gather_jobs": done.gathering}
        ui.out_json(told)
    elif found:
        _out(f"cancelled {named(batch)}: {found} had not ended")
    else:
        _out(f"nothing to cancel: all tasks of {named(batch)} have ended")
    return exits.OK


def _left(tasks: int, gathering: int) -> Iterator[str]:
    """What of a batch has not ended."""
    if tasks:
        yield _tasks(tasks)
    if gathering:
        yield "the job that gathers its results"


def _cancel_some(batch: Any, choice: Choice, yes: bool, as_json: bool) -> int:
    from osgbatch.life.acting import cancel_chosen
    from osgbatch.task_ranges import task_list

    def agree(plan: Cancelling) -> bool:
        if yes:
            return True
        if _terminal():
            return _agreed(_question(batch, plan))
        if plan.with_them:
            others = task_list(plan.with_them)
            raise OsgbatchError(
                f"tasks that were not chosen run in the same jobs and would go, too: {others}",
                where="--tasks",
                fix="Say --yes, or choose them, too.",
            )
        return True

    done = cancel_chosen(batch, choice, agree)
    if done is None:
        return exits.OK
    if as_json:
        ui.out_json(
            {
                "id": batch.id,
                "cancelled": len(done.tasks),
                "jobs": done.jobs,
                "not_queued": done.unqueued,
                "tasks": list(done.tasks),
                "not_chosen": list(done.with_them),
            }
        )
    elif done.tasks:
        _out(f"cancelled {_what(done)} of {named(batch)}")
    else:
        _out(f"nothing to cancel: no such task of {named(batch)} is left")
    return exits.OK


def _question(batch: Any, plan: Cancelling) -> str:
    return f"cancel {_what(plan)} of {named(batch)}?"


def _what(plan: Cancelling) -> str:
    """`4 tasks in 2 jobs (2 of them in jobs that run, 2 not yet queued)`."""
    return ui.work(len(plan.tasks), plan.jobs) + _in_brackets(_details(plan))


def _details(plan: Cancelling) -> Iterator[str]:
    if plan.running:
        yield f"{plan.running:,} of them in jobs that run"
    if plan.unqueued:
        yield f"{plan.unqueued:,} not yet queued"
    if plan.with_them:
        yield f"{len(plan.with_them):,} not chosen, but in the same jobs"


def _in_brackets(parts: Iterator[str]) -> str:
    text = ", ".join(parts)
    return f" ({text})" if text else ""


def release(
    name: BatchName = None,
    tasks: Tasks = None,
    memory: Annotated[
        str | None,
        typer.Option(help="Memory that they ask for from now on: 4GB.", metavar="SIZE",
                     show_default=False),
    ] = None,
    disk: Annotated[
        str | None,
        typer.Option(help="Disk that they ask for from now on: 10GB.", metavar="SIZE",
                     show_default=False),
    ] = None,
    lower: Annotated[
        bool, typer.Option("--lower", help="Also where that is less than they ask for now.")
    ] = False,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Let the held jobs of a batch run again; with more memory or disk, if that is given."""
    from osgbatch.life.releasing import More, release_batch
    from osgbatch.task_ranges import named_tasks

    more = More(_size("memory", memory), _size("disk", disk), lower)
    batch = find(name, "release")
    done = release_batch(batch, named_tasks(tasks, batch.tasks), more)
    if as_json:
        ui.out_json(
            {
                "id": batch.id,
                "released": done.tasks,
                "jobs": done.jobs,
                "held_again": done.again,
                "not_queued": done.later,
                "resumed": done.resumed,
                "notes": list(done.notes),
                "warnings": list(done.warnings),
            }
        )
        return exits.OK
    if done.jobs:
        _out(f"released {ui.work(done.tasks, done.jobs)} of {named(batch)}")
    elif not done.resumed:
        _out(f"nothing to release: no such job of {named(batch)} is held")
    if done.resumed:
        _out("what is not yet in the queue comes into it again")
    if done.later:
        tells = "the task" if done.later == 1 else f"all {done.later:,} tasks"
        _out(f"{tells} not yet in the queue, and what waits there, will ask for as much, too")
    for note in done.notes:
        ui.say(f"note: {note}")
    for warning in done.warnings:
        ui.say(f"warning: {warning}")
    if done.again:
        ui.say(f"warning: {ui.number_of(done.again, 'job')} held again at once: `osgbatch why`")
    return exits.OK


def _size(what: str, text: str | None) -> int:
    """Memory in MiB or disk in KiB; 0 when nothing is given."""
    from osgbatch.spec.units import UnitError, disk_kb, memory_mb

    if text is None:
        return 0
    try:
        return memory_mb(text) if what == "memory" else disk_kb(text)
    except UnitError as error:
        raise OsgbatchError(str(error), where=f"--{what}") from None


def prioritize(
    priority: Annotated[
        int,
        typer.Argument(
            help="Higher goes first; what is not prioritized has 0.", metavar="N",
            show_default=False,
        ),
    ],
    name: BatchName = None,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Set the priority of a batch among your own jobs; those of others are not concerned."""
    from osgbatch.life.releasing import prioritize_batch

    if abs(priority) > LARGEST:
        raise OsgbatchError(
            f"{priority} is too large for a priority",
            fix=f"Priorities lie between -{LARGEST} and {LARGEST}.",
        )
    batch = find(name, f"prioritize {priority}")
    count = prioritize_batch(batch, priority)
    if as_json:
        ui.out_json({"id": batch.id, "priority": priority, "tasks": count})
    elif count:
        _out(
            f"{named(batch)}: {_tasks(count)} {'has' if count == 1 else 'have'} "
            f"priority {priority} now"
        )
    else:
        _out(f"nothing to prioritize: no task of {named(batch)} is left")
    return exits.OK


def _out(text: str) -> None:
    ui.out(ui.wrapped(text, sys.stdout))


def _tasks(count: int) -> str:
    return ui.number_of(count, "task")


def _terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _agreed(text: str) -> bool:
    if agreed(text):
        return True
    ui.say("nothing was changed")
    return False

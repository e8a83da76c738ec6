"""`osgbatch resubmit`: run tasks of a batch again."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from osgbatch import exits, ui
from osgbatch.cli.batch_names import BatchName, Tasks, find, find_flow, named
from osgbatch.cli.spec_commands import Json, Settings
from osgbatch.cli.submit_commands import (
    OnAccessPoint,
    Presigned,
    Watch,
    check_output,
    check_pool,
    choices_of,
    end,
    where,
)


def resubmit(
    name: BatchName = None,
    failed: Annotated[bool, typer.Option("--failed", help="The tasks that failed.")] = False,
    held: Annotated[
        bool, typer.Option("--held", help="The tasks of held jobs; those are removed first.")
    ] = False,
    missing: Annotated[
        bool,
        typer.Option("--missing", help="Those removed, unknown or never submitted."),
    ] = False,
    tasks: Tasks = None,
    settings: Settings = None,
    pool: Annotated[
        str,
        typer.Option(
            help="condor, local or auto. Default: where it ran before.",
            metavar="POOL",
            show_default=False,
        ),
    ] = "",
    on_access_point: OnAccessPoint = False,
    presigned: Presigned = "",
    watch_it: Watch = None,
    as_json: Json = False,
) -> int:
    """Run tasks of a batch again, in a new round of it, under the same indices.

    Without options: those that failed, were removed, or are unknown. Of --tasks with --failed,
    --held or --missing: those of them that did.
    """
    from osgbatch.life.naming import in_commands
    from osgbatch.submission.resubmitting import Wanted, count_held
    from osgbatch.submission.resubmitting import resubmit as run_again
    from osgbatch.task_ranges import named_tasks, task_list

    if pool:
        check_pool(pool)
    check_output(as_json, watch_it)
    only = {"--failed": failed, "--held": held, "--missing": missing, "--tasks": tasks}
    more = {"--set": settings, "--pool": pool, "--allow-presigned": presigned}
    if flow := find_flow(name, {**only, **more}, "resubmit"):
        return int(flow.resubmit(watch_it, as_json))
    batch = find(name, "resubmit")
    never = set(batch.unsubmitted())
    wanted = Wanted(failed, held, missing, named_tasks(tasks, batch.tasks))
    choices = choices_of(settings, False, presigned)
    with ui.progress() as progress:
        later = run_again(batch, wanted, ui.say, choices, pool=pool, progress=progress)
    if later is None:
        if as_json:
            ui.out_json({"id": batch.id, "round": None, "tasks": []})
        else:
            none = "none of these tasks" if wanted.tasks else "no task"
            ui.out(f"nothing to resubmit: {none} of {named(batch)} {_described(wanted)}")
            if wanted.nothing_said and (held_tasks := count_held(batch)):
                are = "is" if held_tasks == 1 else "are"
                ui.say(
                    f"{ui.number_of(held_tasks, 'task')} {are} held: "
                    f"`osgbatch resubmit {in_commands(batch)} --held`"
                )
        return exits.OK
    if as_json:
        ui.out_json(
            {
                "id": batch.id,
                "folder": str(batch.folder),
                "round": later.round.number,
                "tasks": list(later.tasks),
                "jobs": later.submitted.jobs,
                "backend": later.submitted.backend,
                "cluster": later.submitted.cluster,
            }
        )
        return exits.OK
    if wanted.nothing_said:
        ui.say("those that failed, were removed or are unknown are run again")
    if count := len(never.intersection(later.tasks)):
        waited = "one waited" if count == 1 else "of them waited"
        ui.say(
            f"note: {'' if count == 1 else f'{count:,} '}{waited} for the canary; now all run at "
            "once, without one"
        )
    tasks_are = f"task{'s' * (len(later.tasks) != 1)}"
    ranges = task_list(later.tasks)
    shown = ranges if len(ranges) <= 40 else f"{ranges[:37]}..."
    ui.out(
        f"resubmitted {ui.work(len(later.tasks), later.submitted.jobs)} {where(later.submitted)}\n"
        f"round {later.round.number} of batch {batch.id}, {tasks_are} {shown}"
    )
    return end(later.batch, watch_it)


def _described(wanted: Any) -> str:
    """What no task is, in words."""
    if wanted.nothing_said:
        return "failed, was removed or is unknown"
    words = {"failed": wanted.failed, "is held": wanted.held, "is missing": wanted.missing}
    return " or ".join(word for word, said in words.items() if said)


def register(app: typer.Typer) -> None:
    """Make the command known."""
    app.command(short_help="Run tasks again that did not succeed.")(resubmit)

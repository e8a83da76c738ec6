"""`osgbatch status` and `watch`, and how `submit` follows what it has submitted."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from osgbatch import exits, ui
from osgbatch.cli.batch_names import BatchName, find, find_flow
from osgbatch.cli.spec_commands import Json

StopAfter = Annotated[
    int,
    typer.Option(
        "--stop-after",
        min=0,
        metavar="K",
        help="Hold the rest when the first K tasks all fail alike.",
        show_default=False,
    ),
]
Notify = Annotated[
    str,
    typer.Option(
        "--notify",
        metavar="WHOM",
        help="When all has ended, write to this address, or run this command.",
        show_default=False,
    ),
]


def status(name: BatchName = None, as_json: Json = False) -> int:
    """Show how many tasks of a batch are in which state, and why those that failed did."""
    from osgbatch.cli.reports import status_data, status_text
    from osgbatch.life.following import exit_code_so_far
    from osgbatch.life.following import status as read_status
    from osgbatch.life.gathering_notes import gathering_notes

    if flow := find_flow(name):
        return int(flow.status(as_json))
    batch = find(name)
    now = read_status(batch, all_tasks=as_json, most_wrong=1000, measures=not as_json)
    now = replace(now, notes=(*now.notes, *gathering_notes(batch)))
    if as_json:
        ui.out_json(status_data(now))
    else:
        ui.out(status_text(now))
    return exit_code_so_far(now)


def watch(name: BatchName = None, stop_after: StopAfter = 0, notify: Notify = "") -> int:
    """Follow a batch until nothing changes any more. Ctrl-C leaves its jobs as they are."""
    from osgbatch.cli.reports import endings_text, next_steps

    if flow := find_flow(name, {"--stop-after": stop_after, "--notify": notify}):
        return int(flow.watch())
    now = follow(find(name), stop_after=stop_after, notify=notify)
    ui.out(f"{ui.number_of(now.batch.tasks, 'task')}: {ui.counts(now.counts)}")
    text = endings_text(now)
    if text:
        ui.out(text)
    steps = next_steps(now)
    for step in steps:
        ui.say(f"next: {step}")
    if any(step.startswith("osgbatch collect ") for step in steps):
        ui.say("(watch only watches: collect brings what came back into results/)")
    return int(now.exit_code)


AGAIN = "osgbatch watch {name}"


def follow(
    batch: Any, *, stop_after: int = 0, notify: str = "", view: Any = None, again: str = AGAIN
) -> Any:
    """Watch a batch until nothing changes by itself; gives its last status.

    What waits for its canary is submitted when that has succeeded, and watched, too. view:
    makes what each look is given to, of the batch; None: the usual one. again: the command that
    goes on after Ctrl-C.
    """
    from osgbatch.life.notifying import check, notify_end
    from osgbatch.submission.canary import go_on

    check(notify)
    now = _followed(batch, stop_after, view, again)
    while (more := go_on(batch, ui.say)) is not None:
        batch = more
        now = _followed(batch, stop_after, view, again)
    notify_end(notify, now, ui.counts(now.counts), ui.say)
    return now


def _followed(batch: Any, stop_after: int, view: Any, again: str) -> Any:
    """Watch the rounds that a batch has now."""
    from osgbatch.cli.live import view as usual
    from osgbatch.life.stopping import Stopper
    from osgbatch.life.watching import watch as looks

    stopper = Stopper(batch, stop_after, ui.say)
    shown = view(batch) if view else usual()
    now = None
    try:
        for seen in looks(batch):
            now = seen.status
            shown.show(now, seen.changed)
            if after := stopper.look(now):
                now = after
                break
    except KeyboardInterrupt:
        shown.close()
        from osgbatch.life.naming import in_commands

        name = in_commands(batch)
        ui.say("\nstopped watching; the jobs go on")
        if rest := rest_text(batch):
            ui.say(rest)
        ui.say("to come back, or to end them:")
        ui.say(f"  {again.format(name=name)}\n  osgbatch cancel {name}")
        raise typer.Exit(exits.INTERRUPTED) from None
    finally:
        shown.close()
    assert now is not None
    return now


def rest_text(batch: Any) -> str:
    """What becomes of tasks that wait for a canary when nobody watches; empty without such."""
    from osgbatch.life.naming import in_commands

    rest = 0 if batch.rest_cancelled else len(batch.unsubmitted())
    if not rest:
        return ""
    what = f"{rest:,} tasks that wait for it are" if rest > 1 else "task that waits for it is"
    return (
        f"canary: the {what} submitted only while somebody watches: by the next "
        f"`osgbatch watch {in_commands(batch)}` or `osgbatch submit`, once it has succeeded"
    )


def register(app: typer.Typer) -> None:
    """Make the commands known."""
    app.command(short_help="Count tasks by state; say why they failed.")(status)
    app.command(short_help="Follow a batch until it has ended.")(watch)

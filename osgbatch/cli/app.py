"""The commands: read arguments, call one function, print."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from osgbatch import exits, ui
from osgbatch.cli import pack_commands, spec_commands, stage_commands
from osgbatch.cli.spec_commands import Json, Settings, SpecPath
from osgbatch.errors import OsgbatchError, SpecError, SpecErrors
from osgbatch.version import VERSION

app = typer.Typer(
    name="osgbatch",
    help="Parameter sweeps on HTCondor and the Open Science Pool, with checked results.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

BatchName = Annotated[
    str | None,
    typer.Argument(
        help="A batch: its folder, name or the start of its id. Default: the newest.",
        show_default=False,
    ),
]
Pool = Annotated[
    str,
    typer.Option(help="condor, local, or auto: HTCondor where it is configured, else local."),
]
FitPool = Annotated[
    bool,
    typer.Option("--fit-pool", help="As many jobs as the pool has free slots for (asked once)."),
]


def run() -> int:
    """Run the command line and give its exit code; the one place where errors are caught."""
    # A reader that goes away (`osgbatch logs | head`) ends us quietly, as it does other tools.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        result = app(standalone_mode=False)
    except OsgbatchError as error:
        # What points at a file begins with it, as editors expect it.
        show = ui.say if isinstance(error, (SpecError, SpecErrors)) else ui.error
        show(ui.printable(str(error)))
        return error.exit_code
    except KeyboardInterrupt:
        ui.error("interrupted; `osgbatch status` shows what is there")
        return exits.INTERRUPTED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        ui.error(ui.printable(f"{where}{error.strerror or error}"))
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
        return exits.SOME_FAILED if full else exits.BAD_INPUT
    except Exception as error:
        if type(error).__module__.startswith(("typer", "click")):
            return _usage(error)
        raise
    return result if isinstance(result, int) else exits.OK


def _usage(error: Any) -> int:
    """What typer says of wrong arguments."""
    name = type(error).__name__
    if name == "Abort":
        ui.error("interrupted")
        return exits.INTERRUPTED
    if name == "Exit":
        return int(error.exit_code)
    if name == "NoArgsIsHelpError":
        ui.out(error.format_message())
        return exits.OK
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    words: list[str] = []
    context = getattr(error, "ctx", None)
    while context is not None and context.parent is not None:
        words.insert(0, context.info_name)
        context = context.parent
    ui.error(f"{message}\n  Try `{' '.join(['osgbatch', *words, '--help'])}`.")
    return exits.BAD_INPUT


def _version(value: bool) -> None:
    if value:
        ui.out(f"osgbatch {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


def _choices(
    settings: list[str] | None, fit_pool: bool, presigned: str = "", verify: bool = False
) -> Any:
    from osgbatch.planned import Choices, presigned_seconds

    seconds = presigned_seconds(presigned)
    return Choices(settings or (), fit_pool, presigned_s=seconds, verify=verify)


# --- before submission ----------------------------------------------------------------------------


@app.command(short_help="Check a sweep.yaml and all it names.")
def check(
    spec: SpecPath, settings: Settings = None, fit_pool: FitPool = False, as_json: Json = False
) -> int:
    """Read a sweep.yaml and all it names; say what is wrong with it."""
    from osgbatch.buckets import key_warning
    from osgbatch.planned import plan_sweep

    plan = plan_sweep(spec, choices=_choices(settings, fit_pool))
    if as_json:
        ui.out_json({"ok": True, "tasks": len(plan.table), "jobs": len(plan.jobs)})
    else:
        for warning in filter(None, [*plan.warnings, key_warning(plan, staged=bool(plan.placed))]):
            ui.say(f"warning: {warning}")
        ui.out(f"{spec}: ok, {ui.work(len(plan.table), len(plan.jobs))}")
    return exits.OK


@app.command(short_help="Show what submit would do; change nothing.")
def plan(
    spec: SpecPath, settings: Settings = None, fit_pool: FitPool = False, as_json: Json = False
) -> int:
    """Show what a submission would do, without doing it."""
    return _show_plan(spec, _choices(settings, fit_pool), as_json)


def _show_plan(spec: Path, choices: Any, as_json: bool) -> int:
    from dataclasses import replace

    from osgbatch.cli.plan_data import plan_json
    from osgbatch.cli.plans import plan_text
    from osgbatch.packed import planned_environment
    from osgbatch.planned import plan_sweep
    from osgbatch.quotas import plan_warnings

    made = plan_sweep(spec, choices=choices)
    size, warnings = planned_environment(made)
    more = plan_warnings(made, size, made.spec.folder)
    made = replace(made, warnings=(*made.warnings, *warnings, *more))
    if as_json:
        ui.out_json(plan_json(made, size))
    else:
        ui.out(plan_text(made, size))
    return exits.OK


@app.command(short_help="Write the batch folder; submit nothing.")
def render(
    spec: SpecPath,
    out: Annotated[
        Path | None,
        typer.Option(help="The batch folder to make. Default: one in batches/ beside the spec."),
    ] = None,
    settings: Settings = None,
    fit_pool: FitPool = False,
    as_json: Json = False,
) -> int:
    """Make a batch folder with everything in it, and submit nothing."""
    from osgbatch.steps import render_sweep

    with ui.progress() as progress:
        batch = render_sweep(spec, out, ui.say, _choices(settings, fit_pool), progress)
    if as_json:
        ui.out_json({"id": batch.id, "folder": str(batch.folder)})
    else:
        ui.out(f"rendered {batch.folder}")
        submit_file = shlex.quote(f"{batch.folder}/rounds/001/job.submit")
        ui.out(f"to submit it by hand: condor_submit {submit_file}")
    return exits.OK


spec_commands.register(app)
pack_commands.register(app)
stage_commands.register(app)


# --- submission and after ---------------------------------------------------------------------


@app.command(short_help="Pack, write and submit a sweep.")
def submit(
    spec: SpecPath,
    pool: Pool = "auto",
    watch_it: Annotated[
        bool | None,
        typer.Option("--watch/--no-watch", help="Follow, collect, gather. Default: on a terminal."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="The same as `osgbatch plan`.")
    ] = False,
    settings: Settings = None,
    fit_pool: FitPool = False,
    presigned: Annotated[
        str,
        typer.Option(
            "--allow-presigned",
            metavar="TIME",
            help="Jobs fetch from S3 by URLs that are signed in advance, for so long: 2 days.",
            show_default=False,
        ),
    ] = "",
    verify_first: Annotated[
        bool,
        typer.Option("--verify", help="Read what is in the stash already before it is used."),
    ] = False,
    as_json: Json = False,
) -> int:
    """Pack, render and submit a sweep; on a terminal also follow, collect and gather it."""
    choices = _choices(settings, fit_pool, presigned, verify_first)
    if dry_run:
        return _show_plan(spec, choices, as_json)
    _check_pool(pool)
    if as_json and watch_it:
        raise OsgbatchError(
            "--json and --watch do not go together",
            fix="Submit with --json, then `osgbatch watch` and `osgbatch collect --json`.",
        )
    from osgbatch.steps import submit_sweep

    with ui.progress() as progress:
        batch = submit_sweep(spec, pool, ui.say, choices, progress)
    from osgbatch.batches.folder import read_submitted

    submitted = read_submitted(batch.rounds()[0])
    assert submitted is not None
    if as_json:
        from osgbatch.cli.plan_data import staged_json

        ui.out_json(
            {
                "id": batch.id,
                "folder": str(batch.folder),
                "cluster": submitted.cluster,
                "backend": submitted.backend,
                "tasks": batch.tasks,
                "jobs": submitted.jobs,
                **staged_json(batch.folder),
            }
        )
    else:
        where = "to HTCondor" if submitted.backend == "condor" else "to the local runner"
        ui.out(
            f"submitted {ui.work(batch.tasks, submitted.jobs)} {where}, "
            f"cluster {submitted.cluster}\nbatch {batch.id}: {batch.folder}"
        )
    follow = sys.stdout.isatty() if watch_it is None else watch_it
    if as_json:
        return exits.OK
    if not follow:
        name = shlex.quote(batch.folder.name)
        ui.say(f"to follow it: osgbatch watch {name}\nwhen it has ended: osgbatch collect {name}")
        return exits.OK
    _watch(batch)
    return _collect(batch, as_json=False, gather=True)


def _check_pool(pool: str) -> None:
    if pool not in ("auto", "condor", "local"):
        raise OsgbatchError(
            f'unknown pool "{pool}"', where="--pool", fix="Known are auto, condor and local."
        )


@app.command(short_help="Count tasks by state; say why they failed.")
def status(name: BatchName = None, as_json: Json = False) -> int:
    """Show how many tasks of a batch are in which state, and why those that failed did."""
    from osgbatch.cli.reports import status_data, status_text
    from osgbatch.following import exit_code_so_far
    from osgbatch.following import status as read_status

    now = read_status(_find(name), all_tasks=as_json)
    if as_json:
        ui.out_json(status_data(now))
    else:
        ui.out(status_text(now))
    return exit_code_so_far(now)


@app.command(short_help="Follow a batch until it has ended.")
def watch(name: BatchName = None) -> int:
    """Follow a batch until nothing changes any more; one line whenever the counts change."""
    from osgbatch.cli.reports import endings_text

    now = _watch(_find(name))
    text = endings_text(now)
    if text:
        ui.out(text)
    return int(now.exit_code)


def _watch(batch: Any) -> Any:
    from osgbatch.cli.reports import watch_line
    from osgbatch.following import watch as follow

    now = None
    try:
        for now in follow(batch):
            ui.out(watch_line(now))
    except KeyboardInterrupt:
        name = batch.folder.name
        ui.say("\nstopped watching; the jobs go on. To come back, or to end them:")
        ui.say(f"  osgbatch watch {name}\n  osgbatch cancel {name}")
        raise typer.Exit(exits.INTERRUPTED) from None
    assert now is not None
    return now


@app.command(short_help="Print what a task wrote.")
def logs(
    name: BatchName = None,
    task: Annotated[
        int | None,
        typer.Option("--task", "-t", help="Which task. Default: the first that did not succeed."),
    ] = None,
    stream: Annotated[str, typer.Option(help="stdout, stderr or both.")] = "both",
) -> int:
    """Print what a task wrote to stdout and stderr."""
    from osgbatch.cli.reports import choose_task, explain
    from osgbatch.following import copy_log
    from osgbatch.following import status as read_status

    if stream not in ("stdout", "stderr", "both"):
        raise OsgbatchError(
            f'unknown stream "{stream}"', where="--stream", fix="Known are stdout, stderr and both."
        )
    state = choose_task(read_status(_find(name), all_tasks=True), task)
    for which in ("stdout", "stderr") if stream == "both" else (stream,):
        if stream == "both":
            why = f": {explain(state)}" if explain(state) else ""
            if which == "stdout":
                ui.out(f"=== task {state.index}, {state.state}{why}")
            ui.out(f"=== {which}")
        copy_log(state, which, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    return exits.OK


@app.command(short_help="Unpack and verify results; gather.")
def collect(
    name: BatchName = None,
    gather: Annotated[
        bool, typer.Option("--gather/--no-gather", help="Run the spec's gather script.")
    ] = True,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Bring also the data that went to outputs_to.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Unpack and verify what has come back, and write results.csv."""
    return _collect(_find(name), as_json=as_json, gather=gather, fetch=fetch)


def _collect(batch: Any, *, as_json: bool, gather: bool, fetch: bool = False) -> int:
    from osgbatch.cli.reports import collect_text, status_data
    from osgbatch.finishing import collect_batch

    with ui.progress() as progress:
        now, collected, failure = collect_batch(
            batch, ui.say, gather=gather, quiet=as_json, fetch=fetch, progress=progress
        )
    if as_json:
        away = {"data_elsewhere": collected.elsewhere} if batch.data.get("outputs_to") else {}
        ui.out_json({**status_data(now), "unpacked": collected.unpacked, **away})
    else:
        ui.out(collect_text(now, collected.unpacked))
    for note in collected.notes:
        ui.say(f"note: {note}")
    if failure is not None:
        raise failure
    return int(now.exit_code)


@app.command(short_help="Remove the jobs of one batch.")
def cancel(name: BatchName = None, as_json: Json = False) -> int:
    """Remove the jobs of one batch, and of no other."""
    from osgbatch.finishing import cancel_batch

    batch = _find(name)
    count = cancel_batch(batch)
    if as_json:
        ui.out_json({"id": batch.id, "cancelled": count})
    elif count:
        tasks = ui.number_of(count, "task")
        ui.out(f"cancelled batch {batch.id} ({batch.name}): {tasks} had not ended")
    else:
        ui.out(f"nothing to cancel: all tasks of batch {batch.id} ({batch.name}) have ended")
    return exits.OK


def _find(name: str | None) -> Any:
    from osgbatch.batches.registry import find

    return find(name, Path(os.getcwd()))

"""The commands: read arguments, call one function, print."""

from __future__ import annotations

import errno
import shlex
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from osgbatch import exits, ui
from osgbatch.cli import (
    act_commands,
    collect_commands,
    house_commands,
    logs_commands,
    pack_commands,
    repair_commands,
    spec_commands,
    stage_commands,
    submit_commands,
    watch_commands,
    why_commands,
)
from osgbatch.cli.batch_names import BatchName, find
from osgbatch.cli.spec_commands import Json, Settings, SpecPath
from osgbatch.cli.submit_commands import FitPool, choices_of, show_plan
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


# --- before submission ----------------------------------------------------------------------------


@app.command(short_help="Check a sweep.yaml and all it names.")
def check(
    spec: SpecPath, settings: Settings = None, fit_pool: FitPool = False, as_json: Json = False
) -> int:
    """Read a sweep.yaml and all it names; say what is wrong with it."""
    from osgbatch.buckets import key_warning
    from osgbatch.planned import plan_sweep

    plan = plan_sweep(spec, choices=choices_of(settings, fit_pool))
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
    return show_plan(spec, choices_of(settings, fit_pool), as_json)


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
        batch = render_sweep(spec, out, ui.say, choices_of(settings, fit_pool), progress)
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
submit_commands.register(app)
repair_commands.register(app)
collect_commands.register(app)
act_commands.register(app)
house_commands.register(app)
watch_commands.register(app)
why_commands.register(app)
logs_commands.register(app)


# --- submission and after ---------------------------------------------------------------------


@app.command(short_help="Count tasks by state; say why they failed.")
def status(name: BatchName = None, as_json: Json = False) -> int:
    """Show how many tasks of a batch are in which state, and why those that failed did."""
    from osgbatch.cli.reports import status_data, status_text
    from osgbatch.following import exit_code_so_far
    from osgbatch.following import status as read_status

    now = read_status(find(name), all_tasks=as_json, most_wrong=1000, measures=not as_json)
    if as_json:
        ui.out_json(status_data(now))
    else:
        ui.out(status_text(now))
    return exit_code_so_far(now)

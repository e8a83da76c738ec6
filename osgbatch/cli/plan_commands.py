"""`osgbatch check`, `plan` and `render`: what comes before a submission."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from osgbatch import exits, ui
from osgbatch.cli.spec_commands import Json, Settings, SpecPath
from osgbatch.cli.submit_commands import FitPool, choices_of, show_plan, workflow_of


def register(app: typer.Typer) -> None:
    """Make the commands known."""
    app.command(short_help="Check a sweep.yaml and all it names.")(check)
    app.command(short_help="Show what submit would do; change nothing.")(plan)
    app.command(short_help="Write the batch folder; submit nothing.")(render)


def check(
    spec: SpecPath, settings: Settings = None, fit_pool: FitPool = False, as_json: Json = False
) -> int:
    """Read a sweep.yaml and all it names; say what is wrong with it."""
    from osgbatch.submission.buckets import key_warning
    from osgbatch.submission.planned import plan_sweep

    if (flow := workflow_of(spec)) is not None:
        return int(flow.check_steps(spec, as_json=as_json))
    plan = plan_sweep(spec, choices=choices_of(settings, fit_pool))
    if as_json:
        ui.out_json({"ok": True, "tasks": len(plan.table), "jobs": len(plan.jobs)})
    else:
        for warning in filter(None, [*plan.warnings, key_warning(plan, staged=bool(plan.placed))]):
            ui.say(f"warning: {warning}")
        ui.out(f"{spec}: ok, {ui.work(len(plan.table), len(plan.jobs))}")
    return exits.OK


def plan(
    spec: SpecPath, settings: Settings = None, fit_pool: FitPool = False, as_json: Json = False
) -> int:
    """Show what a submission would do, without doing it."""
    choices = choices_of(settings, fit_pool)
    if (flow := workflow_of(spec)) is not None:
        return int(flow.plan_steps(spec, choices, as_json=as_json))
    return show_plan(spec, choices, as_json)


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
    from osgbatch.submission.steps import render_sweep

    if (flow := workflow_of(spec)) is not None:
        return int(flow.render_steps(spec, out, choices_of(settings, fit_pool), as_json=as_json))
    with ui.progress() as progress:
        batch = render_sweep(spec, out, ui.say, choices_of(settings, fit_pool), progress)
    if as_json:
        ui.out_json({"id": batch.id, "folder": str(batch.folder)})
    else:
        ui.out(f"rendered {batch.folder}")
        submit_file = shlex.quote(f"{batch.folder}/rounds/001/job.submit")
        ui.out(f"to submit it by hand: condor_submit {submit_file}")
    return exits.OK

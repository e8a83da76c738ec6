"""The command that looks whether all that a sweep needs is there: `doctor`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from osgbatch import ui

if TYPE_CHECKING:
    from osgbatch.examining.check import Here, Told


def register(app: typer.Typer) -> None:
    """Make the command known."""
    app.command(short_help="Look whether all that a sweep needs is there and works.")(doctor)


def doctor(
    canary: Annotated[
        bool, typer.Option("--canary", help="Also run one real job, and remove it again.")
    ] = False,
    wait: Annotated[
        str, typer.Option(metavar="TIME", help="With --canary: how long to wait for it at most.")
    ] = "15 min",
    pool: Annotated[
        str, typer.Option(metavar="auto|condor|local", help="With --canary: who runs it.")
    ] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for other programs.")
    ] = False,
) -> int:  # fmt: skip
    """Look whether all that a sweep needs is there and works; change nothing.

    Each check says ok, warning, failure or skipped, and what to do. Exit code 0: none has failed;
    5: one about HTCondor has; 4: one about the stash; 1: another one, or the canary's task.
    """
    from osgbatch.cli import doctor_view
    from osgbatch.examining.check import exit_code
    from osgbatch.examining.doctor import examine, look_around

    run = _canary(wait, pool) if canary else None
    here = look_around(Path.cwd())
    view = doctor_view.Quiet() if as_json else doctor_view.Text(here)
    told = examine(here, view.tell)
    if run:
        told.append(run(here, told))
        view.tell(told[-1])
    view.end(told)
    if as_json:
        ui.out_json(doctor_view.data(here, told))
    return exit_code(told)


def _canary(wait: str, pool: str) -> Callable[[Here, list[Told]], Told]:
    """Runs the canary; it is loaded only where it is wanted. Raises OsgbatchError."""
    from osgbatch.examining.canary import run_canary, wait_of

    limit_s = wait_of(wait, pool)
    return lambda here, told: run_canary(here, told, pool, limit_s, ui.say)

"""`osgbatch run`: a command on the pool, without a file: submitted, followed, its results here."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from osgbatch import exits, names, ui
from osgbatch.cli.safe_output import SafeOutput
from osgbatch.cli.spec_commands import Json, Settings
from osgbatch.cli.submit_commands import OnAccessPoint, Pool, check_pool
from osgbatch.cli.work_options import (
    Cpus,
    Disk,
    Env,
    Gpus,
    Image,
    Lib,
    Memory,
    Out,
    Push,
    option,
    resources,
)
from osgbatch.errors import OsgbatchError

if TYPE_CHECKING:
    from osgbatch.batches.folder import Batch
    from osgbatch.life.following import Status
    from osgbatch.submission.running import RunSpec

Words = Annotated[
    list[str] | None,
    typer.Argument(
        help="The command and its arguments; {index} and {column} stand for a task's own.",
        metavar="COMMAND...",
        show_default=False,
    ),
]


def run(
    command: Words = None,
    count: Annotated[int | None, typer.Option("--count", min=1, metavar="N", show_default=False,
                     help="So many tasks; {index} is 0 to N-1.")] = None,
    params: Annotated[str, option("--params", "A task for each row: {column}s.", "TABLE")] = "",
    sweep: Annotated[list[str] | None, option("--sweep", "A task for each value: x=1,2,3, or "
                     "x=file:*.npy. Repeatable: all combinations.", "NAME=VALUES")] = None,
    push: Push = None,
    lib: Lib = None,
    env: Env = "",
    image: Image = "",
    cpus: Cpus = "",
    memory: Memory = "",
    disk: Disk = "",
    gpus: Gpus = "",
    limit: Annotated[str, option("--time", "After which a task is stopped, as 20min.",
                                  "TIME")] = "",
    name: Annotated[str, typer.Option("--name", "-n", metavar="NAME", show_default=False,
                    help="Of the batch and the folder of its results. Default: the command's.")]
    = "",
    out: Out = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait, show what the tasks print, "
                                       "bring the results.")] = True,
    save: Annotated[str, option("--save", "Write the sweep.yaml that this is, too.",
                                 "FILE")] = "",
    pool: Pool = "auto",
    on_access_point: OnAccessPoint = False,
    settings: Settings = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, and run "
                                          "nothing.")] = False,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Run a command as one task or many, and bring what it makes to NAME/<index>/."""
    check_pool(pool)
    if not command and not image:
        raise OsgbatchError(
            "Missing argument 'COMMAND...'", fix="Write `osgbatch run -- python job.py 3`."
        )
    if (
        command
        and len(command) == 1
        and " " in command[0].strip()
        and not Path(command[0]).exists()
    ):
        raise OsgbatchError(
            f"no program is called {command[0]!r}",
            where="COMMAND",
            fix=f"Without the quotes: `osgbatch run -- {command[0].strip()}`, or for a shell "
            "`osgbatch run -- sh -c '...'`.",
        )
    from osgbatch.spec.from_words import Told
    from osgbatch.submission.running import pushed, spec_of_run

    here = Path.cwd()
    told = Told(
        name=name,
        results_to=out,
        command=command or (),
        count=count or 0,
        params=params,
        sweeps=sweep or (),
        pushed=pushed(push or (), here),
        libraries=lib or (),
        environment=env,
        image=image,
        resources=resources(cpus, memory, disk, gpus, limit),
    )
    with spec_of_run(told, here, save, keep=not dry_run) as made:
        if dry_run:
            from osgbatch.cli.submit_commands import show_plan

            if save:
                ui.say(f"wrote {save}")
            return show_plan(made.path, made.choices(settings or ()), as_json, made.worded)
        batch = _submitted(made, pool, settings, save)
    from osgbatch.batches.moved import results_outside

    results = results_outside(batch) or batch.folder / names.RESULTS
    if not wait:
        return _left(batch, results, as_json)
    _followed(batch, results, quiet=as_json)
    return _brought(batch, results, as_json)


def _submitted(made: RunSpec, pool: str, settings: list[str] | None, save: str) -> Batch:
    """Submit, and say what was."""
    from osgbatch.batches.folder import read_submitted
    from osgbatch.cli.submit_commands import where
    from osgbatch.submission.steps import submit_sweep

    with ui.progress() as progress:
        say = made.telling(ui.say)
        batch = submit_sweep(made.path, pool, say, made.choices(settings or ()), progress)
    submitted = read_submitted(batch.rounds()[-1])
    if save:
        ui.say(f"wrote {save}")
    if submitted:
        ui.say(
            f"submitted {ui.work(batch.tasks, submitted.jobs)} {where(submitted)}, as batch "
            f"{batch.id[:6]} ({batch.name})"
        )
    return batch


def _left(batch: Batch, results: Path, as_json: bool) -> int:
    """Say how to come back; with --json what was submitted."""
    from osgbatch.batches.folder import read_submitted
    from osgbatch.life.naming import in_commands, shown_path

    submitted = read_submitted(batch.rounds()[-1])
    if as_json:
        ui.out_json(
            {
                "id": batch.id,
                "name": batch.name,
                "folder": str(batch.folder),
                "results": str(results),
                "cluster": submitted.cluster if submitted else 0,
                "backend": submitted.backend if submitted else "",
                "tasks": batch.tasks,
            }
        )
        return exits.OK
    ui.out(f"batch {batch.id}: {shown_path(batch.folder)}")
    _how_to_come_back(in_commands(batch), shown_path(results))
    return exits.OK


def _how_to_come_back(name: str, results: str) -> None:
    ui.say(f"to follow it: `osgbatch watch {name}`")
    ui.say(f"when it has ended: `osgbatch collect {name}`, to {results}/")
    ui.say(f"to end it: `osgbatch cancel {name}`")


def _followed(batch: Batch, results: Path, *, quiet: bool) -> None:
    """Show what tasks print until all have ended; on Ctrl-C the jobs go on."""
    from osgbatch.life.all_output import AllOutput

    outs = {
        name: SafeOutput(None if quiet else getattr(sys, name)) for name in ("stdout", "stderr")
    }
    try:
        AllOutput(batch, cast(Any, outs), ui.say, _Looks(batch).seen).run()
        for out in outs.values():
            out.end_line()
    except KeyboardInterrupt:
        from osgbatch.life.naming import in_commands, shown_path

        ui.say("\nstopped waiting; the jobs go on")
        _how_to_come_back(in_commands(batch), shown_path(results))
        raise typer.Exit(exits.INTERRUPTED) from None


class _Looks:
    """Says how far many tasks are, now and then, and when nothing runs."""

    EVERY_S = 10.0

    def __init__(self, batch: Batch) -> None:
        from osgbatch.cli.live import Patience

        self._several = batch.tasks > 1
        self._patience = Patience()
        self._said_waits = False
        self._counts: Any = None
        self._due = time.monotonic() + self.EVERY_S

    def seen(self, now: Status) -> None:
        """Is told what each look saw."""
        from osgbatch.cli.live import waits_line

        if self._several and now.counts != self._counts and time.monotonic() >= self._due:
            self._due = time.monotonic() + self.EVERY_S
            self._counts = now.counts
            ui.say(ui.counts(now.counts))
        waits = self._patience.is_over(now)
        if waits and not self._said_waits:
            ui.say(waits_line(now))
        self._said_waits = waits


def _brought(batch: Batch, results: Path, as_json: bool) -> int:
    """Collect, and say what came of it; gives the exit code: 0 when all have succeeded."""
    from osgbatch.cli.reports import endings_text, next_steps, status_data
    from osgbatch.life.naming import shown_path
    from osgbatch.results.finishing import collect_batch

    with ui.progress() as progress:
        now, collected, failure = collect_batch(batch, ui.say, quiet=True, progress=progress)
    for note in collected.notes:
        ui.say(f"note: {note}")
    if as_json:
        ui.out_json({**status_data(now), "results": str(results)})
    else:
        ui.say(f"{ui.number_of(batch.tasks, 'task')}: {ui.counts(now.counts)}")
        if endings := endings_text(now):
            ui.say(endings)
        for step in next_steps(now):
            if not step.startswith("osgbatch collect "):
                ui.say(f"next: {step}")
        _tell_places(now, shown_path(results))
    if failure is not None:
        raise failure
    return int(now.exit_code) or (exits.SOME_FAILED if collected.misplaced else exits.OK)


def _tell_places(now: Status, results: str) -> None:
    """Where the results are."""
    good = [state.index for state in now.states if state.state == "succeeded"]
    bad = [state.index for state in now.states if state.state == "failed"]
    if good and good[-1] - good[0] >= len(good):  # some between them are not there
        ui.say(f"results: {results}/ ({len(good):,} of {ui.number_of(len(now.states), 'task')})")
    elif good:
        last = f" to {results}/{good[-1]}/" if len(good) > 1 else ""
        ui.say(f"results: {results}/{good[0]}/{last}")
    if bad:
        which = f"{bad[0]}/" if len(bad) == 1 else ""
        ui.say(f"what failed left: {results}/failed/{which}")


def register(app: typer.Typer) -> None:
    """Make the command known."""
    app.command(
        short_help="Run a command, without a sweep.yaml.",
        context_settings={"allow_interspersed_args": False},
    )(run)

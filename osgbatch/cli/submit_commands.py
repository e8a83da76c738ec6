"""`osgbatch submit`, and the options that it shares with the commands before it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from osgbatch import exits, names, ui
from osgbatch.cli.asking import agreed
from osgbatch.cli.collect_commands import collect_batch_and_tell
from osgbatch.cli.completing import pools, steps_of_spec
from osgbatch.cli.spec_commands import Json, Settings
from osgbatch.cli.watch_commands import StopAfter, follow, rest_text
from osgbatch.errors import OsgbatchError

Pool = Annotated[
    str,
    typer.Option(
        autocompletion=pools,
        help="condor, local, or auto: HTCondor where it is configured, else local.",
    ),
]
OnAccessPoint = Annotated[
    bool,
    typer.Option(
        "--on-access-point",
        callback=lambda wanted: os.environ.update({names.ON_ACCESS_POINT: "1"} if wanted else {}),
        help="With --pool local on an access point: one job at a time, a short trial.",
    ),
]
Watch = Annotated[
    bool | None,
    typer.Option("--watch/--no-watch", help="Follow, collect, gather. Default: on a terminal."),
]
Presigned = Annotated[
    str,
    typer.Option(
        "--allow-presigned",
        metavar="TIME",
        help="Jobs fetch from S3 by URLs that are signed in advance, for so long: 2 days.",
        show_default=False,
    ),
]
FitPool = Annotated[
    bool,
    typer.Option("--fit-pool", help="As many jobs as the pool has free slots for (asked once)."),
]


def choices_of(
    settings: list[str] | None, fit_pool: bool, presigned: str = "", verify: bool = False
) -> Any:
    """What the command line says about a sweep."""
    from osgbatch.submission.planned import Choices, presigned_seconds

    seconds = presigned_seconds(presigned)
    return Choices(settings or (), fit_pool, presigned_s=seconds, verify=verify)


def show_plan(
    spec: Path,
    choices: Any,
    as_json: bool,
    worded: Callable[[str], str] = str,
    *,
    named: Callable[[str], str] = str,
) -> int:
    """Show what submit would do. worded: how its warnings are told; named: how all of it is."""
    from dataclasses import replace

    from osgbatch.cli.plan_data import plan_json
    from osgbatch.cli.plans import plan_text
    from osgbatch.submission.packed import planned_environment
    from osgbatch.submission.planned import plan_sweep
    from osgbatch.submission.quotas import plan_warnings

    made = plan_sweep(spec, choices=choices)
    size, warnings = planned_environment(made)
    more = plan_warnings(made, size, made.spec.folder)
    told = tuple(named(worded(text)) for text in (*made.warnings, *warnings, *more))
    made = replace(made, warnings=told)
    if as_json:
        ui.out_json(json.loads(named(json.dumps(plan_json(made, size)))))
    else:
        ui.out(named(plan_text(made, size)))
    return exits.OK


def submit(
    spec: Annotated[
        Path | None, typer.Argument(help="The sweep.yaml; not with --from.", show_default=False)
    ] = None,
    pool: Pool = "auto",
    on_access_point: OnAccessPoint = False,
    watch_it: Watch = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="The same as `osgbatch plan`.")
    ] = False,
    settings: Settings = None,
    fit_pool: FitPool = False,
    presigned: Presigned = "",
    verify_first: Annotated[
        bool,
        typer.Option("--verify", help="Read what is in the stash already before it is used."),
    ] = False,
    canary: Annotated[
        int,
        typer.Option(
            "--canary",
            min=0,
            metavar="K",
            help="Run K tasks first, and the rest only when they have succeeded.",
            show_default=False,
        ),
    ] = 0,
    again: Annotated[
        bool,
        typer.Option("--again", help="Also when the very same has not ended, or --from differs."),
    ] = False,
    stop_after: StopAfter = 0,
    reuse: Annotated[
        bool,
        typer.Option("--reuse", help="Do not run again what an earlier batch has computed."),
    ] = False,
    crate: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="PROVENANCE",
            help="Run a batch again as it was, from its provenance/.",
            show_default=False,
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(help="With --from: the folder to make. Default: NAME-again.", metavar="DIR"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="With --from: where the inputs lie now.", metavar="DIR"),
    ] = None,
    until: Annotated[
        str,
        typer.Option(
            metavar="STEP",
            help="Of a workflow: go no further than this step.",
            autocompletion=steps_of_spec,
            show_default=False,
        ),
    ] = "",
    as_json: Json = False,
) -> int:
    """Pack, render and submit a sweep; on a terminal also follow, collect and gather it."""
    choices = choices_of(settings, fit_pool, presigned, verify_first)
    check_crate_options(spec, crate, into or data)
    if spec is not None and (flow := workflow_of(spec)) is not None:
        check_pool(pool)
        check_output(as_json, watch_it)
        flow.refuse(
            {
                "--fit-pool": fit_pool, "--allow-presigned": presigned, "--verify": verify_first,
                "--canary": canary, "--stop-after": stop_after, "--reuse": reuse, "--from": crate,
            }
        )  # fmt: skip
        return int(
            flow.submit_steps(
                spec,
                pool,
                choices,
                watch_it,
                as_json=as_json,
                dry_run=dry_run,
                again=again,
                until=until,
            )
        )
    if until:
        raise OsgbatchError("this is no workflow", where="--until", fix="Leave it out.")
    if dry_run and spec is not None:
        return show_plan(spec, choices, as_json)
    check_pool(pool)
    check_output(as_json, watch_it)
    if crate is not None:
        from osgbatch.cli.provenance_commands import plan_of_crate, spec_of_crate

        if dry_run:
            return plan_of_crate(crate, data, choices, as_json)
        spec, choices = spec_of_crate(
            crate, into, data, choices, lambda reason: again or _asked(reason, "Go on")
        )
    assert spec is not None
    check_spec_file(spec)
    from osgbatch.submission.only_once import DoneAlreadyError
    from osgbatch.submission.steps import Ways, submit_sweep

    def repeat(reason: str) -> bool:
        if again or reuse or not _terminal() or as_json:
            if not (again or reuse):
                ui.say(f"note: {reason}")
            return True
        return _asked(reason, "Run all of it again (y), or show that one (N)")

    question = "Submit once more (y), or follow that one (N)"
    ways = Ways(
        canary,
        lambda reason: again or _asked(reason, question),
        reuse,
        repeat=repeat,
        recompute=lambda reason: again or _asked(reason, "Run them again"),
    )
    try:
        with ui.progress() as progress:
            batch = submit_sweep(spec, pool, ui.say, choices, progress, ways)
    except DoneAlreadyError as error:
        if as_json or not _terminal():
            raise
        from osgbatch.batches.folder import load

        return end(load(error.folder), watch_it, stop_after)
    from osgbatch.batches.folder import read_submitted
    from osgbatch.batches.reused import read_reused
    from osgbatch.life.naming import shown_path

    newest = batch.rounds()[-1]
    submitted = read_submitted(newest)
    waiting, reused = len(batch.unsubmitted()), len(read_reused(batch.folder))
    if as_json:
        from osgbatch.cli.plan_data import staged_json

        ui.out_json(
            {
                "id": batch.id,
                "folder": str(batch.folder),
                "cluster": submitted.cluster if submitted else 0,
                "backend": submitted.backend if submitted else "",
                "tasks": batch.tasks,
                "jobs": submitted.jobs if submitted else 0,
                "round": newest.number,
                "waiting_for_canary": waiting,
                "reused": reused,
                **staged_json(batch.folder),
            }
        )
    else:
        if submitted:
            count = _tasks_of(newest, batch)
            ui.out(f"submitted {ui.work(count, submitted.jobs)} {where(submitted)}")
        else:
            ui.out("nothing was submitted: all has been computed before")
        ui.out(f"batch {batch.id}: {shown_path(batch.folder)}")
        if waiting:
            wait = "task waits" if waiting == 1 else "tasks wait"
            ui.out(f"canary: the other {waiting:,} {wait} until these succeed")
    if as_json:
        return exits.OK
    return end(batch, watch_it, stop_after)


def _tasks_of(round_: Any, batch: Any) -> int:
    from osgbatch.batches.folder import read_note

    note = read_note(round_.folder)
    return len(note.indices()) if note else int(batch.tasks)


def _asked(reason: str, question: str = "Submit once more") -> bool:
    """Ask on a terminal whether to submit all the same; elsewhere the answer is no."""
    return _terminal() and agreed(f"{reason}. {question}?")


def _terminal() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def where(submitted: Any) -> str:
    """`to HTCondor, cluster 12`."""
    from osgbatch.submission.submitting import given_to

    return f"to {given_to(submitted)}, cluster {submitted.cluster}"


def check_output(as_json: bool, watch_it: bool | None) -> None:
    """Raises OsgbatchError when both JSON and following are wanted."""
    if as_json and watch_it:
        raise OsgbatchError(
            "--json and --watch do not go together",
            fix="Submit with --json, then `osgbatch watch` and `osgbatch collect --json`.",
        )


def end(batch: Any, watch_it: bool | None, stop_after: int = 0) -> int:
    """What comes after a submission: follow and collect, or say how; gives the exit code.

    watch_it: None for what is usual: on a terminal. stop_after: as of `osgbatch watch`.
    """
    if not (sys.stdout.isatty() if watch_it is None else watch_it):
        from osgbatch.life.naming import in_commands

        name = in_commands(batch)
        if rest := rest_text(batch):
            ui.say(rest)
        if stop_after:
            ui.say("note: --stop-after works only while somebody watches")
        option = f" --stop-after {stop_after}" * bool(stop_after)
        # in backticks a command is not broken into two lines
        ui.say(
            f"to follow it: `osgbatch watch {name}{option}`\n"
            f"when it has ended: `osgbatch collect {name}`"
        )
        return exits.OK
    follow(batch, stop_after=stop_after)
    return collect_batch_and_tell(batch, wait=True)


def check_crate_options(spec: Path | None, crate: Path | None, more: Path | None) -> None:
    """Raises OsgbatchError unless either a spec or a crate is to be submitted."""
    if spec is None and crate is None:
        raise OsgbatchError(
            "Missing argument 'spec'",
            fix="Write `osgbatch submit sweep.yaml`, or --from PROVENANCE.",
        )
    if spec is not None and crate is not None:
        raise OsgbatchError(
            "a spec and --from do not go together",
            where="--from",
            fix="The crate has the spec of its batch; --set changes settings.",
        )
    if crate is None and more is not None:
        raise OsgbatchError("--into and --data go with --from", where=str(more))


def workflow_of(spec: Path) -> Any:
    """What works on a spec with `steps:`; None for a sweep."""
    from osgbatch.spec.steps import has_steps

    if not has_steps(spec):
        return None
    from osgbatch.cli import workflow_commands

    return workflow_commands


def check_spec_file(spec: Path) -> None:
    """Raises OsgbatchError for a pipe or device, beside which the batch folder would be made."""
    above = spec.absolute().parent
    # `/dev/stdin` may be a regular file, but has its place where no batch can be
    device = str(above) in ("/dev", "/dev/fd") or above.parts[:2] == ("/", "proc")
    if device or (spec.exists() and not (spec.is_file() or spec.is_dir())):
        raise OsgbatchError(
            "not a file, but a pipe or device; batches are kept beside their spec",
            where=str(spec),
            fix="Write it to a file of its own, and submit that.",
        )


def check_pool(pool: str) -> None:
    if pool not in ("auto", "condor", "local"):
        raise OsgbatchError(
            f'unknown pool "{pool}"', where="--pool", fix="Known are auto, condor and local."
        )


def register(app: typer.Typer) -> None:
    """Make the command known."""
    app.command(short_help="Pack, write and submit a sweep.")(submit)

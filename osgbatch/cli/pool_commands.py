"""The commands for a pool of one's own: `pool up`, `pool down` and `pool status`."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from osgbatch import exits, ui
from osgbatch.texts import number_of, size

if TYPE_CHECKING:
    from osgbatch.pools.personal import PoolStatus

Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]

pool = typer.Typer(
    help="A personal pool: an HTCondor of your own on this machine, where it is installed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Make the commands known."""
    app.add_typer(pool, name="pool", short_help="An HTCondor of your own here: up, down, status.")


@pool.command("up", short_help="Start it; `osgbatch submit` then uses it.")
def up(as_json: Json = False) -> int:
    """Start your personal pool, with the queue that it had before.

    It needs HTCondor to be installed, and no rights of an administrator. It is yours alone, listens
    to this machine alone, and runs until `osgbatch pool down`, or until the machine goes down.
    """
    from osgbatch.pools import personal

    now, started = personal.up(_silent if as_json else ui.say)
    if as_json:
        ui.out_json({**_data(now), "started": started})
        return _code(now)
    ui.out(_told(now, "is up" if started else "is up already"))
    if now.state != personal.UP:
        return _code(now)
    ui.out("Next, in any terminal:\n    osgbatch submit sweep.yaml")
    exports = _exports(now)
    if exports:
        ui.out("For HTCondor's own commands, such as condor_q, type in their terminal:")
        ui.out("\n".join(f"    {line}" for line in exports))
    ui.out("It runs until you type `osgbatch pool down`.")
    return exits.OK


@pool.command("down", short_help="Stop it; its queue is kept.")
def down(as_json: Json = False) -> int:
    """Stop your personal pool. Jobs that run are ended, and start again after the next `up`."""
    from osgbatch.pools import personal

    before = personal.down(_silent if as_json else ui.say)
    kept = before.jobs.jobs if before and before.jobs else None
    if as_json:
        ui.out_json({"stopped": before is not None, "jobs_kept": kept})
        return exits.OK
    if before is None:
        ui.out("the personal pool was down already")
        return exits.OK
    ui.out("the personal pool is down")
    if kept:
        stay, them = ("stays", "it") if kept == 1 else ("stay", "them")
        told = f"{number_of(kept, 'job')} {stay} in its queue"
        ui.out(f"{told}; `osgbatch pool up` goes on with {them}")
    return exits.OK


@pool.command("status", short_help="Say whether it is up, and what runs in it.")
def status(as_json: Json = False) -> int:
    """Say whether your personal pool is up, what it offers, and how many jobs are in its queue.

    Exit code 0: it is up and answers; 5: it does not.
    """
    from osgbatch.pools import personal

    now = personal.status()
    if as_json:
        ui.out_json(_data(now))
    else:
        ui.out(_told(now, "is up"))
    return _code(now)


def _code(now: PoolStatus) -> int:
    """The exit code: whether it is up and answers."""
    from osgbatch.pools import personal

    return exits.OK if now.state == personal.UP else exits.HTCONDOR


def _silent(text: str) -> None:
    del text


def _told(now: PoolStatus, how: str) -> str:
    """A few lines on how it stands. how: what is said of one that answers."""
    from osgbatch import personal_pool
    from osgbatch.pools import personal

    if now.state == personal.SILENT:
        return (
            f"the personal pool runs (process {now.pid}), and does not answer\n"
            f"logs    {now.folder / 'log'}\n"
            "It may be starting. `osgbatch pool down` ends it."
        )
    if now.state == personal.ELSEWHERE:
        return f"the personal pool {personal_pool.elsewhere(now.host)}"
    slots, jobs = now.slots, now.jobs
    if slots is None or jobs is None:
        return "the personal pool is down; `osgbatch pool up` starts it"
    offered = f"{number_of(slots.cpus, 'core')}, {size(slots.memory_mb << 20)} of memory"
    free = f"free: {slots.free_cpus}, {size(slots.free_memory_mb << 20)}"
    queue = f"{jobs.jobs:,}: {jobs.idle:,} idle, {jobs.running:,} running, {jobs.held:,} held"
    rows = (
        ("HTCondor", now.version),
        ("for jobs", f"{offered}; {free}"),
        ("jobs", queue if jobs.jobs else "none"),
        ("folder", str(now.folder)),
    )
    return "\n".join([f"the personal pool {how}", *(f"{name:<8}  {text}" for name, text in rows)])


def _exports(now: PoolStatus) -> list[str]:
    """What a shell must be told before it can speak to the pool by HTCondor's own commands."""
    lines = []
    if os.environ.get("CONDOR_CONFIG") != str(now.config):
        lines.append(f"export CONDOR_CONFIG={shlex.quote(str(now.config))}")
    if not shutil.which("condor_q"):
        from osgbatch import personal_pool

        programs = Path(str(personal_pool.note().get("bin", "")))
        lines.append(f'export PATH={shlex.quote(str(programs))}:"$PATH"')
    return lines


def _data(now: PoolStatus) -> dict[str, Any]:
    slots, jobs = now.slots, now.jobs
    return {
        "state": now.state,
        "folder": str(now.folder),
        "condor_config": str(now.config),
        "pid": now.pid,
        "host": now.host,
        "version": now.version,
        "slots": None if slots is None else {
            "cpus": slots.cpus, "memory_mb": slots.memory_mb,
            "free_cpus": slots.free_cpus, "free_memory_mb": slots.free_memory_mb,
        },
        "jobs": None if jobs is None else {
            "jobs": jobs.jobs, "idle": jobs.idle, "running": jobs.running, "held": jobs.held,
        },
    }  # fmt: skip

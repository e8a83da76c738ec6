"""`osgbatch logs`: what tasks print, of those that have ended and of those that run."""

from __future__ import annotations

import io
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

import typer

from osgbatch import exits, ui
from osgbatch.cli.batch_names import BatchName, TaskOption, find_flow, find_for_task
from osgbatch.cli.completing import streams, tasks
from osgbatch.cli.safe_output import SafeOutput, harmless
from osgbatch.cli.spec_commands import Json
from osgbatch.errors import CondorError, JobGoneError, OsgbatchError

if TYPE_CHECKING:
    from osgbatch.batches.folder import Batch
    from osgbatch.life.following import Status
    from osgbatch.life.task_output import Failure
    from osgbatch.model import TaskState


LOOKS = 3
"""So often the event log is looked at for the end of a job that has left the queue."""
LOOK_S = 1.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="Print what tasks print, also while they run.")(logs)


def logs(
    name: BatchName = None,
    task: Annotated[
        int | None,
        typer.Argument(
            help="Which task. Default: the first that failed, else that runs, else that ended.",
            metavar="TASK",
            autocompletion=tasks,
            show_default=False,
        ),
    ] = None,
    chosen: TaskOption = None,
    stream: Annotated[
        str, typer.Option(help="stdout, stderr or both.", metavar="STREAM", autocompletion=streams)
    ] = "both",
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on until it has ended; at most three jobs."),
    ] = False,
    failed: Annotated[
        bool,
        typer.Option("--failed", help="The last lines of the first failure of each kind."),
    ] = False,
    as_json: Json = False,
) -> int:
    """Print what a task prints on stdout and stderr; of one that runs, what there is so far."""
    index = chosen if task is None else task
    _check(index, stream, follow=follow, failed=failed, as_json=as_json)
    from osgbatch.life.following import status
    from osgbatch.life.task_output import choose_task
    from osgbatch.model import OPEN

    batch = None
    if flow := find_flow(name):
        batch = flow.telling_batch()
    batch = batch or find_for_task(name, index, "logs")
    now = status(batch, all_tasks=not failed)
    if failed:
        return _show_failed(now, as_json=as_json)
    state = None if follow and index is None and not now.ended else choose_task(now, index)
    if follow and not now.ended and (state is None or state.state in OPEN):
        return _follow(batch, index, stream)
    assert state is not None
    return _show(now, state, stream, as_json=as_json)


def _check(index: int | None, stream: str, *, follow: bool, failed: bool, as_json: bool) -> None:
    if stream not in ("stdout", "stderr", "both"):
        raise OsgbatchError(
            f'unknown stream "{stream}"', where="--stream", fix="Known are stdout, stderr and both."
        )
    if follow and (failed or as_json):
        other = "--failed" if failed else "--json"
        raise OsgbatchError(f"-f and {other} do not go together", fix="Leave out one of them.")
    if failed and index is not None:
        raise OsgbatchError(
            f"--failed and task {index} do not go together",
            fix="--failed shows the first failure of each kind; a task's number shows that task.",
        )


def _show(now: Status, state: TaskState, stream: str, *, as_json: bool) -> int:
    """One task: from its archive, or what it has printed so far."""
    from osgbatch.cli.reports import explain
    from osgbatch.life import task_output

    streams = task_output.STREAMS if stream == "both" else (stream,)
    if not task_output.has_output(state):
        raise task_output.no_output(now, state, explain(state))
    echo = None
    # What came back of an earlier start of a job that runs again is not what is asked for.
    job = task_output.running_job(now.batch, state)
    if job is not None and (state.archive is None or state.state in ("running", "suspended")):
        try:
            echo = job.echo()
        except CondorError as error:
            now, state = _settled(now, state, error)
            return _show(now, state, stream, as_json=as_json)
    if as_json:
        data: dict[str, Any] = {"index": state.index, "state": state.state, "whole": echo is None}
        for which in streams:
            out = io.BytesIO()
            if echo is None:
                task_output.copy_output(now.batch, state, which, out)
            else:
                out.write(task_output.echoed(echo, state.index, which))
            data[which] = out.getvalue().decode("utf-8", "replace")
        ui.out_json(data)
        return exits.OK
    why = f": {explain(state)}" if explain(state) else ""
    if stream == "both":
        so_far = ", so far" if echo is not None else why
        ui.out(f"=== task {state.index}, {state.state}{so_far}")
    for which in streams:
        shown = SafeOutput(sys.stdout)
        if stream == "both":
            ui.out(f"=== {which}")
        if echo is None:
            task_output.copy_output(now.batch, state, which, cast(BinaryIO, shown))
        else:
            shown.write(task_output.echoed(echo, state.index, which))
        if stream == "both":
            shown.end_line(everywhere=True)
        shown.flush()
    if echo is not None:
        _say_of_echo(state, echo)
    return exits.OK


def _settled(now: Status, state: TaskState, error: CondorError) -> tuple[Status, TaskState]:
    """The same task once its job's end is known: one that cannot be asked has often just ended.

    error: what HTCondor said; raised when the end does not become known at once, but for a job that
    has left the queue: then what it did is on its way.
    """
    from osgbatch.life.following import status
    from osgbatch.life.task_output import running_job

    for _ in range(LOOKS):
        time.sleep(LOOK_S)
        now = status(now.batch, all_tasks=True)
        state = now.states[state.index]
        if running_job(now.batch, state) is None:
            return now, state
    if not isinstance(error, JobGoneError):
        raise error
    raise OsgbatchError(
        f"nothing has come back of task {state.index} yet",
        fix="Its job has just left the queue, and its results are on their way: look again in a "
        "moment.",
    )


def _say_of_echo(state: TaskState, echo: bytes) -> None:
    """What the reader of an echo may miss."""
    from osgbatch.life.task_output import echoed, is_cut

    if is_cut(echo):
        ui.say("it has printed more: all of it is shown when its job has ended")
    elif not echoed(echo, state.index):
        ui.say(
            f"task {state.index} has printed nothing so far (a job runs its tasks one after the "
            "other, and is looked at every few seconds)"
        )


def _follow(batch: Batch, index: int | None, stream: str) -> int:
    from osgbatch.cli.reports import explain
    from osgbatch.life.output_following import Following

    try:
        out = cast(BinaryIO, SafeOutput(sys.stdout))
        Following(batch, index, stream, out, ui.say, explain).run()
    except KeyboardInterrupt:
        ui.say("\nstopped following; the jobs go on")
        raise typer.Exit(exits.INTERRUPTED) from None
    return exits.OK


def _show_failed(now: Status, *, as_json: bool) -> int:
    from osgbatch.cli.reports import explain
    from osgbatch.life.naming import in_commands
    from osgbatch.life.task_output import first_failures

    found = first_failures(now)
    if as_json:
        ui.out_json(
            [
                {
                    "index": one.state.index,
                    "state": one.state.state,
                    "why": explain(one.state),
                    "alike": list(one.alike),
                    "stream": one.stream,
                    "last_lines": one.lines,
                }
                for one in found
            ]
        )
        return exits.OK
    if not found:
        ui.out("no task has failed")
    for number, one in enumerate(found):
        ui.out(("\n" if number else "") + failure_text(one, in_commands(now.batch)))
    return exits.OK


def failure_text(one: Failure, name: str) -> str:
    """A failure: which task, why, how many are alike, and its last lines.

    name: of the batch, as commands have it.
    """
    from osgbatch.cli.reports import explain, listed

    state = one.state
    lines = [f"=== task {state.index}, {state.state}: {explain(state)}"]
    if one.alike:
        lines.append(f"    {len(one.alike):,} more alike: {listed(one.alike, 40)}")
    if one.stream:
        lines += [f"=== the last lines of {one.stream}", harmless(one.lines)]
    elif state.archive is None:
        lines.append(f"    nothing came back; `osgbatch why {name} {state.index}` says more")
    else:
        lines.append("    it printed nothing")
    return "\n".join(lines)

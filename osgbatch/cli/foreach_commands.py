"""`osgbatch foreach`: a script of scatter/gather, from the command line to its results."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

import typer

from osgbatch import exits, ui
from osgbatch.cli.completing import gathers, phases
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

if TYPE_CHECKING:
    from osgbatch.foreach.outcomes import Outcome
    from osgbatch.foreach.running import Begun
    from osgbatch.workflows.telling import WorkflowStatus

MOST = 20
"""Elements that have failed are named, so many of them."""


def foreach(
    ctx: typer.Context,
    script: Annotated[Path, typer.Argument(help="Python, or R where it ends in .R.",
                                           metavar="SCRIPT")],
    args: Annotated[list[str] | None, typer.Argument(
        help="What get_foreach_args is given.", metavar="ARGS...", show_default=False)] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=0, metavar="N",
                          show_default=False, help="Elements of a task. Default: 1; of many, as "
                          "many as make 1,000 tasks; with --time, as many as an hour holds.")] = 0,
    gather: Annotated[str, typer.Option(metavar="WHERE", autocompletion=gathers,
                      help="Where gather runs: pool, here, or none.")] = "pool",
    partial: Annotated[bool, typer.Option(
        "--partial", help="Gather although some elements have failed.")] = False,
    start_at: Annotated[str, typer.Option(metavar="PHASE", autocompletion=phases,
                        help="scatter, foreach or gather; what is before it is the last foreach's "
                        "of this name.")] = "scatter",
    name: Annotated[str, typer.Option("--name", "-n", metavar="NAME", show_default=False,
                    help="Of the work and the folder of its results. Default: the script's.")]
    = "",
    out: Out = "",
    push: Push = None,
    lib: Lib = None,
    env: Env = "",
    image: Image = "",
    cpus: Cpus = "",
    memory: Memory = "",
    disk: Disk = "",
    gpus: Gpus = "",
    limit: Annotated[str, option("--time", "What an element may take, as 20min.", "TIME")] = "",
    pickle: Annotated[bool | None, typer.Option("--pickle/--no-pickle", show_default=False,
                      help="Pickle all values, or none. Default: those that neither JSON nor NumPy "
                      "keeps, unless gather runs here.")] = None,
    scatter_name: Annotated[str, typer.Option("--get-foreach-args-name", metavar="NAME",
                            help="The script's name for it.")] = "get_foreach_args",
    foreach_name: Annotated[str, typer.Option("--foreach-name", metavar="NAME",
                            help="The script's name for it.")] = "foreach",
    gather_name: Annotated[str, typer.Option("--gather-name", metavar="NAME",
                           help="The script's name for it.")] = "gather",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait, and bring the results.")]
    = True,
    pool: Pool = "auto",
    on_access_point: OnAccessPoint = False,
    settings: Settings = None,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Run a script's foreach on each element that its get_foreach_args gives, then its gather."""
    check_pool(pool)
    if behind := _behind(ctx, args or ()):
        ui.say(
            f"note: {behind} stands behind the script, which is given it as text; options of "
            "osgbatch stand before the script"
        )
    from osgbatch.foreach.asked import Asked, Functions
    from osgbatch.foreach.running import begin, shared_of
    from osgbatch.spec.from_words import Told
    from osgbatch.submission.planned import Choices
    from osgbatch.submission.running import pushed

    here = Path.cwd()
    told = Told(
        name=name,
        results_to=out,
        libraries=lib or (),
        environment=env,
        image=image,
        resources=resources(cpus, memory, disk, gpus, limit),
    )
    shared = shared_of(told, here, settings or ())
    asked = Asked(
        script,
        tuple(args or ()),
        name,
        Functions(scatter_name, foreach_name, gather_name),
        batch_size,
        gather,
        partial,
        start_at,
        "auto" if pickle is None else "always" if pickle else "never",
        tuple(pushed(push or (), here)),
        shared,
    )
    begun = begin(asked, here, pool, ui.say, out, Choices(settings=settings or ()))
    # Without HTCondor there is nothing that would go on by itself.
    if not wait and begun.workflow.pool == "condor":
        return _left(begun, as_json)
    return _ended(begun, as_json)


def _behind(ctx: typer.Context, args: Sequence[str]) -> str:
    """The first of the script's words that is an option of `osgbatch foreach`; empty for none."""
    options = {name for one in ctx.command.params for name in (*one.opts, *one.secondary_opts)}
    for word in args:
        if word == "--":
            break
        if word.startswith("-") and word.partition("=")[0] in options:
            return word
    return ""


def _left(begun: Begun, as_json: bool) -> int:
    """Let it begin, and say how to come back."""
    from osgbatch.life.naming import shown_path
    from osgbatch.workflows.advancing import advance

    workflow = begun.workflow
    advance(workflow, ui.say, wait=False, again=begun.again)
    name = shown_path(workflow.folder)
    if as_json:
        ui.out_json(
            {
                "id": workflow.id,
                "name": workflow.name,
                "folder": str(workflow.folder),
                "results": str(begun.results),
            }
        )
        return exits.OK
    ui.out(f"workflow {workflow.id}: {name}")
    ui.say(
        f"to follow it: `osgbatch watch {name}`\n"
        f"when it has ended: `osgbatch collect {name}` brings the results to "
        f"{shown_path(begun.results)}/"
    )
    return exits.OK


def _ended(begun: Begun, as_json: bool) -> int:
    """Go on until it has ended, and say what came of it; gives the exit code."""
    from osgbatch.foreach.outcomes import outcome
    from osgbatch.foreach.running import bring, collect_steps
    from osgbatch.life.naming import shown_path
    from osgbatch.workflows.advancing import advance
    from osgbatch.workflows.alone import alone

    workflow = begun.workflow
    try:
        with alone(workflow):
            now = advance(workflow, ui.say, wait=True, again=begun.again, look=_Counts())
    except KeyboardInterrupt:
        if workflow.pool == "condor":
            name = shown_path(workflow.folder)
            ui.say(
                "\nstopped waiting; what is in the pool goes on. The same command again brings its "
                f"results\nto end it: `osgbatch cancel {name}`"
            )
        else:
            ui.say("\nstopped; the same command again goes on from here")
        return exits.INTERRUPTED
    collect_steps(workflow, ui.say)
    problems = bring(begun)
    found = outcome(begun.scatter, begun.elements)
    if as_json:
        ui.out_json(_data(begun, now, found))
    else:
        _tell(begun, now, found, shown_path(begun.results))
    for problem in problems:
        ui.say(f"note: {problem}")
    return int(now.exit_code) or (exits.SOME_FAILED if found.failures else exits.OK)


def _data(begun: Begun, now: WorkflowStatus, found: Outcome) -> dict[str, Any]:
    """What came of it, for --json."""
    workflow = begun.workflow
    failed = [vars(one) for one in found.failures]
    return {
        "id": workflow.id,
        "name": workflow.name,
        "folder": str(workflow.folder),
        "results": str(begun.results),
        "succeeded": now.succeeded and not failed,
        "elements": found.elements,
        "tasks": found.tasks,
        "failed": failed,
        "steps": {step.name: step.state for step in now.steps},
    }


class _Counts:
    """Says how far the elements are, when that has changed."""

    def __init__(self) -> None:
        self._before = ""

    def __call__(self, now: WorkflowStatus) -> None:
        """Is shown each look at the workflow."""
        text = "; ".join(f"{one.name}: {ui.counts(one.counts)}" for one in now.steps if one.counts)
        if text != self._before:
            ui.say(text)
        self._before = text


def _tell(begun: Begun, now: WorkflowStatus, found: Outcome, results: str) -> None:
    """What gather has printed, what went wrong, and where the results are."""
    from osgbatch.cli.reports import endings_text
    from osgbatch.cli.workflow_texts import next_steps
    from osgbatch.foreach.outcomes import said

    printed = begun.results / "stdout.txt"
    if printed.is_file():
        out = SafeOutput(sys.stdout)
        with printed.open("rb") as stream:
            shutil.copyfileobj(stream, cast(BinaryIO, out))
        out.end_line()
        out.flush()
    for number, failure in enumerate(found.failures[:MOST]):
        ui.say(f"element {failure.element}, in task {failure.task}: {ui.one_line(failure.why)}")
        if not number:
            lines = said(begun.elements, failure.task, failure.element)
            for line in lines if lines != [failure.why] else ():
                ui.say(f"    {line}")
    if len(found.failures) > MOST:
        ui.say(f"... and {len(found.failures) - MOST:,} more")
    if found.failures:
        of_all = f"of {ui.number_of(found.elements, 'element')} " if found.elements else ""
        ui.say(f"{of_all}{len(found.failures):,} failed")
        if now.failed == ("foreach",) and now.steps[-1].name == "gather":
            ui.say("--partial in the same command gathers what there is")
    for step in now.steps:
        if step.state == "failed" and step.name != "foreach" and step.batch is not None:
            ui.say(f"{step.name} failed:")
            for line in said(begun.workflow.step_folder(step.name)):
                ui.say(f"    {line}")
            ui.say(endings_text(step.batch))
    if now.failed:
        for line in next_steps(now):
            ui.say(f"next: {line}")
    if any("--pickle lets it" in failure.why for failure in found.failures):
        ui.say("next: the same command with --pickle, or let foreach return what needs none")
    if begun.results.is_dir():
        ui.say(f"results: {results}/")
    if begun.workflow.steps[-1].name == "foreach" and not found.failures:
        ui.say("what foreach has returned is kept: with --start-at gather it is gathered")


def register(app: typer.Typer) -> None:
    """Make the command known."""
    app.command(
        short_help="Scatter/gather from one Python or R script.",
        context_settings={"allow_interspersed_args": False},
    )(foreach)

"""`osgbatch foreach`: a script of scatter/gather, from the command line to its results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from osgbatch import exits, ui
from osgbatch.cli.spec_commands import Json, Settings
from osgbatch.cli.submit_commands import Pool, check_pool

MOST = 20
"""Elements that have failed are named, so many of them."""


def _option(name: str, help_: str, metavar: str) -> Any:
    return typer.Option(name, help=help_, metavar=metavar, show_default=False)


def foreach(
    script: Annotated[Path, typer.Argument(help="Python, or R where it ends in .R.",
                                           metavar="SCRIPT")],
    args: Annotated[list[str] | None, typer.Argument(
        help="What get_foreach_args is given.", metavar="ARGS...", show_default=False)] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=0, metavar="N",
                          show_default=False, help="Elements of a task. Default: 1; of many, as "
                          "many as make 1,000 tasks; with --time, as many as an hour holds.")] = 0,
    gather: Annotated[str, typer.Option(metavar="WHERE",
                      help="Where gather runs: pool, here, or none.")] = "pool",
    partial: Annotated[bool, typer.Option(
        "--partial", help="Gather although some elements have failed.")] = False,
    start_at: Annotated[str, typer.Option(metavar="PHASE", help="scatter, foreach or gather; what "
                        "is before it is the last foreach's of this name.")] = "scatter",
    name: Annotated[str, typer.Option("--name", "-n", metavar="NAME", show_default=False,
                    help="Of the work and the folder of its results. Default: the script's.")]
    = "",
    out: Annotated[str, _option("--out", "Another folder for the results.", "DIR")] = "",
    push: Annotated[list[str] | None, _option("--push", "Bring a file or folder: FILE, DIR, "
                    "src:dst, or @list of them. Repeatable.", "FILE")] = None,
    lib: Annotated[list[str] | None, _option("--lib", "A Python package of yours that the script "
                   "imports. Repeatable.", "DIR")] = None,
    env: Annotated[str, _option("--env", "environment.yml, requirements.txt, .venv/ ...",
                                "ENVIRONMENT")] = "",
    image: Annotated[str, _option("--image", "A container: python:3.12, image.sif ...",
                                  "IMAGE")] = "",
    cpus: Annotated[str, _option("--cpus", "Of each task; default 1.", "N")] = "",
    memory: Annotated[str, _option("--memory", "Of each task, as 2GB; default 1GB.", "SIZE")] = "",
    disk: Annotated[str, _option("--disk", "Of each task, as 4GB; default 2GB.", "SIZE")] = "",
    gpus: Annotated[str, _option("--gpus", "Of each task; default 0.", "N")] = "",
    limit: Annotated[str, _option("--time", "What an element may take, as 20min.", "TIME")] = "",
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
    settings: Settings = None,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Run a script's foreach on each element that its get_foreach_args gives, then its gather."""
    check_pool(pool)
    from osgbatch.foreach.asked import Asked, Functions
    from osgbatch.foreach.running import begin, shared_of
    from osgbatch.spec.from_words import RESOURCES, Told
    from osgbatch.submission.planned import Choices
    from osgbatch.submission.running import pushed

    here = Path.cwd()
    words = dict(zip(RESOURCES, (cpus, memory, disk, gpus, limit), strict=True))
    told = Told(
        name=name,
        results_to=out,
        libraries=lib or (),
        environment=env,
        image=image,
        resources={key: text for key, text in words.items() if text},
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


def _left(begun: Any, as_json: bool) -> int:
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


def _ended(begun: Any, as_json: bool) -> int:
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


def _data(begun: Any, now: Any, found: Any) -> dict[str, Any]:
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

    def __call__(self, now: Any) -> None:
        """Is shown each look at the workflow."""
        text = "; ".join(f"{one.name}: {ui.counts(one.counts)}" for one in now.steps if one.counts)
        if text != self._before:
            ui.say(text)
        self._before = text


def _tell(begun: Any, now: Any, found: Any, results: str) -> None:
    """What gather has printed, what went wrong, and where the results are."""
    from osgbatch.cli.reports import endings_text
    from osgbatch.cli.workflow_texts import next_steps
    from osgbatch.foreach.outcomes import said

    printed = begun.results / "stdout.txt"
    if printed.is_file():
        with printed.open(encoding="utf-8", errors="replace", newline="\n") as stream:
            for line in stream:
                # What comes from an execution point must not steer a terminal.
                ui.out("".join(c if c.isprintable() or c == "\t" else "?" for c in line[:-1]))
    for number, failure in enumerate(found.failures[:MOST]):
        ui.say(f"element {failure.element}, in task {failure.task}: {ui.one_line(failure.why)}")
        if not number:
            for line in said(begun.elements, failure.task, failure.element):
                ui.say(f"    {line}")
    if len(found.failures) > MOST:
        ui.say(f"... and {len(found.failures) - MOST:,} more")
    if found.failures:
        ui.say(f"of {ui.number_of(found.elements, 'element')} {len(found.failures):,} failed")
    for step in now.steps:
        if step.state == "failed" and step.name != "foreach" and step.batch is not None:
            ui.say(f"{step.name} failed:")
            for line in said(begun.workflow.step_folder(step.name)):
                ui.say(f"    {line}")
            ui.say(endings_text(step.batch))
    if now.failed:
        for line in next_steps(now):
            ui.say(f"next: {line}")
    if begun.results.is_dir():
        ui.say(f"results: {results}/")


def register(app: typer.Typer) -> None:
    """Make the command known."""
    app.command(
        short_help="Scatter/gather from one Python or R script.",
        context_settings={"allow_interspersed_args": False},
    )(foreach)

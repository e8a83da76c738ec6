"""The commands about many batches, and old ones: `ls`, `tasks`, `tag`, `rm`, `archive`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from osgbatch import exits, names, ui
from osgbatch.cli.asking import agreed
from osgbatch.cli.batch_names import BatchName, find, find_flow
from osgbatch.cli.completing import batches
from osgbatch.cli.spec_commands import Json
from osgbatch.errors import OsgbatchError

if TYPE_CHECKING:
    from osgbatch.life.housekeeping import Old

OneBatch = Annotated[
    str,
    typer.Argument(
        metavar="BATCH",
        autocompletion=batches,
        help="Its folder, a tag, its name, or the start of its id.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Make the commands known."""
    app.command(short_help="List the batches here, or all.")(ls)
    app.command(short_help="List, filter and export tasks with their states.")(tasks)
    app.command(short_help="Give a batch words to find it by.")(tag)
    app.command(short_help="Remove old batches with all in them.")(rm)
    app.command(short_help="Put an old batch into one file.")(archive)


def ls(
    everywhere: Annotated[
        bool, typer.Option("--all", "-a", help="All that you have submitted, wherever they are.")
    ] = False,
    tagged: Annotated[
        str | None,
        typer.Option("--tag", metavar="TAG", help="Only those with this tag.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> int:
    """List the batches in the current folder, the newest first, and how far each has come."""
    from osgbatch.batches.registry import batches_everywhere, batches_here
    from osgbatch.cli.house_texts import list_data, list_text
    from osgbatch.life.batch_list import listed

    here = Path(os.getcwd())
    known = list(listed(batches_everywhere() if everywhere else batches_here(here)))
    found = [one for one in known if tagged is None or tagged in one.tags]
    from osgbatch.cli.workflow_texts import flows_listed

    flows = [] if tagged is not None else flows_listed(here, everywhere=everywhere)
    if as_json:
        ui.out_json([*map(list_data, found), *(data for data, _ in flows)])
    elif found or flows:
        if found:
            ui.out(list_text(found, by_folder=everywhere))
        if flows:
            ui.out("\n".join([*[""] * bool(found), "workflows", *(line for _, line in flows)]))
    elif known:
        these = "1 batch" if len(known) == 1 else f"{len(known):,} batches"
        more = "" if everywhere else "; `osgbatch ls --all` looks elsewhere, too"
        ui.say(f'no batch has the tag "{tagged}", of {these}{more}')
    elif everywhere:
        ui.say("there is no batch; `osgbatch submit sweep.yaml` makes one")
    else:
        ui.say(f"there is no batch in {here}; `osgbatch ls --all` lists those elsewhere")
    return exits.OK


def tasks(
    name: BatchName = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EXPR",
            help="Only tasks for which this holds: 'threshold > 0.5 and exit_code == 3'. Of "
            "several all must hold.",
            show_default=False,
        ),
    ] = None,
    states: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", help="Only tasks in this state. Repeatable."),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="The same as --state failed.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print them as results.csv has them.")] = (
        False
    ),
    parameters: Annotated[
        bool,
        typer.Option("--parameters", help="With --csv: a table for another sweep, nothing else."),
    ] = False,
    ids: Annotated[
        bool, typer.Option("--ids", help="Print which they are: 0,2,4-7, as resubmit takes them.")
    ] = False,
    as_json: Json = False,
) -> int:
    """List the tasks of a batch with their states; filter them; export them."""
    if as_csv + ids + as_json > 1:
        raise OsgbatchError("--csv, --ids and --json do not go together", fix="Take one of them.")
    if parameters and not as_csv:
        raise OsgbatchError("--parameters goes with --csv", fix="Add --csv.")
    from osgbatch.cli.house_texts import tasks_text
    from osgbatch.results import task_table

    batch = find(name)
    wanted = [*(states or ()), *(["failed"] * failed)]
    metrics = as_json or (as_csv and not parameters)
    table = task_table.task_table(batch, where or (), wanted, metrics=metrics)
    if as_json:
        ui.out_json_rows(task_table.json_rows(table))
    elif as_csv:
        sys.stdout.flush()
        task_table.write_csv(table, sys.stdout.buffer, parameters_only=parameters)
        sys.stdout.buffer.flush()
    elif ids:
        if table.rows:
            ui.out(task_table.ranges(row.index for row in table.rows))
    elif table.rows:
        ui.out(tasks_text(table))
    if not table.rows:
        ui.say(f"no task matches, of {batch.tasks:,}")
    return exits.OK


def tag(
    name: OneBatch,
    tags: Annotated[
        list[str] | None,
        typer.Argument(metavar="TAG", help="The tags; none to see those it has."),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take these from it.")] = False,
    as_json: Json = False,
) -> int:
    """Give a batch tags: words that `ls` shows, and that name it in commands."""
    from osgbatch.batches.tags import add_tags, read_tags, remove_tags

    if remove and not tags:
        raise OsgbatchError("no tag was named", where="--remove", fix="Name those to take away.")
    batch = find(name)
    if remove:
        remove_tags(batch, tags or ())
    elif tags:
        add_tags(batch, tags)
    now = read_tags(batch)
    if as_json:
        ui.out_json({"id": batch.id, "folder": str(batch.folder), "tags": list(now)})
    else:
        ui.out(f"{batch.folder.name}: {', '.join(now) or 'no tags'}")
    return exits.OK


def rm(
    batches: Annotated[
        list[str],
        typer.Argument(
            metavar="BATCH",
            autocompletion=batches,
            help="Each by folder, tag, name or the start of its id.",
        ),
    ],
    yes: Yes = False,
    as_json: Json = False,
) -> int:
    """Remove batches: their folders, with results and all. Refused while a job is queued."""
    from osgbatch.life.housekeeping import old_batches, remove

    if len(batches) == 1 and (flow := find_flow(batches[0])):
        return int(flow.rm(yes, as_json))
    found = {batch.folder.resolve(): batch for batch in map(find, batches)}
    old = old_batches(list(found.values()))
    _ask(old, yes, "remove")
    for batch in remove([one.batch for one in old]):
        if not as_json:
            ui.out(f"removed {batch.folder}")
    if as_json:
        ui.out_json([_old_data(one) for one in old])
    return exits.OK


def archive(
    name: OneBatch,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file to make. Default: beside the batch.", metavar="FILE", show_default=False
        ),
    ] = None,
    remove: Annotated[
        bool, typer.Option("--rm", help="Remove the folder once the archive is verified.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> int:
    """Put a batch into one tar.gz, and read it back. Refused while a job is queued."""
    from osgbatch.life.archiving import archive as put_away
    from osgbatch.life.housekeeping import old_batches

    if flow := find_flow(name):
        raise flow.no_archive()
    batch = find(name)
    if remove and (batch.folder.parents[1] / names.WORKFLOW).is_file():
        raise OsgbatchError(
            "this is a step of a workflow, which would run it anew",
            where=str(batch.folder),
            fix="Leave out --rm.",
        )
    (old,) = old_batches([batch])
    if remove:
        _ask([old], yes, "archive and remove")
    path = out or batch.folder.with_name(f"{batch.folder.name}.tar.gz")
    with ui.progress() as progress:
        made = put_away(batch, path, progress, remove_it=remove)
    if as_json:
        told = {"archive": str(made.path), "archive_size": made.size, "removed": remove}
        ui.out_json({**_old_data(old), **told, "left_out": list(made.left_out)})
        return exits.OK
    what = f"{ui.number_of(made.files, 'file')}, {ui.size(old.size)}"
    ui.out(f"wrote {made.path}\n{what}, in {ui.size(made.size)}; read back and compared")
    for left in made.left_out:
        ui.say(f"left out, since it is no file: {left}")
    if remove:
        ui.out(f"removed {batch.folder}")
    else:
        from osgbatch.life.naming import in_commands

        ui.say(f"to remove the folder: `osgbatch rm {in_commands(batch)}`")
    return exits.OK


def _ask(old: list[Old], yes: bool, verb: str) -> None:
    """Ask before something is removed. Raises OsgbatchError where nobody can answer."""
    if yes:
        return
    from osgbatch.cli.house_texts import old_text

    if not sys.stdin.isatty():
        raise OsgbatchError(
            f"will not {verb} without asking, and this is no terminal", fix="Add --yes."
        )
    ui.say(old_text(old))
    batches = "this batch" if len(old) == 1 else f"these {len(old)} batches"
    if not agreed(f"{verb} {batches}, with results and all?"):
        ui.say("nothing was removed")
        raise typer.Exit(exits.OK)


def _old_data(one: Old) -> dict[str, object]:
    return {
        "id": one.batch.id,
        "name": one.batch.name,
        "folder": str(one.batch.folder),
        "counts": one.status.counts,
        "files": one.files,
        "size": one.size,
        "notes": list(one.notes),
    }

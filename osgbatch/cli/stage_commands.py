"""The commands of `osgbatch stage`: put files into the stash, list, verify, clear away."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from osgbatch import exits, ui
from osgbatch.cli.spec_commands import Json, Settings
from osgbatch.errors import OsgbatchError

if TYPE_CHECKING:
    from osgbatch.staging.store import Kept

stage = typer.Typer(
    name="stage",
    help="Put files into the stash, where each is named by its content; list, verify, clear away.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

SpecOption = Annotated[
    Path | None,
    typer.Option(
        "--spec", help="The sweep.yaml whose stash is meant. Default: your own or the pool's."
    ),
]


def register(app: typer.Typer) -> None:
    """Make the commands known."""
    app.add_typer(stage, short_help="Put files into the stash; list, verify and clear it.")


@stage.command("put", short_help="Bring files and folders to the stash; print their URLs.")
def put(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders.", show_default=False)],
    tree: Annotated[
        bool, typer.Option("--tree", help="Each file of a folder by itself, not as one archive.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read what is there already, too.")
    ] = False,
    spec: SpecOption = None,
    settings: Settings = None,
    as_json: Json = False,
) -> int:
    """Bring files and folders to the stash, unless they are there; print their URLs."""
    from osgbatch.submission import stashing

    store = stashing.stash_store(spec, settings or [])
    with ui.progress() as progress:
        made, _ = stashing.put(paths, store, ui.say, progress, tree=tree, verify=verify)
    if as_json:
        ui.out_json([vars(one) for one in made])
    elif len(made) == 1:
        ui.out(made[0].url)
    else:
        ui.out(_beside([(one.url, one.path) for one in made]))
    return exits.OK


def _beside(found: list[tuple[str, str]]) -> str:
    """URLs with their files; on a terminal that is too narrow for both, the files stand above."""
    lines = [f"{url}  {path}" for url, path in found]
    if sys.stdout.isatty() and max(map(len, lines), default=0) > shutil.get_terminal_size().columns:
        lines = [f"{path}:\n{url}" for url, path in found]
    return "\n".join(lines)


@stage.command("ls", short_help="List what is in the stash.")
def ls(spec: SpecOption = None, settings: Settings = None, as_json: Json = False) -> int:
    """List the objects in the stash: size, age, name."""
    from osgbatch.submission import stashing

    store = stashing.stash_store(spec, settings or [])
    found = list(store.listing())
    if as_json:
        ui.out_json([{**vars(one), "url": store.object_url(one.name)} for one in found])
    else:
        for one in found:
            ui.out(_line(one))
        ui.out(f"{stashing.amount(found)} in {store.url}")
    return exits.OK


def _line(one: Kept) -> str:
    """An object: its size, when it was brought, its name, which is never cut.

    The folder, which repeats the first two digits, is left out, and on 80 columns the time.
    """
    name = one.name.partition("/")[2]
    if sys.stdout.isatty() and shutil.get_terminal_size().columns < 110:
        return f"{ui.size(one.size):>8} {name}"
    return f"{ui.size(one.size):>10}  {ui.day(one.changed)}  {name}"


@stage.command("verify", short_help="Read every object and compare it with its name.")
def verify(
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the damaged ones: nothing can use them.")
    ] = False,
    spec: SpecOption = None,
    settings: Settings = None,
    as_json: Json = False,
) -> int:
    """Read every object of the stash; say which are not what their names say.

    Exits with 0 when no damaged one is there at the end, with 4 when there is.
    """
    from osgbatch.submission import stashing

    store = stashing.stash_store(spec, settings or [])
    with ui.progress() as progress:
        found = list(stashing.verify(store, progress))
    wrong = [one for one in found if one.what]
    if not as_json:
        for one in wrong:
            ui.out(f"{store.object_url(one.kept.name)}: {one.what}")
        ui.out(f"{stashing.amount([one.kept for one in found])} read, {len(wrong)} damaged")
    removed: list[str] = []
    if wrong and remove:
        with ui.progress() as progress:
            removed = stashing.remove_damaged(store, wrong, progress)
        ui.say(f"{len(removed):,} removed; the next submission stages what it needs of them anew")
    elif wrong:
        ui.say("to remove them: the same with --remove")
    if as_json:
        ui.out_json(
            [
                {
                    **vars(one.kept),
                    "ok": not one.what,
                    "what": one.what,
                    "removed": one.kept.name in removed,
                }
                for one in found
            ]
        )
    return exits.STAGING if wrong and not remove else exits.OK


@stage.command("gc", short_help="List objects that no batch refers to; remove with --delete.")
def gc(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="Where your specs and tables are, and batches that others submitted: say ~.",
            show_default=False,
        ),
    ],
    delete: Annotated[bool, typer.Option("--delete", help="Remove them.")] = False,
    older: Annotated[
        str, typer.Option(metavar="TIME", help="Only what was brought, or put, so long ago.")
    ] = "1 day",
    force: Annotated[
        bool, typer.Option("--force", help="With --delete: also when no batch is found at all.")
    ] = False,
    spec: SpecOption = None,
    settings: Settings = None,
    as_json: Json = False,
) -> int:
    """List the objects that nothing refers to.

    What you have submitted is known, wherever it is; specs, tables and batches of others are looked
    for below the folders.
    """
    from osgbatch.spec.units import UnitError, seconds
    from osgbatch.submission import stashing

    try:
        older_s = seconds(older)
    except UnitError as error:
        raise OsgbatchError(str(error), where="--older", fix="Write --older 7d.") from error
    for folder in folders:
        if not folder.is_dir():
            raise OsgbatchError("there is no such folder", where=str(folder))
    store = stashing.stash_store(spec, settings or [])
    if delete:
        found = stashing.clear(store, folders, older_s, force=force)
    else:
        found = stashing.garbage(store, folders, older_s)
    if as_json:
        names = [vars(one) for one in found.objects]
        told = {"deleted": delete, "objects": names, "batches": found.batches, "young": found.young}
        ui.out_json(told)
        return exits.OK
    for one in found.objects:
        ui.out(_line(one))
    done = "removed" if delete else "not referred to"
    batches = ui.number_of(found.batches, "batch").replace("batchs", "batches")
    ui.out(f"{stashing.amount(found.objects)} {done}; {batches} looked at")
    if found.lost:
        ui.say(
            f"note: {len(found.lost):,} of your batches are no longer where they were, such as "
            f"{found.lost[0]}; one that was moved is not known before you name it once: "
            "`osgbatch status FOLDER`"
        )
    if found.young:
        are = "is" if found.young == 1 else "are"
        ui.say(f"{found.young:,} more {are} younger than {older}, and may be in use")
    if found.objects and not delete:
        ui.say("to remove them: the same with --delete; specs in other folders would miss them")
    return exits.OK

"""The commands of `osgbatch pack`: environments, libraries, images, and the cache for them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from osgbatch import exits, ui
from osgbatch.cli.spec_commands import Json
from osgbatch.errors import OsgbatchError

pack = typer.Typer(
    name="pack",
    help="Pack environments, libraries and images without submitting; list and clean the cache.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Out = Annotated[Path | None, typer.Option(help="A file to write the archive to, too.")]


def register(app: typer.Typer) -> None:
    """Make the commands known."""
    app.add_typer(
        pack, short_help="Pack environments, libraries, images; list and clean the cache."
    )


@pack.command("env", short_help="Pack an environment, or take it from the cache.")
def env(
    source: Annotated[
        Path,
        typer.Argument(
            help="A sweep.yaml, or what an environment is made from: environment.yml, "
            "requirements.txt, pyproject.toml, uv.lock, the folder of one, an archive.",
            show_default=False,
        ),
    ],
    strip: Annotated[
        bool, typer.Option("--strip", help="Leave out tests, headers and static libraries.")
    ] = False,
    no_test: Annotated[
        bool, typer.Option("--no-test", help="Do not try it at another path.")
    ] = False,
    python: Annotated[
        str, typer.Option(help="The version of Python, for requirements: 3.12.")
    ] = "",
    channel: Annotated[
        list[str] | None,
        typer.Option("--channel", "-c", help="A channel of conda, before those of the file."),
    ] = None,
    imports: Annotated[
        list[str] | None,
        typer.Option("--import", help="A module that it must be possible to import."),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Make it anew: newer versions of what is not pinned.")
    ] = False,
    locked: Annotated[
        Path | None,
        typer.Option(help="A lock file of conda packages, to make the same environment again."),
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Pack the environment of a sweep, or of a file or folder; unchanged means no work."""
    from osgbatch.cli.packs import (
        Asked,
        check_environment_out,
        environment_data,
        environment_text,
        lock_beside,
        pack_environment,
        write_out,
    )
    from osgbatch.places import cache_folder

    asked = Asked(strip, not no_test, refresh, python, channel or (), imports or (), locked)
    if out is not None:
        check_environment_out(out, source, asked)
    try:
        made, warnings = pack_environment(source, cache_folder(), asked, ui.say)
    except KeyboardInterrupt:
        ui.error("interrupted; nothing was packed")
        raise typer.Exit(exits.INTERRUPTED) from None
    path = made.path
    if out is not None:
        lock = lock_beside(out, locked) if made.lock else None
        write_out(made, out)
        path = out
        if lock is not None:
            write_out(made, lock, made.lock)
            ui.say(f"wrote {lock}, from which --locked makes the same environment again")
    if as_json:
        ui.out_json(environment_data(made, path, warnings))
    else:
        ui.out(ui.wrapped(environment_text(made, path), sys.stdout))
    for warning in warnings:
        ui.say(f"warning: {warning}")
    return exits.OK


@pack.command("lib", short_help="Pack private packages as `libraries:` would.")
def lib(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Packages, modules, projects or wheels.", show_default=False),
    ],
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Pack private packages as `libraries:` of a sweep would."""
    from osgbatch.cli.packs import pack_libraries
    from osgbatch.places import cache_folder

    made = pack_libraries(folders, out, cache_folder())
    if as_json:
        ui.out_json(
            {
                "path": str(made.path),
                "sha256": made.sha256,
                "size": made.size,
                "unpacked_size": made.unpacked_size,
                "members": made.members,
            }
        )
    else:
        ui.out(f"packed {ui.number_of(made.members, 'member')}: {ui.size(made.size)}\n{made.path}")
    return exits.OK


@pack.command("container", short_help="Build a container image, or take it from the cache.")
def container(
    source: Annotated[
        str,
        typer.Argument(
            help="A definition file, image.def, or a reference to an image: docker://python:3.12.",
            show_default=False,
        ),
    ],
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Build it anew: what the registry has now.")
    ] = False,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Build a container image with apptainer, in one file; unchanged means no work."""
    from osgbatch.cli.packs import (
        check_out,
        environment_data,
        environment_text,
        image_sources,
        pack_container,
        write_out,
    )
    from osgbatch.places import cache_folder

    if out is not None:
        check_out(out, image_sources(source))
    made = pack_container(source, cache_folder(), refresh, ui.say)
    path = made.path
    if out is not None:
        write_out(made, out)
        path = out
    if as_json:
        ui.out_json(environment_data(made, path, []))
    else:
        ui.out(environment_text(made, path))
    return exits.OK


@pack.command("ls", short_help="Show what the cache holds.")
def ls(as_json: Json = False) -> int:
    """Show what the cache holds: its kind, size and age, and what it was made from."""
    from osgbatch.cli.packs import kept_data, kept_text
    from osgbatch.packing.environment.cleaning import kept_things
    from osgbatch.places import cache_folder

    found = kept_things(cache_folder())
    if as_json:
        ui.out_json(kept_data(found))
    else:
        ui.out(kept_text(found, cache_folder()))
    return exits.OK


@pack.command("clean", short_help="Remove what was not used for some time.")
def clean(
    names: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    older: Annotated[str, typer.Option(help="Not used for so long.")] = "30 days",
    everything: Annotated[bool, typer.Option("--all", help="All that nobody is packing.")] = False,
    as_json: Json = False,
) -> int:
    """Remove environments from the cache, but for those that another osgbatch is packing."""
    from osgbatch.cli.packs import cleaned_text, kept_data
    from osgbatch.packing.environment import cleaning
    from osgbatch.places import cache_folder
    from osgbatch.spec.units import UnitError, seconds

    if names:
        raise OsgbatchError(
            "things are not removed by their names",
            where=f"pack clean {names[0]}",
            fix="--older 7d removes what was not used for so long, --all everything. See "
            "`osgbatch pack clean --help`.",
        )
    try:
        older_s = seconds(older)
    except UnitError as error:
        raise OsgbatchError(str(error), where="--older", fix="Write --older 30d.") from error
    done = cleaning.clean(cache_folder(), older_s, everything)
    if as_json:
        kinds = {"removed": done.removed, "busy": done.busy, "failed": done.failed}
        ui.out_json({kind: kept_data(things) for kind, things in kinds.items()})
    else:
        ui.out(cleaned_text(done))
    return exits.PACKING if done.failed else exits.OK

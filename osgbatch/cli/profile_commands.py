"""The commands about pools: `profile ls` and `profile show`."""

from __future__ import annotations

import shutil
import textwrap
from typing import Annotated, Any

import typer

from osgbatch import exits, ui

Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]

profile = typer.Typer(
    help="What is known of each pool: its limits, its stash, settings that suit it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Make the commands known."""
    app.add_typer(profile, name="profile", short_help="What is known of each pool: ls, show.")


@profile.command("ls", short_help="List the profiles, and which holds here.")
def ls(as_json: Json = False) -> int:
    """List the profiles of pools, and which of them holds here, by what."""
    from osgbatch.cli import profile_data

    found = profile_data.listed()
    if as_json:
        ui.out_json(found)
        return exits.OK
    rows = [
        ["*" if one["here"] else " ", one["name"], one["title"], one["file"]]
        for one in found["profiles"]
    ]
    ui.out(ui.table([" ", "profile", "pool", "from"], rows))
    ui.out("\n".join(_folded(f"* holds here, by {found['chosen_by']}")))
    return exits.OK


@profile.command("show", short_help="Show a profile: each key, its value and its meaning.")
def show(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A profile, or the path of a file of yours. Default: the one that holds here.",
            show_default=False,
        ),
    ] = None,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Print it as a file, to be copied and changed.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Show a profile: each key, its value, what it means, and where it comes from."""
    from osgbatch.cli import profile_data
    from osgbatch.spec.profile_facts import profile_yaml

    found, chosen = profile_data.named(name)
    if as_yaml:
        ui.out(profile_yaml(found).rstrip("\n"))
    elif as_json:
        ui.out_json(profile_data.shown(found, chosen))
    else:
        _print(profile_data.shown(found, chosen))
    return exits.OK


def _print(data: dict[str, Any]) -> None:
    by = f", by {data['chosen_by']}" if data["chosen_by"] else ""
    lines = [*_folded(f"{data['name']}: {data['title']}{by}")]
    for one in data["keys"]:
        lines.append("")
        lines += _folded(f"{one['key']}: {one['text']}  ({one['from']})")
        lines += _folded(one["meaning"], "    ")
    ui.out("\n".join(lines))


def _folded(text: str, indent: str = "") -> list[str]:
    width = min(100, shutil.get_terminal_size().columns)
    return textwrap.wrap(
        ui.one_line(text), width, initial_indent=indent,
        subsequent_indent=indent or "  ", break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip

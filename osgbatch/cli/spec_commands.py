"""The commands about a spec alone: `config` and `schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from osgbatch import exits, ui

SpecPath = Annotated[Path, typer.Argument(help="The sweep.yaml.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A setting that wins over the spec: --set resources.memory=4GB. Repeatable.",
        metavar="KEY=VALUE",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Make the commands known."""
    app.command(short_help="Show each setting and where it comes from.")(config)
    app.command(short_help="Print the JSON Schema of sweep.yaml, for editors.")(schema)


def config(spec: SpecPath, settings: Settings = None, as_json: Json = False) -> int:
    """Show every setting of a sweep that holds, and where it comes from; change nothing."""
    from osgbatch.cli.settings import (
        effective_settings,
        read_settings,
        settings_data,
        settings_text,
    )

    layered, checked, wrong = read_settings(spec, settings or [])
    found = effective_settings(layered, checked)
    if as_json:
        ui.out_json(settings_data(found, layered))
    else:
        ui.out(settings_text(found))
    if wrong:
        raise wrong
    return exits.OK


def schema(
    out: Annotated[
        Path | None, typer.Option(help="A file to write it to, instead of printing it.")
    ] = None,
) -> int:
    """Print the JSON Schema of sweep.yaml; editors complete and check from it."""
    from osgbatch.spec.jsonschema import json_schema

    made = json_schema()
    if out is None:
        ui.out_json(made)
    else:
        out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
        ui.out(f"wrote {out}")
    return exits.OK

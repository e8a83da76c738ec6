"""The command that teaches: `explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from osgbatch import exits
from osgbatch.errors import OsgbatchError


def register(app: typer.Typer) -> None:
    """Make the command known."""
    app.command(short_help="Explain a sweep's submit file, or a word, code or state.")(explain)


def explain(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="A sweep.yaml; or a word: request_memory, hold 34.102, exit 103, held, event 012.",
            show_default=False,
        ),
    ] = None,
    submit: Annotated[
        bool, typer.Option("--submit", help="Of a sweep: the submit file only.")
    ] = False,
    shim: Annotated[bool, typer.Option("--shim", help="Of a sweep: the shim only.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Of a sweep: KEY=VALUE in place of what it says. Repeatable.",
                     metavar="KEY=VALUE", show_default=False),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--list", help="List all that can be asked.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for other programs.")
    ] = False,
) -> int:  # fmt: skip
    """Explain what osgbatch would submit, line by line; or what a word of HTCondor's means.

    Of a sweep.yaml: the submit file and the shim that would be made, each line with a sentence of
    why. Nothing is packed, staged, written or submitted. Of words: any submit command, hold code,
    exit code, state or event, key of sweep.yaml, or word of osgbatch's own.
    """
    from osgbatch.cli import explain_view

    if everything:
        explain_view.show_list(as_json)
        return exits.OK
    if not what:
        raise OsgbatchError(
            "nothing to explain was named",
            fix="Name a sweep.yaml or a word, as in `osgbatch explain request_memory`; "
            "--list lists all words.",
        )
    _check_missing(what)
    if len(what) == 1 and _is_file(what[0]):
        explain_view.show_sweep(Path(what[0]), settings or [], submit, shim, as_json)
    else:
        explain_view.show_word(" ".join(what), as_json)
    return exits.OK


def _check_missing(what: list[str]) -> None:
    """Raises OsgbatchError for what has the name of a file that is not there."""
    from osgbatch.spec.document import SUBMIT_FILES

    ends = (*SUBMIT_FILES, ".yaml", ".yml")
    for word in what if len(what) == 1 else ():
        name = Path(word).name.lower()
        if name.endswith(ends) and name not in ends and not _there(word):
            raise OsgbatchError(
                "there is no such file here",
                where=word,
                fix="`osgbatch explain sweep.yaml` explains a sweep that is there; `osgbatch lint "
                "FILE` looks at a submit file.",
            )


def _there(word: str) -> bool:
    try:
        return Path(word).exists()
    except (OSError, ValueError):
        return False


def _is_file(text: str) -> bool:
    """Whether a sweep is meant: by the end of its name, or since there is such a file."""
    if text.lower().endswith((".yaml", ".yml")):
        return True
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False

"""The command about submit files that were written by hand: `lint`."""

from __future__ import annotations

from typing import Annotated

import typer

from osgbatch import exits


def register(app: typer.Typer) -> None:
    """Make the command known."""
    app.command(short_help="Check submit files written by hand.")(lint)


def lint(
    files: Annotated[
        list[str], typer.Argument(help="Submit files; - for stdin.", show_default=False)
    ],
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what can be mended safely; FILE.bak is kept.")
    ] = False,
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="A rule that is not to be asked. Repeatable.", metavar="RULE",
                     show_default=False),
    ] = None,
    fail_on: Annotated[
        str, typer.Option(help="The least severity that ends with exit code 1.",
                          metavar="error|warning|advice"),
    ] = "error",
    form: Annotated[
        str, typer.Option("--format", help="How to print.", metavar="text|json|github")
    ] = "text",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for other programs.")
    ] = False,
    short: Annotated[
        bool, typer.Option("--short", help="One line for each finding.")
    ] = False,
) -> int:  # fmt: skip
    """Check submit files: what HTCondor refuses, and what goes wrong later.

    Nothing is submitted, and nothing that a file names is run. Exit code 0: nothing of the severity
    that --fail-on names was found; 1: something was; 2: a file cannot be read.

    A comment `# osgbatch: ignore=rule` switches a rule off for the line below it; above a blank
    line, for the whole file.
    """
    from osgbatch.cli import lint_view

    lint_view.check_words(fail_on, form, ignore or [])
    if as_json:
        form = "json"
    linted = [lint_view.linted(name, ignore or [], fix) for name in files]
    lint_view.show(linted, form, short)
    if any(one.unread for one in linted):
        return exits.BAD_INPUT
    return exits.SOME_FAILED if lint_view.fails(linted, fail_on) else exits.OK

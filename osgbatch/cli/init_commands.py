"""The command that begins: `init`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from osgbatch import exits, ui
from osgbatch.errors import OsgbatchError

if TYPE_CHECKING:
    from osgbatch.starting.making import Made
    from osgbatch.starting.starters import Starter

FIRST = "hello"
"""The template, unless another one is named."""
ANSWERS = 3
"""How often a question is asked at most."""
Answer = TypeVar("Answer")


def register(app: typer.Typer) -> None:
    """Make the command known."""
    app.command(short_help="Make a folder with a first sweep, from a template.")(init)


def init(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEMPLATE] [FOLDER]",
            help="What to begin with, and the new folder; TEMPLATE alone names both.",
            show_default=False,
            autocompletion=lambda: _names(),
        ),
    ] = None,
    template: Annotated[
        str,
        typer.Option("--template", "-t", metavar="TEMPLATE", show_default=False,
                     help="What to begin with; the other word is then the folder.",
                     autocompletion=lambda: _names()),
    ] = "",
    list_them: Annotated[
        bool, typer.Option("--list", "-l", help="List the templates, and make nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for other programs; ask nothing.")
    ] = False,
) -> int:  # fmt: skip
    """Make a new folder with a sweep that runs as it stands, to change into your own.

    `osgbatch init` asks which; `osgbatch init hello` makes the folder hello; `osgbatch init files
    my-study`, or `osgbatch init my-study --template files`, the folder my-study. What is there is
    never overwritten.
    """
    from osgbatch.starting.making import make

    if list_them:
        return _list(as_json)
    asks = not as_json and on_terminal()
    starter, folder = _chosen(list(words or []), template, asks)
    made = make(starter, folder)
    if as_json:
        ui.out_json(_as_json(made))
    else:
        _tell(made)
    return exits.OK


def on_terminal() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _names() -> list[str]:
    from osgbatch.starting.starters import STARTERS

    return [one.name for one in STARTERS]


def _chosen(words: list[str], template: str, asks: bool) -> tuple[Starter, Path]:
    """Which template, and where; what was not said is asked on a terminal, else as usual."""
    from osgbatch.starting.making import check, proper
    from osgbatch.starting.starters import find, nearest, starter

    if len(words) > (1 if template else 2):
        shown = ui.one_line(" ".join(words))
        raise OsgbatchError(
            f"one folder is made at a time; these are too many words: {shown}",
            fix="Write `osgbatch init TEMPLATE FOLDER`; a name has no blanks in it.",
        )
    if template or len(words) == 2:
        wanted = starter(template or words[0])
        if words:
            return wanted, Path(words[-1])
        return wanted, _asked_folder(wanted) if asks else Path(wanted.name)
    if not words:
        if not asks:
            return starter(FIRST), Path(FIRST)
        wanted = _asked_template()
        return wanted, _asked_folder(wanted)
    (word,) = words
    known = find(word)
    if known is not None:
        return known, Path(known.name)
    # A folder's name, then; but a slip in a template's name must not make a folder.
    if nearest(word) or not asks:
        try:
            return starter(word), Path(word)
        except OsgbatchError as error:
            name = proper(word) or "my-sweep"
            fix = f"{error.fix} For a new folder of this name: `osgbatch init {FIRST} {name}`."
            raise OsgbatchError(error.what, fix=fix) from None
    folder = Path(word)
    check(folder)  # before anything is asked
    return _asked_template(), folder


def _asked_template() -> Starter:
    """Ask for one that there is. Enter means the first."""
    from osgbatch.starting.starters import starter

    def known(word: str) -> Starter:
        names = _names()
        if word.isascii() and word.isdigit() and 1 <= int(word) <= len(names):
            word = names[int(word) - 1]
        try:
            return starter(word)
        except OsgbatchError as error:
            raise OsgbatchError(error.what, fix=f"Known are {', '.join(_names())}.") from None

    ui.say(_table(numbered=True))
    return _asked("Which template?", FIRST, known, f"`osgbatch init {FIRST}`")


def _asked_folder(wanted: Starter) -> Path:
    """Ask for one that can be made. Enter means the template's name."""
    from osgbatch.starting.making import check, free

    def checked(word: str) -> Path:
        check(Path(word))
        return Path(word)

    default = str(free(Path(wanted.name)))
    example = f"`osgbatch init {wanted.name} {default}`"
    return _asked("Name of the new folder?", default, checked, example)


def _asked(question: str, default: str, read: Callable[[str], Answer], example: str) -> Answer:
    """Ask, some times. read: raises OsgbatchError for an answer that will not do. Raises it, too.

    example: a command that asks nothing.
    """
    for left in reversed(range(ANSWERS)):
        answer = typer.prompt(question, default=default, err=True).strip()
        try:
            return read(answer)
        except OsgbatchError as error:
            ui.say(str(error) if left else error.what)
    raise OsgbatchError(
        f"{ANSWERS} answers that will not do; nothing was made",
        fix=f"Begin anew, or say it all at once: {example}; `osgbatch init --list` lists the "
        "templates.",
    )


def _table(*, numbered: bool = False) -> str:
    """The templates. numbered: each with the number by which it can be chosen."""
    from osgbatch.starting.starters import STARTERS

    head = ("template", "what it shows", "needs")
    rows = [(one.name, one.summary, one.needs or "-") for one in STARTERS]
    if not numbered:
        return ui.table(head, rows)
    return ui.table(("", *head), [(str(i), *row) for i, row in enumerate(rows, 1)])


def _list(as_json: bool) -> int:
    from osgbatch.starting.starters import STARTERS

    if as_json:
        keys = ("name", "summary", "needs", "command")
        ui.out_json([{key: getattr(one, key) for key in keys} for one in STARTERS])
    else:
        ui.out(_table())
        ui.say(f"to make one: `osgbatch init {FIRST}`, or `osgbatch init {FIRST} FOLDER`")
    return exits.OK


def _next(made: Made) -> list[str]:
    return [f"cd {shlex.quote(str(made.folder))}", made.starter.command]


def _as_json(made: Made) -> dict[str, object]:
    return {
        "template": made.starter.name,
        "folder": str(made.folder.absolute()),
        "files": list(made.files),
        "next": _next(made),
    }


def _tell(made: Made) -> None:
    """What was made, and the next two commands."""
    ui.out(f"{made.folder}/ has been made, from the template {made.starter.name}:")
    for name in made.files:
        ui.out(f"  {name}")
    if made.starter.needs:
        ui.out(f"To run, it needs {made.starter.needs}.")
    ui.out(f"{made.files[0]} says what each line is for. Next:")
    for command in _next(made):
        ui.out(f"    {command}")

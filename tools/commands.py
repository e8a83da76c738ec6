#!/usr/bin/env python3
"""Writes docs/commands.md and the man pages in docs/man/ from the command line itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from osgbatch import exits
from osgbatch.cli.app import MODULES, command_line

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "commands.md"
MAN = CHECKOUT / "docs" / "man"
START = """\
# Commands

This page is made from the command line, by `python tools/commands.py`, as are the manual pages
(`man osgbatch`, `man osgbatch-submit`). `osgbatch COMMAND --help` prints the same. `BATCH` is a
folder, a name or the start of an id; without one it is the newest batch. `--json` prints JSON for
other programs.
"""
CODES = {
    exits.OK: "all tasks succeeded, or the command did what it was asked",
    exits.SOME_FAILED: "some task did not succeed",
    exits.BAD_INPUT: "the spec, an argument or a batch's name is wrong; nothing was changed",
    exits.PACKING: "an archive could not be packed",
    exits.STAGING: "staging failed",
    exits.HTCONDOR: "HTCondor could not be reached, or refused",
    exits.BUSY: "another process is working on this batch",
    exits.INTERRUPTED: "stopped by Ctrl-C",
}
FILES = {
    "batches/": "beside the spec: all of a batch; readable without osgbatch",
    "~/.config/osgbatch/config.yaml": "your own defaults",
    "$XDG_CACHE_HOME/osgbatch": "packed environments; may be deleted",
    "$XDG_STATE_HOME/osgbatch": "the list of all batches",
}
PLACES = ("https://htcondor.readthedocs.io", "condor_submit(1), condor_q(1)")


def commands() -> list[tuple[str, Any]]:
    """Each command with its words ("pack env"), in the order of the help; no hidden ones."""
    group: Any = typer.main.get_command(command_line())
    order = [name for names in MODULES.values() for name in names]
    found: list[tuple[str, Any]] = []
    for name in sorted(group.commands, key=order.index):
        command = group.commands[name]
        if command.hidden:
            continue
        below = getattr(command, "commands", None)
        found += [(f"{name} {one}", below[one]) for one in below] if below else [(name, command)]
    return found


def arguments(command: Any) -> list[tuple[str, str]]:
    """Each argument of a command as it is written, with its help."""
    return [
        (_argument(one), _help(one)) for one in command.params if one.param_type_name == "argument"
    ]


def options(command: Any) -> list[tuple[str, str]]:
    """Each option of a command with all its forms, with its help."""
    return [
        (_option(one), _help(one))
        for one in command.params
        if one.param_type_name == "option" and not one.hidden and one.name != "help"
    ]


def synopsis(words: str, command: Any) -> str:
    """`osgbatch submit [OPTIONS] [SPEC]`."""
    names = [name for name, _ in arguments(command)]
    return " ".join(["osgbatch", words, *(["[OPTIONS]"] if options(command) else []), *names])


def text_of(command: Any) -> list[str]:
    """The paragraphs of a command's help."""
    text = re.sub(r"\f.*", "", command.help or "", flags=re.S).replace("\b", "")
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]


def page() -> str:
    """docs/commands.md."""
    return START + "".join(_section(words, command) for words, command in commands())


def man_pages() -> dict[str, str]:
    """Each manual page by its file's name."""
    made = {"osgbatch.1": "\n".join(_man_of_all()) + "\n"}
    for words, command in commands():
        made[f"osgbatch-{words.replace(' ', '-')}.1"] = "\n".join(_man_of(words, command)) + "\n"
    return made


def _argument(one: Any) -> str:
    name = (one.metavar or one.name.upper()).strip("[].")
    name = f"{name}..." if one.nargs == -1 or one.multiple else name
    return name if one.required else f"[{name}]"


def _option(one: Any) -> str:
    if one.is_flag:
        return ", ".join([*one.opts, *one.secondary_opts])
    return f"{', '.join(one.opts)} {one.metavar or one.name.strip('_').upper()}"


def _help(one: Any) -> str:
    return " ".join((one.help or "").split())


def _section(words: str, command: Any) -> str:
    lines = ["", f"## {words}", "", "```text", synopsis(words, command), "```", ""]
    for paragraph in text_of(command):
        lines += [paragraph, ""]
    rows = [*arguments(command), *options(command)]
    if rows:
        lines += ["| argument or option | meaning |", "|---|---|"]
        lines += [f"| `{name}` | {text.replace('|', chr(92) + '|')} |" for name, text in rows]
    return "\n".join(lines).rstrip() + "\n"


def _man_of_all() -> Iterator[str]:
    group: Any = typer.main.get_command(command_line())
    yield from _head("osgbatch", text_of(group)[0])
    yield from (".SH SYNOPSIS", ".B osgbatch", r"\fICOMMAND\fR [\fIARGUMENTS\fR]")
    yield from (".SH DESCRIPTION", *_words(text_of(group)))
    yield ".SH COMMANDS"
    for words, command in commands():
        yield from (".TP", rf"\fBosgbatch {_roff(words)}\fR", _roff((text_of(command) or [""])[0]))
    yield ".SH EXIT STATUS"
    for code, meaning in CODES.items():
        yield from (".TP", rf"\fB{code}\fR", _roff(meaning))
    yield ".SH FILES"
    for place, meaning in FILES.items():
        yield from (".TP", rf"\fI{_roff(place)}\fR", _roff(meaning))
    yield from (".SH SEE ALSO", *(_roff(place) for place in PLACES))


def _man_of(words: str, command: Any) -> Iterator[str]:
    paragraphs = text_of(command) or [""]
    yield from _head(f"osgbatch-{words.replace(' ', '-')}", paragraphs[0])
    yield from (".SH SYNOPSIS", _roff(synopsis(words, command)))
    yield from (".SH DESCRIPTION", *_words(paragraphs))
    for title, rows in (("ARGUMENTS", arguments(command)), ("OPTIONS", options(command))):
        if rows:
            yield f".SH {title}"
        for name, text in rows:
            yield from (".TP", rf"\fB{_roff(name)}\fR", _roff(text))
    yield from (".SH SEE ALSO", r".BR osgbatch (1)")


def _head(name: str, what: str) -> Iterator[str]:
    yield r".\" Made by tools/commands.py"
    yield f'.TH {_roff(name.upper())} 1 "" "osgbatch"'
    yield from (".SH NAME", rf"{_roff(name)} \- {_roff(what)}")


def _words(paragraphs: list[str]) -> Iterator[str]:
    for place, paragraph in enumerate(paragraphs):
        if place:
            yield ".PP"
        yield _roff(paragraph)


def _roff(text: str) -> str:
    """Text in which nothing is a request or an escape; dashes are those that can be typed."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("`", "")
    return rf"\&{text}" if text.startswith((".", "'")) else text


def main() -> None:
    """Write them all; manual pages of commands that are gone are removed."""
    PAGE.write_text(page(), encoding="utf-8")
    made = man_pages()
    MAN.mkdir(exist_ok=True)
    for path in MAN.glob("*.1"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (MAN / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""`--host`: which command runs where, from the words of a command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from osgbatch import ui
from osgbatch.errors import OsgbatchError

OPTION = "--host"
HERE = ("init", "lint", "explain", "schema", "import", "pool", "node", "host-side")
"""Commands that run here: they need neither a pool nor what is in it, or are of one that is here.

`explain sweep.yaml` does, for it shows what would be submitted there.
"""
_ANY_PATH = ("pack", "stage", "explain", "profile", "doctor")
"""Commands whose words, all osgbatch's, may be paths: the same as in osgbatch.laptop.named."""
_OWN_WORDS = ("run", "foreach")
"""Commands whose arguments are another program's from the first one on."""


def split(words: Sequence[str], variable: str) -> tuple[str, list[str]]:
    """The host that a command line names, and its other words; an empty name for none.

    `--host NAME` stands before the command or among its options; of `run` and `foreach`, right
    behind their names, since what follows is the user's program's. variable: OSGBATCH_HOST.
    Raises OsgbatchError when two are named, or none behind the option.
    """
    found: list[str] = []
    left: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--" or (left and left[0] in _OWN_WORDS and not _is_host(word)):
            left += [word, *rest]
            break
        if not _is_host(word):
            left.append(word)
            continue
        _, equals, value = word.partition("=")
        if not equals:
            if not rest:
                raise _missing()
            value = rest.pop(0)
        if not value or value.startswith("-"):
            raise _missing(value)
        found.append(value)
    if len(set(found)) > 1:
        raise OsgbatchError(f"two hosts are named: {' and '.join(found)}", where=OPTION)
    return (found[0] if found else variable), left


def _is_host(word: str) -> bool:
    return word == OPTION or word.startswith(OPTION + "=")


def _missing(value: str = "") -> OsgbatchError:
    what = f"{value} is no name of a host" if value else "needs the name of a host"
    return OsgbatchError(what, where=OPTION, fix="Write `osgbatch --host ap40 status`.")


def elsewhere(words: Sequence[str], variable: str, group: Any) -> tuple[int | None, list[str]]:
    """Run a command line on the host that it names, and give its exit code.

    None, with the words to run, where it is to run here. group: makes the command of the words.
    """
    host, left = split(words, variable)
    command = next((word for word in left if not word.startswith("-")), "")
    of_sweep = command == "explain" and any(os.path.isfile(word) for word in left[1:])
    stays = command in HERE and not of_sweep
    if not host or not command or left[0].startswith("-") or stays:
        if host and stays and host != variable:
            ui.say(f"note: `osgbatch {command}` needs no host: it runs here")
        return None, left
    from osgbatch.laptop.hosts import find_host
    from osgbatch.laptop.named import needs
    from osgbatch.laptop.session import Asked, run_there

    known = find_host(host)
    names, given = _parsed(group(left), left)
    here = Path(os.getcwd())
    seen = _as_from_here(names[0], left, given, here)
    if seen != left:
        left = seen
        names, given = _parsed(group(left), left)
    named = needs(names, given, here)
    return run_there(known, Asked(left, named, here, told=host != variable), ui.say), left


def _parsed(command: Any, words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The names of the command and its arguments; wrong ones are told before anything is done."""
    names: list[str] = []
    context = typer.Context(command, info_name="osgbatch")
    rest = list(words)
    while hasattr(command, "commands"):
        name = rest.pop(0) if rest else ""
        found = command.get_command(context, name)
        if found is None:
            command.resolve_command(context, [name, *rest])  # raises, with what was meant
        names.append(name)
        command = found
        if not hasattr(command, "commands"):
            break
        context = typer.Context(command, info_name=name, parent=context)
    made = command.make_context(names[-1], rest, parent=context)
    return names, dict(made.params)


def _as_from_here(
    command: str, words: Sequence[str], given: Mapping[str, Any], here: Path
) -> list[str]:
    """The words, whole paths of this machine as they are called from the working folder.

    Only what is a path to the command: the spec, the script, what is pushed. The words of the
    user's program stay: `/bin/echo` is the execution point's.
    """
    if command in _ANY_PATH:
        return [_relative(word, here) for word in words]
    rest = list(given.get("command") or given.get("args") or ()) if command in _OWN_WORDS else []
    count = len(words) - len(rest)
    own = {str(given[key]) for key in ("spec", "script") if given.get(key) is not None}
    found: list[str] = []
    for at, word in enumerate(words[:count]):
        if at and words[at - 1] == "--push":
            word = _pushed(word, here)
        elif word.startswith("--push="):
            word = "--push=" + _pushed(word.removeprefix("--push="), here)
        elif word in own:
            word = _relative(word, here)
        found.append(word)
    return [*found, *words[count:]]


def _relative(word: str, here: Path) -> str:
    if word.startswith("/") and os.path.lexists(word):
        return os.path.relpath(word, here)
    return word


def _pushed(word: str, here: Path) -> str:
    """What is pushed: FILE, FILE:NAME or @LIST."""
    if word.startswith("@"):
        return "@" + _relative(word[1:], here)
    path, colon, name = word.rpartition(":")
    if colon and not os.path.lexists(word):
        return _relative(path, here) + colon + name
    return _relative(word, here)

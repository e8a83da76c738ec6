"""What a task is brought: inputs, related, its variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from osgbatch.spec.document import Loc
from osgbatch.spec.reading import Reading
from osgbatch.spec.schema import InputModel, SpecModel
from osgbatch.spec.sweeps import suggest
from osgbatch.spec_model import Input, Place, Template
from osgbatch.urls import is_url, split_url

SCHEMES = ("osdf", "http", "https", "s3", "file", "pelican")
"""URLs that execution points can fetch."""


def read_inputs(reading: Reading, key: str, entries: Sequence[Any]) -> Iterator[Input]:
    """The entries of `inputs:` or `related:` (key)."""
    for loc, entry in reading.entries(key, entries):
        target, target_loc = None, loc
        shared, tree = None, False
        if isinstance(entry, InputModel):
            source, source_loc = entry.path, (*loc, "path")
            target, target_loc = entry.target, (*loc, "as")
            shared, tree = entry.shared, entry.tree
            if shared is not None and is_url(source):
                what = "a URL is fetched by the jobs themselves, and is never staged"
                reading.fail(what, reading.key((*loc, "shared")), "Leave `shared` out.")
            elif tree and (is_url(source) or shared is False):
                other = "`shared: false`" if shared is False else "a URL"
                what = f"`tree: true` is for folders in the stash, and {other} keeps this out of it"
                reading.fail(what, reading.key((*loc, "tree")), "Leave `tree` out.")
        elif isinstance(entry, dict):
            ((source, value),) = entry.items()
            source_loc = target_loc = (*loc, source)
            target = reading.text(target_loc, value)
        else:
            source, source_loc = entry, loc
        at_key = source_loc == target_loc and isinstance(entry, dict)
        place = reading.key(source_loc) if at_key else reading.place(source_loc)
        for found in _input(reading, key, (source, place), (target, target_loc)):
            yield replace(found, shared=shared, tree=tree)


def _input(
    reading: Reading, key: str, source: tuple[str, Place], target: tuple[str | None, Loc]
) -> Iterator[Input]:
    text, place = source
    is_list = text.startswith("@")
    problem, fix = _source_problem(text.removeprefix("@"), is_list)
    if problem:
        reading.fail(problem, place, fix)
    where: Template | None = None
    if target[0] is not None:
        where = _target(reading, key, target[0], target[1])
        if where and is_list and not target[0].endswith("/"):
            what = f'a list is brought to a folder, and "{target[0]}" is none'
            reading.fail(what, reading.place(target[1]), f"Write {target[0]}/.")
    template = reading.template(text.removeprefix("@"), place)
    if template and template.names and is_list:
        name = template.names[0]
        what = f"a list is the same for all tasks, and {{{name}}} differs"
        fix = f'Bring what differs by its own path: "data/{{{name}}}.csv", or name one list.'
        reading.fail(what, place.at(f"{{{name}}}"), fix)
    elif template and not problem and (where or target[0] is None):
        yield Input(template, where, key, is_list)


def _source_problem(text: str, is_list: bool) -> tuple[str, str]:
    """What is wrong with a source, and what to write; empty when nothing is."""
    scheme, rest = split_url(text)
    if is_list:
        if not text.strip():
            return "@ should be followed by the name of a list", "Write @list.txt."
        if scheme:
            return "a list is a file beside the spec, not a URL", "Bring it here first."
        return "", ""
    if not scheme and text.startswith("~"):
        return '"~" is not your home folder here', "Write the whole path, or ./~ for its own sake."
    if not scheme:
        return "", ""
    if scheme not in SCHEMES:
        near = "osdf" if scheme.lower() == "stash" else ""
        did_you = f'; did you mean "{near}"?' if near else suggest(scheme.lower(), [*SCHEMES])
        fix = f"Known are {', '.join(f'{known}://' for known in SCHEMES)}."
        return f'unknown kind of URL "{scheme}://"{did_you}', fix
    if not rest.strip("/"):
        return f'"{text}" names nothing', "Write the whole URL."
    odd = re.search(r'[\s,"$]', rest)
    if odd:
        fix = f"Write %{ord(odd[0]):02X} for it."
        if scheme == "s3":  # HTCondor quotes a key itself, so a quoted one is not found
            fix = "Give the object another name."
        return f"a URL cannot hold {odd[0]!r}: HTCondor would not see it whole", fix
    return "", ""


def _target(reading: Reading, key: str, text: str, loc: Loc) -> Template | None:
    """Where the task finds an input, relative to the folder `key`; None (noted) if nowhere."""
    place = reading.place(loc)
    example = "Write it relative to the task's folder, such as weights/model.h5."
    if "\0" in text:
        reading.fail("a path cannot hold a NUL character", place)
    elif text.startswith(("/", "~")) or ".." in text.split("/"):
        what = f'"{text}": an input must lie in the task\'s own {key}/'
        reading.fail(what, place, example)
    elif is_url(text):
        fix = "The source stands first: {source: target}."
        reading.fail("a target is a path in the task's folder, not a URL", place, fix)
    else:
        while text.startswith("./"):
            text = text[2:].lstrip("/")
        if text in (key, "."):
            text += "/"
        text = text.removeprefix(f"{key}/").lstrip("/") if text != "./" else ""
        return reading.template(text or "./", place)
    return None


_SECRET_FIX = (
    "Put it into a file that only you can read (chmod 600), bring that under `inputs:`, and name "
    "it here: NAME: inputs/key.txt; or use HTCondor's credentials (use_oauth_services). If it is "
    "no secret, call it something else."
)
_SECRET_WORD = re.compile(
    r"\w*PASSWORD|\w*PASSWD|PASSPHRASE|SECRETS?|CREDENTIALS?|CREDS|APIKEY|SECRETKEY|ACCESSKEY"
)
_SECRET_KEY = re.compile(
    r"(?:^|_)(?:API|ACCESS|PRIVATE|SECRET|AUTH|SIGNING|ENCRYPTION|ACCOUNT|LICENSE)_KEY(?:_|$)"
)
_TEXT_TOKEN = re.compile(r"(?:^|_)(?:PAD|EOS|BOS|MASK|UNK|SEP|CLS|STOP|START|END|SPECIAL)_TOKEN$")
"""Tokens of language models, which are no secrets."""


def _is_secret(name: str, value: Template) -> bool:
    """Whether a variable seems to hold a password or a key, and not the path of a file with one."""
    text = "".join(value.parts)
    if not text or text.lower() in ("true", "false") or re.match(r"(inputs/|related/|/|\./)", text):
        return False
    words = name.upper().split("_")
    if words[-1] in ("FILE", "PATH", "DIR", "FOLDER"):
        return False
    return bool(
        any(_SECRET_WORD.fullmatch(word) for word in words)
        or _SECRET_KEY.search(name.upper())
        or (words[-1] == "TOKEN" and not _TEXT_TOKEN.search(name.upper()))
        or name.upper() == "MYSQL_PWD"
    )


def read_variables(reading: Reading, model: SpecModel) -> Iterator[tuple[str, Template]]:
    """`environment_variables:`, in order."""
    for name, value in model.environment_variables.items():
        loc: Loc = ("environment_variables", name)
        template = reading.template(reading.text(loc, value), reading.place(loc))
        if not name.isidentifier() or not name.isascii():
            plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
            fix = f"Write {plain}." if plain.isidentifier() and plain != name else ""
            what = f'"{name}" cannot name an environment variable'
            reading.fail(what, reading.key(loc), fix or "Use letters, digits and _.")
        elif template and _is_secret(name, template):
            what = f'"{name}" looks like a secret, and others can read the batch folder'
            reading.fail(what, reading.key(loc), _SECRET_FIX.replace("NAME", name))
        elif name.startswith("OSGBATCH_"):
            what = f'"{name}" is taken by osgbatch; give the variable another name'
            reading.fail(what, reading.key(loc))
        elif template and name == "PATH" and template.names:
            what = "PATH should be the same for all tasks, and this one is not"
            place = reading.place(loc).at(f"{{{template.names[0]}}}")
            reading.fail(what, place, "Name the program by its path in the command instead.")
        elif template:
            yield name, template

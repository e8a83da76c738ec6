"""The program that puts an environment's path into its files once it is unpacked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from osgbatch.packing.environment.packages import RELATIVE_START

UNPACK = "bin/conda-unpack"
"""Has to run once after unpacking, as in the archives of conda-pack."""


@dataclass(frozen=True)
class Rewrite:
    """A file in which the environment's path has to be put in place of a placeholder.

    spots: offset and bytes of the C strings of a binary file that hold the placeholder; their
    length stays, NULs fill it. None for a text, in which it may stand anywhere.
    """

    name: str
    placeholder: str
    spots: tuple[tuple[int, bytes], ...] | None = None


def unpack_program(rewrites: Iterable[Rewrite], has_python: bool) -> bytes:
    """The program `bin/conda-unpack`. May run again.

    It is run by the environment's own Python, which needs no rewriting to start, without its site
    packages; where there is none (R alone) by sh, with tools that busybox has too.
    """
    ordered = sorted(rewrites, key=lambda one: os.fsencode(one.name))
    return _for_python(ordered) if has_python else _for_shell(ordered)


def _for_python(rewrites: list[Rewrite]) -> bytes:
    placeholders = sorted({one.placeholder for one in rewrites})
    known = "".join(f"    {placeholder!a},\n" for placeholder in placeholders)
    lines = []
    for one in rewrites:
        spots = None
        if one.spots is not None:
            spots = tuple((start, len(text)) for start, text in one.spots)
        lines.append(f"    ({one.name!a}, {placeholders.index(one.placeholder)}, {spots!r}),\n")
    start = RELATIVE_START.replace(b'/python" ', b'/python" -IS ')
    program = _PYTHON.replace("@PLACEHOLDERS@", known).replace("@RECORDS@", "".join(lines))
    return start + program.encode()


_PYTHON = '''\
"""Writes the path of this environment into the files that hold it. Made by osgbatch."""
import os
import sys

PLACEHOLDERS = [
@PLACEHOLDERS@]
RECORDS = [
@RECORDS@]


def put_right(top, name, placeholder, spots):
    path = os.path.join(top, os.fsencode(name))
    old = os.fsencode(PLACEHOLDERS[placeholder])
    with open(path, "r+b") as file:
        if spots is None:
            data = file.read()
            if old in data:
                file.seek(0)
                file.write(data.replace(old, top))
                file.truncate()
            return
        if len(top) > len(old):
            sys.exit("conda-unpack: longer than %d bytes: %s" % (len(old), os.fsdecode(top)))
        for start, length in spots:
            file.seek(start)
            text = file.read(length)
            if old in text:
                file.seek(start)
                file.write(text.replace(old, top).ljust(length, b"\\0"))


if __name__ == "__main__":
    here = os.fsencode(os.path.realpath(__file__))
    for record in RECORDS:
        try:
            put_right(os.path.dirname(os.path.dirname(here)), *record)
        except FileNotFoundError:  # left out, to save room
            pass
'''


def _for_shell(rewrites: list[Rewrite]) -> bytes:
    lines = []
    for one in rewrites:
        name, old = _quoted(os.fsencode(one.name)), one.placeholder.encode()
        if one.spots is None:
            lines.append(b"text %s %s\n" % (name, _quoted(_sed_pattern(one.placeholder).encode())))
            continue
        for start, text in one.spots:
            parts = b" ".join(_quoted(part) for part in text.split(old)[1:])
            lines.append(b"binary %s %d %d %d %s\n" % (name, len(old), start, len(text), parts))
    return _SHELL.encode() + b"".join(lines)


def _quoted(word: bytes) -> bytes:
    return b"'" + word.replace(b"'", b"'\\''") + b"'"


def _sed_pattern(text: str) -> str:
    return re.sub(r"([.\[\]*^$|\\])", r"\\\1", text)


_SHELL = r"""#!/bin/sh
# Writes the path of this environment into the files that hold it. Made by osgbatch.
LC_ALL=C # lengths are bytes
export LC_ALL
top=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
as_sed_wants_it=$(printf '%s\n' "$top" | sed -e 's/[|&\\]/\\&/g' -e '$!s/$/\\/')

fail() {
    echo "conda-unpack: $1" >&2
    exit 1
}

text() { # NAME PATTERN
    [ -f "$top/$1" ] || return 0 # left out, to save room
    {
        sed "s|$2|$as_sed_wants_it|g" "$top/$1" >"$top/.conda-unpack" &&
            cat "$top/.conda-unpack" >"$top/$1" && # the file keeps its mode
            rm "$top/.conda-unpack"
    } || fail "$1 cannot be written"
}

binary() { # NAME LONGEST START LENGTH PART ...: each part stands behind the environment's path
    file=$1 longest=$2 start=$3 length=$4 new=''
    shift 4
    [ -f "$top/$file" ] || return 0
    [ "${#top}" -le "$longest" ] || fail "longer than $longest bytes: $top"
    for part; do new=$new$top$part; done
    {
        printf '%s' "$new"
        [ "${#new}" -eq "$length" ] || dd if=/dev/zero bs=1 count=$((length - ${#new})) 2>/dev/null
    } | dd of="$top/$file" bs=1 seek="$start" conv=notrunc 2>/dev/null ||
        fail "$file cannot be written"
}

"""
